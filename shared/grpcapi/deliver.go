package grpcapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// deliver serves protos.Deliver, a peer's block events: a signed envelope says which blocks of which channel, the channel's
// readers get them, each stream one block at a time as fast as its client reads. Fabric's common/deliver.
type deliver struct {
	peer.UnimplementedDeliverServer
	service *gateway.Service
	closing context.Context
	logger  *slog.Logger
}

var _ peer.DeliverServer = (*deliver)(nil)

// stream is what the three calls have in common.
type stream = grpc.BidiStreamingServer[common.Envelope, peer.DeliverResponse]

// A show makes of a block what its reader gets.
type show func(context.Context, *seekRequest, *common.Block) (*peer.DeliverResponse, error)

func (d *deliver) Deliver(s peer.Deliver_DeliverServer) error {
	return d.serve(s, func(_ context.Context, _ *seekRequest, block *common.Block) (*peer.DeliverResponse, error) {
		return &peer.DeliverResponse{Type: &peer.DeliverResponse_Block{Block: block}}, nil
	})
}

func (d *deliver) DeliverFiltered(s peer.Deliver_DeliverFilteredServer) error {
	return d.serve(s, func(_ context.Context, _ *seekRequest, block *common.Block) (*peer.DeliverResponse, error) {
		filtered, err := wire.FilterBlock(block)
		return &peer.DeliverResponse{Type: &peer.DeliverResponse_FilteredBlock{FilteredBlock: filtered}}, err
	})
}

// DeliverWithPrivateData gives each block with the private data that the client's organisation holds: as its own peer would, by
// whatever gateway it came.
func (d *deliver) DeliverWithPrivateData(s peer.Deliver_DeliverWithPrivateDataServer) error {
	return d.serve(s, func(ctx context.Context, r *seekRequest, block *common.Block) (*peer.DeliverResponse, error) {
		sets, err := r.channel.PrivateData(ctx, block, r.reader.MSPID, func(static *peer.StaticCollectionConfig) bool {
			read, _ := collection.Access(static, r.reader)
			return read
		})
		if err != nil {
			return nil, err
		}
		both := &peer.BlockAndPrivateData{Block: block, PrivateDataMap: make(map[uint64]*rwset.TxPvtReadWriteSet, len(sets))}
		for position, set := range sets {
			both.PrivateDataMap[position] = set.Message()
		}
		return &peer.DeliverResponse{Type: &peer.DeliverResponse_BlockAndPrivateData{BlockAndPrivateData: both}}, nil
	})
}

// serve answers one envelope after the other, until one fails.
func (d *deliver) serve(s stream, show show) error {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	for {
		envelope, err := receive(ctx, s)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.ended(err)
		}
		code, err := d.blocks(ctx, s, envelope, show)
		if err != nil {
			return d.ended(err)
		}
		if err := s.Send(&peer.DeliverResponse{Type: &peer.DeliverResponse_Status{Status: code}}); err != nil {
			return err
		}
		if code != common.Status_SUCCESS {
			return nil
		}
	}
}

