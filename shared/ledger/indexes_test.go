package ledger_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
	"peerless/shared/mango"
	"peerless/shared/policy"
	"peerless/shared/store/mem"
)

// redefine commits a definition of cc with these indexes.
func (f *fixture) redefine(sequence int64, indexes ...string) {
	f.t.Helper()
	envelope, err := policy.Parse("OR('Org1MSP.peer','Org2MSP.peer')")
	if err != nil {
		f.t.Fatal(err)
	}
	writes, err := ledger.FormatDefinition(&ledger.Definition{Name: "cc", Version: "1", Sequence: sequence, Indexes: indexes,
		Policy: &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}}})
	if err != nil {
		f.t.Fatal(err)
	}
	set := &kvrwset.KVRWSet{}
	for _, key := range ledger.DefinitionKeys("cc") {
		set.Writes = append(set.Writes, &kvrwset.KVWrite{Key: key, Value: writes[key], IsDelete: writes[key] == nil})
	}
	s := f.sign(transaction{chaincode: ledger.LifecycleNamespace, endorsers: []string{"Org1MSP", "Org2MSP"}, set: rwset(ledger.LifecycleNamespace, set)})
	if v := f.submit(s); v.Code != peer.TxValidationCode_VALID {
		f.t.Fatalf("define cc again: %s", v.Code)
	}
}

// undefine commits the end of cc's definition.
func (f *fixture) undefine() {
	f.t.Helper()
	set := &kvrwset.KVRWSet{}
	for _, key := range ledger.DefinitionKeys("cc") {
		set.Writes = append(set.Writes, &kvrwset.KVWrite{Key: key, IsDelete: true})
	}
	s := f.sign(transaction{chaincode: ledger.LifecycleNamespace, endorsers: []string{"Org1MSP", "Org2MSP"}, set: rwset(ledger.LifecycleNamespace, set)})
	if v := f.submit(s); v.Code != peer.TxValidationCode_VALID {
		f.t.Fatalf("undefine cc: %s", v.Code)
	}
}

// rows returns all rows of a namespace.
func (f *fixture) rows(namespace string) []ledger.KV {
	f.t.Helper()
	view, err := f.channel.View(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	defer view.Close()
	rows, err := view.Range(context.Background(), namespace, "", "", 10_000)
	if err != nil {
		f.t.Fatal(err)
	}
	return rows
}

// checkIndexes compares the indexes with what the documents say.
func (f *fixture) checkIndexes(definitions ...string) {
	f.t.Helper()
	for _, definition := range definitions {
		x, err := mango.ParseIndex([]byte(definition))
		if err != nil {
			f.t.Fatal(err)
		}
		want := make(map[string]string)
		for _, row := range f.rows("cc") {
			if entry, ok := x.Entry(mango.ParseDocument(row.Key, row.Item.Value)); ok {
				want[entry] = row.Key
			}
		}
		got := make(map[string]string)
		for _, row := range f.rows(ledger.IndexNamespace("cc", x)) {
			got[row.Key] = string(row.Item.Value)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			f.t.Errorf("index %s holds %q, the documents say %q", x.Name, got, want)
		}
	}
}

const (
	byOwner = `{"index":{"fields":["owner"]},"ddoc":"owner","name":"owner","type":"json"}`
	bySize  = `{"index":{"fields":[{"size":"desc"},{"owner":"desc"}]},"ddoc":"size","name":"size"}`
	blue    = `{"index":{"fields":["size"],"partial_filter_selector":{"color":"blue"}},"ddoc":"blue","name":"blue"}`
)

// TestIndexes changes documents and definitions at random, on stores that apply in the append's write and later.
func TestIndexes(t *testing.T) {
	t.Parallel()
	for _, config := range []mem.Config{{}, {SeparateApply: true}, {SeparateApply: true, Loose: true}} {
		t.Run(fmt.Sprintf("separate=%v,loose=%v", config.SeparateApply, config.Loose), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			f := newFixture(t, config)
			write := func() {
				set := &kvrwset.KVRWSet{}
				for range 1 + random.IntN(4) {
					w := &kvrwset.KVWrite{Key: fmt.Sprintf("k%d", random.IntN(12))}
					switch random.IntN(6) {
					case 0:
						w.IsDelete = true
					case 1:
						w.Value = []byte("no document")
					default:
						w.Value = fmt.Appendf(nil, `{"owner":%q,"size":%d,"color":%q}`, []string{"tom", "ann"}[random.IntN(2)], random.IntN(4), []string{"blue", "red"}[random.IntN(2)])
					}
					set.Writes = append(set.Writes, w)
				}
				f.submit(f.sign(transaction{set: rwset("cc", set)}))
			}
			for sequence, indexes := range [][]string{{byOwner}, {byOwner, bySize}, {bySize, blue}, {strings.Replace(blue, "blue\"}", "red\"}", 1)}, nil, {byOwner, bySize, blue}} {
				for range 8 {
					write()
				}
				f.redefine(int64(sequence+2), indexes...)
				f.checkIndexes(indexes...)
				for range 8 {
					write()
				}
				f.checkIndexes(indexes...)
				if len(indexes) == 0 && len(f.rows("cc$$iblue/blue"))+len(f.rows("cc$$iowner/owner")) > 0 {
					t.Error("entries of an index are left after its end")
				}
			}
		})
	}
}

