package node_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/mango"
)

// indexedProbe is a node whose probe has an index of the collection own, by the field n.
func indexedProbe(tb testing.TB, config ledger.Config) *privateNode {
	tb.Helper()
	p := &privateNode{TB: tb, dir: tb.TempDir(), config: config}
	p.open()
	if err := p.node.CreateChannel(tb.Context(), "main", []string{"AMSP", "BMSP"}); err != nil {
		tb.Fatal(err)
	}
	collections, err := collection.Parse([]byte(nodeCollections))
	if err != nil {
		tb.Fatal(err)
	}
	index, err := ledger.CollectionIndex("own", []byte(`{"index":{"fields":["n"]},"ddoc":"n","name":"n"}`))
	if err != nil {
		tb.Fatal(err)
	}
	definition := gateway.Definition{Name: "probe", Policy: "OR('AMSP.peer','BMSP.peer')", Collections: collections, Indexes: []string{index}}
	if _, err := p.node.DeployInProcess(tb.Context(), "main", probe.New(), definition); err != nil {
		tb.Fatal(err)
	}
	return p
}

// A privateRow is a row of the probe's answer.
type privateRow struct{ Key, Value string }

// number is the document's n, and whether it has one.
func (r privateRow) number() (int, bool) {
	var doc struct{ N *int }
	if json.Unmarshal([]byte(r.Value), &doc) != nil || doc.N == nil {
		return 0, false
	}
	return *doc.N, true
}

// rows runs operations that each return rows, in one evaluation.
func (p *privateNode) rows(ops string) [][]privateRow {
	p.Helper()
	answer, err := p.node.Gateway.EvaluateTransaction(p.Context(), p.request("AMSP", "probe", ops, nil))
	if err != nil {
		p.Fatal(err)
	}
	var results []struct {
		Value struct{ Rows []privateRow }
		Error any
	}
	if err := json.Unmarshal(answer.Response.Payload, &results); err != nil {
		p.Fatalf("%v: %s", err, answer.Response.Payload)
	}
	var all [][]privateRow
	for _, r := range results {
		if r.Error != nil {
			p.Fatal(r.Error)
		}
		all = append(all, r.Value.Rows)
	}
	return all
}

