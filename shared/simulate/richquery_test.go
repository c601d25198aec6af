package simulate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"

	"peerless/shared/ledger"
	"peerless/shared/mango"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// documents is a state of a chaincode with n documents and, if indexed, an index of them by size.
func documents(t *testing.T, n int, indexed bool) *simtest.State {
	t.Helper()
	const definition = `{"index":{"fields":["size"]},"ddoc":"size","name":"size"}`
	x, err := mango.ParseIndex([]byte(definition))
	if err != nil {
		t.Fatal(err)
	}
	state := simtest.NewState()
	if indexed {
		state.Put(t, ledger.LifecycleNamespace, "namespaces/fields/cc/Indexes", "["+definition+"]")
	}
	var pairs, entries []string
	for i := range n {
		key, value := fmt.Sprintf("k%04d", i), fmt.Sprintf(`{"size":%d,"even":%v,"color":"blue"}`, n-i, i%2 == 0)
		pairs = append(pairs, key, value)
		entry, _ := x.Entry(mango.ParseDocument(key, []byte(value)))
		entries = append(entries, entry, key)
	}
	state.Put(t, "cc", pairs...)
	if indexed {
		// Entries older than their documents: of one that has changed, and of one that is gone.
		stale, _ := x.Entry(mango.ParseDocument("k0000", []byte(`{"size":0}`)))
		gone, _ := x.Entry(mango.ParseDocument("gone", []byte(`{"size":0}`)))
		state.Put(t, ledger.IndexNamespace("cc", x), append(entries, stale, "k0000", gone, "gone")...)
	}
	return state
}

func all(t *testing.T, it *simulate.Documents, err error) (keys []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, ok, err := it.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return keys
		}
		keys = append(keys, row.Key)
	}
}

// TestQuery reads documents with and without an index: the same documents, in the order asked for.
func TestQuery(t *testing.T) {
	t.Parallel()
	for _, indexed := range []bool{false, true} {
		state := documents(t, 6, indexed)
		for query, want := range map[string]string{
			`{"selector":{}}`:                                             "k0000 k0001 k0002 k0003 k0004 k0005",
			`{"selector":{"even":true}}`:                                  "k0000 k0002 k0004",
			`{"selector":{"_id":{"$gte":"k0004"}}}`:                       "k0004 k0005",
			`{"selector":{"even":true},"limit":2}`:                        "k0000 k0002",
			`{"selector":{"even":true},"limit":0}`:                        "",
			`{"selector":{"even":true},"skip":1}`:                         "k0002 k0004",
			`{"selector":{"none":1}}`:                                     "",
			`{"selector":{"size":{"$gt":2}},"sort":["_id"]}`:              "k0000 k0001 k0002 k0003",
			`{"selector":{"size":{"$gt":2}},"sort":[{"size":"asc"}]}`:     "k0003 k0002 k0001 k0000",
			`{"selector":{"size":{"$lte":2}},"sort":[{"size":"desc"}]}`:   "k0004 k0005",
			`{"selector":{"size":{"$gt":2},"even":true},"sort":["size"]}`: "k0002 k0000",
			`{"selector":{"size":{"$gt":0}},"sort":["size"],"skip":4}`:    "k0001 k0000",
			`{"selector":{"size":{"$gt":0}},"sort":["size"],"limit":2}`:   "k0005 k0004",
		} {
			if !indexed && strings.Contains(query, `"size`) && strings.Contains(query, `"sort":["size"]`) || !indexed && strings.Contains(query, `[{"size"`) {
				_, err := simulate.New(state.View(t), "tx").Query(t.Context(), "cc", query)
				var refused *mango.Error
				if !errors.As(err, &refused) || refused.Code != "no_usable_index" {
					t.Errorf("%s without an index: %v", query, err)
				}
				continue
			}
			tx := simulate.New(state.View(t), "tx")
			it, err := tx.Query(t.Context(), "cc", query)
			keys := all(t, it, err)
			if indexed && !strings.Contains(query, "sort") {
				slices.Sort(keys)
			}
			if got := strings.Join(keys, " "); got != want {
				t.Errorf("%s, indexed %v: got %s, want %s", query, indexed, got, want)
			}
			reads := []string{}
			if len(keys) > 0 {
				for _, r := range results(t, tx).Reads {
					reads = append(reads, r.Key)
				}
				slices.Sort(keys)
			}
			if strings.Join(reads, " ") != strings.Join(keys, " ") {
				t.Errorf("%s: recorded as read %v, returned %v", query, reads, keys)
			}
		}
	}
}

