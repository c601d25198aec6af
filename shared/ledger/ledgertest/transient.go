package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"peerless/shared/ledger"
)

// staged checks what a store has of sets; "" stands for none.
func (f *fixture) staged(channel string, want map[string]string) {
	f.Helper()
	var ids []string
	for id := range want {
		ids = append(ids, id)
	}
	sets, err := f.store.Staged(f.ctx, channel, ids)
	if err != nil || len(sets) != len(ids) {
		f.Fatalf("staged: got %d sets, %v", len(sets), err)
	}
	for i, id := range ids {
		if got := string(sets[i]); got != want[id] || (sets[i] == nil) != (want[id] == "") {
			f.Errorf("set %q of channel %q: got %d bytes %.20q, want %.20q", id, channel, len(got), got, want[id])
		}
	}
}

func (f *fixture) stage(channel string, sets ...ledger.StagedSet) {
	f.Helper()
	if err := f.store.Stage(f.ctx, channel, sets); err != nil {
		f.Fatalf("stage: %v", err)
	}
}

func (f *fixture) unstage(channel string, below uint64, ids ...string) {
	f.Helper()
	if err := f.store.Unstage(f.ctx, channel, ids, below); err != nil {
		f.Fatalf("unstage: %v", err)
	}
}

func testStaged(f *fixture) {
	large := strings.Repeat("large", 200_000) // more than an item of any table
	f.staged("ch", map[string]string{"a": ""})
	set := []byte("one")
	f.stage("ch", ledger.StagedSet{ID: "a", Height: 1, Set: set}, ledger.StagedSet{ID: "b", Height: 2, Set: []byte(large)})
	copy(set, "xxx") // what was given stays the caller's
	f.stage("other", ledger.StagedSet{ID: "a", Height: 9, Set: []byte("other's")})
	f.stage("ch", ledger.StagedSet{ID: "c", Height: 3, Set: []byte("first")})
	f.stage("ch", ledger.StagedSet{ID: "c", Height: 3, Set: []byte("second")})
	all := map[string]string{"a": "one", "b": large, "c": "second", "none": ""}
	f.staged("ch", all)
	f.staged("other", map[string]string{"a": "other's", "b": ""})
	if f.caps.Persistent {
		f.reopen()
		f.staged("ch", all)
	}
	f.unstage("ch", 0, "b", "none", "c")
	f.unstage("ch", 0)
	f.staged("ch", map[string]string{"a": "one", "b": "", "c": ""})
	f.staged("other", map[string]string{"a": "other's"})
	if f.caps.Persistent {
		f.reopen()
		f.staged("ch", map[string]string{"a": "one", "b": "", "c": ""})
	}
	if f.caps.Ages {
		f.stage("ch", ledger.StagedSet{ID: "d", Height: 2, Set: []byte("younger")})
		f.unstage("ch", 2)
		f.staged("ch", map[string]string{"a": "", "d": "younger"})
		f.staged("other", map[string]string{"a": "other's"})
	}
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if _, err := f.store.Staged(ctx, "ch", []string{"a"}); !errors.Is(err, context.Canceled) {
		f.Errorf("staged with a context that has ended: got %v", err)
	}
	if err := f.store.Stage(ctx, "ch", []ledger.StagedSet{{ID: "e", Set: []byte("x")}}); !errors.Is(err, context.Canceled) {
		f.Errorf("stage with a context that has ended: got %v", err)
	}
}

