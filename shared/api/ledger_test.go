package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/api"
	"peerless/shared/ledger"
)

type blockJSON struct {
	Number                       uint64
	Hash, PreviousHash, DataHash string
	Transactions                 []struct {
		TransactionID, Type, ValidationCode, Channel string
		Index                                        int
		Timestamp                                    time.Time
	}
}

// TestBlocks compares every block of a real network with what was recorded about it.
func TestBlocks(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../testdata/conformance/wire/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Blocks []struct {
			Channel, HeaderHash, PreviousHash, DataHash string
			Number                                      uint64
			Transactions                                []struct {
				TxID, Type, ValidationCode, Channel string
				Index                               int
				Timestamp                           time.Time
			}
		}
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, newFake(t))
	for _, want := range manifest.Blocks {
		path := fmt.Sprintf("/v1/channels/%s/blocks/%d", want.Channel, want.Number)
		var got blockJSON
		if err := json.Unmarshal(do(t, h, "GET", path, nil).body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Number != want.Number || got.Hash != want.HeaderHash || got.PreviousHash != want.PreviousHash || got.DataHash != want.DataHash || len(got.Transactions) != len(want.Transactions) {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
			continue
		}
		for i, tx := range want.Transactions {
			g := got.Transactions[i]
			if g.TransactionID != tx.TxID || g.Type != tx.Type || g.ValidationCode != tx.ValidationCode || g.Index != i || !g.Timestamp.Truncate(time.Second).Equal(tx.Timestamp.Truncate(time.Second)) {
				t.Errorf("%s, transaction %d: got %+v, want %+v", path, i, g, tx)
			}
		}
		a := do(t, h, "GET", path, nil, "Accept: text/html, application/x-protobuf;q=0.9")
		if a.header.Get("Content-Type") != "application/x-protobuf" || !bytes.Equal(a.body, blocks()[want.Channel][want.Number]) {
			t.Errorf("%s as protobuf: got %d bytes of %s", path, len(a.body), a.header.Get("Content-Type"))
		}
	}
}

// TestTransaction looks a transaction with everything in it up by its id.
func TestTransaction(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	h := newHandler(t, fake)
	found := make(map[string]int)
	for id, entry := range fake.Txs["alpha"] {
		if id == "" {
			continue
		}
		a := do(t, h, "GET", "/v1/channels/alpha/transactions/"+id, nil)
		var got struct {
			BlockNumber                   uint64
			TransactionID, ValidationCode string
			Creator                       struct{ MSPID, CommonName string }
			Chaincode                     struct{ Name string }
			Args                          []any
			Response                      struct{ Status int }
			Event                         struct{ Name string }
			Endorsers                     []struct{ MSPID, CommonName string }
			ReadWriteSet                  []map[string]any
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatal(err)
		}
		if got.TransactionID != id || got.BlockNumber != entry.Version.Block || got.ValidationCode != entry.Code.String() {
			t.Errorf("%s: got %s", id, a.body)
		}
		if strings.HasSuffix(got.Creator.CommonName, ".test") && strings.HasPrefix(got.Creator.MSPID, "Or") {
			found["creator"]++
		}
		if got.Chaincode.Name != "" && len(got.Args) > 0 && got.Response.Status == 200 && len(got.Endorsers) > 0 && strings.HasPrefix(got.Endorsers[0].CommonName, "peer0.") {
			found["call"]++
		}
		if got.Event.Name != "" {
			found["event"]++
		}
		for _, namespace := range got.ReadWriteSet {
			for part := range namespace {
				found[part]++
			}
		}
	}
	for _, part := range []string{"creator", "call", "event", "reads", "writes", "ranges", "metadataWrites", "collections"} {
		if found[part] == 0 {
			t.Errorf("no transaction has %q: %v", part, found)
		}
	}
	if p := do(t, h, "GET", "/v1/channels/alpha/transactions/nope", nil).problem(t); p.Status != 404 || p.TransactionID != "nope" {
		t.Errorf("got %+v", p)
	}
}

