package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/wire"
)

// An Endpoint is the service as one organisation's gateway: whose endorsement is taken first, and who is asked to evaluate.
type Endpoint struct {
	*Service
	MSPID string // empty: each caller's own organisation
}

// At returns the service as an organisation's gateway; as that of each caller's own organisation if mspID is empty.
func (s *Service) At(mspID string) *Endpoint { return &Endpoint{s, mspID} }

// own returns the organisation as whose gateway a call is served.
func (e *Endpoint) own(creator []byte) string {
	if e.MSPID != "" {
		return e.MSPID
	}
	var identity mspproto.SerializedIdentity
	if proto.Unmarshal(creator, &identity) != nil {
		return ""
	}
	return identity.Mspid
}

// Endorse runs a signed proposal, has it signed by the endorsers that the policies of what it writes call for, or by those of
// the organisations named, and returns the transaction for the client to sign.
func (e *Endpoint) Endorse(ctx context.Context, request *gateway.EndorseRequest) (*gateway.EndorseResponse, error) {
	const stage = "endorse"
	channelName, name, creator, err := target(request.GetProposedTransaction())
	if err != nil {
		return nil, &Error{Kind: InvalidRequest, Stage: stage, Code: codes.InvalidArgument, Message: err.Error(), Cause: err}
	}
	noPlan := &Error{Kind: NotFound, Stage: stage, Code: codes.FailedPrecondition, Message: fmt.Sprintf(
		"no combination of peers can be derived which satisfy the endorsement policy: No metadata was found for chaincode %s in channel %s", name, channelName)}
	channel, err := e.Ledger.Channel(ctx, channelName)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, noPlan
	}
	if err != nil {
		return nil, storeError(stage, "channel "+channelName, err)
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError(stage, "channel "+channelName, err)
	}
	defer view.Close()
	endorsers, err := e.endorsers(channel, e.own(creator), request.GetEndorsingOrganizations())
	if err != nil {
		return nil, err
	}
	if definition, err := e.definitions.get(ctx, channelName, view, name); err != nil {
		return nil, storeError(stage, "chaincode "+name, err)
	} else if definition == nil {
		return nil, noPlan
	}
	proposal, failure := e.admit(ctx, channel, request.GetProposedTransaction())
	var sim *simulation
	if failure == nil {
		sim, failure = e.simulate(ctx, channel, view, proposal, endorsers[0].MSPID)
	}
	if failure == nil {
		failure = responseError(sim.response)
	}
	named := len(request.GetEndorsingOrganizations()) > 0
	if failure != nil {
		return nil, endorseError(failure, request.GetTransactionId(), endorsers, named)
	}
	if named {
		if other, failure := e.agree(ctx, channel, view, proposal, sim, endorsers); failure != nil {
			return nil, endorseError(failure, request.GetTransactionId(), []*organization.Endorser{other}, true)
		}
	} else if endorsers, err = e.plan(ctx, channel, view, proposal, sim, endorsers); err != nil {
		return nil, err
	}
	endorsed, err := endorse(proposal, sim, endorsers)
	if err != nil {
		return nil, &Error{Kind: Internal, Stage: stage, Code: codes.Aborted, Message: "failed to assemble transaction: " + err.Error(), Cause: err}
	}
	if err := channel.Stage(ctx, view, proposal.TxID, sim.rwset, sim.private); err != nil {
		return nil, storeError(stage, "channel "+channelName, err)
	}
	for _, e := range endorsed.endorsements { // when the transaction comes back, they need not be verified
		channel.Config().MSPs.Vouch(e.Endorser, wire.EndorsedMessage(endorsed.responsePayload, e.Endorser), e.Signature)
	}
	return &gateway.EndorseResponse{PreparedTransaction: &common.Envelope{Payload: endorsed.payload}}, nil
}

// target says which channel and chaincode a proposal is for, and of whom it says it is, before anything in it is trusted.
func target(signed *peer.SignedProposal) (channel, name string, creator []byte, err error) {
	if len(signed.GetProposalBytes()) == 0 {
		return "", "", nil, errors.New("the proposed transaction must contain a signed proposal")
	}
	p, err := wire.ParseProposal(signed)
	if p == nil {
		return "", "", nil, err
	}
	return p.Channel, p.Chaincode, p.Creator, nil
}

// endorsers returns the endorsing identities of the organisations named, or of all that the platform signs for on the channel,
// first's before the others'.
func (s *Service) endorsers(channel *ledger.Channel, first string, named []string) ([]*organization.Endorser, error) {
	organizations := named
	if len(named) == 0 {
		for _, o := range channel.Config().Organizations {
			organizations = append(organizations, o.MSPID)
		}
		if i := slices.Index(organizations, first); i > 0 {
			organizations[0], organizations[i] = organizations[i], organizations[0]
			slices.Sort(organizations[1:])
		}
	}
	var signers []*organization.Endorser
	var missing []string
	for _, id := range organizations {
		member := slices.ContainsFunc(channel.Config().Organizations, func(o channelconfig.Organization) bool { return o.MSPID == id })
		signer, err := s.Organizations.Endorser(id)
		switch {
		case err == nil && member:
			signers = append(signers, signer)
		case err == nil || errors.Is(err, organization.ErrNotFound):
			missing = append(missing, id)
		default:
			return nil, &Error{Kind: Internal, Stage: "endorse", Code: codes.Internal, Message: err.Error(), Cause: err}
		}
	}
	if len(named) > 0 && len(missing) > 0 || len(signers) == 0 {
		return nil, &Error{Kind: InvalidRequest, Stage: "endorse", Code: codes.Unavailable,
			Message: fmt.Sprintf("failed to find any endorsing peers for org(s): %s", strings.Join(missing, ", "))}
	}
	return signers, nil
}

