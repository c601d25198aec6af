package grpcapi_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
)

// own returns another connection, which buffers no more of a stream than HTTP/2 wants at first: 64 KiB.
func (s *served) own(t *testing.T) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStaticStreamWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

// commitStatus asks for a transaction's status.
func (s *served) commitStatus(ctx context.Context, txID string) (*pb.CommitStatusResponse, error) {
	raw, err := proto.Marshal(&pb.CommitStatusRequest{ChannelId: "trade", TransactionId: txID, Identity: s.user.Serialized})
	if err != nil {
		return nil, err
	}
	signature, err := s.user.Sign(raw)
	if err != nil {
		return nil, err
	}
	return pb.NewGatewayClient(s.connection).CommitStatus(ctx, &pb.SignedCommitStatusRequest{Request: raw, Signature: signature})
}

// deliver opens a stream of blocks.
func (s *served) deliver(ctx context.Context, envelope *common.Envelope) (peer.Deliver_DeliverClient, error) {
	stream, err := peer.NewDeliverClient(s.connection).Deliver(ctx)
	if err != nil {
		return nil, err
	}
	return stream, stream.Send(envelope)
}

// A reader takes the next of a stream, and says which blocks it was about.
type reader func() (block uint64, err error)

// chaincodeEvents opens a stream of the probe's events.
func chaincodeEvents(t *testing.T, connection *grpc.ClientConn, user *msp.Signer) reader {
	t.Helper()
	raw := marshal(t, &pb.ChaincodeEventsRequest{ChannelId: "trade", ChaincodeId: "probe", Identity: user.Serialized, StartPosition: oldest()})
	signature, err := user.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := pb.NewGatewayClient(connection).ChaincodeEvents(t.Context(), &pb.SignedChaincodeEventsRequest{Request: raw, Signature: signature})
	if err != nil {
		t.Fatal(err)
	}
	return func() (uint64, error) {
		response, err := stream.Recv()
		return response.GetBlockNumber(), err
	}
}

// blocks opens a stream of blocks, whole or filtered.
func blocks(open func(peer.DeliverClient, context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[common.Envelope, peer.DeliverResponse], error)) func(*testing.T, *grpc.ClientConn, *msp.Signer) reader {
	return func(t *testing.T, connection *grpc.ClientConn, user *msp.Signer) reader {
		t.Helper()
		stream, err := open(peer.NewDeliverClient(connection), t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(seek{start: oldest(), stop: specified(1 << 40), behavior: orderer.SeekInfo_BLOCK_UNTIL_READY}.envelope(t, user)); err != nil {
			t.Fatal(err)
		}
		return func() (uint64, error) {
			response, err := stream.Recv()
			switch answer := response.GetType().(type) {
			case *peer.DeliverResponse_FilteredBlock:
				return answer.FilteredBlock.GetNumber(), err
			case *peer.DeliverResponse_BlockAndPrivateData:
				return answer.BlockAndPrivateData.GetBlock().GetHeader().GetNumber(), err
			}
			return response.GetBlock().GetHeader().GetNumber(), err
		}
	}
}

var streams = map[string]func(*testing.T, *grpc.ClientConn, *msp.Signer) reader{
	"chaincode events": chaincodeEvents,
	"blocks":           blocks(peer.DeliverClient.Deliver),
	"filtered blocks":  blocks(peer.DeliverClient.DeliverFiltered),
	"private data":     blocks(peer.DeliverClient.DeliverWithPrivateData),
}

// TestUnreadStreams: clients that stop reading while blocks pile up cost the server next to nothing, hold up nobody, and find
// everything when they read on. Nor do they keep the server from ending. It measures memory, and so runs alone.
func TestUnreadStreams(t *testing.T) {
	for kind, open := range streams {
		t.Run(kind, func(t *testing.T) {
			const (
				unreadStreams = 8
				size          = 128 << 10 // bytes of an event, here of its name: filtered blocks have no more of it
				piled         = 60        // blocks that nobody reads, of more than twice the size: 15 MiB
				// A stream holds one message that waits for room on the connection and one that waits to be sent, each in a buffer of gRPC's
				// pool, 1 MiB here, and what the connection's two ends keep, 64 KiB each.
				limit = 3 << 20
			)
			s := start(t)
			contract := s.network.GetContract("probe")
			commit := func(n int) {
				t.Helper()
				operations := fmt.Sprintf(`[{"op":"SetEvent","name":%q,"payload":"x"}]`, strings.Repeat("e", size))
				for range n {
					if _, err := contract.SubmitTransaction("run", operations); err != nil {
						t.Fatal(err)
					}
				}
			}
			first := s.height(t)
			commit(piled)
			readTo(t, open(t, s.own(t), s.user), first, s.height(t)-1)
			quiet := heap()

			var unread []reader
			for range unreadStreams {
				next := open(t, s.own(t), s.user)
				if _, err := next(); err != nil { // it has begun
					t.Fatal(err)
				}
				unread = append(unread, next)
			}
			// When one who reads has everything, the others could have been sent as much.
			readTo(t, open(t, s.own(t), s.user), first, s.height(t)-1)
			each := (heap() - quiet) / unreadStreams
			t.Logf("%d KiB for each stream", each>>10)
			if each > limit {
				t.Errorf("a stream that nobody reads holds %d KiB, want %d at most", each>>10, limit>>10)
			}

			commit(3)
			for _, next := range unread[:2] {
				readTo(t, next, first, s.height(t)-1)
			}
			began := time.Now()
			s.stop()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the server took %v to end: streams that nobody reads hold it up", took)
			}
		})
	}
}

// readTo reads blocks up to the last. They must begin with the first, or one next to it or before, and come without a gap.
func readTo(t *testing.T, next reader, first, last uint64) {
	t.Helper()
	number, err := next()
	if err != nil || number > first+1 {
		t.Fatalf("it begins with block %d, %v", number, err)
	}
	for number < last {
		before := number
		if number, err = next(); err != nil || number != before+1 {
			t.Fatalf("after block %d: got %d, %v", before, number, err)
		}
	}
}

// heap is what the process holds, in bytes.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