// receive is the stream's Recv, which does not end with ctx by itself.
func receive(ctx context.Context, s stream) (*common.Envelope, error) {
	type received struct {
		envelope *common.Envelope
		err      error
	}
	arrived := make(chan received, 1)
	go func() { // ends with the stream
		envelope, err := s.Recv()
		arrived <- received{envelope, err}
	}()
	select {
	case r := <-arrived:
		return r.envelope, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ended is the status of a stream that did not end by itself.
func (d *deliver) ended(err error) error {
	if d.closing.Err() != nil || errors.Is(err, ledger.ErrClosed) {
		return status.Error(codes.Unavailable, "the server is shutting down")
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	return status.FromContextError(err).Err()
}

// blocks sends the blocks that an envelope asks for. The status says how that ended; an error ends the stream.
func (d *deliver) blocks(ctx context.Context, s stream, envelope *common.Envelope, show show) (common.Status, error) {
	request, code := d.request(ctx, envelope)
	if code != common.Status_SUCCESS {
		return code, nil
	}
	height, err := request.channel.Height(ctx)
	if err != nil {
		return d.failed("height", err)
	}
	next, last, ok := request.bounds(height)
	if !ok {
		return common.Status_BAD_REQUEST, nil
	}
	for {
		if height <= next {
			if height, err = request.channel.Height(ctx); err != nil {
				return d.failed("height", err)
			}
		}
		if height <= next {
			if request.seek.GetBehavior() == orderer.SeekInfo_FAIL_IF_NOT_READY {
				return common.Status_NOT_FOUND, nil
			}
			if err := request.wait(ctx, next); err != nil {
				return 0, err
			}
		}
		block, err := request.channel.Block(ctx, next)
		if err != nil {
			return d.failed("block", err)
		}
		if !request.permitted(time.Now()) {
			return common.Status_FORBIDDEN, nil
		}
		response, err := show(ctx, request, block)
		if err != nil {
			return d.failed("block", err)
		}
		if err := s.Send(response); err != nil {
			return 0, err
		}
		if next == last {
			return common.Status_SUCCESS, nil
		}
		next++
	}
}

func (d *deliver) failed(what string, err error) (common.Status, error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return 0, err
	}
	d.logger.Error("deliver blocks failed", "reading", what, "error", err)
	return common.Status_SERVICE_UNAVAILABLE, nil
}

// A seekRequest is an envelope that asks for blocks, by a reader of the channel.
type seekRequest struct {
	channel *ledger.Channel
	seek    *orderer.SeekInfo
	creator []byte
	checked *channelconfig.Config // by which the creator was last found to be a reader
	reader  *msp.Identity         // the creator, of that configuration
	expires time.Time             // the creator's certificate
}

// request reads and checks an envelope, in Fabric's order.
func (d *deliver) request(ctx context.Context, envelope *common.Envelope) (*seekRequest, common.Status) {
	var payload common.Payload
	var header common.ChannelHeader
	if proto.Unmarshal(envelope.GetPayload(), &payload) != nil || payload.GetHeader() == nil ||
		proto.Unmarshal(payload.Header.ChannelHeader, &header) != nil || header.GetTimestamp() == nil {
		return nil, common.Status_BAD_REQUEST
	}
	if off := d.service.Clock().Sub(header.Timestamp.AsTime()); off > gateway.TimeWindow || off < -gateway.TimeWindow {
		return nil, common.Status_BAD_REQUEST
	}
	if hash := certificateHash(ctx); hash != nil && !bytes.Equal(hash, header.TlsCertHash) {
		return nil, common.Status_BAD_REQUEST // signed for another connection
	}
	channel, err := d.service.Ledger.Channel(ctx, header.ChannelId)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, common.Status_NOT_FOUND
	}
	if err != nil {
		d.logger.Error("deliver blocks failed", "channel", header.ChannelId, "error", err)
		return nil, common.Status_SERVICE_UNAVAILABLE
	}
	var signature common.SignatureHeader
	if proto.Unmarshal(payload.Header.SignatureHeader, &signature) != nil {
		return nil, common.Status_BAD_REQUEST
	}
	r := &seekRequest{channel: channel, seek: &orderer.SeekInfo{}, creator: signature.Creator}
	reader, err := channel.Config().MSPs.Identify(signature.Creator)
	if err != nil || reader.Verify(envelope.Payload, envelope.Signature) != nil || !r.permitted(d.service.Clock()) {
		return nil, common.Status_FORBIDDEN
	}
	if proto.Unmarshal(payload.Data, r.seek) != nil || r.seek.Start == nil || r.seek.Stop == nil {
		return nil, common.Status_BAD_REQUEST
	}
	return r, common.Status_SUCCESS
}

// permitted reports whether the creator is a reader of the channel as it is configured now.
func (r *seekRequest) permitted(now time.Time) bool {
	config := r.channel.Config()
	if config != r.checked {
		reader, err := config.MSPs.Identify(r.creator)
		if err != nil || !config.Satisfied(channelconfig.PathReaders, []*msp.Identity{reader}) {
			return false
		}
		r.checked, r.reader, r.expires = config, reader, reader.Cert.NotAfter
	}
	return !now.After(r.expires)
}

// wait returns when the channel has the block, when the creator's certificate has expired, or with the error of ctx.
func (r *seekRequest) wait(ctx context.Context, number uint64) error {
	session, cancel := context.WithDeadline(ctx, r.expires.Add(time.Second))
	defer cancel()
	err := r.channel.Wait(session, number)
	if err != nil && session.Err() != nil && ctx.Err() == nil {
		return status.Error(codes.PermissionDenied, "the client's certificate has expired")
	}
	return err
}

// bounds returns the first and the last block that are asked for on a channel of this height.
func (r *seekRequest) bounds(height uint64) (first, last uint64, ok bool) {
	switch position := r.seek.Start.Type.(type) {
	case *orderer.SeekPosition_Oldest:
	case *orderer.SeekPosition_Newest:
		first = height - 1
	case *orderer.SeekPosition_Specified:
		first = position.Specified.GetNumber()
	case *orderer.SeekPosition_NextCommit:
		first = height
	default:
		return 0, 0, false
	}
	switch position := r.seek.Stop.Type.(type) {
	case *orderer.SeekPosition_Oldest:
		last = first
	case *orderer.SeekPosition_Newest:
		last = height - 1
		if _, newest := r.seek.Start.Type.(*orderer.SeekPosition_Newest); newest {
			last = first
		}
	case *orderer.SeekPosition_Specified:
		last = position.Specified.GetNumber()
	default:
		return 0, 0, false
	}
	return first, last, first <= last
}
