package invocation

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Version is the newest version, and Versions are all that this code speaks.
const Version = 2

// Versions are those that this code speaks.
var Versions = []int{1, 2}

const (
	// MaxPayload is the size of a synchronous invocation's payload, each way, in bytes:
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	MaxPayload = 6 << 20
	// MaxCalls is how often one execution may call another chaincode: each call runs it again from its beginning.
	MaxCalls = 32
	// MaxRuns is how often one execution is run in all: again for each call, and for each answer about a collection that it waits for.
	MaxRuns = 128
	// MaxAsked is how many calls and requests about collections a result may have.
	MaxAsked = 20_000
)

// A Request is what a gateway asks of a function.
type Request struct {
	Version   int        `json:"version"`
	Channel   string     `json:"channel"`
	Chaincode string     `json:"chaincode"`
	State     State      `json:"state"`
	Proposals []Proposal `json:"proposals"`
}

// State says where the committed state is read, and as whom.
type State struct {
	Table       string      `json:"table"`
	Region      string      `json:"region"`
	Endpoint    string      `json:"endpoint,omitempty"` // empty: DynamoDB's own in the region
	Credentials Credentials `json:"credentials"`
}

// Credentials are temporary ones that may read this chaincode's namespace on this channel, and nothing else.
type Credentials struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken"`
}

// A Proposal is one execution to make.
type Proposal struct {
	Signed []byte  `json:"signed"`          // a marshalled peer.SignedProposal: the transaction's
	Input  []byte  `json:"input,omitempty"` // a marshalled peer.ChaincodeInput, if it is not the proposal's own
	Init   bool    `json:"init,omitempty"`  // calls Init instead of Invoke
	Time   Millis  `json:"timeMs"`          // that it may take, at least 1
	Height uint64  `json:"height"`          // of the state, in blocks
	Layers []Layer `json:"layers,omitempty"`
	Access
	Calls Calls `json:"calls,omitempty"` // those that were answered, in order

	// Of rich queries: the definitions of the chaincode's indexes that hold every document, as the lifecycle namespace has them; its
	// record of those that do not yet, which who does not know it does without; or that there are none, as on a peer with LevelDB.
	Indexes     []byte `json:"indexes,omitempty"`
	IndexLayout []byte `json:"indexLayout,omitempty"`
	LevelDB     bool   `json:"levelDB,omitempty"`
}

// Millis is a time in milliseconds.
type Millis int64

// MillisOf returns a duration in milliseconds, 1 at the least.
func MillisOf(d time.Duration) Millis { return Millis(max(1, d.Milliseconds())) }

// Duration returns the time.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Access is what the transaction has done so far, here and elsewhere: a transaction with a paginated query, or with one of private
// data, may not write.
type Access struct {
	Wrote   bool `json:"wrote,omitempty"`
	Paged   bool `json:"paged,omitempty"`
	Queried bool `json:"queried,omitempty"` // private data; from version 2 on
}

// A Layer is what a block does to the namespace that the table need not show yet: it is laid over what is read.
type Layer struct {
	Block   uint64   `json:"block"`
	Writes  []Write  `json:"writes,omitempty"`
	History []Change `json:"history,omitempty"` // in block order
	Indexes []Write  `json:"indexes,omitempty"` // of the namespaces of its indexes
}

// A Write is a key's state after a block. Without a value the key is deleted.
type Write struct {
	Namespace string `json:"namespace,omitempty"` // in Layer.Indexes
	Key       string `json:"key"`
	Binary    []byte `json:"binary,omitempty"` // the key in place of Key: an index's entry need not be UTF-8
	Value     []byte `json:"value,omitempty"`
	Metadata  []byte `json:"metadata,omitempty"`
	Tx        uint64 `json:"tx"` // who wrote it, by position in the block
}

// A Change is an entry of a key's history. Without a value it is a delete.
type Change struct {
	Key       string    `json:"key"`
	Value     []byte    `json:"value,omitempty"`
	TxID      string    `json:"txId"`
	Tx        uint64    `json:"tx"`
	Timestamp time.Time `json:"timestamp"`
}

// A Call is what a contract asks of the platform: to run another chaincode; or, from version 2 on, to read or write one of its
// collections.
type Call struct {
	Channel   string `json:"channel,omitempty"` // empty: its own
	Chaincode string `json:"chaincode,omitempty"`
	// Message is the type of a chaincode message about a collection, such as GET_STATE. Empty: it is another chaincode that is called.
	Message string `json:"message,omitempty"`
	Input   []byte `json:"input"` // a marshalled peer.ChaincodeInput, or the message's payload
	Seen    []byte `json:"seen"`  // a hash of what the contract had read before it

	// The answer: the callee's response, a marshalled peer.Response, or the payload of the message's response; or the text of the
	// error that the contract gets.
	Response []byte `json:"response,omitempty"`
	Error    string `json:"error,omitempty"`

	Access // before it, where it has no answer; after it, where it has one
}

// Calls are at most MaxAsked.
type Calls []Call

// UnmarshalJSON implements json.Unmarshaler.
func (c *Calls) UnmarshalJSON(raw []byte) (err error) {
	*c, err = limited[Call](raw, "calls", MaxAsked)
	return err
}

// ParseRequest reads a request. A version that this code does not speak is ErrVersion, wrapped with what to do.
func ParseRequest(payload []byte) (*Request, error) {
	var r Request
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("parse invocation: %w", err)
	}
	switch {
	case r.Version == 0:
		return nil, errors.New("parse invocation: it has no version: this function is invoked by a Peerless gateway, and by nothing else")
	case r.Version > Version:
		return nil, &VersionError{Asked: r.Version, Spoken: Versions, Message: fmt.Sprintf(
			"the gateway speaks version %d of the invocation format, this function the versions %v: build and deploy the chaincode with a newer Peerless", r.Version, Versions)}
	case r.Version < Versions[0]:
		return nil, &VersionError{Asked: r.Version, Spoken: Versions, Message: fmt.Sprintf(
			"the gateway speaks version %d of the invocation format, this function the versions %v: upgrade the gateway", r.Version, Versions)}
	}
	return &r, nil
}

// Marshal returns the request's payload.
func (r *Request) Marshal() ([]byte, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("marshal invocation: %w", err)
	}
	return payload, nil
}

// A VersionError says that two sides have no version in common.
type VersionError struct {
	Asked   int
	Spoken  []int
	Message string
}

func (e *VersionError) Error() string { return e.Message }
