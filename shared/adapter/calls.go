package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/invocation"
	"peerless/shared/simulate"
)

// calls answers a contract's calls of other chaincodes with the answers that came with the proposal, in order. The first that
// has none ends the execution: the contract is told an error, finds nothing more in the state, and its own answer is not heard.
type calls struct {
	answers []invocation.Call
	view    *observed
	tx      *simulate.Tx

	mu   sync.Mutex
	next int
	end  ending
}

// An ending is why an execution ended at a call.
type ending struct {
	call   *invocation.Call // needed
	access invocation.Access
	err    error
}

var errSuspended = errors.New("the platform runs the chaincode that was called: this execution is repeated with its answer")

// outcome returns how the execution ended at a call, nothing if it did not.
func (c *calls) outcome() ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}

// call is chaincode.Invocation's Call.
func (c *calls) call(_ context.Context, channel, name string, input *peer.ChaincodeInput) (*peer.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.call != nil || c.end.err != nil {
		return nil, errSuspended
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(input)
	if err != nil {
		return nil, err
	}
	call := invocation.Call{Channel: channel, Chaincode: name, Input: raw, Seen: c.view.sum()}
	if c.next == len(c.answers) {
		return nil, c.suspend(ending{call: &call, access: invocation.Access(c.tx.Access())})
	}
	answer := c.answers[c.next]
	c.next++
	if answer.Channel != call.Channel || answer.Chaincode != call.Chaincode || !bytes.Equal(answer.Input, call.Input) {
		if !bytes.Equal(answer.Seen, call.Seen) {
			return nil, c.suspend(ending{err: fmt.Errorf("call %d of another chaincode: %w", c.next, simulate.ErrStale)})
		}
		return nil, c.suspend(ending{err: fmt.Errorf("%w: call %d was %s on its first run and %s on another, with the same state: arguments must not come from clocks, random numbers or the order of maps",
			invocation.ErrDiverged, c.next, describe(&answer), describe(&call))})
	}
	c.tx.SetAccess(simulate.Access(answer.Access))
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	response := &peer.Response{}
	if err := proto.Unmarshal(answer.Response, response); err != nil {
		return nil, fmt.Errorf("answer of chaincode %s: %w", name, err)
	}
	return response, nil
}

func (c *calls) suspend(end ending) error {
	c.end = end
	c.view.suspend(errSuspended)
	return errSuspended
}

func describe(c *invocation.Call) string {
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
