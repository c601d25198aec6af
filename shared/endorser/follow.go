package endorser

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
)

// Pauses between attempts to reach the platform.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// A feed is the platform's block events, as one of a channel's readers gets them.
type feed struct {
	from     *grpc.ClientConn
	certHash []byte // SHA-256 of the client certificate to which a request is bound; nil if there is none
	signer   *msp.Signer
	logger   *slog.Logger
}

func newFeed(from organization.Connection, signer *msp.Signer, logger *slog.Logger) (*feed, error) {
	f := &feed{signer: signer, logger: logger}
	if len(from.ClientCert) > 0 {
		block, _ := pem.Decode(from.ClientCert)
		if block == nil {
			return nil, errors.New("the client certificate is no certificate in PEM")
		}
		hash := sha256.Sum256(block.Bytes)
		f.certHash = hash[:]
	}
	var err error
	f.from, err = Dial(from)
	return f, err
}

// follow takes a channel's blocks as they come, until ctx ends or one does not hold: ledger.ErrAudit. A platform that cannot be reached,
// or does not know the channel yet, is asked again.
func (f *feed) follow(ctx context.Context, channel string, follower *ledger.Follower) error {
	pause := firstPause
	for {
		before := follower.Height()
		err := f.stream(ctx, channel, follower)
		if errors.Is(err, ledger.ErrAudit) || ctx.Err() != nil {
			return err
		}
		if follower.Height() > before {
			pause = firstPause
		}
		f.logger.Warn("no blocks come", "channel", channel, "from", f.from.Target(), "height", follower.Height(), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// stream takes blocks from where the follower is until the stream ends.
func (f *feed) stream(ctx context.Context, channel string, follower *ledger.Follower) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	blocks, err := peer.NewDeliverClient(f.from).Deliver(ctx)
	if err != nil {
		return err
	}
	request, err := f.request(channel, follower.Height())
	if err != nil {
		return err
	}
	if err := blocks.Send(request); err != nil && !errors.Is(err, io.EOF) { // then Recv says why
		return err
	}
	for {
		answer, err := blocks.Recv()
		if err != nil {
			return err
		}
		block := answer.GetBlock()
		if block == nil {
			return fmt.Errorf("the platform answers %s", answer.GetStatus())
		}
		if err := f.admit(channel, block, follower); err != nil {
			return err
		}
		raw, err := proto.Marshal(block)
		if err != nil {
			return err
		}
		if err := follower.Add(ctx, raw); err != nil {
			return err
		}
	}
}

// admit refuses a chain whose first block does not have the endorser's organisation, with its authority, as a member.
func (f *feed) admit(channel string, block *common.Block, follower *ledger.Follower) error {
	if follower.Height() > 0 {
		return nil
	}
	config, err := channelconfig.Parse(block)
	if err != nil {
		return fmt.Errorf("%w: channel %s: first block: %w", ledger.ErrAudit, channel, err)
	}
	if _, err := config.MSPs.Identify(f.signer.Serialized); err != nil {
		return fmt.Errorf("%w: channel %s: the first block does not know this endorser: %w", ledger.ErrAudit, channel, err)
	}
	return nil
}

// request asks for a channel's blocks from a number on, without end.
func (f *feed) request(channel string, from uint64) (*common.Envelope, error) {
	var errs []error
	marshal := func(message proto.Message) []byte {
		raw, err := proto.Marshal(message)
		errs = append(errs, err)
		return raw
	}
	at := func(number uint64) *orderer.SeekPosition {
		return &orderer.SeekPosition{Type: &orderer.SeekPosition_Specified{Specified: &orderer.SeekSpecified{Number: number}}}
	}
	payload := marshal(&common.Payload{
		Header: &common.Header{
			ChannelHeader: marshal(&common.ChannelHeader{
				Type: int32(common.HeaderType_DELIVER_SEEK_INFO), ChannelId: channel, Timestamp: timestamppb.Now(), TlsCertHash: f.certHash,
			}),
			SignatureHeader: marshal(&common.SignatureHeader{Creator: f.signer.Serialized}),
		},
		Data: marshal(&orderer.SeekInfo{Start: at(from), Stop: at(math.MaxUint64), Behavior: orderer.SeekInfo_BLOCK_UNTIL_READY}),
	})
	signature, err := f.signer.Sign(payload)
	return &common.Envelope{Payload: payload, Signature: signature}, errors.Join(append(errs, err)...)
}