func TestBlockPages(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	height := len(blocks()["alpha"])
	var numbers []uint64
	next := "0"
	for pages := 0; next != ""; pages++ {
		if pages > height {
			t.Fatal("the pages do not end")
		}
		var page struct {
			Height int
			Blocks []blockJSON
			Next   *uint64
		}
		if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/alpha/blocks?limit=7&from="+next, nil).body, &page); err != nil {
			t.Fatal(err)
		}
		if page.Height != height || len(page.Blocks) > 7 {
			t.Errorf("got height %d, %d blocks", page.Height, len(page.Blocks))
		}
		for _, b := range page.Blocks {
			numbers = append(numbers, b.Number)
		}
		if next = ""; page.Next != nil {
			next = fmt.Sprint(*page.Next)
		}
	}
	for i, n := range numbers {
		if n != uint64(i) {
			t.Fatalf("got %v", numbers)
		}
	}
	if len(numbers) != height {
		t.Errorf("got %d blocks of %d", len(numbers), height)
	}
	for query, want := range map[string]string{
		"from=-1": fmt.Sprint([]int{height - 1}), "from=-1000&limit=1": "[0]", "from=99999": "[]", "limit=2": "[0 1]", "from=-9223372036854775808&limit=1": "[0]",
	} {
		var page struct{ Blocks []blockJSON }
		if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/alpha/blocks?"+query, nil).body, &page); err != nil {
			t.Fatal(err)
		}
		got := make([]uint64, 0)
		for _, b := range page.Blocks {
			got = append(got, b.Number)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", query, got, want)
		}
	}
	for query, field := range map[string]string{
		"from=x": "from", "from=": "from", "limit=0": "limit", "limit=101": "limit", "limit=": "limit", "from=1&from=2": "from", "form=1": "form", "from=%zz": "", "from=18446744073709551616": "from",
	} {
		if p := do(t, h, "GET", "/v1/channels/alpha/blocks?"+query, nil).problem(t); p.Status != 400 || p.Field != field {
			t.Errorf("%s: got %+v", query, p)
		}
	}
	for path, want := range map[string]int{
		"alpha/blocks/9999": 404, "alpha/blocks/-1": 400, "alpha/blocks/x": 400, "alpha/blocks/18446744073709551616": 400, "nope/blocks/0": 404, "nope/blocks": 404, "nope": 404,
		"nope/transactions/x": 404, "nope/chaincodes": 404, "nope/chaincodes/x/history/k": 404, "nope/events?wait=0s": 404, "nope/events?wait=0s&from=0": 404,
	} {
		if p := do(t, h, "GET", "/v1/channels/"+path, nil).problem(t); p.Status != want {
			t.Errorf("%s: got %+v", path, p)
		}
	}
}