// plan chooses the fewest of the endorsers, the first ones rather than the last, whose endorsements satisfy every policy that
// the simulated writes call for. It takes only such as may see the private data that was read.
func (s *Service) plan(ctx context.Context, channel *ledger.Channel, view ledger.View, p *wire.Proposal, sim *simulation, endorsers []*organization.Endorser) ([]*organization.Endorser, error) {
	if len(endorsers) == 1 {
		return endorsers, nil
	}
	all := endorsers
	endorsers, err := s.members(ctx, channel, view, sim, len(p.Transient) > 0, all)
	if err != nil {
		return nil, err
	}
	enough := func(chosen []*organization.Endorser) (bool, error) {
		var identities []*msp.Identity
		for _, c := range chosen {
			if id, err := channel.Config().MSPs.Identify(c.Serialized); err == nil {
				identities = append(identities, id)
			}
		}
		return channel.Endorsed(ctx, view, p.Chaincode, sim.rwset, identities)
	}
	chosen := slices.Clone(endorsers)
	ok, err := enough(chosen)
	if err != nil {
		return nil, storeError("endorse", "channel "+channel.Name(), err)
	}
	if !ok && len(p.Transient) > 0 && len(endorsers) < len(all) {
		if ok, err := enough(all); err != nil {
			return nil, storeError("endorse", "channel "+channel.Name(), err)
		} else if ok {
			return nil, needsOutsiders(sim)
		}
	}
	if !ok {
		return nil, &Error{Kind: EndorsementPolicyFailure, Stage: "endorse", Code: codes.FailedPrecondition,
			Message: fmt.Sprintf("no combination of peers can be derived which satisfy the endorsement policy of chaincode %s in channel %s", p.Chaincode, channel.Name())}
	}
	for i := len(chosen) - 1; i >= 0 && len(chosen) > 1; i-- {
		without := slices.Delete(slices.Clone(chosen), i, i+1)
		if ok, err := enough(without); err != nil {
			return nil, storeError("endorse", "channel "+channel.Name(), err)
		} else if ok {
			chosen = without
		}
	}
	return chosen, nil
}

// An endorsement is a simulated proposal with its endorsers' signatures.
type endorsement struct {
	responsePayload []byte
	endorsements    []*peer.Endorsement
	payload         []byte // of the envelope, for the creator to sign
}

func endorse(p *wire.Proposal, sim *simulation, endorsers []*organization.Endorser) (*endorsement, error) {
	id := &peer.ChaincodeID{Name: p.Chaincode, Version: sim.version}
	payload, err := wire.NewProposalResponsePayload(p.Hash(), sim.results, sim.event, sim.response, id)
	if err != nil {
		return nil, err
	}
	e := &endorsement{responsePayload: payload}
	for _, signer := range endorsers {
		signature, err := signer.Signer.Sign(wire.EndorsedMessage(payload, signer.Serialized))
		if err != nil {
			return nil, fmt.Errorf("endorse for %s: %w", signer.MSPID, err)
		}
		e.endorsements = append(e.endorsements, &peer.Endorsement{Endorser: signer.Serialized, Signature: signature})
	}
	e.payload, err = wire.NewTransactionPayload(p, payload, e.endorsements)
	return e, err
}

// responseError is the error of a chaincode's response that is a failure, nil if it is none.
func responseError(response *peer.Response) *endorserError {
	if response.Status >= 200 && response.Status < errorThreshold {
		return nil
	}
	e := rejected(ChaincodeError, nil, "chaincode response %d, %s", response.Status, response.Message)
	e.code, e.status, e.said = codes.Unknown, response.Status, response.Message
	return e
}

// endorseError is what Endorse says when an endorser does not endorse. Where the client names the organisations each is asked;
// else only the gateway's own.
func endorseError(failure *endorserError, txID string, endorsers []*organization.Endorser, named bool) *Error {
	message := "failed to endorse transaction, see attached details for more info"
	if named {
		message = "failed to collect enough transaction endorsements, see attached details for more info"
	} else {
		endorsers = endorsers[:1]
	}
	return failure.error("endorse", codes.Aborted, message, txID, endorsers)
}

// error makes the Error of a stage, with what each organisation asked said.
func (e *endorserError) error(stage string, code codes.Code, message, txID string, asked []*organization.Endorser) *Error {
	err := &Error{Kind: e.kind, Stage: stage, Code: code, Message: message, TransactionID: txID, ChaincodeStatus: e.status, ChaincodeMessage: e.said, Limit: e.limit, Cause: e.cause}
	for i, signer := range asked {
		text := e.message
		if i > 0 {
			text = e.remote + text
		}
		err.Details = append(err.Details, Detail{signer.MSPID, text})
	}
	return err
}
