package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// Version is the version of messages that this program writes. It reads this one and those before.
const Version = 1

// MaxSQS is the size of a message in SQS, in bytes, as Format writes it: the default of MaximumMessageSize, and the limit until 2025
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html). A queue on one machine takes what
// HTTP takes.
const MaxSQS = 256 << 10

// MaxID is the length of a message's id in bytes.
const MaxID = 255

// A Message asks for one transaction. It is what submit takes over HTTP, and where it goes and who sent it.
//
// Whoever can put messages into a queue says whose they are: the right to send is the right to act for every user of the platform.
type Message struct {
	Version int `json:"version"` // of this format; left out, it is 1
	// ID makes the transaction's id, together with channel, chaincode and user: 1 to 255 printable ASCII characters. Left out, it
	// is the id that SQS gives the message, so that only a producer who sends twice runs it twice. An Idempotency-Key of submit
	// makes the same transaction id.
	ID string `json:"id,omitempty"`
	// TransactionID is what the sender was told. It may be left out.
	TransactionID string `json:"transactionId,omitempty"`

	Channel       string            `json:"channel"`
	Chaincode     string            `json:"chaincode"`
	Function      string            `json:"function"`
	Args          []string          `json:"args,omitempty"`
	Transient     map[string][]byte `json:"transient,omitempty"`     // base64 in JSON
	Organizations []string          `json:"organizations,omitempty"` // that endorse; empty: what the policy needs
	IsInit        bool              `json:"isInit,omitempty"`        // call the chaincode's Init

	User         string            `json:"user,omitempty"`         // default DefaultUser
	Organization string            `json:"organization,omitempty"` // MSP id; default: the platform's own
	Attributes   map[string]string `json:"attributes,omitempty"`   // in the user's certificate
}

// DefaultUser is who sends a message that does not say.
const DefaultUser = "queue"

// Parse reads a message. id is its id if it has none. Every error is a *Poison.
func Parse(body []byte, id string) (*Message, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	m := &Message{}
	if err := d.Decode(m); err != nil {
		return nil, malformed("the message is not the JSON object it should be: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("there is more after the message's JSON object")
	}
	if m.Version == 0 {
		m.Version = 1
	}
	if m.ID == "" {
		m.ID = id
	}
	if m.User == "" {
		m.User = DefaultUser
	}
	return m, m.check()
}

func (m *Message) check() error {
	if m.Version < 1 || m.Version > Version {
		return malformed("the message has version %d: this program reads 1 to %d", m.Version, Version)
	}
	if m.Function == "" {
		return malformed(`the field "function" is missing`)
	}
	if len(m.ID) == 0 || len(m.ID) > MaxID || !printable(m.ID) {
		return malformed(`the field "id" must be 1 to %d printable ASCII characters`, MaxID)
	}
	if err := errors.Join(wire.ChannelName.Check(m.Channel), wire.ChaincodeName.Check(m.Chaincode)); err != nil {
		return malformed("%v", err)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func malformed(format string, args ...any) error {
	return &Poison{Code: gateway.InvalidRequest.String(), Reason: fmt.Sprintf(format, args...)}
}

// Format writes what Parse reads.
func Format(m *Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return b, nil
}

// Request is what the message asks of the gateway, for its user.
func (m *Message) Request(user *msp.Signer) gateway.Request {
	r := gateway.Request{
		Channel: m.Channel, Chaincode: m.Chaincode, Function: m.Function, Transient: m.Transient,
		User: user, IdempotencyKey: m.ID, Organizations: m.Organizations, Init: m.IsInit,
	}
	for _, arg := range m.Args {
		r.Args = append(r.Args, []byte(arg))
	}
	return r
}