// TestIndexNamespace refuses a transaction that writes an index by itself.
func TestIndexNamespace(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	f.redefine(2, byOwner)
	set := rwset("cc$$iowner/owner", &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "x", Value: []byte("k")}}})
	if v := f.submit(f.sign(transaction{set: set})); v.Code != peer.TxValidationCode_INVALID_CHAINCODE {
		t.Errorf("a transaction that writes an index: %s, want INVALID_CHAINCODE", v.Code)
	}
}

// TestBadIndexDefinitions leaves out what a definition should not hold.
func TestBadIndexDefinitions(t *testing.T) {
	t.Parallel()
	if err := ledger.CheckIndexes([]string{byOwner, bySize}); err != nil {
		t.Error(err)
	}
	private, err := ledger.CollectionIndex("prices", []byte(byOwner))
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.CheckIndexes([]string{byOwner, private}); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]string{{`{}`}, {byOwner, byOwner}, {private, private}, {`{"collection":5,"index":{"fields":["a"]}}`}, {`{"collection":"prices"}`}} {
		if err := ledger.CheckIndexes(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	f := newFixture(t, mem.Config{})
	f.redefine(2, private, byOwner, `{"index":5}`, strings.Replace(byOwner, "[\"owner\"]", "[\"size\"]", 1))
	f.submit(f.sign(transaction{set: rwset("cc", &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "a", Value: []byte(`{"owner":"tom"}`)}}})}))
	f.checkIndexes(byOwner)
}

// usable compares the indexes that are usable with what the documents say, and returns their names and those being built.
func (f *fixture) usable() (usable, building []string) {
	f.t.Helper()
	view, err := f.channel.View(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	defer view.Close()
	ready, unready, err := ledger.ReadIndexes(context.Background(), view, "cc")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, x := range ready {
		usable = append(usable, x.Name)
	}
	for _, x := range unready {
		building = append(building, x.Name)
	}
	raw, _, err := ledger.IndexState(context.Background(), view, "cc")
	if err != nil {
		f.t.Fatal(err)
	}
	var definitions []json.RawMessage
	if raw != nil {
		if err := json.Unmarshal(raw, &definitions); err != nil {
			f.t.Fatal(err)
		}
	}
	if len(definitions) != len(ready) {
		f.t.Errorf("%d definitions of %d usable indexes", len(definitions), len(ready))
	}
	for _, d := range definitions {
		f.checkIndexes(string(d))
	}
	return usable, building
}

// TestIndexesInSteps changes the indexes of more documents than a block moves, while they change: also before an earlier change is
// through. What is usable is whole at every time, and what is left at the end is what the last definition says.
func TestIndexesInSteps(t *testing.T) {
	t.Parallel()
	const documents, step = 3_300, 1000
	for _, config := range []mem.Config{{}, {SeparateApply: true, Loose: true}} {
		t.Run(fmt.Sprintf("loose=%v", config.Loose), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			f := newFixture(t, config)
			document := func(i int) *kvrwset.KVWrite {
				return &kvrwset.KVWrite{Key: fmt.Sprintf("k%04d", i), Value: fmt.Appendf(nil, `{"owner":%q,"size":%d,"color":%q}`, []string{"tom", "ann"}[random.IntN(2)], random.IntN(50), []string{"blue", "red"}[random.IntN(2)])}
			}
			all := &kvrwset.KVRWSet{}
			for i := range documents {
				all.Writes = append(all.Writes, document(i))
			}
			f.submit(f.sign(transaction{set: rwset("cc", all)}))
			write := func() {
				set := &kvrwset.KVRWSet{}
				var keys []int
				for range 20 {
					keys = append(keys, random.IntN(documents+100))
				}
				slices.Sort(keys)
				for _, i := range slices.Compact(keys) {
					w := document(i)
					if random.IntN(4) == 0 {
						w.Value, w.IsDelete = nil, true
					}
					set.Writes = append(set.Writes, w)
				}
				f.submit(f.sign(transaction{set: rwset("cc", set)}))
			}
			expect := func(when, usable, building string) {
				t.Helper()
				ready, unready := f.usable()
				if fmt.Sprint(ready) != usable || fmt.Sprint(unready) != building {
					t.Errorf("%s: usable %v, being built %v, want %s and %s", when, ready, unready, usable, building)
				}
			}
			f.redefine(2, byOwner)
			for i := range documents / step {
				expect(fmt.Sprint("block ", i), "[]", "[owner]")
				write()
			}
			expect("the first is built", "[owner]", "[]")
			f.redefine(3, byOwner, bySize)
			write()
			expect("the second is begun", "[owner]", "[size]")
			f.redefine(4, bySize, blue)
			expect("two at once", "[]", "[size blue]")
			write()
			f.redefine(5, bySize, blue) // nothing new: it goes on
			expect("three definitions", "[]", "[size blue]")
			write()
			expect("all are built", "[size blue]", "[]")
			if left := len(f.rows("cc$$iowner/owner")); left > 0 {
				t.Errorf("%d entries of an index are left after its end", left)
			}
			f.redefine(6)
			for range documents / step {
				write()
			}
			if left := len(f.rows("cc$$isize/size")) + len(f.rows("cc$$iblue/blue")); left > 0 {
				t.Errorf("%d entries of indexes are left after their end", left)
			}

			// Undefined and defined again before it was through.
			f.redefine(7, byOwner)
			write()
			f.undefine()
			f.redefine(1, bySize)
			for range documents / step {
				write()
			}
			expect("defined again", "[size]", "[]")
			if left := len(f.rows("cc$$iowner/owner")); left > 0 {
				t.Errorf("%d entries of an index are left after its chaincode was undefined", left)
			}
		})
	}
}
