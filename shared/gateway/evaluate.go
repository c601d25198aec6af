package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"

	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// Evaluate runs a signed proposal and returns the contract's response. Nothing is recorded.
func (e *Endpoint) Evaluate(ctx context.Context, request *gateway.EvaluateRequest) (*gateway.EvaluateResponse, error) {
	const stage = "evaluate"
	channelName, name, creator, transient, err := target(request.GetProposedTransaction())
	if err != nil {
		return nil, &Error{Kind: InvalidRequest, Stage: stage, Code: codes.InvalidArgument, Message: "failed to unpack transaction proposal: " + err.Error(), Cause: err}
	}
	channel, err := e.Ledger.Channel(ctx, channelName)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, &Error{Kind: NotFound, Stage: stage, Code: codes.Unavailable, Cause: err,
			Message: fmt.Sprintf("failed to get config for channel [%s]: could not get last config for channel %[1]s", channelName)}
	}
	if err != nil {
		return nil, storeError(stage, "channel "+channelName, err)
	}
	own, targets := e.own(creator), request.GetTargetOrganizations()
	protected := transient && len(targets) == 0
	if protected {
		targets = []string{own}
	}
	asked, err := e.evaluators(ctx, channel, name, own, targets)
	if refused := (*Error)(nil); protected && errors.As(err, &refused) && refused.Kind == NotFound {
		return nil, unprotectedTargets(refused)
	}
	if err != nil {
		return nil, err
	}
	proposal, failure := e.admit(ctx, channel, request.GetProposedTransaction())
	var sim *simulation
	if failure == nil {
		sim, failure, asked = e.readFrom(ctx, channel, proposal, asked)
	}
	if failure != nil {
		return nil, evaluateError(failure, request.GetTransactionId(), asked)
	}
	return &gateway.EvaluateResponse{Result: sim.response}, nil
}

// readFrom has the first of the endorsers that can be reached run a proposal. It returns that one and those after it.
func (s *Service) readFrom(ctx context.Context, channel *ledger.Channel, p *wire.Proposal, asked []*organization.Endorser) (*simulation, *endorserError, []*organization.Endorser) {
	for {
		sim, failure := s.readAs(ctx, channel, p, asked[0])
		if failure == nil || !failure.unreachable || len(asked) == 1 {
			return sim, failure, asked
		}
		asked = asked[1:]
	}
}

// readAs has an endorser run a proposal: one that runs elsewhere on a state that is not older than the channel is now.
func (s *Service) readAs(ctx context.Context, channel *ledger.Channel, p *wire.Proposal, endorser *organization.Endorser) (*simulation, *endorserError) {
	if endorser.Local() {
		return s.read(ctx, channel, p, endorser.MSPID)
	}
	height, err := channel.Height(ctx)
	if err != nil {
		return nil, viewError(err)
	}
	sim, failure := s.ask(ctx, channel, height, p, endorser)
	if failure == nil {
		failure = responseError(sim.response)
	}
	return sim, failure
}

// evaluators returns the endorsers that could answer, the gateway's own first.
func (e *Endpoint) evaluators(ctx context.Context, channel *ledger.Channel, name, own string, organizations []string) ([]*organization.Endorser, error) {
	nobody := &Error{Kind: NotFound, Stage: "evaluate", Code: codes.FailedPrecondition,
		Message: fmt.Sprintf("no peers available to evaluate chaincode %s in channel %s", name, channel.Name())}
	signers, err := e.endorsers(channel, own, nil)
	if err != nil {
		return nil, nobody
	}
	if len(organizations) > 0 {
		signers = slices.DeleteFunc(signers, func(s *organization.Endorser) bool { return !slices.Contains(organizations, s.MSPID) })
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("evaluate", "channel "+channel.Name(), err)
	}
	defer view.Close()
	definition, err := e.definitions.get(ctx, channel.Name(), view, name)
	if err != nil {
		return nil, storeError("evaluate", "chaincode "+name, err)
	}
	if definition == nil && !isSystem(name) || len(signers) == 0 {
		return nil, nobody
	}
	return signers, nil
}

// read simulates a proposal on a state of the channel that is one: where the store has no snapshots, what was read is checked
// again, and the simulation repeated if a commit ran across it.
func (s *Service) read(ctx context.Context, channel *ledger.Channel, p *wire.Proposal, mspID string) (*simulation, *endorserError) {
	// While the first is under way it is found out whether this process knows where the channel's end is.
	now := make(chan uint64, 1)
	if s.Ledger.Shared {
		go func() {
			height, _ := channel.Height(ctx) // if that fails the check at the end does too
			now <- height
		}()
	}
	for attempt := range s.Attempts {
		view, err := channel.Recent(ctx)
		if err != nil {
			return nil, viewError(err)
		}
		sim, failure := s.simulate(ctx, channel, view, p, mspID)
		height, fixed := view.Savepoint(), view.Fixed()
		view.Close()
		if failure == nil {
			failure = responseError(sim.response)
		}
		if failure != nil && errors.Is(failure, simulate.ErrStale) {
			continue
		}
		if fixed || failure != nil && !failure.kind.ofState() {
			return sim, failure
		}
		if s.Ledger.Shared && attempt == 0 && <-now > height {
			continue
		}
		if sim == nil || sim.rwset == nil {
			now, err := channel.Height(ctx)
			if err != nil {
				return nil, viewError(err)
			}
			if now == height {
				return sim, failure
			}
			continue
		}
		same, height, err := channel.Unchanged(ctx, sim.seen(), sim.height)
		if err != nil {
			return nil, viewError(err)
		}
		if same {
			sim.height = height
			return sim, failure
		}
	}
	e := failed(MVCCReadConflict, "the state changed under each of %d evaluations: try again", s.Attempts)
	e.cause = errRace
	return nil, e
}

// seen is all that a simulation read: what the read-write set says, and what queries of private data saw.
func (sim *simulation) seen() *wire.RWSet {
	if sim.queries == nil {
		return sim.rwset
	}
	return &wire.RWSet{Namespaces: slices.Concat(sim.rwset.Namespaces, sim.queries.Namespaces)}
}

var errRace = errors.New("lost the race")

// viewError is the failure of an endorser that cannot read its state.
func viewError(err error) *endorserError {
	e := failed(Internal, "%v", err)
	e.kind, e.cause = storeError("", "", err).Kind, err
	return e
}

// evaluateError is what Evaluate says when nobody could answer.
func evaluateError(failure *endorserError, txID string, asked []*organization.Endorser) *Error {
	if failure.retry {
		return failure.error("evaluate", failure.code, "failed to evaluate transaction, see attached details for more info", txID, asked)
	}
	return failure.error("evaluate", failure.code, "evaluate call to endorser returned error: "+failure.message, txID, asked[:1])
}
