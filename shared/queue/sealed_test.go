package queue_test

import (
	"bytes"
	"errors"
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/queue"
	"peerless/shared/secret"
	"peerless/shared/store/mem"
)

// TestSealed: what a queue keeps cannot be read without the sealer, nor be changed or moved.
func TestSealed(t *testing.T) {
	t.Parallel()
	ctx, records, sealer := t.Context(), &mem.Records{}, secret.NewKey()
	store := queue.Sealed(records, sealer)
	record := []byte(`{"message":{"transient":{"k":"a transient value"}}}`)
	for number := range uint64(2) {
		if err := store.Put(ctx, number, record); err != nil {
			t.Fatal(err)
		}
	}
	sealed := mustGet(t, records, 0)
	if bytes.Contains(sealed, []byte("transient")) {
		t.Errorf("it is kept as %q", sealed)
	}
	if got := mustGet(t, queue.Sealed(records, sealer), 0); !bytes.Equal(got, record) {
		t.Errorf("another process reads %q", got)
	}
	if _, err := queue.Sealed(records, secret.NewKey()).Get(ctx, 0); !errors.Is(err, secret.ErrOtherKey) {
		t.Errorf("with another key: %v", err)
	}
	for name, bad := range map[string][]byte{
		"another record's": mustGet(t, records, 1), "no version": {}, "another version": {9}, "no key": {1, 200}, "cut short": sealed[:len(sealed)-1],
		"changed": append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), "a length beyond all": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		if err := records.Put(ctx, 0, bad); err != nil {
			t.Fatal(err)
		}
		if _, err := queue.Sealed(records, sealer).Get(ctx, 0); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSealedTakesOver: messages that were kept in the clear are run.
func TestSealedTakesOver(t *testing.T) {
	t.Parallel()
	records, p := &mem.Records{}, newPlatform(nil)
	first, err := queue.Open(t.Context(), queue.Config{Store: records, Handler: handler(p)})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Send(t.Context(), message("m1"), ""); err != nil {
		t.Fatal(err)
	}
	open(t, queue.Config{Handler: handler(p), Store: queue.Sealed(records, secret.NewKey())})
	p.awaitCount(t, 1)
}

func mustGet(t *testing.T, s queue.Store, number uint64) []byte {
	t.Helper()
	record, err := s.Get(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	return record
}