// TestQueryPages reads page after page, each from the bookmark before.
func TestQueryPages(t *testing.T) {
	t.Parallel()
	for _, indexed := range []bool{false, true} {
		state := documents(t, 25, indexed)
		for _, query := range []string{`{"selector":{"even":true}}`, `{"selector":{"size":{"$gt":3}}}`, `{"selector":{"even":true,"size":{"$gt":0}},"sort":[{"size":"desc"}]}`,
			`{"selector":{"even":true},"skip":2}`} {
			if !indexed && strings.Contains(query, "sort") {
				continue
			}
			it, err := simulate.New(state.View(t), "tx").Query(t.Context(), "cc", query)
			want := all(t, it, err)
			var got []string
			for mark, pages := "", 0; pages < 20; pages++ {
				it, err := simulate.New(state.View(t), "tx").QueryPage(t.Context(), "cc", query, 4, mark)
				page := all(t, it, err)
				if len(page) > 4 {
					t.Fatalf("%s: a page of %d", query, len(page))
				}
				got = append(got, page...)
				if mark, err = it.Bookmark(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					if mark != "nil" {
						t.Errorf("%s: the bookmark behind the end is %q, want nil", query, mark)
					}
					break
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, indexed %v: pages give %v, the whole %v", query, indexed, got, want)
			}
		}
	}
}

// TestQueryAndWrites holds to Fabric's rule: who reads pages does not write.
func TestQueryAndWrites(t *testing.T) {
	t.Parallel()
	state := documents(t, 3, true)
	tx := simulate.New(state.View(t), "tx")
	if err := tx.PutState("cc", "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.QueryPage(t.Context(), "cc", `{"selector":{}}`, 1, ""); !errors.Is(err, simulate.ErrHasWritten) {
		t.Errorf("a page after a write: %v", err)
	}
	it, err := tx.Query(t.Context(), "cc", `{"selector":{"size":2}}`)
	if keys := all(t, it, err); fmt.Sprint(keys) != "[k0001]" {
		t.Errorf("a query after a write: %v", keys)
	}
	paged := simulate.New(state.View(t), "tx")
	if _, err := paged.QueryPage(t.Context(), "cc", `{"selector":{}}`, 1, ""); err != nil {
		t.Fatal(err)
	}
	if err := paged.PutState("cc", "a", nil); !errors.Is(err, simulate.ErrReadOnly) {
		t.Errorf("a write after a page: %v", err)
	}
}

// TestQueryBookmarks refuses what is no bookmark of this query.
func TestQueryBookmarks(t *testing.T) {
	t.Parallel()
	state := documents(t, 9, true)
	it, err := simulate.New(state.View(t), "tx").QueryPage(t.Context(), "cc", `{"selector":{"size":{"$gt":1}}}`, 2, "")
	all(t, it, err)
	mark, err := it.Bookmark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"x", "e30x", mark, strings.ToUpper(mark)} {
		_, err := simulate.New(state.View(t), "tx").QueryPage(t.Context(), "cc", `{"selector":{"even":true}}`, 2, bad)
		var refused *mango.Error
		if !errors.As(err, &refused) || refused.Code != "invalid_bookmark" {
			t.Errorf("bookmark %q of another query: %v", bad, err)
		}
	}
}

// TestQueryFields returns parts of documents, and records the whole.
func TestQueryFields(t *testing.T) {
	t.Parallel()
	state := documents(t, 2, true)
	tx := simulate.New(state.View(t), "tx")
	it, err := tx.Query(t.Context(), "cc", `{"selector":{"size":1},"fields":["color"]}`)
	if err != nil {
		t.Fatal(err)
	}
	row, ok, err := it.Next(t.Context())
	if err != nil || !ok || string(row.Item.Value) != `{"color":"blue"}` {
		t.Errorf("got %s, %v, %v", row.Item.Value, ok, err)
	}
	if value, err := tx.GetState(t.Context(), "cc", "k0001"); err != nil || !json.Valid(value) || !strings.Contains(string(value), "size") {
		t.Errorf("the state is %s, %v", value, err)
	}
	compare(t, tx, &kvrwset.KVRWSet{Reads: []*kvrwset.KVRead{{Key: "k0001", Version: version(1)}}})
}

