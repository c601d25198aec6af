package ledgertest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

// full is a batch with something of each kind.
func full(n uint64) *ledger.Batch {
	b := batch("ch", n, put("ns", "k", fmt.Sprint(n), at(n, 0)), put("ns", fmt.Sprintf("k%d", n), "v", at(n, 1)), del("ns", fmt.Sprintf("k%d", n-2)))
	b.History = []ledger.Change{change("ns", "k", fmt.Sprint(n), at(n, 0)), deletion("ns", "d", at(n, 1))}
	b.Txs = []ledger.TxEntry{entry(txID(at(n, 0)), at(n, 0), peer.TxValidationCode_VALID), entry("every block", at(n, 1), peer.TxValidationCode_VALID)}
	return b
}

// checkFull checks what a view shows after the first blocks batches of full.
func (f *fixture) checkFull(v ledger.View, blocks uint64) {
	f.Helper()
	want := map[string]*ledger.Item{"k": item(fmt.Sprint(blocks-1), at(blocks-1, 0))}
	var changes, deletions []ledger.Change
	var ids []string
	var entries []*ledger.TxEntry
	for n := range blocks {
		key := fmt.Sprintf("k%d", n)
		if want[key] = item("v", at(n, 1)); n+2 < blocks {
			want[key] = nil
		}
		b := full(n)
		changes = append([]ledger.Change{b.History[0]}, changes...)
		deletions = append([]ledger.Change{b.History[1]}, deletions...)
		ids, entries = append(ids, b.Txs[0].TxID), append(entries, &b.Txs[0])
		if got, err := v.BlockByHash(f.ctx, b.Hash); err != nil || got != n {
			f.Errorf("block by hash: got %d, %v, want %d", got, err, n)
		}
	}
	f.items(v, "ns", want)
	f.history(v, "ns", "k", ledger.Version{}, 1000, changes)
	f.history(v, "ns", "d", ledger.Version{}, 1000, deletions)
	got, err := v.Transactions(f.ctx, append(ids, "every block"))
	if err != nil {
		f.Fatalf("transactions: %v", err)
	}
	f.diff("transactions", got, append(entries, &full(0).Txs[1]))
	if got := v.Savepoint(); got != blocks {
		f.Errorf("savepoint: got %d, want %d", got, blocks)
	}
}

func testSavepoint(f *fixture) {
	const blocks = 4
	for n := range uint64(blocks) {
		f.append("ch", block("ch", n), full(n))
	}
	f.height("ch", blocks)
	if f.caps.AppendApplies {
		f.checkFull(f.view("ch"), blocks)
	} else {
		v := f.view("ch")
		if got := v.Savepoint(); got != 0 {
			f.Errorf("savepoint before Apply: got %d, want 0", got)
		}
		f.items(v, "ns", map[string]*ledger.Item{"k": nil, "k0": nil})
		f.ranged(v, "ns", "", "", 10, nil)
	}
	for n := range uint64(blocks) {
		f.apply("ch", full(n))
		if f.caps.AppendApplies {
			f.checkFull(f.view("ch"), blocks)
		} else {
			f.checkFull(f.view("ch"), n+1)
		}
		f.height("ch", blocks)
	}
}

func testApplyRepeated(f *fixture) {
	const blocks = 5
	for n := range uint64(blocks) {
		f.commit("ch", block("ch", n), full(n))
		f.apply("ch", full(n))
	}
	for n := range uint64(blocks) {
		f.apply("ch", full(n))
		f.checkFull(f.view("ch"), blocks)
	}
	if f.caps.Persistent {
		f.reopen()
		f.apply("ch", full(0))
		f.checkFull(f.view("ch"), blocks)
	}
}

// testApplyInterrupted cancels Apply at whatever point a context that dies after some looks at it reaches, then repeats.
func testApplyInterrupted(f *fixture) {
	const blocks = 24
	for n := range uint64(blocks) {
		f.append("ch", block("ch", n), full(n))
		ctx := &dyingContext{Context: f.ctx}
		ctx.looks.Store(int64(n))
		if err := f.store.Apply(ctx, "ch", full(n)); err != nil && ctx.looks.Load() >= 0 {
			f.Fatalf("apply block %d: %v", n, err)
		}
		f.apply("ch", full(n))
		f.checkFull(f.view("ch"), n+1)
	}
}

