// Package ledgertest is the conformance suite that every ledger.Store passes. It has one entry point, so that no store
// picks its tests: in what stores may differ is declared as Capabilities, and the suite checks that the declaration is true.
package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

// Capabilities says in what a store differs from others within the contract.
type Capabilities struct {
	Persistent    bool // a store closed and opened again with the same dir has everything
	FixedViews    bool // View.Fixed is true
	AppendApplies bool // Append makes the batch visible itself: the savepoint is always the height
	Ages          bool // Unstage forgets what was staged below a height; else time does

	Staged ledger.StagedLimits // of the sets that wait, some MB; zero if there are none
}

// Open opens the store that belongs to dir, an empty directory at first. A store that keeps its data elsewhere takes dir
// as a name. The suite closes what it opened.
type Open func(t *testing.T, dir string) ledger.Store

// TestStore runs the suite. Each test opens its own store.
func TestStore(t *testing.T, c Capabilities, open Open) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Empty", testEmpty},
		{"Append", testAppend},
		{"AppendConflict", testAppendConflict},
		{"AppendIdentical", testAppendIdentical},
		{"AppendCancelled", testAppendCancelled},
		{"ConcurrentAppenders", testConcurrentAppenders},
		{"ConcurrentIdentical", testConcurrentIdentical},
		{"Channels", testChannels},
		{"LargeBlock", testLargeBlock},
		{"ArgumentsNotKept", testArgumentsNotKept},
		{"Reopen", testReopen},
		{"Items", testItems},
		{"Namespaces", testNamespaces},
		{"OddKeys", testOddKeys},
		{"LongKeys", testLongKeys},
		{"RangeLimits", testRangeLimits},
		{"LargeValues", testLargeValues},
		{"History", testHistory},
		{"HistoryTimes", testHistoryTimes},
		{"Transactions", testTransactions},
		{"BlockByHash", testBlockByHash},
		{"ReadCancelled", testReadCancelled},
		{"Savepoint", testSavepoint},
		{"ApplyRepeated", testApplyRepeated},
		{"ApplyInterrupted", testApplyInterrupted},
		{"ApplyGap", testApplyGap},
		{"Staged", testStaged},
		{"StagedLimits", testStagedLimits},
		{"Private", testPrivate},
		{"Views", testViews},
		{"ViewsAndWriters", testViewsAndWriters},
		{"Random", testRandom},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{T: t, ctx: t.Context(), caps: c, open: open, dir: t.TempDir()}
			f.reopen()
			t.Cleanup(func() {
				if err := f.store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(f)
		})
	}
}

// fixture is one test's store.
type fixture struct {
	*testing.T
	ctx   context.Context
	caps  Capabilities
	open  Open
	dir   string
	store ledger.Store
}

// reopen closes the store, if it is open, and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	if f.store != nil {
		if err := f.store.Close(); err != nil {
			f.Fatalf("close: %v", err)
		}
	}
	f.store = f.open(f.T, f.dir)
}

// commit appends the block and applies its batch.
func (f *fixture) commit(channel string, block []byte, b *ledger.Batch) {
	f.Helper()
	f.append(channel, block, b)
	f.apply(channel, b)
}

func (f *fixture) append(channel string, block []byte, b *ledger.Batch) {
	f.Helper()
	if err := f.store.Append(f.ctx, channel, block, b); err != nil {
		f.Fatalf("append block %d to %q: %v", b.Block, channel, err)
	}
}

func (f *fixture) apply(channel string, b *ledger.Batch) {
	f.Helper()
	if err := f.store.Apply(f.ctx, channel, b); err != nil {
		f.Fatalf("apply block %d to %q: %v", b.Block, channel, err)
	}
}

// view opens a view that is closed with the test, before the store.
func (f *fixture) view(channel string) ledger.View {
	f.Helper()
	v, err := f.store.View(f.ctx, channel)
	if err != nil {
		f.Fatalf("view of %q: %v", channel, err)
	}
	if got, want := v.Fixed(), f.caps.FixedViews; got != want {
		f.Fatalf("fixed view: got %v, want %v as declared", got, want)
	}
	f.Cleanup(func() {
		if err := v.Close(); err != nil {
			f.Errorf("close view: %v", err)
		}
	})
	return v
}

func (f *fixture) height(channel string, want uint64) {
	f.Helper()
	got, err := f.store.Height(f.ctx, channel)
	if err != nil || got != want {
		f.Fatalf("height of %q: got %d, %v, want %d", channel, got, err, want)
	}
}

func (f *fixture) savepoint(channel string, want uint64) {
	f.Helper()
	if got := f.view(channel).Savepoint(); got != want {
		f.Fatalf("savepoint of %q: got %d, want %d", channel, got, want)
	}
}

