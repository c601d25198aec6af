package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"peerless/shared/receipt"
)

// A Channel is a channel of the server.
type Channel struct {
	Name             string   `json:"name"`
	Height           uint64   `json:"height"`
	Organizations    []string `json:"organizations"`
	CurrentBlockHash string   `json:"currentBlockHash"`
	VerifierKey      string   `json:"verifierKey"` // of the channel's checkpoints; empty if the server signs none
}

// A Chaincode is one that a channel defines.
type Chaincode struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Sequence     int64  `json:"sequence"`
	Policy       string `json:"policy,omitempty"`
	PackageID    string `json:"packageId,omitempty"`
	Language     string `json:"language,omitempty"`
	InitRequired bool   `json:"initRequired,omitempty"`
	// Collections of private data, as Fabric's file has them.
	Collections json.RawMessage `json:"collections,omitempty"`

	Approvals []Approval `json:"approvals,omitempty"` // of this definition, by each organisation of the channel
	Next      *Next      `json:"next,omitempty"`      // the definition that awaits approvals; nil if none does

	// Of a deployment that others have to approve: the organisations that did not, and what there is to do. The chaincode is as it was.
	Awaits []string `json:"awaits,omitempty"`
	Detail string   `json:"detail,omitempty"`
}

// An Approval is what an organisation did at a definition's sequence.
type Approval struct {
	Organization  string `json:"organization"`
	Approved      bool   `json:"approved"` // exactly this definition
	PackageID     string `json:"packageId,omitempty"`
	TransactionID string `json:"transactionId,omitempty"` // of its newest approval; empty if there is none
	BlockNumber   uint64 `json:"blockNumber,omitempty"`
}

// Next is a definition that organisations have approved, and that is not committed.
type Next struct {
	Version      string          `json:"version"`
	Sequence     int64           `json:"sequence"`
	Policy       string          `json:"policy,omitempty"`
	InitRequired bool            `json:"initRequired,omitempty"`
	Collections  json.RawMessage `json:"collections,omitempty"`
	Approvals    []Approval      `json:"approvals"`
}

// Healthy returns nil if the server can commit.
func (c *Client) Healthy(ctx context.Context) error { return c.get(ctx, "/healthz", nil) }

// Channels returns the names of the channels, sorted.
func (c *Client) Channels(ctx context.Context) ([]string, error) {
	var list struct{ Channels []struct{ Name string } }
	if err := c.get(ctx, "/v1/channels", &list); err != nil {
		return nil, err
	}
	names := make([]string, len(list.Channels))
	for i, channel := range list.Channels {
		names[i] = channel.Name
	}
	return names, nil
}

// Channel returns a channel.
func (c *Client) Channel(ctx context.Context, name string) (*Channel, error) {
	out := &Channel{}
	return result(out, c.get(ctx, channelPath(name), out))
}

// CreateChannel makes a channel of these organisations; of the caller's alone if there are none.
func (c *Client) CreateChannel(ctx context.Context, name string, organizations ...string) (*Channel, error) {
	in := struct {
		Name          string   `json:"name"`
		Organizations []string `json:"organizations,omitempty"`
	}{name, organizations}
	out := &Channel{}
	return result(out, c.post(ctx, "/v1/channels", in, out))
}

// Chaincodes returns what a channel defines, sorted by name.
func (c *Client) Chaincodes(ctx context.Context, channel string) ([]Chaincode, error) {
	var list struct{ Chaincodes []Chaincode }
	err := c.get(ctx, channelPath(channel)+"/chaincodes", &list)
	return list.Chaincodes, err
}

// Chaincode returns one of a channel's chaincodes.
func (c *Client) Chaincode(ctx context.Context, channel, name string) (*Chaincode, error) {
	out := &Chaincode{}
	return result(out, c.get(ctx, chaincodePath(channel, name), out))
}

// A DeploySpec says how a package is to be defined. What is left out, the server decides.
type DeploySpec struct {
	Channel, Name, Version, Policy string
	Sequence                       int64
	Collections                    string // of private data, in Fabric's JSON
	InitRequired                   bool   // the chaincode's Init must be called first
	Organization                   string // to approve for; empty: the key's own, an operator's all
}

