package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"peerless/shared/awstest"
)

// TestBenchCost measures a few calls over a DynamoDB that counts as AWS does. What a call costs is not asserted, but what cannot be otherwise.
func TestBenchCost(t *testing.T) {
	t.Parallel()
	endpoint := *awstest.DynamoDB(t).BaseEndpoint
	bench := func(args ...string) (stdout, stderr string, status int) {
		var out, errOut bytes.Buffer
		args = append([]string{"bench", "cost", "--dynamodb", endpoint, "--calls", "4", "--gateways", "2", "--dynamodb-call", "0s"}, args...)
		status = run(t.Context(), args, func(string) string { return "" }, io.MultiReader(), &out, &errOut)
		return out.String(), errOut.String(), status
	}
	out, failure, status := bench("--json")
	if status != 0 {
		t.Fatalf("status %d: %s", status, failure)
	}
	var got struct {
		Prices struct{ Date, Region string }
		Fabric float64   `json:"managedFabricMonth"`
		Rows   []costRow `json:"results"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rows := make(map[string]costRow)
	for _, r := range got.Rows {
		rows[r.Scenario] = r
		u := r.Usage
		if r.Calls != 4 || u.ReadUnits <= 0 || u.GBSeconds <= 0 || r.DynamoDBCalls < 1 || r.Million.Total < r.Million.DynamoDB+r.Million.Lambda+r.Million.HTTPAPI {
			t.Errorf("%s: got %+v", r.Scenario, r)
		}
	}
	// A submit writes the block, the state, the history and the transaction's place at least.
	for _, name := range []string{"submit", "update", "contended"} {
		if u := rows[name].Usage; u.WriteUnits < 4 || u.StoredBytes < 500 {
			t.Errorf("%s: %.1f write units and %.0f bytes that stay: that is no transaction", name, u.WriteUnits, u.StoredBytes)
		}
	}
	if e := rows["evaluate"]; e.Usage.WriteUnits != 0 || e.Usage.StoredBytes != 0 || e.Million.Total >= rows["submit"].Million.Total {
		t.Errorf("evaluate: got %+v: it writes nothing, and costs less than a submit", e)
	}
	if got.Prices.Date == "" || got.Prices.Region == "" || got.Fabric < 200 {
		t.Errorf("prices: got %+v and $%.0f", got.Prices, got.Fabric)
	}
	// The table is there now: what is wrong with a DynamoDB is told in a line.
	if _, failure, status := bench(); status != 1 || !strings.Contains(failure, "make a table at") {
		t.Errorf("again: status %d, %s", status, failure)
	}
}
