package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// margin is the time that is left of an invocation when its executions must be over: to answer.
const margin = 500 * time.Millisecond

// views gives what an invocation reads.
type views interface {
	// view returns the state of a namespace of a channel, of which so many blocks are to be seen.
	view(state invocation.State, channel string, height uint64) ledger.View
}

// A handler answers invocations.
type handler struct {
	Config
	host  chaincode.Host
	views views
}

// Invoke implements lambda.Handler. Whatever is wrong with a request or a proposal is an answer; an error means that this process
// is not to be used any more.
func (h *handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	response, stuck := h.respond(ctx, payload)
	if stuck {
		return nil, messages.InvokeResponse_Error{Type: invocation.StuckType, Message: "a contract did not end in its time", ShouldExit: true}
	}
	answer, err := response.Marshal()
	if err != nil {
		return nil, err
	}
	if len(answer) > invocation.MaxPayload {
		answer, err = fit(response).Marshal()
	}
	return answer, err
}

// respond runs a request. stuck says that an execution has not ended.
func (h *handler) respond(ctx context.Context, payload []byte) (response *invocation.Response, stuck bool) {
	request, err := invocation.ParseRequest(payload)
	if err != nil {
		return refusal(err), false
	}
	if request.Channel != h.Channel || request.Chaincode != h.Chaincode {
		return &invocation.Response{Version: request.Version, Error: &invocation.Error{Code: invocation.WrongContract, Message: fmt.Sprintf(
			"this function is chaincode %s of channel %s (%s, %s) and was asked for %s of %s", h.Chaincode, h.Channel, EnvChaincode, EnvChannel, request.Chaincode, request.Channel)}}, false
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-margin))
		defer cancel()
	}
	response = &invocation.Response{Version: request.Version, Results: make([]invocation.Result, len(request.Proposals))}
	var wg sync.WaitGroup
	for i := range request.Proposals {
		wg.Go(func() { response.Results[i] = h.run(ctx, request, &request.Proposals[i]) })
	}
	wg.Wait()
	for _, r := range response.Results {
		stuck = stuck || r.Error != nil && r.Error.Code == invocation.Timeout
	}
	return response, stuck
}

// refusal answers what is not a request that this code knows.
func refusal(err error) *invocation.Response {
	e := &invocation.Error{Code: invocation.Invalid, Message: err.Error()}
	if version := (*invocation.VersionError)(nil); errors.As(err, &version) {
		e.Code, e.Versions = invocation.Unsupported, version.Spoken
	}
	return &invocation.Response{Version: invocation.Version, Error: e}
}

// run makes one execution.
func (h *handler) run(ctx context.Context, request *invocation.Request, p *invocation.Proposal) invocation.Result {
	proposal, input, err := parse(p)
	if err != nil {
		return invocation.Result{Error: &invocation.Error{Code: invocation.Invalid, Message: err.Error()}}
	}
	if p.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Time.Duration())
		defer cancel()
	}
	state := &definitions{View: h.views.view(request.State, request.Channel, p.Height), chaincode: request.Chaincode, indexes: p.Indexes, layout: p.IndexLayout}
	view := newObserved(ledger.LayOver(state, invocation.ParseLayers(request.Chaincode, p.Layers)))
	tx := simulate.New(view, proposal.TxID)
	tx.SetAccess(simulate.Access(p.Access))
	calls := &calls{version: request.Version, answers: p.Calls, view: view, tx: tx}
	answer, err := h.host.Execute(ctx, &chaincode.Invocation{
		Channel: request.Channel, Chaincode: request.Chaincode, Proposal: proposal, Input: input, Init: p.Init, Tx: tx, Call: calls.call, Private: calls.private, LevelDB: p.LevelDB,
	})
	result := invocation.Result{TxID: proposal.TxID, Access: invocation.Access(tx.Access())}
	stuck := errors.Is(err, chaincode.ErrTimeout)
	asked, ended, cannot := calls.outcome()
	switch {
	case !stuck && cannot != nil:
		result.Error = invocation.FormatError(cannot)
		return result
	case request.Version == 1 && !stuck && ended:
		call := asked[0] // there are no others in that version
		result.Access, call.Access = call.Access, invocation.Access{}
		result.Call = &call
		return result
	}
	if result.Calls = asked; !stuck && ended {
		return result
	}
	set, setErr := tx.Results()
	if err == nil && setErr != nil {
		err = fmt.Errorf("%w: %w", invocation.ErrState, setErr)
	}
	if err == nil {
		err = fill(&result, answer, set)
	} else if setErr == nil {
		result.Set, _ = set.Marshal() // what a contract did that failed, for one that called it
	}
	if err != nil {
		result.Error = invocation.FormatError(err)
	}
	return result
}

// parse takes a proposal apart.
func parse(p *invocation.Proposal) (*wire.Proposal, *peer.ChaincodeInput, error) {
	signed := &peer.SignedProposal{}
	if err := proto.Unmarshal(p.Signed, signed); err != nil {
		return nil, nil, fmt.Errorf("signed proposal: %w", err)
	}
	proposal, err := wire.ParseProposal(signed)
	if err != nil {
		return nil, nil, err
	}
	if p.Input == nil {
		return proposal, proposal.Input, nil
	}
	input := &peer.ChaincodeInput{}
	if err := proto.Unmarshal(p.Input, input); err != nil {
		return nil, nil, fmt.Errorf("chaincode input: %w", err)
	}
	return proposal, input, nil
}

// fill puts what an execution came to into its result.
func fill(result *invocation.Result, answer *chaincode.Result, set *wire.RWSet) (err error) {
	if result.Response, err = proto.Marshal(answer.Response); err != nil {
		return err
	}
	if answer.Event != nil {
		if result.Event, err = proto.Marshal(answer.Event); err != nil {
			return err
		}
	}
	if len(set.Namespaces) > 0 {
		result.Set, err = set.Marshal()
	}
	return err
}

// fit takes results out of a response until it fits, and says so in their place.
func fit(response *invocation.Response) *invocation.Response {
	size := 0
	for i := range response.Results {
		r := &response.Results[i]
		length := (len(r.Response)+len(r.Event)+len(r.Set))*4/3 + 1024 // base64, and names
		if r.Call != nil {
			length += len(r.Call.Input) * 4 / 3
		}
		for _, c := range r.Calls {
			length += len(c.Input)*4/3 + 256
		}
		if r.Error != nil {
			length += 2 * len(r.Error.Message)
		}
		if size += length; size > invocation.MaxPayload {
			size -= length
			*r = invocation.Result{TxID: r.TxID, Error: &invocation.Error{Code: invocation.TooLarge, Message: fmt.Sprintf(
				"the result takes %d bytes in the function's answer, which holds %d: %v", length, invocation.MaxPayload, chaincode.ErrTooLarge)}}
			size += 1024
		}
	}
	return response
}
