package grpcapi_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"peerless/shared/msp"
)

func oldest() *orderer.SeekPosition {
	return &orderer.SeekPosition{Type: &orderer.SeekPosition_Oldest{Oldest: &orderer.SeekOldest{}}}
}

func newest() *orderer.SeekPosition {
	return &orderer.SeekPosition{Type: &orderer.SeekPosition_Newest{Newest: &orderer.SeekNewest{}}}
}

func specified(number uint64) *orderer.SeekPosition {
	return &orderer.SeekPosition{Type: &orderer.SeekPosition_Specified{Specified: &orderer.SeekSpecified{Number: number}}}
}

// A seek is what an envelope asks for. Its zero fields are what is right.
type seek struct {
	channel     string // default trade
	start, stop *orderer.SeekPosition
	behavior    orderer.SeekInfo_SeekBehavior
	off         time.Duration // of the timestamp
	signer      *msp.Signer
	spoil       func(*common.Payload, *common.Envelope)
}

func marshal(t *testing.T, message proto.Message) []byte {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func (s seek) envelope(t *testing.T, user *msp.Signer) *common.Envelope {
	t.Helper()
	if s.channel == "" {
		s.channel = "trade"
	}
	if s.signer == nil {
		s.signer = user
	}
	header := &common.ChannelHeader{Type: int32(common.HeaderType_DELIVER_SEEK_INFO), ChannelId: s.channel, Timestamp: timestamppb.New(time.Now().Add(s.off))}
	payload := &common.Payload{
		Header: &common.Header{
			ChannelHeader:   marshal(t, header),
			SignatureHeader: marshal(t, &common.SignatureHeader{Creator: s.signer.Serialized}),
		},
		Data: marshal(t, &orderer.SeekInfo{Start: s.start, Stop: s.stop, Behavior: s.behavior}),
	}
	envelope := &common.Envelope{}
	if s.spoil != nil {
		s.spoil(payload, nil)
	}
	envelope.Payload = marshal(t, payload)
	signature, err := s.signer.Sign(envelope.Payload)
	if err != nil {
		t.Fatal(err)
	}
	envelope.Signature = signature
	if s.spoil != nil {
		s.spoil(nil, envelope)
	}
	return envelope
}

// answers reads a stream until a status comes: the blocks' numbers, and the status.
func answers(t *testing.T, stream peer.Deliver_DeliverClient) (numbers []uint64, code common.Status) {
	t.Helper()
	for {
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		switch answer := response.Type.(type) {
		case *peer.DeliverResponse_Block:
			numbers = append(numbers, answer.Block.GetHeader().GetNumber())
		case *peer.DeliverResponse_FilteredBlock:
			numbers = append(numbers, answer.FilteredBlock.GetNumber())
		case *peer.DeliverResponse_Status:
			return numbers, answer.Status
		}
	}
}

// TestDeliverRanges asks one stream for one range after the other, for whole and for filtered blocks.
func TestDeliverRanges(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 3 {
		if _, err := s.network.GetContract("probe").SubmitTransaction("run", `[{"op":"PutState","key":"k","value":"v"}]`); err != nil {
			t.Fatal(err)
		}
	}
	height := s.height(t)
	up := func(from, to uint64) (numbers []uint64) {
		for n := from; n <= to; n++ {
			numbers = append(numbers, n)
		}
		return numbers
	}
	blocks, err := peer.NewDeliverClient(s.connection).Deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	filtered, err := peer.NewDeliverClient(s.connection).DeliverFiltered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		seek seek
		want []uint64
	}{
		"all":           {seek{start: oldest(), stop: newest()}, up(0, height-1)},
		"the oldest":    {seek{start: oldest(), stop: oldest()}, up(0, 0)},
		"the newest":    {seek{start: newest(), stop: newest()}, up(height-1, height-1)},
		"one":           {seek{start: specified(2), stop: specified(2)}, up(2, 2)},
		"some":          {seek{start: specified(1), stop: specified(3)}, up(1, 3)},
		"from one on":   {seek{start: specified(2), stop: newest()}, up(2, height-1)},
		"what there is": {seek{start: specified(1), stop: specified(height - 1), behavior: orderer.SeekInfo_FAIL_IF_NOT_READY}, up(1, height-1)},
	} {
		for kind, stream := range map[string]peer.Deliver_DeliverClient{"blocks": blocks, "filtered blocks": filtered} {
			if err := stream.Send(test.seek.envelope(t, s.user)); err != nil {
				t.Fatal(err)
			}
			got, code := answers(t, stream)
			if diff := cmp.Diff(test.want, got); diff != "" || code != common.Status_SUCCESS {
				t.Errorf("%s, %s: status %s, blocks (-want +got):\n%s", name, kind, code, diff)
			}
		}
	}
}

