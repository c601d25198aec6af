package invocation_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/mango"
)

// TestLayers: what is laid over a namespace comes out of the JSON as it went in, entries of indexes too, which are no text.
func TestLayers(t *testing.T) {
	t.Parallel()
	index, err := mango.ParseIndex([]byte(`{"index":{"fields":["size"]},"ddoc":"size","name":"size"}`))
	if err != nil {
		t.Fatal(err)
	}
	entry, ok := index.Entry(mango.ParseDocument("k", []byte(`{"size":-1.5}`)))
	if !ok {
		t.Fatal("the document has no entry")
	}
	version := ledger.Version{Block: 7, Tx: 2}
	layers := []ledger.Layer{{
		Block: 7,
		Writes: []ledger.Write{
			{Namespace: "cc", Key: "k", Item: &ledger.Item{Value: []byte(`{"size":-1.5}`), Version: version}},
			{Namespace: "cc", Key: "gone"},
			{Namespace: ledger.IndexNamespace("cc", index), Key: entry, Item: &ledger.Item{Value: []byte("k"), Version: version}},
		},
		History: []ledger.Change{{Namespace: "cc", Key: "k", Version: version, TxID: "tx", Timestamp: time.Unix(1, 0).UTC(), Value: []byte(`{"size":-1.5}`)}},
	}}
	raw, err := json.Marshal(invocation.FormatLayers("cc", layers))
	if err != nil {
		t.Fatal(err)
	}
	var read []invocation.Layer
	if err := json.Unmarshal(raw, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(invocation.ParseLayers("cc", read), layers); diff != "" {
		t.Errorf("layers (-got +want):\n%s", diff)
	}
}
