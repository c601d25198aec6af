package mango

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ordered are values in the order of CouchDB's view collation.
var ordered = []string{
	`null`, `false`, `true`, `-1e300`, `-2`, `-1`, `0`, `0.5`, `1`, `2`, `10`, `9007199254740993`, `1e300`,
	`""`, `"a"`, `"A"`, `"aa"`, `"b"`, `"B"`, `"ba"`, `"bb"`, `"é"`, `"f"`,
	`[]`, `["a"]`, `["b"]`, `["b","c"]`, `["b","c","a"]`, `["b","d"]`, `["b","d","e"]`,
	`{}`, `{"a":1}`, `{"a":2}`, `{"b":1}`, `{"b":2}`, `{"b":2,"c":2}`,
}

func TestCollation(t *testing.T) {
	t.Parallel()
	values := make([]any, len(ordered))
	for i, raw := range ordered {
		v, err := parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		values[i] = v
	}
	for i, a := range values {
		for j, b := range values {
			if got, want := sign(Compare(a, b)), sign(i-j); got != want {
				t.Errorf("compare %s with %s: got %d, want %d", ordered[i], ordered[j], got, want)
			}
			for _, desc := range []bool{false, true} {
				got := sign(strings.Compare(string(appendDirected(nil, a, desc)), string(appendDirected(nil, b, desc))))
				want := sign(i - j)
				if desc {
					want = -want
				}
				if got != want {
					t.Errorf("entries of %s and %s, descending %v: got %d, want %d", ordered[i], ordered[j], desc, got, want)
				}
			}
		}
	}
	for _, same := range [][2]string{{`1`, `1.0`}, {`-0`, `0`}, {`1e2`, `100`}, {`{"a":1,"b":2}`, `{"b":2,"a":1}`}} {
		a, _ := parse([]byte(same[0]))
		b, _ := parse([]byte(same[1]))
		if Compare(a, b) != 0 {
			t.Errorf("%s and %s are not the same", same[0], same[1])
		}
	}
	a, _ := parse([]byte(`9007199254740993.5`))
	b, _ := parse([]byte(`9007199254740993.25`))
	if Compare(a, b) <= 0 {
		t.Error("digits beyond a float's do not count")
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		most := 5
		if depth == 0 {
			most = 3
		}
		switch rapid.IntRange(0, most).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return json.Number(fmt.Sprint(rapid.IntRange(-3, 3).Draw(t, "number")))
		case 3:
			return rapid.SampledFrom([]string{"", "a", "A", "b", "a\x00", "aé", "zz"}).Draw(t, "string")
		case 4:
			return rapid.SliceOfN(value(depth-1), 0, 3).Draw(t, "array")
		}
		return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), value(depth-1), 0, 3).Draw(t, "object")
	})
}

// TestEntriesOrder compares the order of encoded values with that of the values.
func TestEntriesOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := value(2).Draw(t, "a"), value(2).Draw(t, "b")
		ea, eb := string(appendValue(nil, a)), string(appendValue(nil, b))
		if got, want := sign(strings.Compare(ea, eb)), sign(Compare(a, b)); got != want {
			t.Fatalf("entries of %v and %v compare %d, want %d", a, b, got, want)
		}
		if ea != eb && strings.HasPrefix(eb, ea) {
			t.Fatalf("the entry of %v begins that of %v", a, b)
		}
	})
}

// TestPlans runs random queries by plan over random documents, and compares with looking at all of them.
func TestPlans(t *testing.T) {
	t.Parallel()
	var indexes []*Index
	for _, raw := range []string{
		`{"index":{"fields":["a"]},"ddoc":"a","name":"a"}`,
		`{"index":{"fields":["a","b"]},"ddoc":"ab","name":"ab","type":"json"}`,
		`{"index":{"fields":[{"b":"desc"}]},"ddoc":"b","name":"b"}`,
		`{"index":{"fields":["b","c.d"]},"ddoc":"bcd","name":"bcd"}`,
	} {
		x, err := ParseIndex([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, x)
	}
	rapid.Check(t, func(t *rapid.T) {
		documents := make([]Document, rapid.IntRange(0, 12).Draw(t, "documents"))
		for i := range documents {
			documents[i] = rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), value(1), 0, 3).Draw(t, "document")
			documents[i][FieldID] = fmt.Sprintf("k%02d", i)
		}
		selector := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "c.d"}), rapid.Custom(func(t *rapid.T) any {
			op := rapid.SampledFrom([]string{"$eq", "$gt", "$gte", "$lt", "$lte", "$ne", "$exists"}).Draw(t, "operator")
			if op == "$exists" {
				return map[string]any{op: rapid.Bool().Draw(t, "exists")}
			}
			return map[string]any{op: value(1).Draw(t, "argument")}
		}), 0, 3).Draw(t, "selector")
		query := map[string]any{"selector": selector}
		if rapid.Bool().Draw(t, "sorted") {
			direction := rapid.SampledFrom([]string{"asc", "desc"}).Draw(t, "direction")
			query["sort"] = []any{map[string]any{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "by"): direction}}
		}
		raw, err := json.Marshal(query)
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := q.Plan(indexes)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		var want []Document
		for _, d := range documents {
			if q.Selector.Match(d) && !slices.ContainsFunc(q.Sort, func(s Sort) bool { _, ok := s.path.get(d); return !ok }) {
				want = append(want, d)
			}
		}
		got := run(plan, q, documents)
		less := func(a, b Document) int { return q.Order(a, b) }
		if len(q.Sort) > 0 {
			// Equal in the sorted fields, documents come in the order of the index's other fields.
			if !slices.IsSortedFunc(got, func(a, b Document) int {
				va, _ := q.Sort[0].path.get(a)
				vb, _ := q.Sort[0].path.get(b)
				if q.Sort[0].desc {
					return Compare(vb, va)
				}
				return Compare(va, vb)
			}) {
				t.Fatalf("%s by %+v: not sorted: %v", raw, plan, got)
			}
		}
		slices.SortFunc(want, less)
		slices.SortFunc(got, less)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s by %+v: got %v, want %v", raw, plan, got, want)
		}
	})
}