// TestDeliverStatuses: what is not as it should be ends the stream with Fabric's status.
func TestDeliverStatuses(t *testing.T) {
	t.Parallel()
	s := start(t)
	stranger, err := s.node.User("StrangerMSP", "mallory", nil)
	if err != nil {
		t.Fatal(err)
	}
	height := s.height(t)
	all := func(change func(*seek)) seek {
		k := seek{start: oldest(), stop: newest()}
		change(&k)
		return k
	}
	for name, test := range map[string]struct {
		seek seek
		sent int
		want common.Status
	}{
		"no such channel":    {all(func(k *seek) { k.channel = "other" }), 0, common.Status_NOT_FOUND},
		"late":               {all(func(k *seek) { k.off = -time.Hour }), 0, common.Status_BAD_REQUEST},
		"a stranger":         {all(func(k *seek) { k.signer = stranger }), 0, common.Status_FORBIDDEN},
		"no start":           {all(func(k *seek) { k.start = nil }), 0, common.Status_BAD_REQUEST},
		"no stop":            {all(func(k *seek) { k.stop = &orderer.SeekPosition{} }), 0, common.Status_BAD_REQUEST},
		"backwards":          {all(func(k *seek) { k.start, k.stop = specified(2), specified(1) }), 0, common.Status_BAD_REQUEST},
		"more than there is": {all(func(k *seek) { k.stop, k.behavior = specified(height+5), orderer.SeekInfo_FAIL_IF_NOT_READY }), int(height), common.Status_NOT_FOUND},
		"garbage": {all(func(k *seek) {
			k.spoil = func(_ *common.Payload, e *common.Envelope) {
				if e != nil {
					e.Payload = []byte("garbage")
				}
			}
		}), 0, common.Status_BAD_REQUEST},
		"no timestamp": {all(func(k *seek) {
			k.spoil = func(p *common.Payload, _ *common.Envelope) {
				if p != nil {
					p.Header.ChannelHeader = marshal(t, &common.ChannelHeader{ChannelId: "trade"})
				}
			}
		}), 0, common.Status_BAD_REQUEST},
		"a wrong signature": {all(func(k *seek) {
			k.spoil = func(_ *common.Payload, e *common.Envelope) {
				if e != nil {
					e.Signature[len(e.Signature)-1] ^= 1
				}
			}
		}), 0, common.Status_FORBIDDEN},
	} {
		stream, err := peer.NewDeliverClient(s.connection).Deliver(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(test.seek.envelope(t, s.user)); err != nil {
			t.Fatal(err)
		}
		if sent, code := answers(t, stream); len(sent) != test.sent || code != test.want {
			t.Errorf("%s: %d blocks and %s, want %d and %s", name, len(sent), code, test.sent, test.want)
		}
		if _, err := stream.Recv(); err == nil {
			t.Errorf("%s: the stream goes on", name)
		}
	}
}

// TestDeliverWaits: a block that is still to come is waited for, by a client that never stops, until the server does.
func TestDeliverWaits(t *testing.T) {
	t.Parallel()
	s := start(t)
	height := s.height(t)
	stream, err := peer.NewDeliverClient(s.connection).Deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(seek{start: specified(height), stop: specified(math.MaxUint64)}.envelope(t, s.user)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.network.GetContract("probe").SubmitTransaction("run", `[{"op":"PutState","key":"k","value":"v"}]`); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil || response.GetBlock().GetHeader().GetNumber() != height {
		t.Fatalf("got %v, %v, want block %d", response, err, height)
	}
	s.stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("when the server ends: %v, want Unavailable", err)
	}
}

// TestBlockEvents reads blocks with the Fabric Gateway's client.
func TestBlockEvents(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	blocks, err := s.network.BlockEvents(ctx, client.WithStartBlock(0))
	if err != nil {
		t.Fatal(err)
	}
	for number := range s.height(t) {
		if block, ok := <-blocks; !ok || block.GetHeader().GetNumber() != number {
			t.Fatalf("got %v, want block %d", block, number)
		}
	}
}

// TestGatewayChoice: the host that a client asks for says whose gateway answers; else it is the client's own.
func TestGatewayChoice(t *testing.T) {
	t.Parallel()
	s := start(t)
	for host, want := range map[string]string{
		"": "Org2MSP", "Org1MSP": "Org1MSP", "org1msp.example.com": "Org1MSP", "org2msp": "Org2MSP", "elsewhere.example.com": "Org2MSP",
	} {
		var options []grpc.DialOption
		if host != "" {
			options = append(options, grpc.WithAuthority(host))
		}
		_, err := s.dial(t, options...).GetContract("basic").SubmitTransaction("ReadAsset", "nothing")
		details := status.Convert(err).Details()
		if len(details) != 1 || details[0].(*pb.ErrorDetail).MspId != want {
			t.Errorf("host %q: details %v, want one of %s", host, details, want)
		}
	}
	if !slices.Contains(s.node.Organizations.Organizations(), "Org1MSP") {
		t.Error("the platform does not know Org1MSP")
	}
}
