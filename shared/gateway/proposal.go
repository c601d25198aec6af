package gateway

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// rejected is the error of a proposal that an endorser does not even run: no other endorser would.
func rejected(kind Kind, cause error, format string, args ...any) *endorserError {
	return &endorserError{kind: kind, code: codes.FailedPrecondition, message: fmt.Sprintf(format, args...), cause: cause}
}

// admit checks a client's proposal as a peer does before it runs it: time, form, creator, signature, duplicate id, and the
// channel's writers. Fabric's core/endorser preProcess, behind its authentication filters.
func (s *Service) admit(ctx context.Context, channel *ledger.Channel, signed *peer.SignedProposal) (*wire.Proposal, *endorserError) {
	p, err := wire.ParseProposal(signed)
	if errors.Is(err, wire.ErrMalformed) {
		return nil, rejected(InvalidRequest, err, "%v", err)
	}
	if p != nil {
		if e := s.inTime(p); e != nil {
			return nil, e
		}
		if id, err := channel.Config().MSPs.Identify(p.Creator); err == nil && s.Clock().After(id.Cert.NotAfter) {
			return nil, unauthorized("proposal client identity expired")
		}
	}
	if err != nil {
		return nil, rejected(InvalidRequest, err, "%v", err)
	}
	config := channel.Config()
	creator, err := config.MSPs.Identify(p.Creator)
	if err != nil {
		return nil, rejected(Unauthenticated, err, "error validating proposal: access denied: channel [%s] creator org unknown, creator is malformed", channel.Name())
	}
	if err := creator.Verify(signed.ProposalBytes, signed.Signature); err != nil {
		return nil, rejected(Unauthenticated, err, "error validating proposal: access denied: channel [%s] creator org [%s]", channel.Name(), creator.MSPID)
	}
	if _, err := channel.Entry(ctx, p.TxID); err == nil {
		return nil, rejected(InvalidRequest, nil, "duplicate transaction found [%s]. Creator [%x]", p.TxID, p.Creator)
	} else if !errors.Is(err, ledger.ErrNotFound) {
		return nil, failed(Internal, "%v", err)
	}
	if isSystem(p.Chaincode) { // which see for themselves who asks
		return p, nil
	}
	if err := s.mayWrite(channel, p); err != nil {
		return nil, rejected(Forbidden, err, "%v", err)
	}
	return p, nil
}

// inTime refuses a proposal whose timestamp is too far off, Fabric's core/handlers/auth/filter.
func (s *Service) inTime(p *wire.Proposal) *endorserError {
	now := s.Clock()
	if off := now.Sub(p.Timestamp); off <= TimeWindow && off >= -TimeWindow {
		return nil
	}
	return unauthorized("request unauthorized due to incorrect timestamp %s, peer time %s, peer.authentication.timewindow %s",
		p.Timestamp.Format(time.RFC3339), now.Format(time.RFC3339), TimeWindow)
}

// unauthorized is the error of a peer's authentication filters. Those of other peers reach the gateway through gRPC.
func unauthorized(format string, args ...any) *endorserError {
	e := failed(InvalidRequest, format, args...)
	e.code, e.remote = codes.Unavailable, "rpc error: code = Unknown desc = "
	return e
}

// mayWrite checks a proposal's creator against a channel's writers.
func (s *Service) mayWrite(channel *ledger.Channel, p *wire.Proposal) error {
	return allowed(channel, channelconfig.PathWriters, p.Creator)
}

// allowed checks an identity, serialized, against one of a channel's policies; nil is nobody.
func allowed(channel *ledger.Channel, policy string, serialized []byte) error {
	id, err := channel.Config().MSPs.Identify(serialized)
	if err != nil || !channel.Config().Satisfied(policy, []*msp.Identity{id}) {
		return denied(channel.Name(), policy)
	}
	return nil
}

func denied(channel, policy string) error {
	return fmt.Errorf("Failed evaluating policy on signed data during check policy on channel [%s] with policy [%s]: [%w]", channel, policy, unsatisfied(policy)) //lint:ignore ST1005 Fabric's text
}

func unsatisfied(policy string) error {
	return fmt.Errorf("implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the '%s' sub-policies to be satisfied", path.Base(policy))
}
