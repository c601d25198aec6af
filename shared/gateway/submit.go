package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// Submit accepts a transaction that its client signed, for ordering. It is recorded whatever its verdict: CommitStatus tells.
func (e *Endpoint) Submit(ctx context.Context, request *gateway.SubmitRequest) (*gateway.SubmitResponse, error) {
	errs := e.SubmitAll(ctx, []*gateway.SubmitRequest{request})
	if errs[0] != nil {
		return nil, errs[0]
	}
	return &gateway.SubmitResponse{}, nil
}

// SubmitAll accepts transactions for ordering, in this order. There is an error for each, nil for those accepted.
func (e *Endpoint) SubmitAll(ctx context.Context, requests []*gateway.SubmitRequest) []error {
	errs := make([]error, len(requests))
	accepted := make(map[*ledger.Channel][]*ledger.Submission)
	index := make(map[*ledger.Channel][]int)
	for i, request := range requests {
		channel, submission, err := e.submission(ctx, request)
		if err != nil {
			errs[i] = err
			continue
		}
		accepted[channel] = append(accepted[channel], submission)
		index[channel] = append(index[channel], i)
	}
	for channel, submissions := range accepted {
		accept := channel.Enqueue
		if e.Ledger.Shared {
			// A process of several may be stopped as soon as it has answered.
			accept = func(s ...*ledger.Submission) error { return channel.Record(ctx, s...) }
		}
		if err := accept(submissions...); err != nil {
			for _, i := range index[channel] {
				errs[i] = storeError("submit", "channel "+channel.Name(), err)
			}
		}
	}
	return errs
}

// submission checks a transaction as an orderer does: size, channel, and a signature by one of the channel's writers.
func (e *Endpoint) submission(ctx context.Context, request *gateway.SubmitRequest) (*ledger.Channel, *ledger.Submission, error) {
	const stage = "submit"
	refuse := func(kind Kind, code codes.Code, format string, args ...any) error {
		return &Error{Kind: kind, Stage: stage, Code: code, Message: fmt.Sprintf(format, args...), TransactionID: request.GetTransactionId()}
	}
	envelope := request.GetPreparedTransaction()
	switch {
	case envelope == nil:
		return nil, nil, refuse(InvalidRequest, codes.InvalidArgument, "a prepared transaction is required")
	case len(envelope.Signature) == 0:
		return nil, nil, refuse(InvalidRequest, codes.InvalidArgument, "prepared transaction must be signed")
	}
	channel, err := e.Ledger.Channel(ctx, request.GetChannelId())
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil, refuse(NotFound, codes.FailedPrecondition, "no orderer nodes available for channel %s", request.GetChannelId())
	}
	if err != nil {
		return nil, nil, storeError(stage, "channel "+request.GetChannelId(), err)
	}
	orderer := func(kind Kind, status common.Status, info string) error {
		return refuse(kind, codes.Aborted, "received unsuccessful response from orderer: status=%s, info=%s", status, info)
	}
	raw, err := proto.Marshal(envelope)
	if err != nil {
		return nil, nil, refuse(InvalidRequest, codes.InvalidArgument, "prepared transaction: %v", err)
	}
	if len(raw) > MaxTransaction {
		refused := orderer(TooLarge, common.Status_BAD_REQUEST, fmt.Sprintf("message payload is %d bytes and exceeds maximum allowed %d bytes", len(raw), MaxTransaction))
		refused.(*Error).Limit = MaxTransaction
		return nil, nil, refused
	}
	tx, _ := wire.ParseEnvelope(raw)
	if tx == nil || tx.Channel != channel.Name() || tx.Type != common.HeaderType_ENDORSER_TRANSACTION {
		return nil, nil, orderer(InvalidRequest, common.Status_BAD_REQUEST, fmt.Sprintf("the envelope is not an endorser transaction of channel %s", channel.Name()))
	}
	creator, err := channel.Config().MSPs.Identify(tx.Creator)
	if err != nil || creator.Verify(tx.Payload, tx.Signature) != nil {
		creator = nil
	}
	if creator == nil || !channel.Config().Satisfied(pathChannelWriters, []*msp.Identity{creator}) {
		return nil, nil, orderer(Forbidden, common.Status_FORBIDDEN, unsatisfied(channelconfig.PathWriters).Error()+": permission denied")
	}
	return channel, &ledger.Submission{Envelope: raw}, nil
}

// pathChannelWriters is the policy by which an orderer takes a transaction.
const pathChannelWriters = "/Channel/Writers"
