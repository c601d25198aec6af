package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/wire"
)

// endorsers returns who endorses for the organisations named, or for all of the channel that have an endorser, first's before the
// others.
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

// plan chooses endorsers none of whom can be left out, the first ones rather than the last, whose endorsements satisfy every
// policy that the simulated writes call for. It takes only such as may see the private data that was read.
func (s *Service) plan(ctx context.Context, channel *ledger.Channel, view ledger.View, p *wire.Proposal, sim *simulation, endorsers []*organization.Endorser) ([]*organization.Endorser, error) {
	if len(endorsers) == 1 && len(channel.Config().Organizations) == 1 {
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