// Deploy sends a package, a Fabric .tar.gz or a function zip, as it is read, and returns when the chaincode answers, or awaits
// approvals: then the result has Awaits.
func (c *Client) Deploy(ctx context.Context, spec DeploySpec, pkg io.Reader) (*Chaincode, error) {
	fields := make(url.Values)
	for name, value := range map[string]string{"name": spec.Name, "version": spec.Version, "policy": spec.Policy, "collections": spec.Collections, "organization": spec.Organization} {
		if value != "" {
			fields.Set(name, value)
		}
	}
	if spec.Sequence != 0 {
		fields.Set("sequence", strconv.FormatInt(spec.Sequence, 10))
	}
	if spec.InitRequired {
		fields.Set("initRequired", "true")
	}
	path, contentType := channelPath(spec.Channel)+"/chaincodes", "application/octet-stream"
	switch {
	case spec.Collections != "": // too long for an address
		var err error
		if pkg, contentType, err = form(fields, pkg); err != nil {
			return nil, fmt.Errorf("deploy: %w", err)
		}
	case len(fields) > 0:
		path += "?" + fields.Encode()
	}
	out := &Chaincode{}
	return result(out, c.do(ctx, call{http.MethodPost, path, pkg, []string{"Content-Type", contentType}}, out))
}

// form is a form of the fields and then the package, which is read as the form is.
func form(fields url.Values, pkg io.Reader) (body io.Reader, contentType string, err error) {
	var begin bytes.Buffer
	w := multipart.NewWriter(&begin)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		err = errors.Join(err, w.WriteField(name, fields.Get(name)))
	}
	_, fileErr := w.CreateFormFile("package", "package")
	end := strings.NewReader("\r\n--" + w.Boundary() + "--\r\n")
	return io.MultiReader(&begin, pkg, end), w.FormDataContentType(), errors.Join(err, fileErr)
}

// A Function is a Lambda function that was made for a chaincode.
type Function struct {
	Name      string `json:"function"`
	Qualifier string `json:"qualifier"` // an alias or a version
	PackageID string `json:"packageId,omitempty"`
}

// DeployFunction makes a function what runs a chaincode, with indexes for rich queries, and returns when the chaincode answers.
func (c *Client) DeployFunction(ctx context.Context, spec DeploySpec, function Function, indexes []string) (*Chaincode, error) {
	in := struct {
		Function
		Chaincode   string   `json:"name"`
		Version     string   `json:"version,omitempty"`
		Policy      string   `json:"policy,omitempty"`
		Collections string   `json:"collections,omitempty"`
		Indexes     []string `json:"indexes,omitempty"`
		Sequence    int64    `json:"sequence,omitempty"`
		Init        bool     `json:"initRequired,omitempty"`
		For         string   `json:"organization,omitempty"`
	}{function, spec.Name, spec.Version, spec.Policy, spec.Collections, indexes, spec.Sequence, spec.InitRequired, spec.Organization}
	out := &Chaincode{}
	return result(out, c.post(ctx, channelPath(spec.Channel)+"/chaincodes", in, out))
}

// Approve has an organisation agree to the definition that a chaincode is to have.
func (c *Client) Approve(ctx context.Context, spec DeploySpec) (*Chaincode, error) {
	in := struct {
		Organization string `json:"organization,omitempty"`
		Version      string `json:"version"`
		Policy       string `json:"policy,omitempty"`
		Collections  string `json:"collections,omitempty"`
		Sequence     int64  `json:"sequence,omitempty"`
		Init         bool   `json:"initRequired,omitempty"`
	}{spec.Organization, spec.Version, spec.Policy, spec.Collections, spec.Sequence, spec.InitRequired}
	out := &Chaincode{}
	return result(out, c.post(ctx, chaincodePath(spec.Channel, spec.Name)+"/approvals", in, out))
}

// Remove takes a chaincode off a channel. Its state and history stay.
func (c *Client) Remove(ctx context.Context, channel, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: chaincodePath(channel, name)}, nil)
}

// A Block is a block as the API shows it. Raw is the whole JSON object.
type Block struct {
	Number       uint64        `json:"number"`
	Hash         string        `json:"hash"`
	PreviousHash string        `json:"previousHash"`
	DataHash     string        `json:"dataHash"`
	Size         int           `json:"size"`
	Transactions []Transaction `json:"transactions"`
	Raw          json.RawMessage
}

// UnmarshalJSON keeps the whole.
func (b *Block) UnmarshalJSON(raw []byte) error {
	type plain Block
	err := json.Unmarshal(raw, (*plain)(b))
	b.Raw = append(json.RawMessage(nil), raw...)
	return err
}

// A Transaction is a transaction as the API shows it. Raw is the whole JSON object, with the read-write set. BlockNumber
// is set by Client.Transaction only.
type Transaction struct {
	BlockNumber    uint64                             `json:"blockNumber"`
	TransactionID  string                             `json:"transactionId"`
	Index          int                                `json:"index"`
	Type           string                             `json:"type"`
	ValidationCode string                             `json:"validationCode"`
	Timestamp      time.Time                          `json:"timestamp"`
	Creator        struct{ MSPID, CommonName string } `json:"creator"`
	Chaincode      struct{ Name, Version string }     `json:"chaincode"`
	Args           []json.RawMessage                  `json:"args"` // strings, or {"base64":…}; the function first
	Raw            json.RawMessage
}

