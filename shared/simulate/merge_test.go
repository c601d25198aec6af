package simulate_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// doEverything makes every kind of access to a namespace.
func doEverything(t *testing.T, tx *simulate.Tx, ns string) {
	t.Helper()
	ctx := t.Context()
	if _, err := tx.GetMultipleStates(ctx, ns, []string{"b", "absent"}); err != nil {
		t.Fatal(err)
	}
	for _, bounds := range [][2]string{{"a", "c"}, {"", ""}, {"x", "y"}} {
		it, err := tx.Range(ctx, ns, bounds[0], bounds[1])
		if err != nil {
			t.Fatal(err)
		}
		for ok := true; ok; {
			if _, ok, err = it.Next(ctx); err != nil {
				t.Fatal(err)
			}
		}
		it.Close()
	}
	for _, err := range []error{
		tx.PutState(ns, "z", []byte("new")), tx.DelState(ns, "a"),
		tx.SetStateMetadata(ns, "b", map[string][]byte{"VALIDATION_PARAMETER": []byte("p"), "other": nil}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMerge: what an execution left of its namespace elsewhere is what it would have left here, byte for byte.
func TestMerge(t *testing.T) {
	t.Parallel()
	state := simtest.NewState()
	pairs := []string{"a", "1", "b", "2"}
	for i := range 120 {
		pairs = append(pairs, fmt.Sprintf("row%03d", i), "x")
	}
	state.Put(t, "cc", pairs...)
	view := state.View(t)

	here, elsewhere, merged := simulate.New(view, "tx"), simulate.New(view, "tx"), simulate.New(view, "tx")
	doEverything(t, here, "cc")
	doEverything(t, elsewhere, "cc")
	part, err := elsewhere.Results()
	if err != nil {
		t.Fatal(err)
	}
	if err := merged.Merge("cc", part.Namespaces[0].KV, elsewhere.Access()); err != nil {
		t.Fatal(err)
	}
	if !merged.Access().Wrote {
		t.Error("the write was not taken over")
	}
	var got [2][]byte
	for i, tx := range []*simulate.Tx{here, merged} {
		set, err := tx.Results()
		if err != nil {
			t.Fatal(err)
		}
		if got[i], err = set.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(got[1], got[0]); diff != "" {
		t.Errorf("merged and here (-got +want):\n%s", diff)
	}
}

// TestMergeTwice: two executions in one namespace, as when a contract calls another twice.
func TestMergeTwice(t *testing.T) {
	t.Parallel()
	version := func(block uint64) *kvrwset.Version { return &kvrwset.Version{BlockNum: block} }
	tx := simulate.New(simtest.NewState().View(t), "tx")
	for _, set := range []*kvrwset.KVRWSet{
		{Reads: []*kvrwset.KVRead{{Key: "a", Version: version(1)}, {Key: "b"}}, Writes: []*kvrwset.KVWrite{{Key: "w", Value: []byte("1")}}},
		{Reads: []*kvrwset.KVRead{{Key: "b"}, {Key: "c", Version: version(2)}}, Writes: []*kvrwset.KVWrite{{Key: "w", IsDelete: true}}},
	} {
		if err := tx.Merge("cc", set, simulate.Access{}); err != nil {
			t.Fatal(err)
		}
	}
	torn := simulate.New(simtest.NewState().View(t), "tx")
	if err := torn.Merge("cc", &kvrwset.KVRWSet{Reads: []*kvrwset.KVRead{{Key: "b"}}}, simulate.Access{}); err != nil {
		t.Fatal(err)
	}
	if err := torn.Merge("cc", &kvrwset.KVRWSet{Reads: []*kvrwset.KVRead{{Key: "b", Version: version(3)}}}, simulate.Access{}); !errors.Is(err, simulate.ErrStale) {
		t.Errorf("a key read at two versions: %v", err)
	}
	if _, err := torn.Results(); !errors.Is(err, simulate.ErrStale) {
		t.Errorf("results of it: %v", err)
	}
	set, err := tx.Results()
	if err != nil {
		t.Fatal(err)
	}
	want := &kvrwset.KVRWSet{
		Reads:  []*kvrwset.KVRead{{Key: "a", Version: version(1)}, {Key: "b"}, {Key: "c", Version: version(2)}},
		Writes: []*kvrwset.KVWrite{{Key: "w", IsDelete: true}},
	}
	if diff := cmp.Diff(set.Namespaces[0].KV, want, protocmp.Transform()); diff != "" {
		t.Errorf("set (-got +want):\n%s", diff)
	}
}

// TestMergeRefuses: a set comes from code that is not trusted.
func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	version := &kvrwset.Version{BlockNum: 1}
	raw := func(keys ...string) *kvrwset.RangeQueryInfo_RawReads {
		reads := &kvrwset.QueryReads{}
		for _, key := range keys {
			reads.KvReads = append(reads.KvReads, &kvrwset.KVRead{Key: key, Version: version})
		}
		return &kvrwset.RangeQueryInfo_RawReads{RawReads: reads}
	}
	for name, set := range map[string]*kvrwset.KVRWSet{
		"a key read twice":            {Reads: []*kvrwset.KVRead{{Key: "a"}, {Key: "a"}}},
		"writes out of order":         {Writes: []*kvrwset.KVWrite{{Key: "b", Value: []byte("x")}, {Key: "a", Value: []byte("x")}}},
		"a delete with a value":       {Writes: []*kvrwset.KVWrite{{Key: "a", Value: []byte("x"), IsDelete: true}}},
		"an empty value, not deleted": {Writes: []*kvrwset.KVWrite{{Key: "a"}}},
		"metadata out of order":       {MetadataWrites: []*kvrwset.KVMetadataWrite{{Key: "a", Entries: []*kvrwset.KVMetadataEntry{{Name: "b"}, {Name: "a"}}}}},
		"a row before its range":      {RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{StartKey: "b", EndKey: "c", ReadsInfo: raw("a")}}},
		"a row behind its range":      {RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{StartKey: "b", EndKey: "c", ReadsInfo: raw("d")}}},
		"rows out of order":           {RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{ReadsInfo: raw("b", "a")}}},
		"a row without version":       {RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{ReadsInfo: &kvrwset.RangeQueryInfo_RawReads{RawReads: &kvrwset.QueryReads{KvReads: []*kvrwset.KVRead{{Key: "a"}}}}}}},
		"a summary of another degree": {RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{ReadsInfo: &kvrwset.RangeQueryInfo_ReadsMerkleHashes{ReadsMerkleHashes: &kvrwset.QueryReadsMerkleSummary{MaxDegree: 2, MaxLevel: 1}}}}},
		"a summary with a short hash": {RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{ReadsInfo: &kvrwset.RangeQueryInfo_ReadsMerkleHashes{ReadsMerkleHashes: &kvrwset.QueryReadsMerkleSummary{MaxDegree: 50, MaxLevel: 1, MaxLevelHashes: [][]byte{{1}}}}}}},
	} {
		tx := simulate.New(simtest.NewState().View(t), "tx")
		if err := tx.Merge("cc", set, simulate.Access{}); !errors.Is(err, simulate.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := tx.Results(); err != nil || len(left.Namespaces) != 0 {
			t.Errorf("%s left %v, %v", name, left, err)
		}
	}
	write := &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "a", Value: []byte("x")}}}
	for did, want := range map[simulate.Access]error{{Paged: true}: simulate.ErrReadOnly, {Queried: true}: simulate.ErrQueried} {
		for _, elsewhere := range []simulate.Access{{}, did} {
			tx := simulate.New(simtest.NewState().View(t), "tx")
			if elsewhere != did {
				tx.SetAccess(did)
			}
			if err := tx.Merge("cc", write, elsewhere); !errors.Is(err, want) {
				t.Errorf("a write after %+v: %v", did, err)
			}
			if tx.Access() != did {
				t.Errorf("access %+v, want %+v", tx.Access(), did)
			}
		}
	}
}
