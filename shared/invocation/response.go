package invocation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// A Response is a function's answer.
type Response struct {
	Version int     `json:"version"`           // the request's
	Results Results `json:"results,omitempty"` // one for each proposal, in order
	Error   *Error  `json:"error,omitempty"`   // of the whole request: no results
}

// MaxBatch is how many proposals a request may have.
const MaxBatch = 1000

// Results are at most MaxBatch.
type Results []Result

// UnmarshalJSON implements json.Unmarshaler.
func (r *Results) UnmarshalJSON(raw []byte) (err error) {
	*r, err = limited[Result](raw, "results", MaxBatch)
	return err
}

// limited reads a list and stops at too many: an empty element takes three bytes on the way, and two hundred in memory.
func limited[T any](raw []byte, what string, limit int) ([]T, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('[') {
		return nil, fmt.Errorf("the %s are no list", what)
	}
	var list []T
	for decoder.More() {
		if len(list) == limit {
			return nil, fmt.Errorf("more than %d %s", limit, what)
		}
		var one T
		if err := decoder.Decode(&one); err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// A Result is what became of one proposal: a response, what it needs to go on, or an error.
type Result struct {
	TxID     string `json:"txId,omitempty"`
	Response []byte `json:"response,omitempty"` // a marshalled peer.Response
	Event    []byte `json:"event,omitempty"`    // a marshalled peer.ChaincodeEvent; absent if it set none
	Set      []byte `json:"set,omitempty"`      // a marshalled rwset.NsReadWriteSet of the chaincode's namespace; absent if it is empty
	Access
	// Call is, in version 1, the call that the execution ended at, without an answer.
	Call *Call `json:"call,omitempty"`
	// Calls is the same from version 2 on: what has no answer yet, in order. They are writes to collections, which are taken to go
	// well, and at last what the execution ended at, if it did.
	Calls Calls  `json:"calls,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// A Code is a kind of error.
type Code string

// What can go wrong in a function.
const (
	Invalid       Code = "INVALID"        // of the whole: what the gateway sent is not a request
	Unsupported   Code = "UNSUPPORTED"    // of the whole: a version that the function does not speak
	WrongContract Code = "WRONG_CONTRACT" // of the whole: for another channel or chaincode than the function is configured for

	Crashed     Code = "CRASHED"     // the contract ended before it answered
	Timeout     Code = "TIMEOUT"     // it did not answer in time
	Protocol    Code = "PROTOCOL"    // it sent what the protocol does not allow
	Unavailable Code = "UNAVAILABLE" // its program does not start
	Failed      Code = "FAILED"      // it answered with an ERROR message
	Duplicate   Code = "DUPLICATE"   // it executes the transaction already
	TooLarge    Code = "TOO_LARGE"   // the result does not fit into an answer
	StateFailed Code = "STATE"       // the state could not be read
	Diverged    Code = "DIVERGED"    // repeated, it made another call than before
	Stale       Code = "STALE"       // the same, after the state had changed: begin again
	Refused     Code = "REFUSED"     // any other reason
)

// An Error says what went wrong.
type Error struct {
	Code     Code   `json:"code"`
	Message  string `json:"message"`
	Versions []int  `json:"versions,omitempty"` // of Unsupported: those that the function speaks
}

// ParseResponse reads the answer to a request of a version. One of another version, and Unsupported, are a VersionError.
func ParseResponse(payload []byte, version int) (*Response, error) {
	var r Response
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("parse the function's answer: %w", err)
	}
	if e := r.Error; e != nil && e.Code == Unsupported {
		return nil, &VersionError{Asked: version, Spoken: e.Versions, Message: e.Message}
	}
	if r.Version != version {
		return nil, &VersionError{Asked: version, Spoken: []int{r.Version}, Message: fmt.Sprintf(
			"the function answers version %d of the invocation format with version %d: build and deploy the chaincode with this Peerless", version, r.Version)}
	}
	return &r, nil
}

// Common returns the newest version that this code and another speak, 0 if there is none.
func Common(spoken []int) int {
	best := 0
	for _, v := range Versions {
		if slices.Contains(spoken, v) {
			best = max(best, v)
		}
	}
	return best
}

// Marshal returns the answer's payload.
func (r *Response) Marshal() ([]byte, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("marshal the answer: %w", err)
	}
	return payload, nil
}

// StuckType is the type of the error with which a function ends because a contract did not. All results of its batch are lost.
const StuckType = "Peerless.Stuck"
