package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// A Call names a contract's function and what it gets.
type Call struct {
	Channel       string            `json:"-"`
	Chaincode     string            `json:"-"`
	Function      string            `json:"function"`
	Args          []string          `json:"args"`
	Transient     map[string][]byte `json:"transient,omitempty"`
	Organizations []string          `json:"organizations,omitempty"` // who endorses; empty: what the policy needs
	IsInit        bool              `json:"isInit,omitempty"`        // call the chaincode's Init, which its definition requires first

	// IdempotencyKey makes a repeat return the first outcome: 1 to 255 printable ASCII characters. Submit only.
	IdempotencyKey string `json:"-"`
}

// A Payload is what a contract returned.
type Payload struct {
	Result         json.RawMessage `json:"result"` // JSON; null if the payload was empty
	ResultEncoding string          `json:"resultEncoding"`
}

// Bytes returns the payload for people and pipes: JSON as it is, the text of a JSON string, what base64 stands for.
// Nothing is returned for null.
func (p Payload) Bytes() ([]byte, error) {
	if len(p.Result) == 0 || string(p.Result) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(p.Result, &text) != nil {
		return p.Result, nil
	}
	if p.ResultEncoding == "base64" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("decode the result: %w", err)
		}
		return raw, nil
	}
	return []byte(text), nil
}

// Submitted is a committed transaction.
type Submitted struct {
	TransactionID string `json:"transactionId"`
	BlockNumber   uint64 `json:"blockNumber"`
	Code          string `json:"code"`
	Payload
}

// Evaluated is what a function returned on the state of a channel with Height blocks.
type Evaluated struct {
	Height uint64 `json:"height"`
	Payload
}

// Submit runs a transaction and returns when it is committed and valid.
func (c *Client) Submit(ctx context.Context, call Call) (*Submitted, error) {
	out := &Submitted{}
	err := c.post(ctx, chaincodePath(call.Channel, call.Chaincode)+"/submit", call, out, "Idempotency-Key", call.IdempotencyKey)
	return result(out, err)
}

// Evaluate runs a function and commits nothing.
func (c *Client) Evaluate(ctx context.Context, call Call) (*Evaluated, error) {
	out := &Evaluated{}
	return result(out, c.post(ctx, chaincodePath(call.Channel, call.Chaincode)+"/evaluate", call, out))
}

// result is nil if there is an error.
func result[T any](out *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return out, nil
}