// UnmarshalJSON keeps the whole.
func (t *Transaction) UnmarshalJSON(raw []byte) error {
	type plain Transaction
	err := json.Unmarshal(raw, (*plain)(t))
	t.Raw = append(json.RawMessage(nil), raw...)
	return err
}

// A BlockPage is a page of blocks. Next is where the following one starts, nil at the end of the chain.
type BlockPage struct {
	Height uint64  `json:"height"`
	Blocks []Block `json:"blocks"`
	Next   *uint64 `json:"next"`
}

// Blocks returns at most limit blocks from a number on; a negative one counts from the end. The zero limit is the server's.
func (c *Client) Blocks(ctx context.Context, channel string, from int64, limit int) (*BlockPage, error) {
	path := fmt.Sprintf("%s/blocks?from=%d", channelPath(channel), from)
	if limit > 0 {
		path += fmt.Sprintf("&limit=%d", limit)
	}
	out := &BlockPage{}
	return result(out, c.get(ctx, path, out))
}

// Block returns a block.
func (c *Client) Block(ctx context.Context, channel string, number uint64) (*Block, error) {
	out := &Block{}
	return result(out, c.get(ctx, fmt.Sprintf("%s/blocks/%d", channelPath(channel), number), out))
}

// RawBlock returns a block as Fabric's common.Block, marshalled.
func (c *Client) RawBlock(ctx context.Context, channel string, number uint64) ([]byte, error) {
	path := fmt.Sprintf("%s/blocks/%d", channelPath(channel), number)
	response, err := c.send(ctx, call{http.MethodGet, path, nil, []string{"Accept", "application/x-protobuf"}})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: read the answer: %w", path, err)
	}
	return raw, nil
}

// Transaction returns a transaction, valid or not.
func (c *Client) Transaction(ctx context.Context, channel, id string) (*Transaction, error) {
	out := &Transaction{}
	return result(out, c.get(ctx, channelPath(channel)+"/transactions/"+url.PathEscape(id), out))
}

// Receipt returns the proof that a transaction stands in the chain. It is not verified: that is receipt.Verify's, with a key that
// did not come from the server.
func (c *Client) Receipt(ctx context.Context, channel, id string) (*receipt.Receipt, error) {
	raw, err := c.read(ctx, call{method: http.MethodGet, path: channelPath(channel) + "/transactions/" + url.PathEscape(id) + "/receipt"}, receipt.MaxSize)
	if err != nil {
		return nil, err
	}
	return receipt.Parse(raw)
}

// Checkpoint returns the signed note of a channel's log as it is now.
func (c *Client) Checkpoint(ctx context.Context, channel string) (string, error) {
	raw, err := c.read(ctx, call{method: http.MethodGet, path: channelPath(channel) + "/checkpoint"}, 1<<20)
	return string(raw), err
}

// read returns the bytes of an answer, of which it reads no more than one beyond limit.
func (c *Client) read(ctx context.Context, call call, limit int64) ([]byte, error) {
	response, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", call.method, call.path, err)
	}
	return raw, nil
}

// A Change is one entry of a key's history.
type Change struct {
	TransactionID    string          `json:"transactionId"`
	BlockNumber      uint64          `json:"blockNumber"`
	TransactionIndex uint64          `json:"transactionIndex"`
	Timestamp        time.Time       `json:"timestamp"`
	IsDelete         bool            `json:"isDelete"`
	Value            json.RawMessage `json:"value"`
	ValueEncoding    string          `json:"valueEncoding,omitempty"`
}

// escapeKey escapes a key for a path. One of dots alone would be taken for a step up by what stands between.
func escapeKey(key string) string {
	if strings.Trim(key, ".") == "" {
		return strings.ReplaceAll(key, ".", "%2E")
	}
	return url.PathEscape(key)
}

// History calls each with the changes of a key, newest first, until there are no more or it returns an error.
func (c *Client) History(ctx context.Context, channel, chaincode, key string, each func(Change) error) error {
	path := chaincodePath(channel, chaincode) + "/history/" + escapeKey(key)
	for query := ""; ; {
		var page struct {
			History []Change
			Next    string
		}
		if err := c.get(ctx, path+query, &page); err != nil {
			return err
		}
		for _, change := range page.History {
			if err := each(change); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query = "?before=" + url.QueryEscape(page.Next)
	}
}
