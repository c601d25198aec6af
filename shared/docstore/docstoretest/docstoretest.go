// Package docstoretest is what every docstore.Store passes.
package docstoretest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/docstore"
)

// TestStore runs the suite. open makes an empty store, and returns what opens it once more, as another process would.
func TestStore(t *testing.T, open func(t *testing.T) func() docstore.Store) {
	for name, test := range map[string]func(*testing.T, func() docstore.Store){
		"create":      testCreate,
		"replace":     testReplace,
		"delete":      testDelete,
		"list":        testList,
		"pages":       testPages,
		"expiry":      testExpiry,
		"names":       testNames,
		"values":      testValues,
		"creators":    testCreators,
		"counters":    testCounters,
		"independent": testIndependent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func put(t *testing.T, s docstore.Store, doc docstore.Document) docstore.Document {
	t.Helper()
	stored, err := s.Put(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func want(t *testing.T, s docstore.Store, doc docstore.Document) {
	t.Helper()
	got, err := s.Get(t.Context(), doc.Kind, doc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc, got); diff != "" {
		t.Errorf("the document (- as put, + as got):\n%s", diff)
	}
}

func wantError(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got %v, want %v", err, target)
	}
}

func document(id, value string) docstore.Document {
	return docstore.Document{Kind: "key", ID: id, Value: json.RawMessage(value)}
}

func testCreate(t *testing.T, open func() docstore.Store) {
	ctx, s := t.Context(), open()
	_, err := s.Get(ctx, "key", "a")
	wantError(t, err, docstore.ErrNotFound)
	stored := put(t, s, document("a", `{ "n": 1 }`))
	if stored.Version == "" || string(stored.Value) != `{"n":1}` {
		t.Errorf("stored %q, version %q: want it compact, with a version", stored.Value, stored.Version)
	}
	want(t, s, stored)
	want(t, open(), stored)
	_, err = s.Put(ctx, document("a", `{"n":1}`))
	wantError(t, err, docstore.ErrConflict)
	want(t, s, stored)
}

func testReplace(t *testing.T, open func() docstore.Store) {
	ctx, s, other := t.Context(), open(), open()
	first := put(t, s, document("a", `1`))
	next := first
	next.Value = json.RawMessage(`2`)
	second := put(t, other, next)
	if second.Version == first.Version {
		t.Error("the version is the same as before")
	}
	want(t, s, second)
	_, err := s.Put(ctx, next) // with the first version
	wantError(t, err, docstore.ErrConflict)
	_, err = s.Put(ctx, docstore.Document{Kind: "key", ID: "b", Version: first.Version, Value: next.Value})
	wantError(t, err, docstore.ErrConflict)
	_, err = s.Get(ctx, "key", "b")
	wantError(t, err, docstore.ErrNotFound)
	back := second // to what it was before: another version all the same
	back.Value = first.Value
	if third := put(t, s, back); third.Version == first.Version || third.Version == second.Version {
		t.Error("a version came twice")
	}
}

func testDelete(t *testing.T, open func() docstore.Store) {
	ctx, s, other := t.Context(), open(), open()
	wantError(t, s.Delete(ctx, "key", "a", ""), docstore.ErrNotFound)
	first := put(t, s, document("a", `1`))
	wantError(t, s.Delete(ctx, "key", "a", "another"), docstore.ErrConflict)
	want(t, s, first)
	wantError(t, other.Delete(ctx, "key", "a", first.Version), nil)
	_, err := s.Get(ctx, "key", "a")
	wantError(t, err, docstore.ErrNotFound)
	wantError(t, s.Delete(ctx, "key", "a", first.Version), docstore.ErrNotFound)
	_, err = s.Put(ctx, first) // it names a version
	wantError(t, err, docstore.ErrConflict)
	again := put(t, s, document("a", `1`))
	if again.Version == first.Version {
		t.Error("a document that was made anew has the version of the one that was deleted")
	}
	wantError(t, s.Delete(ctx, "key", "a", ""), nil)
}

func ids(t *testing.T, s docstore.Store, kind, prefix string) []string {
	t.Helper()
	list := []string{}
	for doc, err := range docstore.All(t.Context(), s, kind, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, doc.ID)
	}
	return list
}

func testList(t *testing.T, open func() docstore.Store) {
	s := open()
	for _, id := range []string{"b/2", "a", "b/1", "B", "b", "b-1", "b/10", "c", "~"} {
		put(t, s, document(id, `{"id":"`+id+`"}`))
	}
	put(t, s, docstore.Document{Kind: "keys", ID: "b/0", Value: json.RawMessage(`0`)})
	for prefix, want := range map[string][]string{
		"":     {"B", "a", "b", "b-1", "b/1", "b/10", "b/2", "c", "~"},
		"b":    {"b", "b-1", "b/1", "b/10", "b/2"},
		"b/":   {"b/1", "b/10", "b/2"},
		"b/1":  {"b/1", "b/10"},
		"d":    {},
		"c":    {"c"},
		"~":    {"~"},
		"b/10": {"b/10"},
	} {
		if diff := cmp.Diff(want, ids(t, s, "key", prefix)); diff != "" {
			t.Errorf("ids that begin with %q (- want, + got):\n%s", prefix, diff)
		}
	}
	if got := ids(t, s, "none", ""); len(got) != 0 {
		t.Errorf("of a kind that is not there: %v", got)
	}
	for after, want := range map[string][]string{"a": {"b/1", "b/10", "b/2"}, "b/1": {"b/10", "b/2"}, "b/11": {"b/2"}, "b/2": nil, "c": nil, "~": nil} {
		page, next, err := s.List(t.Context(), "key", "b/", after, 0)
		var got []string
		for _, doc := range page {
			got = append(got, doc.ID)
			if string(doc.Value) != `{"id":"`+doc.ID+`"}` || doc.Version == "" {
				t.Errorf("%s is listed as %+v", doc.ID, doc)
			}
		}
		if err != nil || next != "" || !slices.Equal(got, want) {
			t.Errorf("behind %q: %v, next %q, %v; want %v", after, got, next, err, want)
		}
	}
}

func testPages(t *testing.T, open func() docstore.Store) {
	s := open()
	const n = 2*docstore.MaxPage + 7
	var all []string
	var wait sync.WaitGroup
	for i := range n {
		id := fmt.Sprintf("page/%03d", i)
		all = append(all, id)
		wait.Go(func() {
			if _, err := s.Put(t.Context(), document(id, `{}`)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if diff := cmp.Diff(all, ids(t, s, "key", "page/")); diff != "" {
		t.Errorf("all pages (- want, + got):\n%s", diff)
	}
	for _, limit := range []int{1, 7, docstore.MaxPage, 0} {
		var got []string
		after := ""
		for range 8 {
			page, next, err := s.List(t.Context(), "key", "page/", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 && len(page) > limit {
				t.Fatalf("a page of %d documents, where %d were asked for", len(page), limit)
			}
			for _, doc := range page {
				got = append(got, doc.ID)
			}
			if after = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, all[:len(got)]) || len(got) < 8 {
			t.Errorf("pages of %d: %v", limit, got)
		}
	}
	for _, limit := range []int{-1, docstore.MaxPage + 1} {
		_, _, err := s.List(t.Context(), "key", "", "", limit)
		wantError(t, err, docstore.ErrInvalid)
	}
}

func testExpiry(t *testing.T, open func() docstore.Store) {
	ctx, s := t.Context(), open()
	later := document("later", `1`)
	later.Expires = time.Now().Add(time.Hour + 123*time.Millisecond)
	stored := put(t, s, later)
	if !stored.Expires.Equal(later.Expires.Truncate(time.Second)) {
		t.Errorf("it expires at %v, want whole seconds of %v", stored.Expires, later.Expires)
	}
	want(t, open(), stored)

	past := document("past", `1`)
	past.Expires = time.Now().Add(-time.Minute)
	gone := put(t, s, past)
	_, err := s.Get(ctx, "key", "past")
	wantError(t, err, docstore.ErrNotFound)
	wantError(t, s.Delete(ctx, "key", "past", ""), docstore.ErrNotFound)
	_, err = s.Put(ctx, gone) // it names the version of what has expired
	wantError(t, err, docstore.ErrConflict)
	if got := ids(t, s, "key", ""); !slices.Equal(got, []string{"later"}) {
		t.Errorf("listed: %v, want the one that has not expired", got)
	}
	want(t, s, put(t, s, document("past", `2`))) // as if there were none

	stored.Expires = time.Time{}
	if forever := put(t, s, stored); !forever.Expires.IsZero() {
		t.Errorf("it expires at %v, want never", forever.Expires)
	}
	stored, err = s.Get(ctx, "key", "later")
	if err != nil || !stored.Expires.IsZero() {
		t.Errorf("it expires at %v, %v; want never", stored.Expires, err)
	}
}

func testNames(t *testing.T, open func() docstore.Store) {
	ctx, s := t.Context(), open()
	for _, id := range []string{"a", ".", "..", "../key", "/", "//", "a/../b", "Org1MSP", "org1msp", "-", "user@example.com:x=y+z~",
		"key.json", strings.Repeat("x", docstore.MaxID), strings.Repeat("/", docstore.MaxID)} {
		if !strings.EqualFold(id, "org1msp") { // a file system may not tell them apart
			want(t, s, put(t, s, document(id, `{"id":"`+id+`"}`)))
		}
	}
	long := strings.Repeat("k", docstore.MaxKind)
	want(t, s, put(t, s, docstore.Document{Kind: long, ID: "a", Value: json.RawMessage(`1`)}))
	for kind, bad := range map[string][]string{
		"key": {"", "a b", "a,b", "ä", "a\x00", "a\n", "a%", `a\b`, "#", strings.Repeat("x", docstore.MaxID+1)},
		"":    {"a"}, "Key": {"a"}, "key/x": {"a"}, "..": {"a"}, "1": {"a"}, long + "k": {"a"}, "k#": {"a"},
	} {
		for _, id := range bad {
			_, err := s.Get(ctx, kind, id)
			wantError(t, err, docstore.ErrInvalid)
			_, err = s.Put(ctx, docstore.Document{Kind: kind, ID: id, Value: json.RawMessage(`1`)})
			wantError(t, err, docstore.ErrInvalid)
			wantError(t, s.Delete(ctx, kind, id, ""), docstore.ErrInvalid)
			if kind == "key" && id != "" {
				_, _, err = s.List(ctx, kind, id, "", 0)
				wantError(t, err, docstore.ErrInvalid)
				_, _, err = s.List(ctx, kind, "", id, 0)
				wantError(t, err, docstore.ErrInvalid)
			}
		}
		if kind != "key" {
			_, _, err := s.List(ctx, kind, "", "", 0)
			wantError(t, err, docstore.ErrInvalid)
		}
	}
}

func testValues(t *testing.T, open func() docstore.Store) {
	ctx, s := t.Context(), open()
	for i, value := range []string{`{}`, `[]`, `""`, `0`, `false`, `"<>&\u2028ü\u0000"`, ` { "a" : [ 1 , 2.50 ] } `, `12345678901234567890.5e10`} {
		stored := put(t, s, document(fmt.Sprint(i), value))
		compact, err := json.Marshal(json.RawMessage(value))
		if err != nil || !bytes.Equal(stored.Value, compact) {
			t.Errorf("%s is stored as %s, want %s", value, stored.Value, compact)
		}
		want(t, open(), stored)
	}
	largest := `"` + strings.Repeat("x", docstore.MaxValue-2) + `"`
	want(t, s, put(t, s, document("largest", largest)))
	for _, value := range []string{``, `null`, ` null `, `{`, `{}{}`, `nil`, `"` + largest[1:len(largest)-1] + `x"`} {
		_, err := s.Put(ctx, document("bad", value))
		wantError(t, err, docstore.ErrInvalid)
	}
	_, err := s.Get(ctx, "key", "bad")
	wantError(t, err, docstore.ErrNotFound)
}

// Of many who make one document, one is first, and all see its document.
func testCreators(t *testing.T, open func() docstore.Store) {
	const n = 8
	var wait sync.WaitGroup
	results := make([]docstore.Document, n)
	for i := range n {
		s := open()
		wait.Go(func() {
			doc, err := docstore.Create(t.Context(), s, "user", "org/alice", i)
			if err != nil {
				t.Error(err)
			}
			results[i] = doc
		})
	}
	wait.Wait()
	for _, doc := range results[1:] {
		if diff := cmp.Diff(results[0], doc); diff != "" {
			t.Errorf("two creators saw different documents:\n%s", diff)
		}
	}
}

// Nobody's change is lost.
func testCounters(t *testing.T, open func() docstore.Store) {
	const writers, each = 4, 8
	type counter struct{ N int }
	var wait sync.WaitGroup
	for range writers {
		s := open()
		wait.Go(func() {
			for range each {
				if _, err := docstore.Update(t.Context(), s, "counter", "c", func(c *counter, exists bool) error {
					if exists != (c.N > 0) {
						t.Errorf("exists is %v at %d", exists, c.N)
					}
					c.N++
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	doc, err := open().Get(t.Context(), "counter", "c")
	var c counter
	if err == nil {
		err = doc.Decode(&c)
	}
	if err != nil || c.N != writers*each {
		t.Errorf("counted to %d, %v; want %d", c.N, err, writers*each)
	}
	stop := errors.New("stop")
	_, err = docstore.Update(context.Background(), open(), "counter", "c", func(*counter, bool) error { return stop })
	wantError(t, err, stop)
	if err := doc.Decode(new([]string)); !errors.Is(err, docstore.ErrDamaged) {
		t.Errorf("decoded as something else: %v", err)
	}
}

// What a caller does with the bytes it got or gave changes nothing that is stored.
func testIndependent(t *testing.T, open func() docstore.Store) {
	s := open()
	value := []byte(`{"a":1}`)
	stored := put(t, s, docstore.Document{Kind: "key", ID: "a", Value: value})
	clear(value)
	got, err := s.Get(t.Context(), "key", "a")
	if err != nil || !bytes.Equal(got.Value, stored.Value) {
		t.Fatalf("got %s, %v", got.Value, err)
	}
	clear(got.Value)
	clear(stored.Value)
	if got, err = s.Get(t.Context(), "key", "a"); err != nil || string(got.Value) != `{"a":1}` {
		t.Errorf("got %q, %v", got.Value, err)
	}
}
