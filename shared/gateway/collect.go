package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"peerless/shared/collection"
	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/wire"
)

// An endorsing has one proposal endorsed on one state of its channel. It is run once for all endorsers that would come to the same
// anyway: those that the platform signs for, whose organisations run the same hosts and hold the same private values.
type endorsing struct {
	*Service
	channel  *ledger.Channel
	view     ledger.View
	proposal *wire.Proposal
	named    bool // each of the endorsers is to sign, and no other
	here     bool // what runs elsewhere is not asked: there is no time

	sims     []*simulation  // one for each way to run it
	one      [1]*simulation // holds most proposals' sims
	failures []failedEndorser
	endorsed endorsement
}

// A failedEndorser was left out for others.
type failedEndorser struct {
	*organization.Endorser
	*endorserError
}

// An endorsement is a simulated proposal with its endorsers' signatures.
type endorsement struct {
	sim             *simulation
	responsePayload []byte
	endorsements    []*peer.Endorsement
	payload         []byte // of the envelope, for the creator to sign
	away            bool   // somebody elsewhere endorsed it
}

var (
	errDiffer = errors.New("ProposalResponsePayloads do not match")
	// errBehind is an errDiffer of endorsers that ran on different states: on another one they may agree.
	errBehind = fmt.Errorf("%w: they ran on states of different heights", errDiffer)
	errAway   = errors.New("an endorser that runs elsewhere is not asked again over a block that is being cut")
)

// collect runs the proposal and has it signed by as few of the endorsers as satisfy every policy that the writes call for, the
// first of them rather than the last; by all of them if they are named. One that cannot be reached, or comes to something else, is left out if
// the policies allow it.
func (e *endorsing) collect(ctx context.Context, endorsers []*organization.Endorser) (*endorsement, error) {
	e.sims = e.one[:0]
	sim, endorsers, err := e.first(ctx, endorsers)
	if err != nil {
		return nil, err
	}
	for replanned := 0; ; {
		chosen := endorsers
		if !e.named {
			if chosen, err = e.plan(ctx, e.channel, e.view, e.proposal, sim, endorsers); err != nil {
				if len(e.failures) > 0 {
					return nil, e.tooFew()
				}
				return nil, err
			}
		}
		if e.here && slices.ContainsFunc(chosen, func(c *organization.Endorser) bool { return !c.Local() }) {
			return nil, errAway
		}
		agreed, who, failure := e.agree(ctx, chosen)
		switch {
		case failure == nil && !e.named && replanned < len(endorsers) && !bytes.Equal(agreed.results, sim.results):
			// The first one runs another package, and need not sign: the plan is to be made of what they do who sign.
			sim = agreed
			replanned++
			continue
		case failure == nil:
			return e.assemble(agreed, chosen)
		case e.named || errors.Is(failure, errBehind) || who.Local() && !failure.ofPackage():
			return nil, endorseError(failure, e.proposal.TxID, []*organization.Endorser{who}, true)
		}
		e.failures = append(e.failures, failedEndorser{who, failure})
		if endorsers = slices.DeleteFunc(slices.Clone(endorsers), func(c *organization.Endorser) bool { return c == who }); len(endorsers) == 0 {
			return nil, e.tooFew()
		}
	}
}

// first runs the proposal as the first of the endorsers that can be reached. It returns that one and those after it.
func (e *endorsing) first(ctx context.Context, endorsers []*organization.Endorser) (*simulation, []*organization.Endorser, error) {
	for {
		sim, failure := e.as(ctx, endorsers[0])
		if failure == nil {
			failure = responseError(sim.response)
		}
		if failure == nil {
			e.sims = append(e.sims, sim)
			return sim, endorsers, nil
		}
		if !e.named && failure.unreachable && len(e.proposal.Transient) == 0 { // what is transient is for the first one's organisation
			e.failures = append(e.failures, failedEndorser{endorsers[0], failure})
			if endorsers = endorsers[1:]; len(endorsers) == 0 {
				return nil, nil, e.tooFew()
			}
			continue
		}
		if asked := endorsers; e.named {
			endorsers = slices.DeleteFunc(slices.Clone(asked), func(c *organization.Endorser) bool { return c != asked[0] && !(c.Local() && asked[0].Local()) })
		}
		return nil, nil, endorseError(failure, e.proposal.TxID, endorsers, e.named)
	}
}

// as runs the proposal as an endorser: here, or where the endorser is.
func (e *endorsing) as(ctx context.Context, endorser *organization.Endorser) (*simulation, *endorserError) {
	if endorser.Local() {
		return e.simulate(ctx, e.channel, e.view, e.proposal, endorser.MSPID)
	}
	if e.here {
		return nil, failed(Unavailable, "%v", errAway)
	}
	return e.ask(ctx, e.channel, e.view.Savepoint(), e.proposal, endorser)
}

// agree returns what each of the endorsers comes to, or who failed, or came to something else than the first.
func (e *endorsing) agree(ctx context.Context, chosen []*organization.Endorser) (*simulation, *organization.Endorser, *endorserError) {
	answers := e.askAll(ctx, chosen)
	var agreed *simulation
	for _, endorser := range chosen {
		sim, failure := e.standIn(ctx, endorser)
		if sim == nil && failure == nil {
			if answer := answers[endorser]; answer != nil {
				<-answer.done
				sim, failure = answer.sim, answer.failure
			} else {
				sim, failure = e.as(ctx, endorser)
			}
			if failure == nil {
				failure = responseError(sim.response)
			}
			if failure == nil {
				e.sims = append(e.sims, sim)
			}
		}
		if failure == nil {
			failure = sim.pack(e.proposal)
		}
		switch {
		case failure != nil:
			return nil, endorser, failure
		case agreed == nil:
			agreed = sim
		case agreed != sim && !bytes.Equal(agreed.payload, sim.payload):
			return nil, endorser, differs(agreed, sim)
		}
		if agreed.private == nil {
			agreed.private = sim.private // the first ran elsewhere, and kept them
		}
	}
	return agreed, nil, nil
}