// run does what a plan says.
func run(plan Plan, q *Query, documents []Document) []Document {
	var found []Document
	if plan.Index == nil {
		found = slices.Clone(documents)
	} else {
		type row struct {
			entry string
			d     Document
		}
		var rows []row
		for _, d := range documents {
			if entry, ok := plan.Index.Entry(d); ok && entry >= plan.Start && (plan.End == "" || entry < plan.End) {
				rows = append(rows, row{entry, d})
			}
		}
		slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.entry, b.entry) })
		for _, r := range rows {
			found = append(found, r.d)
		}
	}
	found = slices.DeleteFunc(found, func(d Document) bool { return !q.Selector.Match(d) })
	if !plan.Sorted {
		slices.SortStableFunc(found, q.Order)
	}
	return found
}

// TestChoice names the index that the planner takes.
func TestChoice(t *testing.T) {
	t.Parallel()
	var indexes []*Index
	for _, raw := range []string{
		`{"index":{"fields":["owner"]},"ddoc":"owner","name":"owner"}`,
		`{"index":{"fields":["type","owner"]},"ddoc":"typeOwner","name":"typeOwner"}`,
		`{"index":{"fields":["type",{"size":"desc"}]},"ddoc":"typeSize","name":"typeSize"}`,
		`{"index":{"fields":["size"],"partial_filter_selector":{"type":"a"}},"ddoc":"part","name":"part"}`,
	} {
		x, err := ParseIndex([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, x)
	}
	for query, want := range map[string]string{
		`{"selector":{"owner":"tom"}}`:                                      "owner sorted",
		`{"selector":{"owner":"tom","type":"a"}}`:                           "typeOwner sorted",
		`{"selector":{"owner":{"$gt":"tom"},"type":"a"}}`:                   "typeOwner sorted",
		`{"selector":{"type":"a"}}`:                                         "none sorted",
		`{"selector":{"type":"a"},"sort":[{"size":"desc"}]}`:                "typeSize sorted",
		`{"selector":{"type":"a"},"sort":[{"size":"asc"}]}`:                 "typeSize",
		`{"selector":{"type":"a"},"sort":["type","owner"]}`:                 "typeOwner sorted",
		`{"selector":{"size":{"$gt":3}}}`:                                   "none sorted",
		`{"selector":{"size":{"$gt":3}},"use_index":"_design/part"}`:        "part sorted",
		`{"selector":{"size":{"$gt":3}},"use_index":["part","part"]}`:       "part sorted",
		`{"selector":{"owner":"tom","type":"a"},"use_index":["owner"]}`:     "owner sorted",
		`{"selector":{"owner":"tom","type":"a"},"use_index":["owner","x"]}`: "typeOwner sorted",
		`{"selector":{"$or":[{"owner":"tom"},{"owner":"ann"}]}}`:            "none sorted",
		`{"selector":{},"sort":["_id"]}`:                                    "none sorted",
		`{"selector":{},"sort":[{"_id":"desc"}]}`:                           "none",
		`{"selector":{},"sort":["color"]}`:                                  "no_usable_index",
	} {
		q, err := ParseQuery([]byte(query))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := q.Plan(indexes)
		got := "none"
		switch {
		case err != nil:
			got = err.(*Error).Code
		case plan.Index != nil:
			got = plan.Index.Name
		}
		if plan.Sorted {
			got += " sorted"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

func TestBadIndexes(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``:                                 "not JSON",
		`1`:                                "not a JSON object",
		`{}`:                               `no "index"`,
		`{"index":{}}`:                     "between 1 and",
		`{"index":{"fields":[]}}`:          "between 1 and",
		`{"index":{"fields":[1]}}`:         "invalid_sort_field",
		`{"index":{"fields":["a"],"x":1}}`: "index.x",
		`{"index":{"fields":["a"]},"type":"text"}`:                            "only json",
		`{"index":{"fields":["a"]},"ddoc":1}`:                                 "ddoc",
		`{"index":{"fields":["a"]},"typ":"json"}`:                             `"typ"`,
		`{"index":{"fields":["a"],"partial_filter_selector":{"a":{"$x":1}}}}`: "invalid_operator",
	} {
		if _, err := ParseIndex([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

func TestProject(t *testing.T) {
	t.Parallel()
	const value = `{"b":{"c":1,"d":2},"a":[1]}`
	for fields, want := range map[string]string{
		``: value, `,"fields":["a"]`: `{"a":[1]}`, `,"fields":["b.c","_id","gone"]`: `{"b":{"c":1}}`, `,"fields":[]`: value,
	} {
		q, err := ParseQuery([]byte(`{"selector":{}` + fields + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := q.Project(ParseDocument("k", []byte(value)), []byte(value)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", fields, got, err, want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	q, err := ParseQuery([]byte(`{"selector":{"docType":"asset","owner":{"$in":["tom","ann"]},"size":{"$gt":3}}}`))
	if err != nil {
		b.Fatal(err)
	}
	value := []byte(`{"docType":"asset","owner":"ann","size":5,"color":"blue","appraisedValue":300}`)
	for b.Loop() {
		if !q.Selector.Match(ParseDocument("k", value)) {
			b.Fatal("no match")
		}
	}
}
