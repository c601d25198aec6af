package conformance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithoutPrivateData(t *testing.T) {
	t.Parallel()
	byName := map[string]*Scenario{}
	for _, s := range mustScenarios(t) {
		byName[s.Name] = s
	}
	for name, want := range map[string][]string{
		"crud":            {"missing", "create", "read", "update", "read2", "delete", "gone", "again", "back"},
		"empty-key":       {"reads", "put", "delete", "policy", "after"},
		"evaluate-writes": {"seed", "write", "after", "blocks"},
		"transient":       {"none", "some", "leaked", "read2", "callee"},
	} {
		left, err := byName[name].WithoutPrivateData()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, step := range left.Steps {
			got = append(got, step.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: steps (-want +got):\n%s", name, diff)
		}
		if missing := left.lacking([]Need{PrivateData}); missing != nil {
			t.Errorf("%s still needs %v", name, missing)
		}
	}
	transient, err := byName["transient"].WithoutPrivateData()
	if err != nil {
		t.Fatal(err)
	}
	leaked := mustGeneric(t, string(transient.Recorded[2])).(object)
	if got, want := encode(leaked["commit"]), `{"block":0,"code":"VALID"}`; got != want {
		t.Errorf("commit behind one that was left out: got %s, want %s", got, want)
	}
	writes, err := byName["evaluate-writes"].WithoutPrivateData()
	if err != nil {
		t.Fatal(err)
	}
	after := mustGeneric(t, string(writes.Recorded[2])).(object)
	if got, want := len(after["result"].([]any)), 4; got != want {
		t.Errorf("got %d results, want %d", got, want)
	}
}