// dyingContext is cancelled once it has been asked looks times.
type dyingContext struct {
	context.Context
	looks atomic.Int64
}

func (c *dyingContext) Err() error {
	if c.looks.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func testApplyGap(f *fixture) {
	if err := f.store.Apply(f.ctx, "ch", full(1)); err == nil {
		f.Errorf("apply of block 1 to no channel: no error")
	}
	for n := range uint64(3) {
		f.append("ch", block("ch", n), full(n))
	}
	f.apply("ch", full(0))
	if !f.caps.AppendApplies {
		if err := f.store.Apply(f.ctx, "ch", full(2)); err == nil {
			f.Errorf("apply of block 2 after block 0: no error")
		}
		f.checkFull(f.view("ch"), 1)
	}
	f.apply("ch", full(1))
	f.apply("ch", full(2))
	if err := f.store.Apply(f.ctx, "ch", full(4)); err == nil {
		f.Errorf("apply of block 4 after block 2: no error")
	}
	f.checkFull(f.view("ch"), 3)
}

func testViews(f *fixture) {
	const blocks = 6
	var views []ledger.View
	views = append(views, f.view("ch"))
	for n := range uint64(blocks) {
		f.commit("ch", block("ch", n), full(n))
		v := f.view("ch")
		if got := v.Savepoint(); got != n+1 {
			f.Errorf("savepoint: got %d, want %d", got, n+1)
		}
		views = append(views, v)
	}
	for n, v := range views {
		if got := v.Savepoint(); got != uint64(n) {
			f.Errorf("savepoint of an older view: got %d, want %d", got, n)
		}
		switch {
		case f.caps.FixedViews && n == 0:
			f.items(v, "ns", map[string]*ledger.Item{"k": nil, "k5": nil})
			f.ranged(v, "ns", "", "", 10, nil)
			f.history(v, "ns", "k", ledger.Version{}, 10, nil)
		case f.caps.FixedViews:
			f.checkFull(v, uint64(n))
		}
	}
	closed, err := f.store.View(f.ctx, "ch")
	if err != nil {
		f.Fatalf("view: %v", err)
	}
	if err := closed.Close(); err != nil {
		f.Errorf("close view: %v", err)
	}
	if _, err := closed.Get(f.ctx, "ns", []string{"k"}); err == nil {
		f.Errorf("get from a closed view: no error")
	}
}

// testViewsAndWriters reads whole blocks through views while blocks are committed: a fixed view never shows part of one.
func testViewsAndWriters(f *fixture) {
	const blocks, keys, readers = 30, 10, 3
	batchOf := func(n uint64) *ledger.Batch {
		b := batch("ch", n)
		for k := range keys {
			b.Writes = append(b.Writes, put("ns", fmt.Sprintf("k%d", k), fmt.Sprint(n), at(n, 0)))
		}
		return b
	}
	f.commit("ch", block("ch", 0), batchOf(0))
	var done atomic.Bool
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for !done.Load() {
				v, err := f.store.View(f.ctx, "ch")
				if err != nil {
					f.Errorf("view: %v", err)
					return
				}
				rows, err := v.Range(f.ctx, "ns", "", "", 100)
				if err != nil || len(rows) != keys {
					f.Errorf("range: got %d rows, %v", len(rows), err)
					return
				}
				for _, r := range rows {
					exact, last := string(r.Item.Value) == fmt.Sprint(r.Item.Version.Block), v.Savepoint()-1
					if !exact || r.Item.Version.Block < last || (v.Fixed() && r.Item.Version.Block != last) {
						f.Errorf("view at savepoint %d shows %q of block %d", last+1, r.Item.Value, r.Item.Version.Block)
						return
					}
				}
				if err := v.Close(); err != nil {
					f.Errorf("close view: %v", err)
				}
			}
		})
	}
	for n := uint64(1); n < blocks; n++ {
		f.commit("ch", block("ch", n), batchOf(n))
	}
	done.Store(true)
	wg.Wait()
}
