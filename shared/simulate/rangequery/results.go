// Package rangequery condenses what a range query read into what a read-write set says of it: the reads themselves if
// they are few, and otherwise the top of a hash tree over them. The simulator records it, the validator repeats it.
//
// The tree is Fabric's (core/ledger/kvledger/txmgmt/rwsetutil/query_results_helper.go), bit for bit; the Merkle summaries
// in testdata/conformance/wire/blocks prove it.
package rangequery

import (
	"crypto/sha256"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
)

// MaxDegree is the degree of the trees that Fabric's peers build: up to so many reads are recorded as they are.
const MaxDegree = 50

// Results gathers the rows of one range query, in order. It is not safe for concurrent use.
type Results struct {
	maxDegree uint32
	pending   []*kvrwset.KVRead // not hashed yet, at most maxDegree

	// levels[i] holds the finished hashes of level i+1 of the tree, at most maxDegree each; level 1 hashes reads, each
	// level above it the hashes below.
	levels [][][]byte
}

// NewResults returns an empty set of results. maxDegree is MaxDegree, or that of the summary to compare with; with 0
// reads are never hashed.
func NewResults(maxDegree uint32) *Results { return &Results{maxDegree: maxDegree} }

// Add appends a read. It fails only for a key that is not UTF-8.
func (r *Results) Add(read *kvrwset.KVRead) error {
	r.pending = append(r.pending, read)
	if r.maxDegree == 0 || uint32(len(r.pending)) <= r.maxDegree {
		return nil
	}
	return r.flush()
}

// Done returns either the reads (nil if there are none) or the summary. Nothing may be added after.
func (r *Results) Done() ([]*kvrwset.KVRead, *kvrwset.QueryReadsMerkleSummary, error) {
	if len(r.levels) == 0 {
		return r.pending, nil, nil
	}
	if len(r.pending) > 0 {
		if err := r.flush(); err != nil {
			return nil, nil, err
		}
	}
	r.finish()
	return nil, &kvrwset.QueryReadsMerkleSummary{
		MaxDegree:      r.maxDegree,
		MaxLevel:       uint32(len(r.levels)),
		MaxLevelHashes: r.levels[len(r.levels)-1],
	}, nil
}

// flush hashes the pending reads into a leaf, and every level that this makes too long into a node of the next.
func (r *Results) flush() error {
	raw, err := proto.Marshal(&kvrwset.QueryReads{KvReads: r.pending})
	if err != nil {
		return fmt.Errorf("marshal reads of a range query: %w", err)
	}
	r.pending = nil
	leaf := sha256.Sum256(raw)
	r.push(0, leaf[:])
	for level := 0; uint32(len(r.levels[level])) > r.maxDegree; level++ {
		r.push(level+1, combine(r.levels[level]))
		r.levels[level] = nil
	}
	return nil
}

func (r *Results) push(level int, hash []byte) {
	if level == len(r.levels) {
		r.levels = append(r.levels, nil)
	}
	r.levels[level] = append(r.levels[level], hash)
}

// finish carries what is left on the lower levels up to the highest: a single hash as it is, several combined.
func (r *Results) finish() {
	top := len(r.levels) - 1
	for level := range top {
		switch hashes := r.levels[level]; len(hashes) {
		case 0:
		case 1:
			r.push(level+1, hashes[0])
		default:
			r.push(level+1, combine(hashes))
		}
		r.levels[level] = nil
	}
	if hashes := r.levels[top]; uint32(len(hashes)) > r.maxDegree {
		r.levels[top] = nil
		r.push(top+1, combine(hashes))
	}
}

func combine(hashes [][]byte) []byte {
	h := sha256.New()
	for _, hash := range hashes {
		h.Write(hash)
	}
	return h.Sum(nil)
}
