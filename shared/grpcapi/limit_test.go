package grpcapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"peerless/shared/grpcapi"
)

// eventually repeats a call until it ends with a code.
func eventually(t *testing.T, want codes.Code, call func() error) error {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := call()
		if status.Code(err) == want {
			return err
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v, want %s", err, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestTooManyCalls: the call over the limit is refused in Fabric's words, streams are not, and when a call has ended another may begin.
func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	const calls = 2
	s := start(t, func(c *grpcapi.Config) { c.MaxCalls = calls })
	contract := s.network.GetContract("basic")
	if _, err := contract.SubmitTransaction("InitLedger"); err != nil {
		t.Fatal(err)
	}
	// A transaction that is endorsed and not submitted has no status: who asks for it waits.
	proposal, err := contract.NewProposal("DeleteAsset", client.WithArguments("asset1"))
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithCancel(t.Context())
	ended := make(chan error, calls)
	for range calls {
		go func() {
			for {
				_, err := s.commitStatus(waiting, proposal.TransactionID())
				if status.Code(err) != codes.ResourceExhausted { // else a call below was there first
					ended <- err
					return
				}
			}
		}()
	}
	evaluate := func() error {
		_, err := contract.EvaluateTransaction("ReadAsset", "asset1")
		return err
	}
	err = eventually(t, codes.ResourceExhausted, evaluate)
	if got := status.Convert(err).Message(); got != "too many requests for /gateway.Gateway/Evaluate, exceeding concurrency limit (2)" {
		t.Errorf("message: %s", got)
	}
	blocks, err := s.network.BlockEvents(t.Context(), client.WithStartBlock(0))
	if err != nil {
		t.Fatal(err)
	}
	if block := <-blocks; block == nil {
		t.Error("streams are refused, too")
	}
	cancel()
	for range calls {
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("a call under way: %v", err)
		}
	}
	_ = eventually(t, codes.OK, evaluate)
}

// TestTooManyStreams: the same for streams.
func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	const streams = 3
	s := start(t, func(c *grpcapi.Config) { c.MaxStreams = streams })
	first := func(ctx context.Context) error {
		stream, err := s.deliver(ctx, seek{start: oldest(), stop: specified(1 << 40)}.envelope(t, s.user))
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range streams {
		if err := first(ctx); err != nil {
			t.Fatalf("stream %d: %v", i+1, err)
		}
	}
	err := first(t.Context())
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "too many requests for /protos.Deliver/Deliver, exceeding concurrency limit (3)" {
		t.Errorf("one stream too many: %v", err)
	}
	if _, err := s.network.GetContract("basic").SubmitTransaction("InitLedger"); err != nil {
		t.Errorf("a call beside the streams: %v", err)
	}
	cancel()
	_ = eventually(t, codes.OK, func() error { return first(t.Context()) })
}
