package grpcapi

import (
	"context"
	"strconv"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"peerless/shared/gateway"
)

// endorser serves protos.Endorser: one organisation's endorsement of a proposal, for Fabric's older clients, and for platforms
// whose organisations endorse elsewhere.
type endorser struct {
	peer.UnimplementedEndorserServer
	calls *calls
}

var _ peer.EndorserServer = (*endorser)(nil)

func (e *endorser) ProcessProposal(ctx context.Context, signed *peer.SignedProposal) (*peer.ProposalResponse, error) {
	var height uint64
	if values := metadata.ValueFromIncomingContext(ctx, gateway.HeightMetadata); len(values) > 0 {
		var err error
		if height, err = strconv.ParseUint(values[0], 10, 64); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "%s is %q", gateway.HeightMetadata, values[0])
		}
	}
	response, ran, err := e.calls.at(ctx).ProcessProposal(ctx, signed, height)
	if err != nil {
		return nil, e.calls.status("process proposal", err)
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(gateway.HeightMetadata, strconv.FormatUint(ran, 10))); err != nil {
		return nil, err
	}
	return response, nil
}
