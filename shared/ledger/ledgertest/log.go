package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

func testEmpty(f *fixture) {
	f.height("none", 0)
	f.noBlock("none", 0)
	names, err := f.store.Channels(f.ctx)
	if err != nil || len(names) != 0 {
		f.Fatalf("channels: got %q, %v, want none", names, err)
	}
	v := f.view("none")
	if got := v.Savepoint(); got != 0 {
		f.Errorf("savepoint: got %d, want 0", got)
	}
	f.items(v, "ns", map[string]*ledger.Item{"": nil, "k": nil})
	f.ranged(v, "ns", "", "", 10, nil)
	f.history(v, "ns", "k", ledger.Version{}, 10, nil)
	entries, err := v.Transactions(f.ctx, []string{"id", ""})
	if err != nil {
		f.Fatalf("transactions: %v", err)
	}
	f.diff("transactions", entries, []*ledger.TxEntry{nil, nil})
	if _, err := v.BlockByHash(f.ctx, []byte("hash")); !errors.Is(err, ledger.ErrNotFound) {
		f.Errorf("block by hash: got %v, want ErrNotFound", err)
	}
}

func testAppend(f *fixture) {
	for n := range uint64(12) {
		f.append("ch", block("ch", n), batch("ch", n))
		f.height("ch", n+1)
		f.apply("ch", batch("ch", n))
	}
	for n := range uint64(12) {
		f.block("ch", n, block("ch", n))
	}
	f.noBlock("ch", 12)
	f.noBlock("ch", ^uint64(0))
}

func testAppendConflict(f *fixture) {
	conflict := func(number uint64, block []byte) {
		f.Helper()
		b := batch("ch", number, put("ns", "loser", "x", at(number, 0)))
		b.Hash = []byte("the loser's hash, 32 bytes long.")
		if err := f.store.Append(f.ctx, "ch", block, b); !errors.Is(err, ledger.ErrConflict) {
			f.Fatalf("append block %d: got %v, want ErrConflict", number, err)
		}
	}
	conflict(1, block("ch", 1))
	conflict(^uint64(0), block("ch", 1))
	f.height("ch", 0)
	if names, err := f.store.Channels(f.ctx); err != nil || len(names) != 0 {
		f.Fatalf("channels after conflicts: got %q, %v, want none", names, err)
	}

	for n := range uint64(3) {
		f.commit("ch", block("ch", n), batch("ch", n))
	}
	for n := range uint64(3) {
		conflict(n, []byte("another"))
		conflict(n, nil)
		conflict(n, append(block("ch", n), 0))
		conflict(n, block("ch", n)[:5])
	}
	conflict(4, block("ch", 4))
	f.height("ch", 3)
	for n := range uint64(3) {
		f.block("ch", n, block("ch", n))
	}
	v := f.view("ch")
	f.items(v, "ns", map[string]*ledger.Item{"loser": nil})
	if _, err := v.BlockByHash(f.ctx, []byte("the loser's hash, 32 bytes long.")); !errors.Is(err, ledger.ErrNotFound) {
		f.Errorf("hash of a refused block: got %v, want ErrNotFound", err)
	}
}

func testAppendIdentical(f *fixture) {
	b := batch("ch", 0, put("ns", "k", "v", at(0, 0)))
	b.History = []ledger.Change{change("ns", "k", "v", at(0, 0))}
	f.commit("ch", block("ch", 0), b)
	f.commit("ch", block("ch", 1), batch("ch", 1, put("ns", "k", "later", at(1, 0))))
	f.append("ch", block("ch", 0), b)
	f.height("ch", 2)
	v := f.view("ch")
	f.items(v, "ns", map[string]*ledger.Item{"k": item("later", at(1, 0))})
	f.history(v, "ns", "k", ledger.Version{}, 10, b.History)
	f.append("ch", block("ch", 1), batch("ch", 1, put("ns", "k", "later", at(1, 0))))
	f.height("ch", 2)
}

func testAppendCancelled(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if err := f.store.Append(ctx, "ch", block("ch", 0), batch("ch", 0)); !errors.Is(err, context.Canceled) {
		f.Errorf("append: got %v, want context.Canceled", err)
	}
	f.height("ch", 0)
	f.append("ch", block("ch", 0), batch("ch", 0))
	if err := f.store.Apply(ctx, "ch", batch("ch", 0)); !errors.Is(err, context.Canceled) {
		f.Errorf("apply: got %v, want context.Canceled", err)
	}
	f.apply("ch", batch("ch", 0))
	f.savepoint("ch", 1)
}

