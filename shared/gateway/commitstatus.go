package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
)

// CommitStatus waits until a transaction is committed and returns its validation code and block.
func (e *Endpoint) CommitStatus(ctx context.Context, signed *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error) {
	const stage = "commitStatus"
	var request gateway.CommitStatusRequest
	if len(signed.GetRequest()) == 0 {
		return nil, invalidArgument(stage, "a commit status request is required")
	}
	if err := proto.Unmarshal(signed.GetRequest(), &request); err != nil {
		return nil, invalidArgument(stage, "invalid status request: %v", err)
	}
	switch {
	case request.GetIdentity() == nil:
		return nil, invalidArgument(stage, "no identity provided")
	case request.GetChannelId() == "":
		return nil, invalidArgument(stage, "no channel ID provided")
	case request.GetTransactionId() == "":
		return nil, invalidArgument(stage, "transaction ID should not be empty")
	}
	channel, err := e.readable(ctx, stage, request.GetChannelId(), request.GetIdentity(), signed.GetRequest(), signed.GetSignature())
	if err != nil {
		return nil, err
	}
	entry, err := e.awaitTransaction(ctx, channel, request.GetTransactionId())
	if err != nil {
		return nil, storeError(stage, "transaction "+request.GetTransactionId(), err)
	}
	return &gateway.CommitStatusResponse{Result: entry.Code, BlockNumber: entry.Version.Block}, nil
}

func invalidArgument(stage, format string, args ...any) *Error {
	return &Error{Kind: InvalidRequest, Stage: stage, Code: codes.InvalidArgument, Message: fmt.Sprintf(format, args...)}
}

// readable checks a signed request against a channel's readers.
func (s *Service) readable(ctx context.Context, stage, name string, identity, message, signature []byte) (*ledger.Channel, error) {
	channel, err := s.Ledger.Channel(ctx, name)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, &Error{Kind: NotFound, Stage: stage, Code: codes.PermissionDenied, Message: fmt.Sprintf("Failed to get policy manager for channel [%s]", name), Cause: err}
	}
	if err != nil {
		return nil, storeError(stage, "channel "+name, err)
	}
	reader, err := channel.Config().MSPs.Identify(identity)
	if err != nil || reader.Verify(message, signature) != nil {
		identity = nil
	}
	if err := allowed(channel, channelconfig.PathReaders, identity); err != nil {
		return nil, &Error{Kind: Forbidden, Stage: stage, Code: codes.PermissionDenied, Message: err.Error(), Cause: err}
	}
	return channel, nil
}

// awaitTransaction waits until the channel holds a transaction.
func (s *Service) awaitTransaction(ctx context.Context, channel *ledger.Channel, txID string) (ledger.TxEntry, error) {
	for {
		height, err := channel.Height(ctx)
		if err != nil {
			return ledger.TxEntry{}, err
		}
		entry, err := channel.Entry(ctx, txID)
		if !errors.Is(err, ledger.ErrNotFound) {
			return entry, err
		}
		if err := channel.Wait(ctx, height); err != nil {
			return ledger.TxEntry{}, err
		}
	}
}
