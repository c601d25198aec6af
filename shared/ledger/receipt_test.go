package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/receipt"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// treeWrite writes where the hashes of block 0 are.
func treeWrite() *wire.RWSet {
	return rwset(ledger.TreeNamespace, &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "0000000000000000", Value: []byte("x")}}})
}

// commitOne commits a transaction and returns its id.
func (f *fixture) commitOne(key string) string {
	f.t.Helper()
	s := f.sign(transaction{set: put(key, "v")})
	if v := f.submit(s); v.Code != peer.TxValidationCode_VALID {
		f.t.Fatalf("got %s", v.Code)
	}
	return wireID(f.t, s)
}

func (f *fixture) verifierKey() string {
	f.t.Helper()
	key, err := f.channel.VerifierKey(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return key
}

// TestReceipts: each transaction of a growing chain has a receipt at every height, and the checkpoint of each height goes on from
// those before: RFC 6962's proofs of consistency are for trees that grow alike, so roots computed from the blocks must be equal.
func TestReceipts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	var ids []string
	var log receipt.Tree // over the blocks, apart from the ledger
	for range 20 {
		ids = append(ids, f.commitOne(fmt.Sprint("k", len(ids))))
		height, err := f.channel.Height(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := log.Size(); n < height; n++ {
			block, err := f.channel.Block(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := receipt.TreeOf(block)
			if err != nil {
				t.Fatal(err)
			}
			root, err := tree.Root()
			if err != nil {
				t.Fatal(err)
			}
			if err := log.Add(receipt.BlockHash(block.Header, tree.Size(), root)); err != nil {
				t.Fatal(err)
			}
		}
		signed, err := f.channel.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkpoint, err := receipt.OpenCheckpoint(signed, f.verifierKey())
		if err != nil {
			t.Fatal(err)
		}
		if root, err := log.Root(); err != nil || checkpoint.Root != root || checkpoint.Size != height {
			t.Errorf("checkpoint of %d with root %s, want %d with %s (%v)", checkpoint.Size, checkpoint.Root, height, root, err)
		}
		for _, id := range ids {
			r, err := f.channel.Receipt(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if err := receipt.Verify(r, f.verifierKey()); err != nil || r.TransactionID != id {
				t.Errorf("%s: got the receipt of %s, %v", id, r.TransactionID, err)
			}
		}
	}
}

func TestReceiptRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	if _, err := f.channel.Receipt(t.Context(), "none"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown transaction: got %v", err)
	}
	silent, err := ledger.Open(ledger.Config{Store: f.store, Signer: f.orderer})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	channel, err := silent.Channel(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := channel.Receipt(t.Context(), f.commitOne("k"))
	_, err2 := channel.Checkpoint(t.Context())
	_, err3 := channel.VerifierKey(t.Context())
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, ledger.ErrNoCheckpoints) {
			t.Errorf("without a key: got %v", err)
		}
	}
}

// TestReceiptOfUnappliedBlocks: a block counts when it is in the log, and so do receipts, also while the state lags behind. The
// log goes on over it.
func TestReceiptOfUnappliedBlocks(t *testing.T) {
	t.Parallel()
	for _, loose := range []bool{false, true} {
		var failing atomic.Bool
		f := newFixture(t, mem.Config{SeparateApply: true, Loose: loose, Hook: func(w mem.Write) mem.Outcome {
			if failing.Load() && (w.Op == mem.OpApply || w.Op == mem.OpSavepoint) {
				return mem.FailNotApplied
			}
			return mem.Proceed
		}})
		before := f.commitOne("before")
		failing.Store(true)
		ids := []string{before, f.commitOne("a"), f.commitOne("b"), f.commitOne("c")}
		check := func() {
			t.Helper()
			for _, id := range ids {
				r, err := f.channel.Receipt(t.Context(), id)
				if err != nil {
					t.Errorf("loose %v: %v", loose, err)
				} else if err := receipt.Verify(r, f.verifierKey()); err != nil {
					t.Errorf("loose %v: %v", loose, err)
				}
			}
		}
		view, err := f.store.View(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		height, err := f.channel.Height(t.Context())
		if err != nil || view.Savepoint()+3 != height {
			t.Errorf("the state has %d of %d blocks (%v), want 3 fewer", view.Savepoint(), height, err)
		}
		view.Close()
		check()
		failing.Store(false)
		ids = append(ids, f.commitOne("after"))
		check()
	}
}

// TestReceiptsWhileCommitting: a receipt and its checkpoint are of one height, whatever else happens.
func TestReceiptsWhileCommitting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{Loose: true, SeparateApply: true})
	id := f.commitOne("first")
	key := f.verifierKey()
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				r, err := f.channel.Receipt(context.Background(), id)
				if err != nil {
					t.Error(err)
				} else if err := receipt.Verify(r, key); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 30 {
		f.commitOne(fmt.Sprint("k", i))
	}
	close(done)
	readers.Wait()
}

// TestTreeNamespaceIsReserved: no transaction writes where the log's hashes are, not even if its name is defined as a chaincode's.
func TestTreeNamespaceIsReserved(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	f.define(ledger.TreeNamespace, "OR('Org1MSP.peer','Org2MSP.peer')", 1)
	for name, tx := range map[string]transaction{
		"its own":   {chaincode: ledger.TreeNamespace, set: treeWrite()},
		"another's": {set: treeWrite()},
	} {
		if v := f.submit(f.sign(tx)); v.Code != peer.TxValidationCode_INVALID_CHAINCODE || !v.Recorded {
			t.Errorf("%s: got %+v", name, v)
		}
	}
	block := wire.NewBlock(0, nil, [][]byte{f.sign(transaction{set: treeWrite()}).Envelope})
	wire.SetValidationCodes(block, []peer.TxValidationCode{peer.TxValidationCode_VALID})
	view, err := mem.New(mem.Config{}).View(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if _, err := ledger.BatchOf(t.Context(), view, block); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("a block that says it did: got %v", err)
	}
}