// TestPrivateQuery reads a collection's documents by its indexes, which have no entries: in their order, and only what they keep.
func TestPrivateQuery(t *testing.T) {
	t.Parallel()
	var indexes []*mango.Index
	for _, definition := range []string{
		`{"index":{"fields":["size"]},"ddoc":"size","name":"size"}`, `{"index":{"fields":[{"owner":"desc"},{"size":"desc"}]},"ddoc":"owner","name":"owner"}`,
		`{"index":{"fields":["size"],"partial_filter_selector":{"owner":"amy"}},"ddoc":"amy","name":"amy"}`,
	} {
		x, err := mango.ParseIndex([]byte(definition))
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, x)
	}
	state := simtest.NewState()
	state.Put(t, ledger.PrivateNamespace("cc", "prices"), "a", `{"owner":"amy","size":3}`, "b", `{"owner":"tom","size":1}`, "c", `{"owner":"amy","size":2}`,
		"d", `{"owner":"tom"}`, "e", "no JSON", "f", `{"owner":"tom","size":2}`)
	opened := simulate.Collection{Name: "prices", Indexes: indexes, Open: func(_ string, sealed []byte) ([]byte, error) { return sealed, nil }}
	for query, want := range map[string]string{
		`{"selector":{"size":{"$gt":0}},"sort":["size"]}`:                                                  "b c f a",
		`{"selector":{"size":{"$gte":2,"$lt":3}},"sort":["size"]}`:                                         "c f",
		`{"selector":{"owner":"tom"},"sort":[{"owner":"desc"},{"size":"desc"}]}`:                           "f b",
		`{"selector":{"owner":{"$gt":null}},"sort":[{"owner":"desc"},{"size":"desc"}],"skip":1,"limit":2}`: "b a",
		`{"selector":{"owner":"amy","size":{"$gt":0}},"sort":["size"],"use_index":["amy","amy"]}`:          "c a",
		`{"selector":{"owner":"tom"}}`:                                                                     "b d f",
		`{"selector":{"size":2},"fields":["owner"]}`:                                                       "c f",
		`{"selector":{"size":{"$gt":0}},"sort":["size"],"bookmark":"BOOKMARK OF b"}`:                       "c f a",
	} {
		if strings.Contains(query, "BOOKMARK") {
			first, err := simulate.New(state.View(t), "tx").PrivateQuery(t.Context(), "cc", opened, `{"selector":{"size":{"$gt":0}},"sort":["size"],"limit":1}`)
			all(t, first, err)
			mark, err := first.Bookmark(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			query = strings.Replace(query, "BOOKMARK OF b", mark, 1)
		}
		it, err := simulate.New(state.View(t), "tx").PrivateQuery(t.Context(), "cc", opened, query)
		if got := strings.Join(all(t, it, err), " "); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
		if scanned, indexed := it.Scanned(); scanned != 6 || indexed {
			t.Errorf("%s: looked at %d documents, indexed %v; want all 6", query, scanned, indexed)
		}
	}
	var refused *mango.Error
	if _, err := simulate.New(state.View(t), "tx").PrivateQuery(t.Context(), "cc", opened, `{"selector":{},"sort":["color"]}`); !errors.As(err, &refused) || refused.Code != "no_usable_index" {
		t.Errorf("a sort without an index: %v", err)
	}
	closed := opened
	closed.Open = nil // a member elsewhere
	it, err := simulate.New(state.View(t), "tx").PrivateQuery(t.Context(), "cc", closed, `{"selector":{"size":{"$gt":0}},"sort":["size"]}`)
	if got := all(t, it, err); len(got) != 0 {
		t.Errorf("without the values: got %v", got)
	}
}

// TestQueryWhileIndexIsBuilt: an index that does not hold every document yet is not used; the query finds what it will find by it, sorted
// too, and says which it waits for.
func TestQueryWhileIndexIsBuilt(t *testing.T) {
	t.Parallel()
	const definition = `{"index":{"fields":["size"]},"ddoc":"size","name":"size"}`
	state := documents(t, 40, true)
	state.Put(t, "cc", "nosize", `{"even":true}`)
	for query, waits := range map[string]bool{
		`{"selector":{"size":{"$gt":10}},"sort":[{"size":"asc"}]}`: true,
		`{"selector":{"even":true},"sort":[{"size":"asc"}]}`:       true,
		`{"selector":{"size":{"$lt":5}}}`:                          true,
		`{"selector":{"even":true}}`:                               false,
	} {
		tx := simulate.New(state.View(t), "tx")
		it, err := tx.Query(t.Context(), "cc", query)
		want := all(t, it, err)
		built := documents(t, 40, true)
		built.Put(t, "cc", "nosize", `{"even":true}`)
		built.Put(t, ledger.LifecycleNamespace, ledger.LayoutKey("cc"), `[{"below":"azAwMTA=","indexes":[`+definition+`]},{"indexes":[]}]`) // below k0010
		it, err = simulate.New(built.View(t), "tx").Query(t.Context(), "cc", query)
		got := all(t, it, err)
		if !strings.Contains(query, "sort") {
			slices.Sort(want) // nothing says in which order
		}
		if !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
		documents, indexed := it.Scanned()
		if indexed || documents != 41 || (it.Awaited() != nil) != waits {
			t.Errorf("%s: looked at %d documents, by an index %v, waits for %v", query, documents, indexed, it.Awaited())
		}
	}
	// What no index would give is still refused.
	built := documents(t, 4, true)
	built.Put(t, ledger.LifecycleNamespace, ledger.LayoutKey("cc"), `[{"indexes":[`+definition+`]},{"indexes":[]}]`)
	var refused *mango.Error
	if _, err := simulate.New(built.View(t), "tx").Query(t.Context(), "cc", `{"selector":{"even":true},"sort":[{"color":"asc"}]}`); !errors.As(err, &refused) || refused.Code != "no_usable_index" {
		t.Errorf("a sort that no index gives: %v", err)
	}
}
