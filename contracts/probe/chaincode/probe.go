// Package chaincode is the probe: a chaincode that makes the stub calls it is told to make and reports what each answered.
// What a scenario observes through it is the doing of the peer, the shim or the gateway, never of the contract.
//
// Its one function is "run" with a JSON array of operations; testdata/conformance/README.md, section 2, specifies them.
package chaincode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// New returns the probe. It has no state of its own: one value serves any number of transactions at once.
func New() shim.Chaincode { return probe{} }

type probe struct{}

// Init does nothing, successfully.
func (probe) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

// Invoke interprets the operations in the second argument; every further one is ignored.
func (probe) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	args := stub.GetArgs()
	if len(args) < 2 || string(args[0]) != "run" {
		return shim.Error(`probe: want the function "run" and a JSON array of operations`)
	}
	operations, err := parseOperations(args[1])
	if err != nil {
		return shim.Error("probe: " + err.Error())
	}
	c := &call{stub: stub}
	results := make([]result, 0, len(operations))
	for _, op := range operations {
		value, err := perform[op.Op](c, op)
		if c.response != nil {
			return c.response
		}
		if malformed := (*malformedError)(nil); errors.As(err, &malformed) {
			return shim.Error(fmt.Sprintf("probe: %s: %v", op.Op, err))
		}
		r := result{Op: op.Op, Value: value}
		if err != nil {
			if op.Must {
				return shim.Error(op.Op + ": " + err.Error())
			}
			text := err.Error()
			r.Error = &text
		}
		results = append(results, r)
	}
	payload, err := json.Marshal(results)
	if err != nil {
		return shim.Error("probe: results: " + err.Error())
	}
	return shim.Success(payload)
}

// call is one invocation of the probe.
type call struct {
	stub     shim.ChaincodeStubInterface
	response *peer.Response // set by the operation that ends the run
}

// result is what one operation answered.
type result struct {
	Op    string  `json:"op"`
	Value any     `json:"value"`
	Error *string `json:"error,omitempty"` // there, even if empty, when the call returned an error
}

// operation is one step of a run. Which fields count depends on Op.
type operation struct {
	Op           string          `json:"op"`
	Must         bool            `json:"must"`
	Key          text            `json:"key"`
	Keys         []text          `json:"keys"`
	Value        text            `json:"value"`
	Start        text            `json:"start"`
	End          text            `json:"end"`
	Type         text            `json:"type"`
	Attributes   []text          `json:"attributes"`
	PageSize     int32           `json:"pageSize"`
	Bookmark     text            `json:"bookmark"`
	Query        text            `json:"query"`
	Collection   text            `json:"collection"`
	Policy       *policy         `json:"policy"`
	Take         *int            `json:"take"`
	LeaveOpen    bool            `json:"leaveOpen"`
	Chaincode    text            `json:"chaincode"`
	Channel      text            `json:"channel"`
	Operations   json.RawMessage `json:"ops"`
	Args         []text          `json:"args"`
	Name         text            `json:"name"`
	Payload      text            `json:"payload"`
	Status       int32           `json:"status"`
	Message      text            `json:"message"`
	Milliseconds int64           `json:"ms"`
}

// parseOperations decodes all operations before the first is made, so that a run is made whole or refused.
func parseOperations(argument []byte) ([]*operation, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(argument, &raw); err != nil {
		return nil, fmt.Errorf("operations: %w", err)
	}
	operations := make([]*operation, len(raw))
	for i, encoded := range raw {
		op := new(operation)
		if err := strictly(encoded, op); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
		if perform[op.Op] == nil {
			return nil, fmt.Errorf("operation %d: there is no operation %q", i, op.Op)
		}
		operations[i] = op
	}
	return operations, nil
}

// strictly decodes one JSON value and refuses fields that its type does not have.
func strictly(encoded []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// malformedError is the probe's own complaint about an operation, not an answer of the stub.
type malformedError struct{ cause error }

func (e *malformedError) Error() string { return e.cause.Error() }
func (e *malformedError) Unwrap() error { return e.cause }

// failed tells whether a chaincode's response refuses endorsement, as the peer sees it.
func failed(response *peer.Response) bool { return response.GetStatus() >= http.StatusBadRequest }
