package mem_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
	"peerless/shared/store/mem"
)

func someBatch(n uint64) *ledger.Batch {
	v := ledger.Version{Block: n}
	return &ledger.Batch{
		Block:   n,
		Hash:    fmt.Appendf(nil, "hash %d", n),
		Writes:  []ledger.Write{{Namespace: "ns", Key: "a", Item: &ledger.Item{Value: []byte{byte(n)}, Version: v}}, {Namespace: "ns", Key: "b"}},
		History: []ledger.Change{{Namespace: "ns", Key: "a", Version: v, Value: []byte{byte(n)}}, {Namespace: "ns", Key: "b", Version: v, IsDelete: true}},
		Txs:     []ledger.TxEntry{{TxID: fmt.Sprint(n), Version: v, Code: peer.TxValidationCode_VALID}},
	}
}

// failOn is a hook that gives one outcome to one write, once.
func failOn(op mem.Op, index int, outcome mem.Outcome) func(mem.Write) mem.Outcome {
	failed := false
	return func(w mem.Write) mem.Outcome {
		if w.Op == op && w.Index == index && !failed {
			failed = true
			return outcome
		}
		return mem.Proceed
	}
}

func TestAppendFails(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[mem.Outcome]uint64{mem.FailNotApplied: 0, mem.FailApplied: 1} {
		s := mem.New(mem.Config{Hook: failOn(mem.OpAppend, 0, outcome)})
		if err := s.Append(t.Context(), "ch", []byte("block"), someBatch(0)); !errors.Is(err, mem.ErrInjected) {
			t.Errorf("append: got %v, want ErrInjected", err)
		}
		if got, err := s.Height(t.Context(), "ch"); err != nil || got != want {
			t.Errorf("height after outcome %d: got %d, %v, want %d", outcome, got, err, want)
		}
		if err := s.Append(t.Context(), "ch", []byte("block"), someBatch(0)); err != nil {
			t.Errorf("append again: %v", err)
		}
	}
}

// TestApplyFails interrupts Apply at each of its points, both ways, and repeats it.
func TestApplyFails(t *testing.T) {
	t.Parallel()
	for _, loose := range []bool{false, true} {
		points := []mem.Write{{Op: mem.OpApply}}
		if loose {
			points = append(points, mem.Write{Op: mem.OpItem}, mem.Write{Op: mem.OpItem, Index: 1}, mem.Write{Op: mem.OpHistory},
				mem.Write{Op: mem.OpHistory, Index: 1}, mem.Write{Op: mem.OpTx}, mem.Write{Op: mem.OpHash}, mem.Write{Op: mem.OpSavepoint})
		}
		for _, at := range points {
			for _, outcome := range []mem.Outcome{mem.FailNotApplied, mem.FailApplied} {
				s := mem.New(mem.Config{Hook: failOn(at.Op, at.Index, outcome), Loose: loose, SeparateApply: true})
				if err := s.Append(t.Context(), "ch", []byte("block"), someBatch(0)); err != nil {
					t.Fatal(err)
				}
				if err := s.Apply(t.Context(), "ch", someBatch(0)); !errors.Is(err, mem.ErrInjected) {
					t.Errorf("apply failing at %v: got %v, want ErrInjected", at, err)
				}
				v, err := s.View(t.Context(), "ch")
				if err != nil {
					t.Fatal(err)
				}
				applied := outcome == mem.FailApplied && (at.Op == mem.OpApply || at.Op == mem.OpSavepoint)
				if got := v.Savepoint() == 1; got != applied {
					t.Errorf("apply failing at %v: applied: got %v, want %v", at, got, applied)
				}
				items, err := v.Get(t.Context(), "ns", []string{"a"})
				if err != nil {
					t.Fatal(err)
				}
				written := outcome == mem.FailApplied && (at.Op == mem.OpApply || at.Op == mem.OpItem) ||
					at.Op != mem.OpApply && at != (mem.Write{Op: mem.OpItem})
				if got := items[0] != nil; got != written {
					t.Errorf("apply failing at %v, outcome %d: item is there: got %v, want %v", at, outcome, got, written)
				}
				if err := s.Apply(t.Context(), "ch", someBatch(0)); err != nil {
					t.Errorf("apply again: %v", err)
				}
				if v, err = s.View(t.Context(), "ch"); err != nil || v.Savepoint() != 1 {
					t.Errorf("savepoint: got %d, %v, want 1", v.Savepoint(), err)
				}
			}
		}
	}
}

// TestSlowApply lets another apply this block and the next at each point of an Apply: what they wrote stays.
func TestSlowApply(t *testing.T) {
	t.Parallel()
	for stop := range 7 {
		var s *mem.Store
		point, inside := 0, false
		hook := func(w mem.Write) mem.Outcome {
			if w.Op < mem.OpItem || inside {
				return mem.Proceed
			}
			if point++; point-1 == stop {
				inside = true
				for n := range uint64(2) {
					if err := s.Apply(t.Context(), "ch", someBatch(n)); err != nil {
						t.Errorf("apply block %d within: %v", n, err)
					}
				}
			}
			return mem.Proceed
		}
		s = mem.New(mem.Config{Hook: hook, Loose: true, SeparateApply: true})
		for n := range uint64(2) {
			if err := s.Append(t.Context(), "ch", []byte{byte(n)}, someBatch(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Apply(t.Context(), "ch", someBatch(0)); err != nil {
			t.Fatal(err)
		}
		v, err := s.View(t.Context(), "ch")
		if err != nil {
			t.Fatal(err)
		}
		items, err := v.Get(t.Context(), "ns", []string{"a", "b"})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(items, []*ledger.Item{someBatch(1).Writes[0].Item, nil}); d != "" || v.Savepoint() != 2 {
			t.Errorf("stopped at %d: savepoint %d, items (-got +want):\n%s", stop, v.Savepoint(), d)
		}
	}
}

func TestCallerIsChecked(t *testing.T) {
	t.Parallel()
	s := mem.New(mem.Config{SeparateApply: true})
	if err := s.Append(t.Context(), "ch", []byte("block"), someBatch(0)); err != nil {
		t.Fatal(err)
	}
	other := someBatch(0)
	other.Writes[0].Item.Value = []byte("other")
	for name, err := range map[string]error{
		"apply of another batch":        s.Apply(t.Context(), "ch", other),
		"append again, another batch":   s.Append(t.Context(), "ch", []byte("block"), other),
		"apply of a block not appended": s.Apply(t.Context(), "ch", someBatch(1)),
		"append of no batch":            s.Append(t.Context(), "ch", []byte("block"), nil),
	} {
		if !errors.Is(err, mem.ErrMisuse) {
			t.Errorf("%s: got %v, want ErrMisuse", name, err)
		}
	}
}

func TestRandomFaults(t *testing.T) {
	t.Parallel()
	const n = 10_000
	one, two := mem.RandomFaults(1, 10), mem.RandomFaults(1, 10)
	var counts [3]int
	for range n {
		outcome := one(mem.Write{})
		counts[outcome]++
		if got := two(mem.Write{}); got != outcome {
			t.Fatalf("same seed: got %d, want %d", got, outcome)
		}
	}
	if failed := n - counts[mem.Proceed]; failed < n/20 || failed > n/5 || counts[1] == 0 || counts[2] == 0 {
		t.Errorf("got outcomes %v of %d", counts, n)
	}
}