// standIn returns a simulation that the endorser would only repeat, nil if there is none.
func (e *endorsing) standIn(ctx context.Context, endorser *organization.Endorser) (*simulation, *endorserError) {
	for _, sim := range e.sims {
		if sim.mspID == endorser.MSPID {
			return sim, nil
		}
		if sim.away != nil || !endorser.Local() || e.proposal.Chaincode == ledger.LifecycleNamespace { // which speaks for its organisation
			continue
		}
		same, err := e.sameHosts(ctx, sim, endorser.MSPID)
		if err == nil && same {
			same, err = e.sameValues(ctx, sim, endorser.MSPID)
		}
		if err != nil {
			return nil, viewError(err)
		}
		if same {
			return sim, nil
		}
	}
	return nil, nil
}

// sameHosts reports whether an organisation runs the chaincodes of a simulation on the same hosts. One that has none of its own, and
// finds none, runs another.
func (e *endorsing) sameHosts(ctx context.Context, sim *simulation, mspID string) (bool, error) {
	for i := range sim.ran {
		host, err := e.Chaincodes.Host(ctx, sim.ran[i].channel, sim.ran[i].chaincode, mspID)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return false, err
		}
		if host != sim.ran[i].host {
			return false, nil
		}
	}
	return true, nil
}

// sameValues reports whether an organisation has the private values that a simulation read, if the one has that it was run for.
func (e *endorsing) sameValues(ctx context.Context, sim *simulation, mspID string) (bool, error) {
	for _, use := range sim.collections {
		if !use.Read {
			continue
		}
		static, err := e.find(ctx, e.channel, e.view, use)
		if err != nil {
			return false, err
		}
		members := collection.Members(static)
		if slices.Contains(members, mspID) != slices.Contains(members, sim.mspID) {
			return false, nil
		}
	}
	return true, nil
}

// assemble signs what the endorsers agreed on, and makes a transaction of it.
func (e *endorsing) assemble(sim *simulation, endorsers []*organization.Endorser) (*endorsement, error) {
	if err := e.endorsed.sign(e.proposal, sim, endorsers, e.sims); err != nil {
		return nil, &Error{Kind: Internal, Stage: "endorse", Code: codes.Aborted, Message: "failed to assemble transaction: " + err.Error(), Cause: err}
	}
	return &e.endorsed, nil
}

// sign has a simulation signed: by the keys that the platform holds, and by what those elsewhere have signed already, who are
// among sims.
func (e *endorsement) sign(p *wire.Proposal, sim *simulation, endorsers []*organization.Endorser, sims []*simulation) (err error) {
	if failure := sim.pack(p); failure != nil {
		return failure
	}
	e.sim, e.responsePayload, e.endorsements = sim, sim.payload, make([]*peer.Endorsement, 0, len(endorsers))
	for _, endorser := range endorsers {
		if !endorser.Local() {
			i := slices.IndexFunc(sims, func(s *simulation) bool { return s.away != nil && s.mspID == endorser.MSPID })
			if i < 0 {
				return fmt.Errorf("endorse for %s: its endorser runs elsewhere, and was not asked", endorser.MSPID)
			}
			e.endorsements, e.away = append(e.endorsements, sims[i].away), true
			continue
		}
		signature, err := endorser.Signer.Sign(wire.EndorsedMessage(sim.payload, endorser.Serialized))
		if err != nil {
			return fmt.Errorf("endorse for %s: %w", endorser.MSPID, err)
		}
		e.endorsements = append(e.endorsements, &peer.Endorsement{Endorser: endorser.Serialized, Signature: signature})
	}
	e.payload, err = wire.NewTransactionPayload(p, sim.payload, e.endorsements)
	return err
}

// pack makes the payload that endorsers sign, once.
func (sim *simulation) pack(p *wire.Proposal) *endorserError {
	if sim.payload != nil {
		return nil
	}
	var err error
	sim.payload, err = wire.NewProposalResponsePayload(p.Hash(), sim.results, sim.event, sim.response, &peer.ChaincodeID{Name: p.Chaincode, Version: sim.version})
	if err != nil {
		return failed(Internal, "%v", err)
	}
	return nil
}

// ofPackage reports whether the failure is what an organisation's package does: another's may do otherwise.
func (e *endorserError) ofPackage() bool { return e.kind == ChaincodeError || errors.Is(e, errDiffer) }

// differs is the error of two endorsers that came to different results, with the difference for people to read.
func differs(left, right *simulation) *endorserError {
	e := rejected(EndorsementPolicyFailure, errDiffer, "%v: %s", errDiffer, difference(left, right))
	if left.height != right.height && (left.away != nil || right.away != nil) {
		e.cause = errBehind
	}
	return e
}

// tooFew is the Error of a proposal that too few endorsed, with what the others said.
func (e *endorsing) tooFew() *Error {
	err := e.failures[0].error("endorse", codes.Aborted, "failed to collect enough transaction endorsements, see attached details for more info", e.proposal.TxID, nil)
	for _, f := range e.failures {
		err.Details = append(err.Details, Detail{MSPID: f.MSPID, Message: f.message, Address: f.Address})
	}
	return err
}
