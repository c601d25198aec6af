package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// TestFollow: a ledger that is given the blocks of another comes to the same state, also if it is opened anew in between.
func TestFollow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	for i := range 8 {
		f.commitOne(fmt.Sprint("k", i%3))
	}
	height, err := f.channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store := mem.New(mem.Config{})
	for from := uint64(0); from < height; from += 4 {
		own, follower := follow(t, store, f)
		if follower.Height() != from {
			t.Fatalf("it goes on at %d, want %d", follower.Height(), from)
		}
		for n := from; n < min(from+4, height); n++ {
			raw, err := f.store.Block(t.Context(), "test", n)
			if err != nil {
				t.Fatal(err)
			}
			if err := follower.Add(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
		}
		channel, err := own.Channel(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := channel.Height(t.Context()); got != follower.Height() {
			t.Errorf("the channel has %d blocks, its follower %d", got, follower.Height())
		}
		view, err := channel.View(t.Context())
		if err != nil || view.Savepoint() != follower.Height() {
			t.Fatalf("view: %v", err)
		}
		view.Close()
		if err := own.Close(); err != nil {
			t.Fatal(err)
		}
	}
	audit := ledger.Audit{Store: store, Channel: "test", Scratch: mem.New(mem.Config{})}
	if report, err := audit.Run(t.Context()); err != nil || report.Blocks != height {
		t.Errorf("audit of what was followed: %+v, %v", report, err)
	}
}

func follow(t *testing.T, store ledger.Store, f *fixture) (*ledger.Ledger, *ledger.Follower) {
	t.Helper()
	own, err := ledger.Open(ledger.Config{Store: store, Signer: f.peers["Org2MSP"]})
	if err != nil {
		t.Fatal(err)
	}
	follower, err := own.Follow(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return own, follower
}

// TestFollowRefuses: of a chain that does not hold nothing is taken from there on.
func TestFollowRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	for i := range 4 {
		f.commitOne(fmt.Sprint(i))
	}
	for name, test := range map[string]struct {
		lie  func(block *common.Block)
		want string
	}{
		"another verdict": {func(b *common.Block) {
			wire.SetValidationCodes(b, []peer.TxValidationCode{peer.TxValidationCode_MVCC_READ_CONFLICT})
		}, "transaction 0 (%s) is recorded as MVCC_READ_CONFLICT and is VALID"},
		"another past":      {func(b *common.Block) { b.Header.PreviousHash[0] ^= 1 }, "previous hash is"},
		"no signature":      {func(b *common.Block) { b.Metadata.Metadata[common.BlockMetadataIndex_SIGNATURES] = nil }, "it is not signed as the channel's policy for blocks demands"},
		"other data":        {func(b *common.Block) { b.Data.Data[0][9] ^= 1 }, "data hash"},
		"a number left out": {func(b *common.Block) { b.Header.Number++ }, "it says it is block 4"},
		"another state":     {func(b *common.Block) { b.Metadata.Metadata[common.BlockMetadataIndex_COMMIT_HASH] = nil }, "commit hash"},
	} {
		own, follower := follow(t, mem.New(mem.Config{}), f)
		var err error
		for n := uint64(0); n < 5 && err == nil; n++ {
			block, readErr := f.channel.Block(t.Context(), n)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if n == 3 {
				test.want = strings.ReplaceAll(test.want, "%s", mustEnvelope(t, block).TxID)
				test.lie(block)
			}
			raw, marshalErr := proto.Marshal(block)
			if marshalErr != nil {
				t.Fatal(marshalErr)
			}
			err = follower.Add(t.Context(), raw)
		}
		if !errors.Is(err, ledger.ErrAudit) || !strings.Contains(err.Error(), "channel test: block 3: ") || !strings.Contains(err.Error(), test.want) || follower.Height() != 3 {
			t.Errorf("%s: height %d, %v; want %s", name, follower.Height(), err, test.want)
		}
		good, readErr := f.store.Block(t.Context(), "test", 3)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if again := follower.Add(t.Context(), good); !errors.Is(again, ledger.ErrAudit) {
			t.Errorf("%s: after the lie, the right block: %v", name, again)
		}
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}
}

func mustEnvelope(t *testing.T, block *common.Block) *wire.Transaction {
	t.Helper()
	tx, _ := wire.ParseEnvelope(block.Data.Data[0])
	if tx == nil {
		t.Fatal("no transaction")
	}
	return tx
}
