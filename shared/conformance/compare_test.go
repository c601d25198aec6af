package conformance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustGeneric(t *testing.T, encoded string) any {
	t.Helper()
	value, err := generic([]byte(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestCompare(t *testing.T) {
	t.Parallel()
	const want = `{"id":"s","do":"submit","response":{"status":200,"message":""},"result":[{"op":"GetState","value":"1"}],
		"rwset":[{"namespace":"probe","reads":[{"key":"a","version":"tx:t"}],"writes":[{"key":"a","value":"<b>"}]}],
		"commit":{"code":"VALID","block":0}}`
	for _, c := range []struct {
		name, from, to string
		difference     Difference
	}{
		{"nothing", ``, ``, Difference{}},
		{"a value", `"<b>"`, `"<c>"`, Difference{Path: "rwset[0].writes[0].value", Got: `"<c>"`, Want: `"<b>"`}},
		{"null for a value", `"value":"1"`, `"value":null`, Difference{Path: "result[0].value", Got: `null`, Want: `"1"`}},
		{"a code", `VALID`, `MVCC_READ_CONFLICT`, Difference{Path: "commit.code", Got: `"MVCC_READ_CONFLICT"`, Want: `"VALID"`}},
		{"a block", `"block":0`, `"block":1`, Difference{Path: "commit.block", Got: `1`, Want: `0`}},
		{"a version", `"tx:t"`, `null`, Difference{Path: "rwset[0].reads[0].version", Got: `null`, Want: `"tx:t"`}},
		{"a message", `"message":""`, `"message":"no"`, Difference{Path: "response.message", Got: `"no"`, Want: `""`}},
		{"a type", `200`, `"200"`, Difference{Path: "response.status", Got: `"200"`, Want: `200`}},
		{"a missing part", `,
		"commit":{"code":"VALID","block":0}`, ``, Difference{Path: "commit", Want: `{"block":0,"code":"VALID"}`}},
		{"a part too many", `"do":"submit"`, `"do":"submit","event":{"name":"e"}`, Difference{Path: "event", Got: `{"name":"e"}`}},
		{"a row too many", `"value":"1"}]`, `"value":"1"},{"op":"x"}]`, Difference{Path: "result[1]", Got: `{"op":"x"}`}},
		{"a missing row", `[{"op":"GetState","value":"1"}]`, `[]`, Difference{Path: "result[0]", Want: `{"op":"GetState","value":"1"}`}},
		{"a list for an object", `{"status":200,"message":""}`, `[]`, Difference{Path: "response", Got: `[]`, Want: `{"message":"","status":200}`}},
	} {
		var expected []Difference
		if c.difference != (Difference{}) {
			c.difference.Step = "s"
			expected = []Difference{c.difference}
		}
		changed := want
		if c.from != "" {
			if strings.Count(want, c.from) != 1 {
				t.Fatalf("%s: %s is not in the result once", c.name, c.from)
			}
			changed = strings.Replace(want, c.from, c.to, 1)
		}
		if diff := cmp.Diff(expected, compare("s", mustGeneric(t, changed), mustGeneric(t, want))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestCompareRecorded changes every leaf of every recorded result that is not very long, and wants each change reported.
func TestCompareRecorded(t *testing.T) {
	t.Parallel()
	leaves := 0
	for _, s := range mustScenarios(t) {
		for _, recorded := range s.Recorded {
			if len(recorded) > 1000 {
				continue // the work grows with the square
			}
			want := mustGeneric(t, string(recorded))
			if differences := compare("s", mustGeneric(t, string(recorded)), want); differences != nil {
				t.Fatalf("%s: differs from itself: %v", s.Name, differences)
			}
			got := mustGeneric(t, string(recorded))
			eachLeaf(got, func() {
				leaves++
				if differences := compare("s", got, want); len(differences) != 1 || differences[0].Got != `"changed"` {
					t.Fatalf("%s: got %v, want one difference", s.Name, differences)
				}
			})
		}
	}
	if leaves < 2000 {
		t.Errorf("only %d leaves were changed", leaves)
	}
}

// eachLeaf changes one leaf after the other, calls f, and puts it back.
func eachLeaf(value any, f func()) {
	change := func(child any, set func(any)) {
		switch child.(type) {
		case map[string]any, []any:
			eachLeaf(child, f)
		default:
			set("changed")
			f()
			set(child)
		}
	}
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			change(child, func(v any) { value[name] = v })
		}
	case []any:
		for i, child := range value {
			change(child, func(v any) { value[i] = v })
		}
	}
}

func TestWithoutLifecycle(t *testing.T) {
	t.Parallel()
	step := mustGeneric(t, `{"rwset":[{"namespace":"_lifecycle","reads":[]},{"namespace":"probe"}],"do":"endorse"}`)
	withoutLifecycle(step)
	if diff := cmp.Diff(mustGeneric(t, `{"rwset":[{"namespace":"probe"}],"do":"endorse"}`), step); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other := mustGeneric(t, `{"do":"evaluate","result":[{"namespace":"_lifecycle"}]}`)
	withoutLifecycle(other)
	if _, ok := other.(map[string]any)["rwset"]; ok {
		t.Error("a result without read-write set got one")
	}
}

func TestExpects(t *testing.T) {
	t.Parallel()
	for recorded, want := range map[string]int{
		`{"events":[]}`:                                      0,
		`{"events":[{},{}]}`:                                 2,
		`{"blocks":[{"txs":[{},{}]},{"txs":[{}]}]}`:          3,
		`{"events":[],"error":{"stage":"events","code":""}}`: -1,
	} {
		if got := new(Step).expects(json.RawMessage(recorded), "events"); got != want {
			t.Errorf("%s: got %d, want %d", recorded, got, want)
		}
	}
}