func testConcurrentAppenders(f *fixture) {
	const appenders, blocks = 8, 15
	var mu sync.Mutex
	winners := make([][]string, blocks)
	batchOf := func(n uint64) *ledger.Batch {
		return batch("ch", n, put("ns", fmt.Sprintf("k%d", n), "v", at(n, 0)))
	}
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			for {
				n, err := f.store.Height(f.ctx, "ch")
				if err != nil {
					f.Errorf("height: %v", err)
					return
				}
				if n >= blocks {
					return
				}
				block := fmt.Sprintf("block %d of appender %d", n, a)
				switch err := f.store.Append(f.ctx, "ch", []byte(block), batchOf(n)); {
				case err == nil:
					mu.Lock()
					winners[n] = append(winners[n], block)
					mu.Unlock()
					if err := f.store.Apply(f.ctx, "ch", batchOf(n)); err != nil && n == 0 {
						f.Errorf("apply block 0: %v", err)
					}
				case !errors.Is(err, ledger.ErrConflict):
					f.Errorf("append block %d: %v", n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.height("ch", blocks)
	for n, w := range winners {
		if len(w) != 1 {
			f.Fatalf("block %d: got winners %q, want one", n, w)
		}
		f.block("ch", uint64(n), []byte(w[0]))
		f.apply("ch", batchOf(uint64(n))) // one that met a gap is applied here
	}
	want := make(map[string]*ledger.Item)
	for n := range uint64(blocks) {
		want[fmt.Sprintf("k%d", n)] = item("v", at(n, 0))
	}
	v := f.view("ch")
	f.items(v, "ns", want)
	if got := v.Savepoint(); got != blocks {
		f.Errorf("savepoint: got %d, want %d", got, blocks)
	}
}

func testConcurrentIdentical(f *fixture) {
	for n := range uint64(5) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				b := batch("ch", n, put("ns", "k", fmt.Sprint(n), at(n, 0)))
				if err := f.store.Append(f.ctx, "ch", block("ch", n), b); err != nil {
					f.Errorf("append block %d: %v", n, err)
				}
				if err := f.store.Apply(f.ctx, "ch", b); err != nil {
					f.Errorf("apply block %d: %v", n, err)
				}
			})
		}
		wg.Wait()
	}
	f.height("ch", 5)
	f.items(f.view("ch"), "ns", map[string]*ledger.Item{"k": item("4", at(4, 0))})
}

func testChannels(f *fixture) {
	names := []string{"a", "ab", "a.b", "a-b", "a/b", "b", "a\x00", "a\x00b", "a\x01", "aa", "ch1", "ch10", "ch2", "kanäle"}
	for i, name := range names {
		for n := range uint64(i%3 + 1) {
			b := batch(name, n, put("ns", "k", name, at(n, 0)), put("ns", "of "+name, "v", at(n, 0)))
			b.History = []ledger.Change{change("ns", "k", name, at(n, 0))}
			b.Txs = []ledger.TxEntry{entry("same id", at(n, uint64(i)), peer.TxValidationCode_VALID)}
			f.commit(name, block(name, n), b)
		}
	}
	check := func() {
		f.Helper()
		got, err := f.store.Channels(f.ctx)
		if err != nil {
			f.Fatalf("channels: %v", err)
		}
		f.diff("channels", got, slices.Sorted(slices.Values(names)))
		for i, name := range names {
			height := uint64(i%3 + 1)
			f.height(name, height)
			f.noBlock(name, height)
			v := f.view(name)
			if got := v.Savepoint(); got != height {
				f.Errorf("savepoint of %q: got %d, want %d", name, got, height)
			}
			f.ranged(v, "ns", "", "", 10, []ledger.KV{
				{Key: "k", Item: item(name, at(height-1, 0))},
				{Key: "of " + name, Item: item("v", at(height-1, 0))},
			})
			var changes []ledger.Change
			for n := range height {
				f.block(name, n, block(name, n))
				changes = append([]ledger.Change{change("ns", "k", name, at(n, 0))}, changes...)
				if got, err := v.BlockByHash(f.ctx, blockHash(name, n)); err != nil || got != n {
					f.Errorf("block by hash: got %d, %v, want %d", got, err, n)
				}
			}
			f.history(v, "ns", "k", ledger.Version{}, 10, changes)
			entries, err := v.Transactions(f.ctx, []string{"same id"})
			if err != nil {
				f.Fatalf("transactions: %v", err)
			}
			want := entry("same id", at(0, uint64(i)), peer.TxValidationCode_VALID)
			f.diff("transactions", entries, []*ledger.TxEntry{&want})
			if _, err := v.BlockByHash(f.ctx, blockHash("x"+name, 0)); !errors.Is(err, ledger.ErrNotFound) {
				f.Errorf("hash of another channel: got %v, want ErrNotFound", err)
			}
		}
	}
	check()
	if f.caps.Persistent {
		f.reopen()
		check()
	}
}

func testLargeBlock(f *fixture) {
	large := make([]byte, 10<<20)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(large)
	other := bytes.Clone(large)
	other[len(other)-1] ^= 1
	f.commit("ch", nil, batch("ch", 0))
	f.commit("ch", large, batch("ch", 1))
	f.append("ch", large, batch("ch", 1))
	if err := f.store.Append(f.ctx, "ch", other, batch("ch", 1)); !errors.Is(err, ledger.ErrConflict) {
		f.Errorf("append of a block that differs in its last byte: got %v, want ErrConflict", err)
	}
	f.commit("ch", []byte("after"), batch("ch", 2))
	f.block("ch", 0, nil)
	f.block("ch", 1, large)
	f.block("ch", 2, []byte("after"))
}

