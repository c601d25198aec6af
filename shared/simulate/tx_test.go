package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

func results(t *testing.T, tx *simulate.Tx) *kvrwset.KVRWSet {
	t.Helper()
	set, err := tx.Results()
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Namespaces) != 1 || set.Namespaces[0].Namespace != "cc" {
		t.Fatalf("namespaces: %v", set.Namespaces)
	}
	return set.Namespaces[0].KV
}

func compare(t *testing.T, tx *simulate.Tx, want *kvrwset.KVRWSet) {
	t.Helper()
	if diff := cmp.Diff(results(t, tx), want, protocmp.Transform()); diff != "" {
		t.Errorf("read-write set (-got +want):\n%s", diff)
	}
}

// take reads at most n rows and returns their keys.
func take(t *testing.T, it *simulate.Iterator, n int) (keys []string) {
	t.Helper()
	for len(keys) < n {
		row, ok, err := it.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		keys = append(keys, row.Key)
	}
	return keys
}

func version(block uint64) *kvrwset.Version { return &kvrwset.Version{BlockNum: block} }

func TestNoReadYourOwnWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	state.Put(t, "cc", "a", "1")
	tx := simulate.New(state.View(t), "tx")
	for _, err := range []error{
		tx.PutState("cc", "a", []byte("2")), tx.PutState("cc", "b", []byte("2")), tx.PutState("cc", "b", []byte("3")),
		tx.DelState("cc", "c"), tx.PutState("cc", "d", nil), tx.PutState("cc", "e", []byte{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	values, err := tx.GetMultipleStates(ctx, "cc", []string{"b", "a", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values, [][]byte{nil, []byte("1"), []byte("1")}); diff != "" {
		t.Errorf("values (-got +want):\n%s", diff)
	}
	it, err := tx.Range(ctx, "cc", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(take(t, it, 10), []string{"a"}); diff != "" {
		t.Errorf("range (-got +want):\n%s", diff)
	}
	compare(t, tx, &kvrwset.KVRWSet{
		Reads: []*kvrwset.KVRead{{Key: "a", Version: version(0)}, {Key: "b"}},
		Writes: []*kvrwset.KVWrite{
			{Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte("3")},
			{Key: "c", IsDelete: true}, {Key: "d", IsDelete: true}, {Key: "e", IsDelete: true},
		},
		RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{
			ItrExhausted: true,
			ReadsInfo:    &kvrwset.RangeQueryInfo_RawReads{RawReads: &kvrwset.QueryReads{KvReads: []*kvrwset.KVRead{{Key: "a", Version: version(0)}}}},
		}},
	})
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	state.Put(t, "cc", "a", "1", "b", "1")
	tx := simulate.New(state.View(t), "tx")
	entries := map[string][]byte{"y": []byte("2"), "x": nil}
	if err := errors.Join(tx.SetStateMetadata("cc", "a", entries), tx.SetStateMetadata("cc", "b", nil)); err != nil {
		t.Fatal(err)
	}
	if got, err := tx.GetStateMetadata(ctx, "cc", "a"); err != nil || got != nil {
		t.Errorf("metadata before the commit: %v, %v", got, err)
	}
	set := results(t, tx)
	want := &kvrwset.KVRWSet{
		Reads: []*kvrwset.KVRead{{Key: "a", Version: version(0)}},
		MetadataWrites: []*kvrwset.KVMetadataWrite{
			{Key: "a", Entries: []*kvrwset.KVMetadataEntry{{Name: "x"}, {Name: "y", Value: []byte("2")}}}, {Key: "b"},
		},
	}
	if diff := cmp.Diff(set, want, protocmp.Transform()); diff != "" {
		t.Errorf("read-write set (-got +want):\n%s", diff)
	}
	state.Commit(t, simtest.Tx{RWSet: &wire.RWSet{Namespaces: []wire.NamespaceSet{{Namespace: "cc", KV: set}}}})
	committed := map[string][]byte{"y": []byte("2"), "x": nil}
	tx = simulate.New(state.View(t), "tx")
	got, err := tx.GetStateMetadata(ctx, "cc", "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, committed); diff != "" {
		t.Errorf("metadata after the commit (-got +want):\n%s", diff)
	}
}

// An unfinished range ends at the last key that was seen; the same query twice is recorded once.
func TestRangeRecords(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	state.Put(t, "cc", "a", "1", "b", "1", "c", "1", "d", "1")
	tx := simulate.New(state.View(t), "tx")
	read := func(start, end string, n int) {
		it, err := tx.Range(ctx, "cc", start, end)
		if err != nil {
			t.Fatal(err)
		}
		take(t, it, n)
		it.Close()
		if got := take(t, it, 1); got != nil {
			t.Errorf("after Close: %v", got)
		}
	}
	read("b", "z", 2)
	read("b", "z", 0)
	read("x", "z", 9)
	read("b", "z", 2)
	read("b", "d", 2)
	read("b", "d", 3)
	read("d", "b", 1)
	raw := &kvrwset.RangeQueryInfo_RawReads{RawReads: &kvrwset.QueryReads{KvReads: []*kvrwset.KVRead{{Key: "b", Version: version(0)}, {Key: "c", Version: version(0)}}}}
	compare(t, tx, &kvrwset.KVRWSet{RangeQueriesInfo: []*kvrwset.RangeQueryInfo{
		{StartKey: "b", EndKey: "c", ReadsInfo: raw},
		{StartKey: "b"},
		{StartKey: "x", EndKey: "z", ItrExhausted: true},
		{StartKey: "b", EndKey: "d", ItrExhausted: true, ReadsInfo: raw},
		{StartKey: "d", EndKey: "b", ItrExhausted: true},
	}})
}

func TestPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	var pairs, want []string
	for i := range 2500 {
		want = append(want, fmt.Sprintf("k%04d", i))
		pairs = append(pairs, want[i], "v")
	}
	state.Put(t, "cc", pairs...)
	for _, size := range []int32{1, 100, 101, 102, 1000, 2499, 2500, 2501, 0, -1, 1 << 30} {
		if size == 1 {
			want = want[:20]
		} else {
			want = want[:cap(want)][:2500]
		}
		tx := simulate.New(state.View(t), "tx")
		var got []string
		bookmark := ""
		for {
			it, err := tx.RangePage(ctx, "cc", "", want[len(want)-1]+"\x00", size, bookmark)
			if err != nil {
				t.Fatal(err)
			}
			page := take(t, it, 1<<30)
			if size > 0 && len(page) > int(size) {
				t.Fatalf("page of %d has %d rows", size, len(page))
			}
			got = append(got, page...)
			if bookmark, err = it.Bookmark(ctx); err != nil {
				t.Fatal(err)
			}
			it.Close()
			if bookmark == "" {
				break
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("pages of %d (-got +want):\n%s", size, diff)
		}
	}
}

func TestPagesAndWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	view := simtest.NewState().View(t)
	tx := simulate.New(view, "tx1")
	if _, err := tx.RangePage(ctx, "cc", "", "", 1, ""); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{tx.PutState("cc", "k", []byte("v")), tx.DelState("cc", "k"), tx.SetStateMetadata("cc", "k", nil)} {
		if want := "txid [tx1]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"; !errors.Is(err, simulate.ErrReadOnly) || err.Error() != want {
			t.Errorf("write after a page: got %v, want %s", err, want)
		}
	}
	if _, err := tx.RangePage(ctx, "cc", "", "", 1, ""); err != nil {
		t.Errorf("page after a refused write: %v", err)
	}
	tx = simulate.New(view, "tx2")
	if err := tx.PutState("cc", "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	_, err := tx.RangePage(ctx, "cc", "", "", 1, "")
	if want := "txid [tx2]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"; !errors.Is(err, simulate.ErrHasWritten) || err.Error() != want {
		t.Errorf("page after a write: got %v, want %s", err, want)
	}
	if _, err := tx.Range(ctx, "cc", "", ""); err != nil {
		t.Errorf("range after a write: %v", err)
	}
	if err := tx.PutState("cc", "l", []byte("v")); err != nil {
		t.Errorf("write after a refused page: %v", err)
	}
}

func TestTooManyRows(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	var pairs []string
	for i := range simulate.MaxRows + 1 {
		pairs = append(pairs, fmt.Sprintf("k%06d", i), "v")
	}
	state.Put(t, "cc", pairs...)
	last := pairs[2*simulate.MaxRows]

	tx := simulate.New(state.View(t), "tx")
	it, err := tx.Range(ctx, "cc", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(take(t, it, simulate.MaxRows)); got != simulate.MaxRows {
		t.Fatalf("got %d rows", got)
	}
	if _, _, err := it.Next(ctx); !errors.Is(err, simulate.ErrTooManyRows) {
		t.Errorf("row %d: got %v, want ErrTooManyRows", simulate.MaxRows+1, err)
	}

	if it, err = tx.Range(ctx, "cc", "", last); err != nil {
		t.Fatal(err)
	}
	if got := len(take(t, it, simulate.MaxRows+1)); got != simulate.MaxRows {
		t.Errorf("range of %d rows: got %d", simulate.MaxRows, got)
	}

	if it, err = tx.RangePage(ctx, "cc", "", "", 0, ""); err != nil {
		t.Fatal(err)
	}
	if got := len(take(t, it, simulate.MaxRows+1)); got != simulate.MaxRows {
		t.Errorf("page: got %d rows", got)
	}
	if got, err := it.Bookmark(ctx); err != nil || got != last {
		t.Errorf("bookmark: got %q, %v, want %q", got, err, last)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	var want []string
	for i := range 1300 {
		id := state.Put(t, "cc", "k", fmt.Sprint(i), "other", "x")
		want = append([]string{id + "=" + fmt.Sprint(i)}, want...)
	}
	state.Put(t, "cc", "k", "")
	tx := simulate.New(state.View(t), "tx")
	it, err := tx.History(ctx, "cc", "k")
	if err != nil {
		t.Fatal(err)
	}
	newest, ok, err := it.Next(ctx)
	if err != nil || !ok || !newest.IsDelete || newest.Value != nil {
		t.Errorf("newest: %v, %v, %v", newest, ok, err)
	}
	var got []string
	for {
		change, ok, err := it.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got = append(got, change.TxID+"="+string(change.Value))
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("history (-got +want):\n%s", diff)
	}
	it.Close()
	if _, ok, err := it.Next(ctx); ok || err != nil {
		t.Errorf("after Close: %v, %v", ok, err)
	}
	set, err := tx.Results()
	if err != nil || len(set.Namespaces) != 0 {
		t.Errorf("history was recorded: %v, %v", set, err)
	}
}

func TestDone(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	state := simtest.NewState()
	state.Put(t, "cc", "k", "v")
	tx := simulate.New(state.View(t), "tx")
	if _, err := tx.GetState(ctx, "cc", "k"); err != nil {
		t.Fatal(err)
	}
	results(t, tx)
	calls := map[string]func() error{
		"Results":   func() error { _, err := tx.Results(); return err },
		"GetState":  func() error { _, err := tx.GetState(ctx, "cc", "k"); return err },
		"PutState":  func() error { return tx.PutState("cc", "k", nil) },
		"Range":     func() error { _, err := tx.Range(ctx, "cc", "", ""); return err },
		"RangePage": func() error { _, err := tx.RangePage(ctx, "cc", "", "", 1, ""); return err },
		"History":   func() error { _, err := tx.History(ctx, "cc", "k"); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, simulate.ErrDone) {
			t.Errorf("%s after Results: got %v, want ErrDone", name, err)
		}
	}
	if got := tx.Savepoint(); got != 1 {
		t.Errorf("savepoint: got %d, want 1", got)
	}
}

var errBroken = errors.New("disk on fire")

// brokenView fails its first read and then recovers.
type brokenView struct {
	ledger.View
	reads int
}

func (v *brokenView) fail() error {
	if v.reads++; v.reads == 1 {
		return errBroken
	}
	return nil
}

func (v *brokenView) Get(ctx context.Context, ns string, keys []string) ([]*ledger.Item, error) {
	if err := v.fail(); err != nil {
		return nil, err
	}
	return v.View.Get(ctx, ns, keys)
}

func (v *brokenView) Range(ctx context.Context, ns, start, end string, limit int) ([]ledger.KV, error) {
	if err := v.fail(); err != nil {
		return nil, err
	}
	return v.View.Range(ctx, ns, start, end, limit)
}

func (v *brokenView) History(ctx context.Context, ns, key string, before ledger.Version, limit int) ([]ledger.Change, error) {
	if err := v.fail(); err != nil {
		return nil, err
	}
	return v.View.History(ctx, ns, key, before, limit)
}

// A transaction of which a read failed has no results, whatever the contract made of it.
func TestFailedRead(t *testing.T) {
	t.Parallel()
	state := simtest.NewState()
	state.Put(t, "cc", "k", "v")
	for name, read := range map[string]func(context.Context, *simulate.Tx) error{
		"GetState": func(ctx context.Context, tx *simulate.Tx) error { _, err := tx.GetState(ctx, "cc", "k"); return err },
		"GetMultipleStates": func(ctx context.Context, tx *simulate.Tx) error {
			_, err := tx.GetMultipleStates(ctx, "cc", []string{"k"})
			return err
		},
		"GetStateMetadata": func(ctx context.Context, tx *simulate.Tx) error {
			_, err := tx.GetStateMetadata(ctx, "cc", "k")
			return err
		},
		"Range": func(ctx context.Context, tx *simulate.Tx) error {
			it, err := tx.Range(ctx, "cc", "", "")
			if err != nil {
				return err
			}
			_, _, err = it.Next(ctx)
			return err
		},
		"Bookmark": func(ctx context.Context, tx *simulate.Tx) error {
			it, err := tx.RangePage(ctx, "cc", "", "", 1, "")
			if err != nil {
				return err
			}
			_, err = it.Bookmark(ctx)
			return err
		},
		"History": func(ctx context.Context, tx *simulate.Tx) error {
			it, err := tx.History(ctx, "cc", "k")
			if err != nil {
				return err
			}
			_, _, err = it.Next(ctx)
			return err
		},
	} {
		tx := simulate.New(&brokenView{View: state.View(t)}, "tx")
		if err := read(t.Context(), tx); !errors.Is(err, errBroken) {
			t.Errorf("%s: got %v, want the view's error", name, err)
		}
		if err := read(t.Context(), tx); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
		if err := tx.Err(); !errors.Is(err, errBroken) {
			t.Errorf("%s: Err: got %v, want the view's error", name, err)
		}
		if _, err := tx.Results(); !errors.Is(err, errBroken) {
			t.Errorf("%s: Results: got %v, want the view's error", name, err)
		}
	}
}

// movingView gives a key another version at every read.
type movingView struct {
	ledger.View
	block uint64
}

func (v *movingView) Get(_ context.Context, _ string, keys []string) ([]*ledger.Item, error) {
	v.block++
	items := make([]*ledger.Item, len(keys))
	for i := range items {
		items[i] = &ledger.Item{Value: fmt.Append(nil, v.block), Version: ledger.Version{Block: v.block}, Metadata: []byte("\xff")}
	}
	return items, nil
}

// Over a view that moves, a key keeps the value and the version of its first read.
func TestRepeatableRead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tx := simulate.New(&movingView{View: simtest.NewState().View(t)}, "tx")
	for range 3 {
		if got, err := tx.GetState(ctx, "cc", "k"); err != nil || string(got) != "1" {
			t.Errorf("got %s, %v, want 1", got, err)
		}
		if got, err := tx.GetMultipleStates(ctx, "cc", []string{"k"}); err != nil || string(got[0]) != "1" {
			t.Errorf("got %s, %v, want 1", got, err)
		}
	}
	compare(t, tx, &kvrwset.KVRWSet{Reads: []*kvrwset.KVRead{{Key: "k", Version: version(1)}}})
}

func TestDamagedMetadata(t *testing.T) {
	t.Parallel()
	tx := simulate.New(&movingView{View: simtest.NewState().View(t)}, "tx")
	if _, err := tx.GetStateMetadata(t.Context(), "cc", "k"); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	if _, err := tx.Results(); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("Results: got %v, want ErrDamaged", err)
	}
}
