package lambda_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/ledger"
	"peerless/shared/simulate"
)

// TestRichQuery: a function answers rich queries over the chaincode's documents and indexes, those of a block that is not applied
// among them.
func TestRichQuery(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	index := `{"index":{"fields":["owner"]},"ddoc":"owners","name":"byOwner","type":"json"}`
	c.put(t, "ch", ledger.LifecycleNamespace, ledger.IndexesKey("mine"), "["+index+"]")
	c.put(t, "ch", "mine", "a", `{"owner":"ann"}`)
	c.put(t, "ch", "mine", "b", `{"owner":"bob"}`)
	host := c.deploy("probe", "ch", "mine")

	// The same query here tells what is right: it reads the definitions where they stand.
	layers := []ledger.Layer{{Block: 3, Writes: []ledger.Write{{Namespace: "mine", Key: "c", Item: &ledger.Item{Value: []byte(`{"owner":"ann"}`), Version: ledger.Version{Block: 3}}}}}}
	for _, query := range []string{`{"selector":{"owner":"ann"}}`, `{"selector":{"owner":{"$gt":"a"}},"sort":[{"owner":"desc"}]}`} {
		inv := c.invocationOf(t, "run", `[{"op":"GetQueryResult","query":`+string(must(json.Marshal(query)))+`}]`)
		view := ledger.LayOver(inv.Tx.View(), layers)
		inv.Tx = simulate.New(view, inv.Proposal.TxID)
		here := simulate.New(view, inv.Proposal.TxID)
		documents, err := here.Query(t.Context(), "mine", query)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for {
			row, ok, err := documents.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			want = append(want, row.Key)
		}
		result, err := execute(t, host, inv)
		if err != nil {
			t.Fatal(err)
		}
		var answers []struct {
			Value struct{ Rows []struct{ Key string } }
			Error string
		}
		if err := json.Unmarshal(result.Response.Payload, &answers); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range answers[0].Value.Rows {
			got = append(got, row.Key)
		}
		if diff := cmp.Diff(got, want); diff != "" || answers[0].Error != "" {
			t.Errorf("%s: %s, rows (-got +want):\n%s", query, answers[0].Error, diff)
		}
	}
	// An index that does not hold every document yet is not used, and is once it does.
	built := `{"index":{"fields":["size"]},"ddoc":"sizes","name":"bySize","type":"json"}`
	c.put(t, "ch", ledger.LifecycleNamespace, ledger.SequenceKey("mine"), "sequence")
	c.put(t, "ch", ledger.LifecycleNamespace, ledger.IndexesKey("mine"), "["+built+"]")
	c.put(t, "ch", "mine", "d", `{"size":4}`)
	rows := func() int {
		inv := c.invocationOf(t, "run", `[{"op":"GetQueryResult","query":"{\"selector\":{\"size\":4},\"sort\":[{\"size\":\"asc\"}]}","must":true}]`)
		if _, err := inv.Tx.GetState(t.Context(), ledger.LifecycleNamespace, ledger.SequenceKey("mine")); err != nil { // as the gateway does
			t.Fatal(err)
		}
		result, err := execute(t, host, inv)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(result.Response.Payload), `"key":"d"`)
	}
	c.put(t, "ch", ledger.LifecycleNamespace, ledger.LayoutKey("mine"), `[{"indexes":[`+built+`]},{"indexes":[]}]`)
	if got := rows(); got != 1 {
		t.Errorf("while the index is built: %d rows, want 1", got)
	}
	c.put(t, "ch", ledger.LifecycleNamespace, ledger.LayoutKey("mine"), `[{"indexes":[`+built+`]}]`)
	if got := rows(); got != 0 { // this test made no entries
		t.Errorf("by the index: %d rows, want 0", got)
	}

	refused := c.invocationOf(t, "run", `[{"op":"GetQueryResult","query":"{}"}]`)
	refused.LevelDB = true
	result, err := execute(t, host, refused)
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct{ Error string }
	if err := json.Unmarshal(result.Response.Payload, &answers); err != nil || answers[0].Error == "" {
		t.Errorf("as on LevelDB: %s", result.Response.Payload)
	}
}

func must(raw []byte, err error) []byte {
	if err != nil {
		panic(err) // of a string
	}
	return raw
}