// TestPrivateIndex queries a collection by its index while others write it: each query gives what the same transaction finds by reading
// everything, and none looks at all values.
func TestPrivateIndex(t *testing.T) {
	t.Parallel()
	p := indexedProbe(t, ledger.Config{})
	defer p.close()
	var fill []string
	for i := range 60 {
		fill = append(fill, fmt.Sprintf(`{"op":"PutPrivateData","collection":"own","key":"k%02d","value":"{\"n\":%d}"}`, i, i))
	}
	p.submit("AMSP", "["+strings.Join(fill, ",")+"]", nil)
	for from := 0; from < 1200; from += 400 { // no scan goes unseen in the log
		var more []string
		for i := range 400 {
			more = append(more, fmt.Sprintf(`{"op":"PutPrivateData","collection":"own","key":"x%04d","value":"{\"m\":%d}"}`, from+i, i))
		}
		p.submit("AMSP", "["+strings.Join(more, ",")+"]", nil)
	}
	const (
		everything = `{"op":"GetPrivateDataByRange","collection":"own","start":"k","end":"l"}`
		query      = `{"op":"GetPrivateDataQueryResult","collection":"own","query":"{\"selector\":{\"n\":{\"$gte\":10,\"$lt\":40}},\"sort\":[\"n\"]}"}`
	)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for w := range uint64(4) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(seed, w))
			for range 40 {
				key := fmt.Sprintf("k%02d", random.IntN(60))
				op := fmt.Sprintf(`{"op":"PutPrivateData","collection":"own","key":"%s","value":"{\"n\":%d}"}`, key, random.IntN(60))
				switch random.IntN(5) {
				case 0:
					op = fmt.Sprintf(`{"op":"DelPrivateData","collection":"own","key":"%s"}`, key)
				case 1:
					op = fmt.Sprintf(`{"op":"PurgePrivateData","collection":"own","key":"%s"}`, key)
				case 2:
					op = fmt.Sprintf(`{"op":"PutPrivateData","collection":"own","key":"%s","value":"no document"}`, key)
				}
				p.submit("AMSP", "["+op+"]", nil)
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for done := false; !done; {
				select {
				case <-stop:
					done = true // one more
				default:
				}
				both := p.rows("[" + everything + "," + query + "]")
				var want []privateRow
				for _, row := range both[0] {
					if n, ok := row.number(); ok && n >= 10 && n < 40 {
						want = append(want, row)
					}
				}
				slices.SortFunc(want, func(a, b privateRow) int {
					x, _ := a.number()
					y, _ := b.number()
					return cmp.Or(cmp.Compare(x, y), strings.Compare(a.Key, b.Key))
				})
				if !slices.Equal(both[1], want) {
					t.Errorf("got %v, want %v", both[1], want)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if scans := strings.Count(p.log.String(), "looked at every document"); scans > 0 {
		t.Errorf("%d queries looked at every document", scans)
	}
}

// TestPrivateIndexOfOlderViews asks for the entries of views in any order: each finds those of its documents, also of such as were
// replaced or deleted before the index was brought up past them.
func TestPrivateIndexOfOlderViews(t *testing.T) {
	t.Parallel()
	p := indexedProbe(t, ledger.Config{})
	defer p.close()
	channel, err := p.node.Ledger.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	var views []ledger.View
	view := func() {
		t.Helper()
		v, err := channel.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		views = append(views, v)
	}
	put := `[{"op":"PutPrivateData","collection":"own","key":"%s","value":"{\"n\":%d}"}]`
	view()
	for _, ops := range []string{fmt.Sprintf(put, "a", 1), fmt.Sprintf(put, "a", 2), fmt.Sprintf(put, "b", 7), `[{"op":"DelPrivateData","collection":"own","key":"b"}]`, fmt.Sprintf(put, "a", 3)} {
		p.submit("AMSP", ops, nil)
		view()
	}
	for _, order := range [][]int{{0, 5, 3, 1, 4, 2}, {5, 0, 1}, {2, 5, 4, 3, 2}} {
		index := privateIndexOf(t, channel)
		for _, i := range order {
			want := map[int]string{1: "a=1", 2: "a=2", 3: "a=2 b=7", 4: "a=2", 5: "a=3"}[i]
			if got, kept := index.documents(t, p, views[i]); kept && got != want || !kept && i >= order[0] {
				t.Errorf("order %v, view %d: got %q (kept: %v), want %q", order, i, got, kept, want)
			}
		}
	}
}

// TestPrivateIndexLimit keeps what was used last, and of what is too large nothing: queries give the same.
func TestPrivateIndexLimit(t *testing.T) {
	t.Parallel()
	p := indexedProbe(t, ledger.Config{PrivateEntries: 3})
	defer p.close()
	channel, err := p.node.Ledger.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	first, second := privateIndexOf(t, channel), privateIndexOf(t, channel)
	put := func(key string, n int) {
		p.submit("AMSP", fmt.Sprintf(`[{"op":"PutPrivateData","collection":"own","key":"%s","value":"{\"n\":%d}"}]`, key, n), nil)
	}
	check := func(want string, wantKept bool) {
		t.Helper()
		view, err := channel.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		for _, index := range []heldIndex{first, second, first} {
			if got, kept := index.documents(t, p, view); kept != wantKept || kept && got != want {
				t.Errorf("got %q (kept: %v), want %q (kept: %v)", got, kept, want, wantKept)
			}
		}
		const query = `[{"op":"GetPrivateDataQueryResult","collection":"own","query":"{\"selector\":{\"n\":{\"$gt\":0}},\"sort\":[\"n\"]}"}]`
		var list []string
		for _, row := range p.rows(query)[0] {
			n, _ := row.number()
			list = append(list, fmt.Sprintf("%s=%d", row.Key, n))
		}
		if got := strings.Join(list, " "); got != want {
			t.Errorf("the query gives %s, want %s", got, want)
		}
	}
	put("a", 1)
	put("b", 2)
	check("a=1 b=2", true)
	put("c", 3)
	check("a=1 b=2 c=3", true)
	put("d", 4)
	check("a=1 b=2 c=3 d=4", false)
}

// A heldIndex is the index of the collection own for an organisation, as if for the first time: another name for the organisation has it built anew.
type heldIndex struct {
	of      ledger.PrivateIndexes
	channel *ledger.Channel
}

var held atomic.Int64

func privateIndexOf(t *testing.T, channel *ledger.Channel) heldIndex {
	t.Helper()
	x, err := mango.ParseIndex([]byte(`{"index":{"fields":["n"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	return heldIndex{ledger.PrivateIndexes{Chaincode: "probe", Collection: "own", MSPID: fmt.Sprint("A", held.Add(1)), Indexes: []*mango.Index{x}}, channel}
}

// documents returns the documents of a view that the index leads to, as key=n.
func (h heldIndex) documents(t *testing.T, p *privateNode, view ledger.View) (found string, kept bool) {
	t.Helper()
	h.of.Open = func(key string, sealed []byte) ([]byte, error) {
		return collection.Open(p.node.Ledger.Keys, "AMSP", ledger.PrivatePlace("main", "probe", "own", key), sealed)
	}
	entries, err := h.channel.PrivateIndex(t.Context(), view, h.of, h.of.Indexes[0])
	if err != nil {
		t.Fatal(err)
	}
	if entries == nil {
		return "", false
	}
	var list []string
	for _, e := range entries("", "", 100) {
		key := string(e.Item.Value)
		items, err := view.Get(t.Context(), ledger.PrivateNamespace("probe", "own"), []string{key})
		if err != nil {
			t.Fatal(err)
		}
		if items[0] == nil {
			continue
		}
		value, err := h.of.Open(key, items[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if own, ok := h.of.Indexes[0].Entry(mango.ParseDocument(key, value)); ok && own == e.Key {
			n, _ := privateRow{key, string(value)}.number()
			list = append(list, fmt.Sprintf("%s=%d", key, n))
		}
	}
	slices.Sort(list)
	return strings.Join(list, " "), true
}

// BenchmarkPrivateQuery reads a page of 10 of a collection by its index.
func BenchmarkPrivateQuery(b *testing.B) {
	for _, c := range []struct {
		documents, limit int
		name             string
	}{{1000, 0, "kept"}, {30_000, 0, "kept"}, {30_000, 1, "not kept"}} {
		documents := c.documents
		b.Run(fmt.Sprintf("%s/documents=%d", c.name, documents), func(b *testing.B) {
			p := indexedProbe(b, ledger.Config{PrivateEntries: c.limit})
			defer p.close()
			for from := 0; from < documents; from += 1000 {
				var fill []string
				for i := from; i < from+1000; i++ {
					fill = append(fill, fmt.Sprintf(`{"op":"PutPrivateData","collection":"own","key":"k%06d","value":"{\"n\":%d,\"owner\":\"somebody\",\"text\":\"as long as a small document is\"}"}`, i, i))
				}
				p.submit("AMSP", "["+strings.Join(fill, ",")+"]", nil)
			}
			page := func(from int) string {
				return fmt.Sprintf(`[{"op":"GetPrivateDataQueryResult","collection":"own","query":"{\"selector\":{\"n\":{\"$gte\":%d}},\"sort\":[\"n\"],\"limit\":10}"}]`, from)
			}
			p.rows(page(0)) // builds the index
			for b.Loop() {
				if got := len(p.rows(page(rand.IntN(documents - 10)))[0]); got != 10 {
					b.Fatalf("%d documents", got)
				}
			}
		})
	}
}