// copyChain puts the fixture's chain into another store, with what change makes of its batches.
func (f *fixture) copyChain(change func(*ledger.Batch)) *mem.Store {
	f.t.Helper()
	ctx := f.t.Context()
	height, err := f.channel.Height(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	good, other := mem.New(mem.Config{}), mem.New(mem.Config{})
	for n := range height {
		block, err := f.channel.Block(ctx, n)
		if err != nil {
			f.t.Fatal(err)
		}
		raw, err := f.channel.RawBlock(ctx, n)
		if err != nil {
			f.t.Fatal(err)
		}
		view, err := good.View(ctx, "test")
		if err != nil {
			f.t.Fatal(err)
		}
		batch, err := ledger.BatchOf(ctx, view, block)
		if err != nil {
			f.t.Fatal(err)
		}
		view.Close()
		if err := good.Append(ctx, "test", raw, batch); err != nil {
			f.t.Fatal(err)
		}
		change(batch)
		if err := other.Append(ctx, "test", raw, batch); err != nil {
			f.t.Fatal(err)
		}
	}
	return other
}

// TestAuditOfLog: the audit compares the log's hashes with those that the blocks give, and a receipt from a damaged log is not
// handed out.
func TestAuditOfLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	id := f.commitOne("a")
	entry, err := f.channel.Entry(t.Context(), f.commitOne("b")) // the proof of a takes the hash of this block
	if err != nil {
		t.Fatal(err)
	}
	tree := func(w ledger.Write) bool { return w.Namespace == ledger.TreeNamespace }
	for name, change := range map[string]func(*ledger.Batch){
		"untouched": nil,
		"a flipped bit": func(b *ledger.Batch) {
			value := &b.Writes[slices.IndexFunc(b.Writes, tree)].Item.Value
			*value = bytes.Clone(*value)
			(*value)[5] ^= 1
		},
		"left out": func(b *ledger.Batch) { b.Writes = slices.DeleteFunc(b.Writes, tree) },
		"cut short": func(b *ledger.Batch) {
			value := &b.Writes[slices.IndexFunc(b.Writes, tree)].Item.Value
			*value = (*value)[:tlog.HashSize-1]
		},
	} {
		store := f.copyChain(func(b *ledger.Batch) {
			if change != nil && b.Block == entry.Version.Block {
				change(b)
			}
		})
		audit := ledger.Audit{Store: store, Channel: "test", Scratch: mem.New(mem.Config{})}
		_, err := audit.Run(t.Context())
		if want := change != nil; errors.Is(err, ledger.ErrAudit) != want || !want && err != nil {
			t.Errorf("%s: audit: got %v", name, err)
		}
		l, err := ledger.Open(ledger.Config{Store: store, Signer: f.orderer, CheckpointKey: checkpointKey})
		if err != nil {
			t.Fatal(err)
		}
		channel, err := l.Channel(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := channel.Receipt(t.Context(), id); errors.Is(err, ledger.ErrDamaged) != (change != nil) {
			t.Errorf("%s: receipt: got %v", name, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// blocksOnly is a chain without a state.
type blocksOnly struct{ ledger.Log }

// TestAuditOfChain: blocks alone are judged as strictly, and give the log's root at any size.
func TestAuditOfChain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	for i := range 5 {
		f.commitOne(fmt.Sprint(i))
	}
	scratch := mem.New(mem.Config{})
	audit := ledger.Audit{Chain: blocksOnly{f.store}, Channel: "test", Scratch: scratch}
	report, err := audit.Run(t.Context())
	if err != nil || report.Blocks != 7 || report.Keys != 0 {
		t.Fatalf("got %+v, %v", report, err)
	}
	signed, err := f.channel.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := receipt.OpenCheckpoint(signed, f.verifierKey())
	if err != nil {
		t.Fatal(err)
	}
	view, err := scratch.View(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if root, err := ledger.LogRoot(t.Context(), view, 7); err != nil || root != checkpoint.Root {
		t.Errorf("root: got %v, %v, want %v", root, err, checkpoint.Root)
	}
	if _, err := ledger.LogRoot(t.Context(), view, 8); err == nil {
		t.Error("a root of more blocks than there are")
	}
	tampered := &changedChain{Log: f.store, number: 4}
	audit = ledger.Audit{Chain: tampered, Channel: "test", Scratch: mem.New(mem.Config{})}
	if _, err := audit.Run(t.Context()); !errors.Is(err, ledger.ErrAudit) {
		t.Errorf("another verdict in block 4: got %v", err)
	}
}

// changedChain is a chain in which one block says that its transaction is invalid.
type changedChain struct {
	ledger.Log
	number uint64
}

func (c *changedChain) Block(ctx context.Context, channel string, number uint64) ([]byte, error) {
	raw, err := c.Log.Block(ctx, channel, number)
	if err != nil || number != c.number {
		return raw, err
	}
	block, err := wire.ParseBlock(raw)
	if err != nil {
		return nil, err
	}
	wire.SetValidationCodes(block, []peer.TxValidationCode{peer.TxValidationCode_MVCC_READ_CONFLICT})
	return proto.Marshal(block)
}