// testStagedLimits fills a channel, and then all that there is room for: what has waited for long makes room, what has not never does.
func testStagedLimits(f *fixture) {
	limits := f.caps.Staged
	if limits == (ledger.StagedLimits{}) {
		f.Skip("the store keeps all that comes")
	}
	now := time.Unix(1_800_000_000, 0)
	const size = 500_000
	one := func(id string, age time.Duration) ledger.StagedSet {
		return ledger.StagedSet{ID: id, Height: 1, At: now.Add(-age), Set: bytes.Repeat([]byte{id[0]}, size)}
	}
	stage := func(channel string, set ledger.StagedSet) error {
		return f.store.Stage(f.ctx, channel, []ledger.StagedSet{set})
	}
	has := func(channel string, ids ...string) {
		f.Helper()
		want := make(map[string]string)
		for _, id := range ids {
			name, is := strings.CutPrefix(id, "-")
			want[name] = ""
			if !is {
				want[name] = strings.Repeat(name[:1], size)
			}
		}
		f.staged(channel, want)
	}
	fit := int(limits.Channel / (size + 1000))
	f.stage("ch", one("older", 3*ledger.StagedTime), one("old", 2*ledger.StagedTime))
	for n := 2; n < fit; n++ {
		f.stage("ch", one(fmt.Sprint("n", n), ledger.StagedTime/2))
	}
	if f.caps.Persistent {
		f.reopen()
	}
	f.stage("ch", one("n2", ledger.StagedTime/2)) // in place of itself
	has("ch", "older", "old", "n2")
	f.stage("ch", one("a", 0))
	has("ch", "-older", "old", "a")
	if f.caps.Persistent {
		f.reopen()
		has("ch", "-older", "old", "a")
	}
	f.stage("ch", one("b", 0))
	has("ch", "-old", "a", "b", "n2")
	if err := stage("ch", one("c", 0)); !errors.Is(err, ledger.ErrStagedFull) {
		f.Errorf("one more than fits: got %v, want ErrStagedFull", err)
	}
	has("ch", "a", "b", "n2", "-c")

	// Other channels have room until all is used.
	f.stage("other", one("x", 2*ledger.StagedTime))
	room := int((limits.Total - limits.Channel) / (size + 1000))
	for n := 1; n < room; n++ {
		f.stage("other", one(fmt.Sprint("y", n), 0))
	}
	if err := stage("third", ledger.StagedSet{ID: "z", Height: 1, At: now, Set: make([]byte, 2*size)}); !errors.Is(err, ledger.ErrStagedFull) {
		f.Errorf("what needs more than is old: got %v, want ErrStagedFull", err)
	}
	has("other", "x")
	f.stage("third", one("z", 0))
	has("other", "-x")
	has("third", "z")
	f.unstage("ch", 0, "a", "b")
	f.stage("ch", one("c", 0))
	has("ch", "c", "-a", "n2")
}

// private is a batch whose private writes put a value, replace one, and delete the one of two blocks ago.
func private(n uint64) *ledger.Batch {
	b := full(n)
	b.Private = []ledger.Write{
		put("ns$$pc", "k", strings.Repeat("sealed ", int(1+n%3*60_000)), at(n, 0)),
		put("ns$$pc", key(n), "sealed", at(n, 1)),
		put("ns$$kc", "\xff\x00hash", "key", at(n, 1)),
	}
	if n >= 2 {
		b.Private = append(b.Private, del("ns$$pc", key(n-2)))
	}
	return b
}

func key(n uint64) string { return "k" + strings.Repeat("x", int(n+1)) }

func (f *fixture) checkPrivate(v ledger.View, blocks uint64) {
	f.Helper()
	f.checkFull(v, blocks)
	want := map[string]*ledger.Item{"k": private(blocks - 1).Private[0].Item, "none": nil}
	for n := range blocks {
		if want[key(n)] = item("sealed", at(n, 1)); n+2 < blocks {
			want[key(n)] = nil
		}
	}
	f.items(v, "ns$$pc", want)
	f.items(v, "ns$$kc", map[string]*ledger.Item{"\xff\x00hash": item("key", at(blocks-1, 1))})
}

// testPrivate checks that private writes become visible with the block, whoever applies it, and after a restart.
func testPrivate(f *fixture) {
	const blocks = 5
	for n := uint64(0); n < blocks; n++ {
		b := private(n)
		f.append("ch", block("ch", n), b)
		unapplied, err := f.store.Unapplied(f.ctx, "ch", n, b.Hash)
		if err != nil {
			f.Fatalf("unapplied: %v", err)
		}
		if !f.caps.AppendApplies {
			f.diff("unapplied private writes", unapplied, b.Private)
		}
		if n%2 == 1 && f.caps.Persistent {
			f.reopen()
		}
		if n%2 == 1 && !f.caps.AppendApplies {
			// Another process: it has the block, and finds the private writes.
			again := full(n)
			if again.Private, err = f.store.Unapplied(f.ctx, "ch", n, b.Hash); err != nil {
				f.Fatalf("unapplied: %v", err)
			}
			b = again
		}
		f.apply("ch", b)
		f.apply("ch", b)
		f.checkPrivate(f.view("ch"), n+1)
		if left, err := f.store.Unapplied(f.ctx, "ch", n, b.Hash); err != nil || len(left) > 0 {
			f.Errorf("unapplied after apply: got %d writes, %v", len(left), err)
		}
	}
	if f.caps.Persistent {
		f.reopen()
		f.checkPrivate(f.view("ch"), blocks)
	}
	if none, err := f.store.Unapplied(f.ctx, "ch", 99, []byte("hash")); err != nil || none != nil {
		f.Errorf("unapplied of a block that is not there: got %v, %v", none, err)
	}
}
