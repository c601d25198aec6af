package rangequery_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/simulate/rangequery"
)

func reads(n int) []*kvrwset.KVRead {
	list := make([]*kvrwset.KVRead, n)
	for i := range list {
		list[i] = &kvrwset.KVRead{Key: fmt.Sprintf("k%05d", i), Version: &kvrwset.Version{BlockNum: uint64(i), TxNum: 1}}
	}
	return list
}

// leaf is the hash of the reads i ≤ n < j.
func leaf(t *testing.T, i, j int) []byte {
	t.Helper()
	raw, err := proto.Marshal(&kvrwset.QueryReads{KvReads: reads(j)[i:]})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return sum[:]
}

func node(hashes ...[]byte) []byte {
	var all []byte
	for _, h := range hashes {
		all = append(all, h...)
	}
	sum := sha256.Sum256(all)
	return sum[:]
}

// Trees drawn by hand, after the description in Fabric's query_results_helper.go: degree 2 puts three reads in a leaf and
// three hashes in a node.
func TestTree(t *testing.T) {
	t.Parallel()
	h := func(i, j int) []byte { return leaf(t, i, j) }
	abc := node(h(0, 3), h(3, 6), h(6, 9))
	def := node(h(9, 12), h(12, 15), h(15, 18))
	ghi := node(h(18, 21), h(21, 24), h(24, 27))
	for _, c := range []struct {
		n, degree int
		level     uint32
		hashes    [][]byte // nil: the reads themselves
	}{
		{n: 0, degree: 2}, {n: 2, degree: 2}, {n: 50, degree: 50}, {n: 1000, degree: 0},
		{n: 3, degree: 2, level: 1, hashes: [][]byte{h(0, 3)}},
		{n: 4, degree: 2, level: 1, hashes: [][]byte{h(0, 3), h(3, 4)}},
		{n: 7, degree: 2, level: 2, hashes: [][]byte{node(h(0, 3), h(3, 6), h(6, 7))}},
		{n: 12, degree: 2, level: 2, hashes: [][]byte{abc, h(9, 12)}},
		{n: 14, degree: 2, level: 2, hashes: [][]byte{abc, node(h(9, 12), h(12, 14))}},
		{n: 21, degree: 2, level: 3, hashes: [][]byte{node(abc, def, h(18, 21))}},
		{n: 27, degree: 2, level: 3, hashes: [][]byte{node(abc, def, ghi)}},
		{n: 28, degree: 2, level: 3, hashes: [][]byte{node(abc, def, ghi), h(27, 28)}},
		{n: 120, degree: 50, level: 1, hashes: [][]byte{h(0, 51), h(51, 102), h(102, 120)}},
	} {
		results := rangequery.NewResults(uint32(c.degree))
		for _, read := range reads(c.n) {
			if err := results.Add(read); err != nil {
				t.Fatal(err)
			}
		}
		raw, merkle, err := results.Done()
		if err != nil {
			t.Fatal(err)
		}
		var wantRaw []*kvrwset.KVRead
		var wantMerkle *kvrwset.QueryReadsMerkleSummary
		if c.hashes != nil {
			wantMerkle = &kvrwset.QueryReadsMerkleSummary{MaxDegree: uint32(c.degree), MaxLevel: c.level, MaxLevelHashes: c.hashes}
		} else if c.n > 0 {
			wantRaw = reads(c.n)
		}
		if diff := cmp.Diff(raw, wantRaw, protocmp.Transform()); diff != "" {
			t.Errorf("%d reads, degree %d (-got +want):\n%s", c.n, c.degree, diff)
		}
		if diff := cmp.Diff(merkle, wantMerkle, protocmp.Transform()); diff != "" {
			t.Errorf("%d reads, degree %d (-got +want):\n%s", c.n, c.degree, diff)
		}
	}
}

// A summary of degree 1, which no peer writes but anyone can send, ends too.
func TestDegreeOne(t *testing.T) {
	t.Parallel()
	results := rangequery.NewResults(1)
	for _, read := range reads(1000) {
		if err := results.Add(read); err != nil {
			t.Fatal(err)
		}
	}
	if _, merkle, err := results.Done(); err != nil || len(merkle.MaxLevelHashes) != 1 {
		t.Errorf("got %v, %v, want one hash", merkle, err)
	}
}

func TestBadKey(t *testing.T) {
	t.Parallel()
	results := rangequery.NewResults(1)
	err := results.Add(&kvrwset.KVRead{Key: "\xff"})
	if err == nil {
		err = results.Add(&kvrwset.KVRead{Key: "k"})
	}
	if err == nil {
		t.Error("a key that is not UTF-8 was hashed")
	}
}
