package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"peerless/shared/api"
	"peerless/shared/receipt"
)

// TestReceipts: every transaction of a real network's channel, valid or not, has a receipt that holds under the key that the
// channel shows.
func TestReceipts(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	h := newHandler(t, fake)
	var channel struct{ VerifierKey string }
	if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/alpha", nil).body, &channel); err != nil {
		t.Fatal(err)
	}
	invalid := 0
	for id, entry := range fake.Txs["alpha"] {
		if id == "" {
			continue
		}
		a := do(t, h, "GET", "/v1/channels/alpha/transactions/"+id+"/receipt", nil)
		r, err := receipt.Parse(a.body)
		if err != nil {
			t.Fatalf("%s: %v", a.body, err)
		}
		if r.TransactionID != id || r.Code != entry.Code.String() || r.BlockNumber != entry.Version.Block || r.Index != entry.Version.Tx {
			t.Errorf("%s: got the receipt of %s, %s at %d.%d", id, r.TransactionID, r.Code, r.BlockNumber, r.Index)
		}
		if err := receipt.Verify(r, channel.VerifierKey); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if r.Code != "VALID" {
			invalid++
		}
	}
	if invalid < 5 {
		t.Errorf("%d invalid transactions had receipts, want at least 5", invalid)
	}
	a := do(t, h, "GET", "/v1/channels/alpha/checkpoint", nil)
	checkpoint, err := receipt.OpenCheckpoint(string(a.body), channel.VerifierKey)
	if err != nil || checkpoint.Size != uint64(len(fake.Blocks["alpha"])) {
		t.Errorf("checkpoint: got %+v, %v", checkpoint, err)
	}
	if got := a.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type: got %s", got)
	}
}

func TestNoReceipts(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	h := newHandler(t, fake)
	if p := do(t, h, "GET", "/v1/channels/alpha/transactions/none/receipt", nil).problem(t); p.Code != api.CodeNotFound || p.TransactionID != "none" {
		t.Errorf("an unknown transaction: got %+v", p)
	}
	for _, path := range []string{"/v1/channels/nope/transactions/x/receipt", "/v1/channels/nope/checkpoint"} {
		if p := do(t, h, "GET", path, nil).problem(t); p.Code != api.CodeNotFound || !strings.Contains(p.Detail, "channel nope") {
			t.Errorf("%s: got %+v", path, p)
		}
	}
	silent := newFake(t)
	silent.NoCheckpoints = true
	h = newHandler(t, silent)
	for id := range silent.Txs["alpha"] {
		for _, path := range []string{"/v1/channels/alpha/transactions/" + id + "/receipt", "/v1/channels/alpha/checkpoint"} {
			if id == "" {
				continue
			}
			if p := do(t, h, "GET", path, nil).problem(t); p.Code != api.CodeNotFound || !strings.Contains(p.Detail, "no key for checkpoints") {
				t.Errorf("%s: got %+v", path, p)
			}
		}
	}
	if a := do(t, h, "GET", "/v1/channels/alpha", nil); a.status != 200 || strings.Contains(string(a.body), "verifierKey") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// TestReceiptOfOtherChaincode: a key for one chaincode gets no receipt of another's transaction.
func TestReceiptOfOtherChaincode(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	keys, _ := openKeys(t)
	h := newHandler(t, fake, withKeys(keys))
	own := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Scopes: []api.Scope{api.ScopeEvaluate}, Chaincodes: []string{"probe"}})
	got := map[int]int{}
	for id := range fake.Txs["alpha"] {
		if id == "" {
			continue
		}
		shown := do(t, h, "GET", "/v1/channels/alpha/transactions/"+id, nil, own).status
		receipt := do(t, h, "GET", "/v1/channels/alpha/transactions/"+id+"/receipt", nil, own).status
		if shown != receipt {
			t.Errorf("%s: shown with %d, its receipt with %d", id, shown, receipt)
		}
		got[receipt]++
	}
	if got[200] == 0 || got[403] == 0 || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}