func testArgumentsNotKept(f *fixture) {
	make := func() ([]byte, *ledger.Batch) {
		b := batch("ch", 0, put("ns", "k", "value", at(0, 1)), del("ns", "d"))
		b.Writes[0].Item.Metadata = []byte("metadata")
		b.History = []ledger.Change{change("ns", "k", "value", at(0, 1)), deletion("ns", "d", at(0, 1))}
		b.Txs = []ledger.TxEntry{entry("id", at(0, 1), peer.TxValidationCode_MVCC_READ_CONFLICT)}
		return block("ch", 0), b
	}
	given, b := make()
	f.append("ch", given, b)
	wantBlock, want := make()
	f.diff("block after Append", given, wantBlock)
	f.diff("batch after Append", b, want)
	spoil := func(b *ledger.Batch) {
		copy(b.Hash, "spoilt")
		copy(b.Writes[0].Item.Value, "spoilt")
		copy(b.Writes[0].Item.Metadata, "spoilt")
		copy(b.History[0].Value, "spoilt")
		b.Writes[0].Item.Version = at(9, 9)
		b.History[0].TxID = "spoilt"
		b.Txs[0].Code = peer.TxValidationCode_VALID
	}
	copy(given, "spoilt")
	spoil(b)
	_, b = make()
	f.apply("ch", b)
	f.diff("batch after Apply", b, want)
	spoil(b)

	for range 2 { // the second time after spoiling what the first returned
		v := f.view("ch")
		f.block("ch", 0, wantBlock)
		f.items(v, "ns", map[string]*ledger.Item{"k": want.Writes[0].Item})
		f.ranged(v, "ns", "", "", 10, []ledger.KV{{Key: "k", Item: want.Writes[0].Item}})
		f.history(v, "ns", "k", ledger.Version{}, 10, want.History[:1])
		entries, err := v.Transactions(f.ctx, []string{"id"})
		if err != nil {
			f.Fatalf("transactions: %v", err)
		}
		f.diff("transactions", entries, []*ledger.TxEntry{&want.Txs[0]})

		if got, err := f.store.Block(f.ctx, "ch", 0); err == nil {
			copy(got, "spoilt")
		}
		if got, err := v.Get(f.ctx, "ns", []string{"k"}); err == nil {
			copy(got[0].Value, "spoilt")
			copy(got[0].Metadata, "spoilt")
			got[0].Version = at(9, 9)
		}
		if got, err := v.Range(f.ctx, "ns", "", "", 1); err == nil {
			copy(got[0].Item.Value, "spoilt")
		}
		if got, err := v.History(f.ctx, "ns", "k", ledger.Version{}, 1); err == nil {
			copy(got[0].Value, "spoilt")
		}
		entries[0].Code = peer.TxValidationCode_VALID
	}
}

func testReopen(f *fixture) {
	written := func(n uint64) *ledger.Batch {
		b := batch("ch", n, put("ns", "k", fmt.Sprint(n), at(n, 0)), put("ns", fmt.Sprintf("k%d", n), "v", at(n, 1)))
		b.History = []ledger.Change{change("ns", "k", fmt.Sprint(n), at(n, 0))}
		b.Txs = []ledger.TxEntry{entry(txID(at(n, 0)), at(n, 0), peer.TxValidationCode_VALID)}
		return b
	}
	for n := range uint64(4) {
		f.commit("ch", block("ch", n), written(n))
	}
	f.append("ch", block("ch", 4), written(4))
	f.reopen()
	if !f.caps.Persistent {
		testEmpty(f)
		return
	}
	f.height("ch", 5)
	f.apply("ch", written(4))
	f.savepoint("ch", 5)
	f.commit("ch", block("ch", 5), written(5))
	f.reopen()
	v := f.view("ch")
	var changes []ledger.Change
	for n := range uint64(6) {
		f.block("ch", n, block("ch", n))
		if got, err := v.BlockByHash(f.ctx, blockHash("ch", n)); err != nil || got != n {
			f.Errorf("block by hash: got %d, %v, want %d", got, err, n)
		}
		f.items(v, "ns", map[string]*ledger.Item{"k": item("5", at(5, 0)), fmt.Sprintf("k%d", n): item("v", at(n, 1))})
		changes = append(written(n).History, changes...)
		entries, err := v.Transactions(f.ctx, []string{txID(at(n, 0))})
		if err != nil || !cmp.Equal(entries, []*ledger.TxEntry{&written(n).Txs[0]}) {
			f.Errorf("transaction of block %d: got %v, %v", n, entries, err)
		}
	}
	f.history(v, "ns", "k", ledger.Version{}, 10, changes)
	if err := f.store.Append(f.ctx, "ch", []byte("another"), batch("ch", 5)); !errors.Is(err, ledger.ErrConflict) {
		f.Errorf("append of another block 5: got %v, want ErrConflict", err)
	}
}
