package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
	"peerless/shared/simulate"
)

// calls answers what a contract asks of the platform, other chaincodes and its collections, with the answers that came with the
// proposal, in order. The first that has none ends the execution: the contract is told an error, finds nothing more in the state, and
// its own answer is not heard. A write to a collection does not: it is taken to go well.
type calls struct {
	version int // of the request
	answers []invocation.Call
	view    *observed
	tx      *simulate.Tx

	mu    sync.Mutex
	next  int
	asked []invocation.Call // without an answer
	ended bool              // at the last of these, or with err
	err   error
}

var errSuspended = errors.New("the platform answers what was asked: this execution is repeated with the answer")

// outcome returns what the contract asked without an answer, whether the execution ended at the last of it, and why it cannot go on.
func (c *calls) outcome() (asked []invocation.Call, ended bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.ended, c.err
}

// call is chaincode.Invocation's Call.
func (c *calls) call(_ context.Context, channel, name string, input *peer.ChaincodeInput) (*peer.Response, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(input)
	if err != nil {
		return nil, err
	}
	answer, err := c.ask(invocation.Call{Channel: channel, Chaincode: name, Input: raw}, false)
	if err != nil {
		return nil, err
	}
	response := &peer.Response{}
	if err := proto.Unmarshal(answer, response); err != nil {
		return nil, fmt.Errorf("answer of chaincode %s: %w", name, err)
	}
	return response, nil
}

// private is chaincode.Invocation's Private.
func (c *calls) private(_ context.Context, kind peer.ChaincodeMessage_Type, request []byte) ([]byte, error) {
	return c.ask(invocation.Call{Message: kind.String(), Input: request}, chaincode.WritesPrivate(kind))
}

// ask returns the answer to a call; that of a write is empty where it is not known yet.
func (c *calls) ask(call invocation.Call, writes bool) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, errSuspended
	}
	if call.Message != "" && c.version < 2 {
		return nil, c.end(fmt.Errorf("%w: private data needs version 2 of the invocation format, the gateway speaks version %d: upgrade the gateway", chaincode.ErrUnavailable, c.version))
	}
	call.Seen, call.Access = c.view.sum(), invocation.Access(c.tx.Access())
	if c.next < len(c.answers) {
		return c.answer(&call)
	}
	if len(c.asked) == invocation.MaxAsked {
		return nil, c.end(fmt.Errorf("%w: more than %d writes to collections", chaincode.ErrTooLarge, invocation.MaxAsked))
	}
	c.asked = append(c.asked, call)
	if writes {
		c.tx.SetAccess(simulate.Access{Wrote: true})
		return nil, nil
	}
	return nil, c.end(nil)
}

// answer gives a call the next of the answers.
func (c *calls) answer(call *invocation.Call) ([]byte, error) {
	answer := &c.answers[c.next]
	c.next++
	if answer.Channel != call.Channel || answer.Chaincode != call.Chaincode || answer.Message != call.Message || !bytes.Equal(answer.Input, call.Input) {
		if !bytes.Equal(answer.Seen, call.Seen) {
			return nil, c.end(fmt.Errorf("call %d of the platform: %w", c.next, simulate.ErrStale))
		}
		return nil, c.end(fmt.Errorf("%w: call %d was %s on its first run and %s on another, with the same state: arguments must not come from clocks, random numbers or the order of maps",
			invocation.ErrDiverged, c.next, describe(answer), describe(call)))
	}
	c.tx.SetAccess(simulate.Access(answer.Access))
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Response, nil
}

func (c *calls) end(err error) error {
	c.ended, c.err = true, err
	c.view.suspend(errSuspended)
	return errSuspended
}

// describe names a call, without the keys and values of private data.
func describe(c *invocation.Call) string {
	if c.Message != "" {
		return c.Message + " of private data"
	}
	text := c.Chaincode
	if c.Channel != "" {
		text += " on " + c.Channel
	}
	input := &peer.ChaincodeInput{}
	if proto.Unmarshal(c.Input, input) == nil && len(input.Args) > 0 {
		text += fmt.Sprintf(" %.40q and %d arguments", input.Args[0], len(input.Args)-1)
	}
	return text
}