func (f *fixture) block(channel string, number uint64, want []byte) {
	f.Helper()
	got, err := f.store.Block(f.ctx, channel, number)
	if err != nil {
		f.Fatalf("block %d of %q: %v", number, channel, err)
	}
	if !bytes.Equal(got, want) {
		f.Fatalf("block %d of %q: got %s, want %s", number, channel, abbreviate(got), abbreviate(want))
	}
}

func (f *fixture) noBlock(channel string, number uint64) {
	f.Helper()
	if got, err := f.store.Block(f.ctx, channel, number); !errors.Is(err, ledger.ErrNotFound) {
		f.Fatalf("block %d of %q: got %s, %v, want ErrNotFound", number, channel, abbreviate(got), err)
	}
}

// items checks what Get returns for the keys. A nil item stands for an absent key.
func (f *fixture) items(v ledger.View, namespace string, want map[string]*ledger.Item) {
	f.Helper()
	var keys []string
	for key := range want {
		keys = append(keys, key)
	}
	got, err := v.Get(f.ctx, namespace, keys)
	if err != nil || len(got) != len(keys) {
		f.Fatalf("get %q of %q: got %d items, %v", keys, namespace, len(got), err)
	}
	for i, key := range keys {
		f.diff(fmt.Sprintf("item %q of %q", key, namespace), got[i], want[key])
	}
}

func (f *fixture) ranged(v ledger.View, namespace, start, end string, limit int, want []ledger.KV) {
	f.Helper()
	got, err := v.Range(f.ctx, namespace, start, end, limit)
	if err != nil {
		f.Fatalf("range [%q, %q) of %q: %v", start, end, namespace, err)
	}
	f.diff(fmt.Sprintf("range [%q, %q) limit %d of %q", start, end, limit, namespace), empty(got), empty(want))
}

func (f *fixture) history(v ledger.View, namespace, key string, before ledger.Version, limit int, want []ledger.Change) {
	f.Helper()
	got, err := v.History(f.ctx, namespace, key, before, limit)
	if err != nil {
		f.Fatalf("history of %q: %v", key, err)
	}
	f.diff(fmt.Sprintf("history of %q of %q before %v limit %d", key, namespace, before, limit), empty(got), empty(want))
}

func (f *fixture) diff(what string, got, want any) {
	f.Helper()
	if d := cmp.Diff(got, want, sameBytes); d != "" {
		f.Fatalf("%s (-got +want):\n%s", what, d)
	}
}

// sameBytes tells nil from empty, and is quick where bytes are many.
var sameBytes = cmp.Comparer(func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) })

// empty makes nil and empty slices compare equal.
func empty[T any](s []T) []T { return append([]T{}, s...) }

func abbreviate(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%x… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%x", b)
}

// batch makes a batch whose hash is particular to channel and number.
func batch(channel string, number uint64, writes ...ledger.Write) *ledger.Batch {
	return &ledger.Batch{Block: number, Hash: blockHash(channel, number), Writes: writes}
}

func blockHash(channel string, number uint64) []byte {
	return []byte(fmt.Sprintf("%-32s", fmt.Sprintf("%d of %s", number, channel)))
}

// block makes a block's bytes.
func block(channel string, number uint64) []byte {
	return []byte(fmt.Sprintf("block %d of %s %s", number, channel, strings.Repeat("\x00\xff", int(number%5))))
}

func put(namespace, key, value string, v ledger.Version) ledger.Write {
	return ledger.Write{Namespace: namespace, Key: key, Item: item(value, v)}
}

func del(namespace, key string) ledger.Write { return ledger.Write{Namespace: namespace, Key: key} }

func item(value string, v ledger.Version) *ledger.Item {
	return &ledger.Item{Value: append([]byte{}, value...), Version: v}
}

func at(block, tx uint64) ledger.Version { return ledger.Version{Block: block, Tx: tx} }

func change(namespace, key, value string, v ledger.Version) ledger.Change {
	return ledger.Change{Namespace: namespace, Key: key, Version: v, TxID: txID(v), Timestamp: moment(v), Value: append([]byte{}, value...)}
}

func deletion(namespace, key string, v ledger.Version) ledger.Change {
	return ledger.Change{Namespace: namespace, Key: key, Version: v, TxID: txID(v), Timestamp: moment(v), IsDelete: true}
}

func entry(id string, v ledger.Version, code peer.TxValidationCode) ledger.TxEntry {
	return ledger.TxEntry{TxID: id, Version: v, Code: code}
}

func txID(v ledger.Version) string { return fmt.Sprintf("%062x%02x", v.Block, v.Tx) }

// moment is a time particular to v, with nanoseconds.
func moment(v ledger.Version) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 678_912_345, time.UTC).Add(time.Duration(v.Block)*time.Second + time.Duration(v.Tx))
}
