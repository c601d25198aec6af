package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
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
	channelName, name, creator, transient, err := target(request.GetProposedTransaction())
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
	own, named := e.own(creator), len(request.GetEndorsingOrganizations()) > 0
	endorsers, err := e.endorsers(channel, own, request.GetEndorsingOrganizations())
	if err != nil {
		return nil, err
	}
	if transient && !named && endorsers[0].MSPID != own {
		return nil, unprotected(stage)
	}
	if definition, err := e.definitions.get(ctx, channelName, view, name); err != nil {
		return nil, storeError(stage, "chaincode "+name, err)
	} else if definition == nil && name != ledger.LifecycleNamespace {
		return nil, noPlan
	}
	proposal, failure := e.admit(ctx, channel, request.GetProposedTransaction())
	if failure != nil {
		return nil, endorseError(failure, request.GetTransactionId(), endorsers, named)
	}
	endorsed, err := e.collectAgain(ctx, channel, view, proposal, named, endorsers)
	if err != nil {
		return nil, err
	}
	if err := channel.Stage(ctx, view, proposal.TxID, endorsed.sim.rwset, endorsed.sim.private); err != nil {
		return nil, storeError(stage, "channel "+channelName, err)
	}
	for _, e := range endorsed.endorsements { // when the transaction comes back, they need not be verified
		channel.Config().MSPs.Vouch(e.Endorser, wire.EndorsedMessage(endorsed.responsePayload, e.Endorser), e.Signature)
	}
	return &gateway.EndorseResponse{PreparedTransaction: &common.Envelope{Payload: endorsed.payload}}, nil
}

// target says which channel and chaincode a proposal is for, of whom it says it is, and whether it has transient data, before
// anything in it is trusted.
func target(signed *peer.SignedProposal) (channel, name string, creator []byte, transient bool, err error) {
	if len(signed.GetProposalBytes()) == 0 {
		return "", "", nil, false, errors.New("the proposed transaction must contain a signed proposal")
	}
	p, err := wire.ParseProposal(signed)
	if p == nil {
		return "", "", nil, false, err
	}
	return p.Channel, p.Chaincode, p.Creator, len(p.Transient) > 0, nil
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

// stateAttempts is how often endorsers that run elsewhere are asked anew because they ran on other states.
const stateAttempts = 5

// collectAgain is collect over the channel's present state when endorsers elsewhere came to something else on theirs.
func (s *Service) collectAgain(ctx context.Context, channel *ledger.Channel, view ledger.View, p *wire.Proposal, named bool, endorsers []*organization.Endorser) (*endorsement, error) {
	for attempt := 1; ; attempt++ {
		run := &endorsing{Service: s, channel: channel, view: view, proposal: p, named: named}
		endorsed, err := run.collect(ctx, endorsers)
		if !errors.Is(err, errBehind) || attempt == stateAttempts {
			return endorsed, err
		}
		again, viewErr := channel.View(ctx)
		if viewErr != nil {
			return nil, storeError("endorse", "channel "+channel.Name(), viewErr)
		}
		defer again.Close()
		view = again
	}
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
		err.Details = append(err.Details, Detail{MSPID: signer.MSPID, Message: text, Address: signer.Address})
	}
	return err
}