// TestDamagedBlock: what no Fabric tool would read is shown as far as it goes, and harms nothing.
func TestDamagedBlock(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	fake.Blocks["gamma"] = [][]byte{{0xff}, {}, {0x12, 0x05, 0x0a, 0x03, 1, 2, 3}}
	fake.Txs["gamma"] = map[string]ledger.TxEntry{"x": {TxID: "x", Version: ledger.Version{Block: 1, Tx: 5}}}
	h := newHandler(t, fake)
	for path, want := range map[string]int{"blocks/0": 500, "blocks/1": 200, "blocks/2": 200, "transactions/x": 500} {
		if a := do(t, h, "GET", "/v1/channels/gamma/"+path, nil); a.status != want {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
}

// TestHistoryKeys: any key can be asked for, percent-encoded or, where HTTP lets it pass, as it is.
func TestHistoryKeys(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	fake.Changes = make(map[string][]ledger.Change)
	h := newHandler(t, fake)
	ask := func(path, key string) {
		t.Helper()
		a := do(t, h, "GET", "/v1/channels/alpha/chaincodes/probe/history/"+path, nil)
		var got struct{ Key string }
		if err := json.Unmarshal(a.body, &got); a.status != 200 || err != nil || got.Key != key {
			t.Errorf("%q: got %d %s, want the key %q", path, a.status, a.body, key)
		}
	}
	for _, key := range []string{
		"a1", "a/b", "/", "//", "a//b/", ".", "..", "...", "a/../b", "./a", "\x00", "\x00asset\x00color\x00blue\x00", "é", "日本", "😀", "a b", "a+b", "%", "%2F", "?", "#", "a?b#c", "{key}",
		"history", "\x7f", "\u2028", strings.Repeat("k", 1000), "\U0010ffff",
	} {
		ask(url.PathEscape(key), key)
		every := ""
		for _, b := range []byte(key) {
			every += fmt.Sprintf("%%%02x", b)
		}
		ask(every, key)
	}
	for path, key := range map[string]string{"a/b": "a/b", "a//b": "a//b", "/": "/", "a/": "a/", "..": "..", "a/../b": "a/../b", "./x": "./x", "a+b": "a+b", "a%2Fb/c": "a/b/c", "%2E%2E/x": "../x"} {
		ask(path, key)
	}
	for _, path := range []string{"", "%FF", "a%C3"} {
		if p := do(t, h, "GET", "/v1/channels/alpha/chaincodes/probe/history/"+path, nil).problem(t); p.Status != 400 || p.Field != "key" {
			t.Errorf("%q: got %+v", path, p)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 7, 0, 0, 123456789, time.UTC)
	fake := newFake(t)
	fake.Changes = map[string][]ledger.Change{"alpha probe k": {
		{Version: ledger.Version{Block: 9, Tx: 1}, TxID: "t3", Timestamp: at, IsDelete: true},
		{Version: ledger.Version{Block: 8, Tx: 0}, TxID: "t2", Timestamp: at, Value: []byte{0xff}},
		{Version: ledger.Version{Block: 7, Tx: 2}, TxID: "t1", Timestamp: at, Value: []byte(`{"n": 1.0}`)},
	}}
	h := newHandler(t, fake)
	got := string(do(t, h, "GET", "/v1/channels/alpha/chaincodes/probe/history/k", nil).body)
	want := `{"key":"k","history":[` +
		`{"transactionId":"t3","blockNumber":9,"transactionIndex":1,"timestamp":"2026-11-22T07:00:00.123456789Z","isDelete":true,"value":null},` +
		`{"transactionId":"t2","blockNumber":8,"transactionIndex":0,"timestamp":"2026-11-22T07:00:00.123456789Z","isDelete":false,"value":"/w==","valueEncoding":"base64"},` +
		`{"transactionId":"t1","blockNumber":7,"transactionIndex":2,"timestamp":"2026-11-22T07:00:00.123456789Z","isDelete":false,"value":{"n":1.0}}]}` + "\n"
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	var ids []string
	for next := "?limit=1"; next != ""; {
		var page struct {
			History []struct{ TransactionID string }
			Next    string
		}
		if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/alpha/chaincodes/probe/history/k"+next, nil).body, &page); err != nil {
			t.Fatal(err)
		}
		for _, change := range page.History {
			ids = append(ids, change.TransactionID)
		}
		if next = ""; page.Next != "" {
			next = "?limit=1&before=" + page.Next
		}
	}
	if diff := cmp.Diff(ids, []string{"t3", "t2", "t1"}); diff != "" {
		t.Errorf("pages (-got +want):\n%s", diff)
	}
	for query, field := range map[string]string{"limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "before=": "before", "before=7": "before", "before=x": "before", "after=1": "after"} {
		if p := do(t, h, "GET", "/v1/channels/alpha/chaincodes/probe/history/k?"+query, nil).problem(t); p.Status != 400 || p.Field != field {
			t.Errorf("%s: got %+v", query, p)
		}
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	a := do(t, h, "POST", "/v1/channels", `{"name":"new.channel-1","organizations":["Org1MSP"]}`)
	if a.status != 201 || a.header.Get("Location") != "/v1/channels/new.channel-1" {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
	if p := do(t, h, "POST", "/v1/channels", `{"name":"alpha"}`).problem(t); p.Status != 409 || p.Code != api.CodeAlreadyExists {
		t.Errorf("again: got %+v", p)
	}
	if p := do(t, h, "POST", "/v1/channels", `{"name":"x","organizations":["NoMSP"]}`).problem(t); p.Status != 404 {
		t.Errorf("unknown organisation: got %+v", p)
	}
	for body, field := range map[string]string{`{}`: "name", `{"name":""}`: "name", `{"name":"A"}`: "name", `{"name":"a/b"}`: "name", `{"name":1}`: "name", `{"name":"a","orgs":[]}`: "orgs", `{"name":"a","organizations":"b"}`: "organizations"} {
		if p := do(t, h, "POST", "/v1/channels", body).problem(t); p.Status != 400 || p.Field != field {
			t.Errorf("%s: got %+v", body, p)
		}
	}
	if got := string(do(t, h, "GET", "/v1/channels", nil).body); got != `{"channels":[{"name":"alpha"},{"name":"beta"},{"name":"new.channel-1"}]}`+"\n" {
		t.Errorf("got %s", got)
	}
	var view struct {
		Height           int
		CurrentBlockHash string
	}
	if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/alpha", nil).body, &view); err != nil || view.Height != len(blocks()["alpha"]) || len(view.CurrentBlockHash) != 64 {
		t.Errorf("got %+v %v", view, err)
	}
}
