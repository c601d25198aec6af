package conformance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

func landings(blocks ...position) []landing {
	list := make([]landing, len(blocks))
	for i, at := range blocks {
		list[i] = landing{
			item: object{}, channel: "alpha", at: at,
			status: &gateway.CommitStatusResponse{Result: peer.TxValidationCode_VALID, BlockNumber: at.block},
		}
	}
	return list
}

func numbers(list []landing) []any {
	var shown []any
	for _, l := range list {
		shown = append(shown, l.item["commit"].(object)["block"])
	}
	return shown
}

func TestNumber(t *testing.T) {
	t.Parallel()
	r := &run{chains: map[string]*chain{}, options: Options{Regroup: true}}
	seed, order, next := landings(position{7, 0}), landings(position{8, 0}, position{9, 0}, position{10, 0}), landings(position{11, 0})
	for _, step := range [][]landing{seed, order, next} {
		r.number(step)
	}
	if diff := cmp.Diff([]any{int64(0)}, numbers(seed)); diff != "" {
		t.Errorf("first commit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{int64(1), int64(1), int64(1)}, numbers(order)); diff != "" {
		t.Errorf("split order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{int64(2)}, numbers(next)); diff != "" {
		t.Errorf("after it (-want +got):\n%s", diff)
	}
	c := r.chain("alpha")
	for number, want := range []uint64{7, 8, 11, 12} {
		if got := c.absolute(uint64(number)); got != want {
			t.Errorf("block %d: got %d, want %d", number, got, want)
		}
	}
}

func TestNumberWithoutRegroup(t *testing.T) {
	t.Parallel()
	r := &run{chains: map[string]*chain{}}
	order := landings(position{8, 0}, position{9, 0}, position{9, 1})
	r.number(order)
	if diff := cmp.Diff([]any{int64(0), int64(1), int64(1)}, numbers(order)); diff != "" {
		t.Errorf("split order (-want +got):\n%s", diff)
	}
}

func TestNumberReportsDisorder(t *testing.T) {
	t.Parallel()
	for _, regroup := range []bool{true, false} {
		r := &run{chains: map[string]*chain{}, options: Options{Regroup: regroup}}
		order := landings(position{8, 1}, position{8, 0}, position{9, 0})
		r.number(order)
		for i, want := range []any{nil, true, nil} {
			if got := order[i].item["outOfOrder"]; got != want {
				t.Errorf("regroup %v: transaction %d: out of order: got %v, want %v", regroup, i, got, want)
			}
		}
	}
}
