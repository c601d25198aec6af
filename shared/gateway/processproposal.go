package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/wire"
)

// heightPatience is how long ProcessProposal waits for blocks that it is to have.
const heightPatience = 3 * time.Second

// ProcessProposal runs a signed proposal and signs what comes of it, as the endorser of the endpoint's organisation: Fabric's
// protos.Endorser. It runs it on a state of at least height blocks, which it waits for, and returns on which. What cannot be
// endorsed has a response with a status of 400 or more and no endorsement; an error says that the proposal is refused as such.
func (e *Endpoint) ProcessProposal(ctx context.Context, signed *peer.SignedProposal, height uint64) (*peer.ProposalResponse, uint64, error) {
	const stage = "endorse"
	channelName, _, creator, _, err := target(signed)
	if err != nil {
		return nil, 0, &Error{Kind: InvalidRequest, Stage: stage, Code: codes.Unknown, Message: err.Error(), Cause: err}
	}
	channel, err := e.Ledger.Channel(ctx, channelName)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, 0, &Error{Kind: NotFound, Stage: stage, Code: codes.Unknown, Message: fmt.Sprintf("channel '%s' not found", channelName), Cause: err}
	}
	if err != nil {
		return nil, 0, storeError(stage, "channel "+channelName, err)
	}
	endorser, err := e.signs(channel, e.own(creator))
	if err != nil {
		return nil, 0, err
	}
	if err := reach(ctx, channel, height); err != nil {
		return nil, 0, err
	}
	proposal, failure := e.admit(ctx, channel, signed)
	if failure != nil {
		return nil, 0, failure.error(stage, codes.Unknown, failure.message, "", nil)
	}
	for attempt := 1; ; attempt++ {
		view, err := channel.View(ctx)
		if err != nil {
			return nil, 0, storeError(stage, "channel "+channelName, err)
		}
		response, failure := e.process(ctx, channel, view, proposal, endorser)
		ran := view.Savepoint()
		view.Close()
		if failure != nil && failure.kind == MVCCReadConflict && attempt < e.Attempts { // the state changed under it
			continue
		}
		if failure != nil {
			return &peer.ProposalResponse{Response: &peer.Response{Status: 500, Message: failure.message}}, ran, nil
		}
		return response, ran, nil
	}
}

// signs returns the endorser of an organisation, if the platform has its key.
func (s *Service) signs(channel *ledger.Channel, mspID string) (*organization.Endorser, error) {
	refused := &Error{Kind: InvalidRequest, Stage: "endorse", Code: codes.Unavailable,
		Message: fmt.Sprintf("nobody signs endorsements for %q here: ask a listener of an organisation that the platform signs for", mspID)}
	for _, o := range channel.Config().Organizations {
		if o.MSPID != mspID {
			continue
		}
		endorser, err := s.Organizations.Endorser(mspID)
		switch {
		case errors.Is(err, organization.ErrNotFound), err == nil && !endorser.Local():
			return nil, refused
		case err != nil:
			return nil, &Error{Kind: Internal, Stage: "endorse", Code: codes.Internal, Message: err.Error(), Cause: err}
		}
		return endorser, nil
	}
	return nil, refused
}

// reach waits until a channel has so many blocks.
func reach(ctx context.Context, channel *ledger.Channel, height uint64) error {
	if height == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, heightPatience)
	defer cancel()
	if err := channel.Wait(waiting, height-1); err != nil {
		have, _ := channel.Height(ctx)
		return &Error{Kind: Unavailable, Stage: "endorse", Code: codes.Unavailable, Cause: err,
			Message: fmt.Sprintf("this endorser has %d blocks of channel %s, and is to endorse on a state of %d", have, channel.Name(), height)}
	}
	return nil
}

// process runs a proposal and signs what comes of it.
func (s *Service) process(ctx context.Context, channel *ledger.Channel, view ledger.View, p *wire.Proposal, endorser *organization.Endorser) (*peer.ProposalResponse, *endorserError) {
	sim, failure := s.simulate(ctx, channel, view, p, endorser.MSPID)
	if failure != nil {
		return nil, failure
	}
	if sim.response.Status < 200 || sim.response.Status >= errorThreshold {
		return &peer.ProposalResponse{Response: sim.response}, nil
	}
	var endorsed endorsement
	if err := endorsed.sign(p, sim, []*organization.Endorser{endorser}, nil); err != nil {
		return nil, failed(Internal, "%v", err)
	}
	if sim.rwset != nil {
		if err := channel.Stage(ctx, view, p.TxID, sim.rwset, sim.private); err != nil {
			return nil, viewError(err)
		}
	}
	return &peer.ProposalResponse{Version: 1, Response: sim.response, Payload: endorsed.responsePayload, Endorsement: endorsed.endorsements[0]}, nil
}
