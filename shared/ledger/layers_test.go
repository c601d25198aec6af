package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/ledger"
	"peerless/shared/simulate/simtest"
)

// TestLayers: what is laid over a namespace can be carried elsewhere and laid over the same state there.
func TestLayers(t *testing.T) {
	t.Parallel()
	state := simtest.NewState()
	state.Put(t, "cc", "a", "1", "b", "2", "c", "3")
	view := state.View(t)
	if layers := ledger.Layers(view, "cc"); layers != nil {
		t.Errorf("a plain view has layers: %v", layers)
	}
	change := func(ns, key, value string, block uint64) ledger.Change {
		return ledger.Change{Namespace: ns, Key: key, Version: ledger.Version{Block: block}, TxID: "tx", Timestamp: time.Unix(1, 0).UTC(), Value: []byte(value)}
	}
	item := func(value string, block uint64) *ledger.Item {
		return &ledger.Item{Value: []byte(value), Version: ledger.Version{Block: block}}
	}
	layers := []ledger.Layer{
		{
			Block:   1,
			Writes:  []ledger.Write{{Namespace: "cc", Key: "a"}, {Namespace: "cc", Key: "b", Item: item("20", 1)}},
			History: []ledger.Change{change("cc", "b", "20", 1)},
		},
		{
			Block:   2,
			Writes:  []ledger.Write{{Namespace: "cc", Key: "b", Item: item("200", 2)}, {Namespace: "cc", Key: "d", Item: item("4", 2)}, {Namespace: "other", Key: "x", Item: item("5", 2)}},
			History: []ledger.Change{change("cc", "b", "200", 2), change("cc", "d", "4", 2), change("other", "x", "5", 2)},
		},
	}
	over := ledger.LayOver(view, layers)
	own := ledger.Layers(over, "cc")
	want := []ledger.Layer{layers[0], {Block: 2, Writes: layers[1].Writes[:2], History: layers[1].History[:2]}}
	if diff := cmp.Diff(own, want); diff != "" {
		t.Errorf("layers (-got +want):\n%s", diff)
	}
	ctx := context.Background()
	for name, v := range map[string]ledger.View{"laid over": over, "laid over again": ledger.LayOver(view, own)} {
		rows, err := v.Range(ctx, "cc", "", "", 10)
		if err != nil {
			t.Fatal(err)
		}
		shown := map[string]string{}
		for _, row := range rows {
			shown[row.Key] = string(row.Item.Value)
		}
		if diff := cmp.Diff(shown, map[string]string{"b": "200", "c": "3", "d": "4"}); diff != "" {
			t.Errorf("%s: rows (-got +want):\n%s", name, diff)
		}
		changes, err := v.History(ctx, "cc", "b", ledger.Version{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, c := range changes {
			values = append(values, string(c.Value))
		}
		if diff := cmp.Diff(values, []string{"200", "20", "2"}); diff != "" {
			t.Errorf("%s: history (-got +want):\n%s", name, diff)
		}
		if v.Savepoint() != view.Savepoint() {
			t.Errorf("%s: savepoint %d", name, v.Savepoint())
		}
	}
}
