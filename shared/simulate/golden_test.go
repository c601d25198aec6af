package simulate_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// Every transaction of the recorded channel, simulated again on the state that its endorser had, leaves the bytes that its
// endorser signed: versions, range queries and Merkle summaries come from the state, the order from the simulator.
func TestRecordedTransactions(t *testing.T) {
	t.Parallel()
	state := simtest.NewState()
	var same, summaries, private int
	for number, block := range simtest.Blocks(t, "../../testdata/conformance") {
		for i, tx := range block {
			if tx.Recorded.Type != common.HeaderType_ENDORSER_TRANSACTION || tx.RWSet == nil {
				continue
			}
			want := &wire.RWSet{}
			for _, ns := range tx.RWSet.Namespaces {
				private += len(ns.Collections)
				if len(ns.Collections) > 0 && proto.Size(ns.KV) == 0 {
					continue
				}
				want.Namespaces = append(want.Namespaces, wire.NamespaceSet{Namespace: ns.Namespace, KV: ns.KV})
				for _, query := range ns.KV.RangeQueriesInfo {
					if query.GetReadsMerkleHashes() != nil {
						summaries++
					}
				}
			}
			got := repeat(t, simulate.New(state.View(t), tx.ID), want)
			if diff := cmp.Diff(got, want, protocmp.Transform()); diff != "" {
				t.Errorf("block %d, transaction %d: read-write set (-got +want):\n%s", number, i, diff)
			}
			gotRaw, err := got.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			wantRaw, err := want.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(gotRaw, wantRaw) {
				t.Errorf("block %d, transaction %d: bytes differ", number, i)
			}
			if bytes.Equal(gotRaw, tx.Recorded.Results) {
				same++
			}
		}
		state.Commit(t, block...)
	}
	type counts struct{ Same, Summaries, Private int }
	// All but those with private data are the endorser's bytes as a whole.
	if diff := cmp.Diff(counts{same, summaries, private}, counts{23, 1, 39}); diff != "" {
		t.Errorf("what the recording holds (-got +want):\n%s", diff)
	}
}

// repeat does to a transaction what a set says was done, in another order.
func repeat(t *testing.T, tx *simulate.Tx, set *wire.RWSet) *wire.RWSet {
	t.Helper()
	ctx := t.Context()
	random := rand.New(rand.NewPCG(1, 2))
	var steps []func() error
	for _, ns := range set.Namespaces {
		for _, read := range ns.KV.Reads {
			steps = append(steps, func() error { _, err := tx.GetState(ctx, ns.Namespace, read.Key); return err })
		}
		for _, write := range ns.KV.Writes {
			steps = append(steps, func() error { return tx.PutState(ns.Namespace, write.Key, write.Value) })
		}
		for _, write := range ns.KV.MetadataWrites {
			steps = append(steps, func() error {
				entries := map[string][]byte{}
				for _, entry := range write.Entries {
					entries[entry.Name] = entry.Value
				}
				return tx.SetStateMetadata(ns.Namespace, write.Key, entries)
			})
		}
	}
	random.Shuffle(len(steps), func(i, k int) { steps[i], steps[k] = steps[k], steps[i] })
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, ns := range set.Namespaces {
		for _, query := range ns.KV.RangeQueriesInfo {
			end := query.EndKey
			if !query.ItrExhausted {
				end = ""
			}
			it, err := tx.Range(ctx, ns.Namespace, query.StartKey, end)
			if err != nil {
				t.Fatal(err)
			}
			for {
				row, ok, err := it.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if !ok || !query.ItrExhausted && row.Key == query.EndKey {
					break
				}
			}
			it.Close()
		}
	}
	got, err := tx.Results()
	if err != nil {
		t.Fatal(err)
	}
	return got
}
