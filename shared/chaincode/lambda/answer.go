package lambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
	"peerless/shared/simulate"
)

// asks returns what a function asked of the platform, in order.
func asks(result *invocation.Result) invocation.Calls {
	if result.Call == nil {
		return result.Calls
	}
	call := *result.Call
	call.Access = result.Access
	return invocation.Calls{call}
}

// answer answers what the contract asked, as for a contract here, and puts the answers into the proposal. It reports whether the
// contract has to run again: it waits for an answer, or a write that it took to go well did not.
func (h *Host) answer(ctx context.Context, inv *chaincode.Invocation, collections *chaincode.Collections, p *invocation.Proposal, asked invocation.Calls) (again bool, err error) {
	for i := range asked {
		call := &asked[i]
		inv.Tx.SetAccess(simulate.Access(call.Access))
		var response []byte
		var failure error
		waits := true
		if call.Message == "" {
			response, failure, err = h.call(ctx, inv, p, call)
		} else {
			kind := peer.ChaincodeMessage_Type(peer.ChaincodeMessage_Type_value[call.Message])
			waits = !chaincode.WritesPrivate(kind)
			response, failure, err = h.private(ctx, inv, collections, kind, call)
		}
		if err != nil {
			return false, err
		}
		answered := invocation.Call{Channel: call.Channel, Chaincode: call.Chaincode, Message: call.Message, Input: call.Input, Seen: call.Seen, Response: response}
		if failure != nil {
			answered.Error = cmp.Or(failure.Error(), "failed")
		}
		answered.Access = invocation.Access(inv.Tx.Access())
		p.Calls = append(p.Calls, answered)
		if waits || failure != nil {
			return true, nil
		}
	}
	return false, nil
}

// call runs the chaincode that a contract calls. failure is for the contract, err ends the execution.
func (h *Host) call(ctx context.Context, inv *chaincode.Invocation, p *invocation.Proposal, call *invocation.Call) (response []byte, failure, err error) {
	calls := 0
	for i := range p.Calls {
		if p.Calls[i].Message == "" {
			calls++
		}
	}
	if calls == invocation.MaxCalls {
		return nil, nil, fmt.Errorf("%w: more than %d calls of other chaincodes in one execution", chaincode.ErrProtocol, invocation.MaxCalls)
	}
	input := &peer.ChaincodeInput{}
	if err := proto.Unmarshal(call.Input, input); err != nil {
		return nil, nil, fmt.Errorf("%w: call of chaincode %q: %w", chaincode.ErrProtocol, call.Chaincode, err)
	}
	if inv.Call == nil {
		return nil, chaincode.ErrNoCalls, nil
	}
	answer, failure := inv.Call(ctx, call.Channel, call.Chaincode, input)
	switch {
	case ctx.Err() != nil:
		return nil, nil, interrupted(ctx)
	case errors.Is(failure, simulate.ErrStale):
		return nil, nil, failure
	case failure != nil:
		return nil, failure, nil
	}
	response, failure = proto.Marshal(answer)
	return response, failure, nil
}

// private reads or writes private data for a contract. What may not be read is not, and what cannot be read here ends the execution.
func (h *Host) private(ctx context.Context, inv *chaincode.Invocation, collections *chaincode.Collections, kind peer.ChaincodeMessage_Type, call *invocation.Call) (response []byte, failure, err error) {
	response, failure = collections.Answer(ctx, kind, call.Input)
	switch {
	case errors.Is(failure, chaincode.ErrProtocol):
		return nil, nil, fmt.Errorf("function %s: %w", h.Function, failure)
	case ctx.Err() != nil:
		return nil, nil, interrupted(ctx)
	case inv.Tx.Err() != nil:
		return nil, nil, inv.Tx.Err()
	}
	return response, failure, nil
}

// interrupted says how ctx ended.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("error sending: %w", chaincode.ErrTimeout)
	}
	return ctx.Err()
}
