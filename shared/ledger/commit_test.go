package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

func put(key, value string) *wire.RWSet {
	return rwset("cc", &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: key, Value: []byte(value)}}})
}

// TestQueueIsBounded refuses what cannot be kept, all or none of it.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	if err := f.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	f.open(ledger.Config{MaxQueue: 2})
	var err error
	if f.channel, err = f.ledger.Channel(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	three := []*ledger.Submission{f.sign(transaction{set: put("a", "1")}), f.sign(transaction{set: put("b", "1")}), f.sign(transaction{set: put("c", "1")})}
	if err := f.channel.Enqueue(three...); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("three where two fit: %v, want ErrBusy", err)
	}
	if v := f.submit(three[0]); v.Code != peer.TxValidationCode_VALID {
		t.Errorf("after a refusal: %s", v.Code)
	}
	if _, err := f.channel.Entry(t.Context(), wireID(t, three[1])); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a refused transaction: %v, want ErrNotFound", err)
	}
}

func wireID(t *testing.T, s *ledger.Submission) string {
	t.Helper()
	tx, code := wire.ParseEnvelope(s.Envelope)
	if code != peer.TxValidationCode_VALID {
		t.Fatal(code)
	}
	return tx.TxID
}

// TestClosed takes nothing more, and has committed what it took.
func TestClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	s := f.sign(transaction{set: put("a", "1")})
	if err := f.channel.Enqueue(s); err != nil {
		t.Fatal(err)
	}
	if err := f.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.channel.Entry(t.Context(), wireID(t, s)); err != nil {
		t.Errorf("a transaction accepted before the end: %v", err)
	}
	if _, err := f.channel.Submit(t.Context(), f.sign(transaction{set: put("b", "1")})); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("submit after the end: %v, want ErrClosed", err)
	}
	if err := f.channel.Wait(t.Context(), 1000); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("wait after the end: %v, want ErrClosed", err)
	}
}

// TestReopened finds after a restart everything that was in the log, applied or not.
func TestReopened(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(mem.Write) mem.Outcome{
		"applied":     nil,
		"not applied": func(w mem.Write) mem.Outcome { return failApply(w) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failing := false
			f := newFixture(t, mem.Config{SeparateApply: true, Hook: func(w mem.Write) mem.Outcome {
				if failing && hook != nil {
					return hook(w)
				}
				return mem.Proceed
			}})
			failing = true
			for _, key := range []string{"a", "b", "c"} {
				if v := f.submit(f.sign(transaction{set: put(key, key)})); v.Code != peer.TxValidationCode_VALID {
					t.Fatalf("put %s: %s", key, v.Code)
				}
				view, err := f.channel.View(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				items, err := view.Get(t.Context(), "cc", []string{key})
				if err != nil || items[0] == nil || string(items[0].Value) != key {
					t.Errorf("%s after its commit: %v, %v", key, items, err)
				}
				if err := view.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := f.ledger.Close(); err != nil {
				t.Fatal(err)
			}
			failing = false
			f.open(ledger.Config{})
			var err error
			if f.channel, err = f.ledger.Channel(t.Context(), "test"); err != nil {
				t.Fatal(err)
			}
			raw, err := f.store.View(t.Context(), "test")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			height, err := f.channel.Height(t.Context())
			if err != nil || raw.Savepoint() != height {
				t.Errorf("after opening it again the state is that of %d blocks, the log has %d (%v)", raw.Savepoint(), height, err)
			}
		})
	}
}

func failApply(w mem.Write) mem.Outcome {
	if w.Op == mem.OpAppend {
		return mem.Proceed
	}
	return mem.FailNotApplied
}

// TestSlowRerun leaves a transaction to its submitter if simulating it again takes too long, and does not keep others waiting.
func TestSlowRerun(t *testing.T) {
	t.Parallel()
	f := newFixture(t, mem.Config{})
	if err := f.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	f.open(ledger.Config{RerunBudget: 20 * time.Millisecond})
	var err error
	if f.channel, err = f.ledger.Channel(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	f.submit(f.sign(transaction{set: put("k", "0")}))
	view, err := f.channel.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sim := simulate.New(view, "t")
	if _, err := sim.GetState(t.Context(), "cc", "k"); err != nil {
		t.Fatal(err)
	}
	if err := sim.PutState("cc", "k", []byte("1")); err != nil {
		t.Fatal(err)
	}
	set, err := sim.Results()
	if err != nil {
		t.Fatal(err)
	}
	view.Close()
	f.submit(f.sign(transaction{set: put("k", "2")}))
	late := f.sign(transaction{set: set})
	late.Trusted = true
	late.Tx, _ = wire.ParseEnvelope(late.Envelope)
	deadline := false
	late.Rerun = func(ctx context.Context, _ ledger.View) (*ledger.Submission, error) {
		<-ctx.Done()
		deadline = true
		return nil, ctx.Err()
	}
	v := f.submit(late)
	if !deadline || v.Code != peer.TxValidationCode_MVCC_READ_CONFLICT || v.Recorded {
		t.Errorf("verdict %+v, rerun ended by its deadline: %t; want an unrecorded MVCC_READ_CONFLICT", v, deadline)
	}
}
