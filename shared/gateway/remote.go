package gateway

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// Remote asks endorsers that run elsewhere.
type Remote interface {
	// ProcessProposal has an endorser run and sign a proposal, on a state of at least height blocks, and returns its answer and the
	// height of the state that it ran it on. What it answers is not trusted. The error has a gRPC status: codes.Unavailable or
	// codes.DeadlineExceeded if it cannot be reached, or did not come to an answer.
	ProcessProposal(ctx context.Context, endorser *organization.Endorser, signed *peer.SignedProposal, height uint64) (*peer.ProposalResponse, uint64, error)
}

// HeightMetadata is the gRPC metadata in which an endorser elsewhere is told how many blocks its state must have, and tells how many
// it had.
const HeightMetadata = "peerless-height"

// remoteGrace is how long an endorser elsewhere may take beyond the contract's time: for the way, and to reach the height.
const remoteGrace = 5 * time.Second

// An answer is what an endorser elsewhere comes to.
type answer struct {
	done    chan struct{} // closed when the rest is set
	sim     *simulation
	failure *endorserError
}

// askAll asks those of the endorsers that run elsewhere and were not asked yet, all at once. It does not wait for them.
func (e *endorsing) askAll(ctx context.Context, endorsers []*organization.Endorser) map[*organization.Endorser]*answer {
	var answers map[*organization.Endorser]*answer
	for _, endorser := range endorsers {
		if endorser.Local() || e.answered(endorser.MSPID) {
			continue
		}
		if answers == nil {
			answers = make(map[*organization.Endorser]*answer)
		}
		a := &answer{done: make(chan struct{})}
		answers[endorser] = a
		s, channel, height, p := e.Service, e.channel, e.view.Savepoint(), e.proposal
		go func() {
			defer close(a.done)
			a.sim, a.failure = s.ask(ctx, channel, height, p, endorser)
		}()
	}
	return answers
}

func (e *endorsing) answered(mspID string) bool {
	for _, sim := range e.sims {
		if sim.away != nil && sim.mspID == mspID {
			return true
		}
	}
	return false
}

// ask has an endorser elsewhere run and sign a proposal, and checks what it answers: the signature, by the certificate that the
// organisation is known to endorse with, is over a result of this proposal.
func (s *Service) ask(ctx context.Context, channel *ledger.Channel, height uint64, p *wire.Proposal, endorser *organization.Endorser) (*simulation, *endorserError) {
	if s.Remote == nil {
		return nil, unreachable(endorser, nil, "this server asks no endorsers that run elsewhere")
	}
	signed, err := p.SignedProposal()
	if err != nil {
		return nil, failed(Internal, "%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.ChaincodeTime+remoteGrace)
	defer cancel()
	response, ran, err := s.Remote.ProcessProposal(ctx, endorser, signed, height)
	if err != nil {
		switch st := status.Convert(err); st.Code() {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
			return nil, unreachable(endorser, err, "%v", err)
		default:
			e := rejected(Forbidden, err, "%s", st.Message())
			e.code = codes.Aborted
			return nil, e
		}
	}
	sim, err := s.verify(channel, p, endorser, response)
	if err != nil {
		e := failed(Internal, "the answer of the endorser of %s at %s cannot be used: %v", endorser.MSPID, endorser.Address, err)
		e.cause = err
		return nil, e
	}
	sim.height = ran
	if sim.away == nil { // the chaincode failed
		return sim, nil
	}
	return sim, tooLarge(sim)
}

// unreachable is the error of an endorser that gave no answer.
func unreachable(endorser *organization.Endorser, cause error, format string, args ...any) *endorserError {
	e := failed(Unavailable, format, args...)
	e.unreachable, e.cause = true, cause
	return e
}

// verify takes a proposal response apart. One of a chaincode that failed has a response and nothing else.
func (s *Service) verify(channel *ledger.Channel, p *wire.Proposal, endorser *organization.Endorser, answer *peer.ProposalResponse) (*simulation, error) {
	if answer.GetResponse() == nil {
		return nil, fmt.Errorf("it has no response")
	}
	if answer.Response.Status < 200 || answer.Response.Status >= errorThreshold {
		return &simulation{response: answer.Response, mspID: endorser.MSPID}, nil
	}
	signer, err := channel.Config().MSPs.Identify(answer.GetEndorsement().GetEndorser())
	if err != nil {
		return nil, err
	}
	if !signer.Same(endorser.Identity) {
		return nil, fmt.Errorf("it is signed by %s of %s, and the organisation endorses as %s", signer.Cert.Subject.CommonName, signer.MSPID, endorser.Cert.Subject.CommonName)
	}
	if err := signer.Verify(wire.EndorsedMessage(answer.Payload, answer.Endorsement.Endorser), answer.Endorsement.Signature); err != nil {
		return nil, err
	}
	sim := &simulation{mspID: endorser.MSPID, away: answer.Endorsement, payload: answer.Payload}
	var payload peer.ProposalResponsePayload
	var action peer.ChaincodeAction
	if err := proto.Unmarshal(answer.Payload, &payload); err != nil {
		return nil, err
	}
	if !bytes.Equal(payload.ProposalHash, p.Hash()) {
		return nil, fmt.Errorf("it is of another proposal")
	}
	if err := proto.Unmarshal(payload.Extension, &action); err != nil {
		return nil, err
	}
	if action.Response == nil || action.GetChaincodeId().GetName() != p.Chaincode {
		return nil, fmt.Errorf("it is of chaincode %q", action.GetChaincodeId().GetName())
	}
	sim.response, sim.version, sim.results = action.Response, action.ChaincodeId.Version, action.Results
	if sim.rwset, err = wire.ParseRWSet(action.Results); err != nil {
		return nil, err
	}
	if len(action.Events) > 0 {
		sim.event = &peer.ChaincodeEvent{}
		if err := proto.Unmarshal(action.Events, sim.event); err != nil {
			return nil, err
		}
	}
	for i := range sim.rwset.Namespaces {
		ns := &sim.rwset.Namespaces[i]
		for _, c := range ns.Collections {
			sim.collections = append(sim.collections, simulate.CollectionUse{Namespace: ns.Namespace, Collection: c.Name, Read: len(c.Hashed.GetHashedReads()) > 0})
		}
	}
	return sim, nil
}
