// Package queuetest is the suite that every queue.Store passes.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/ledger"
	"peerless/shared/queue"
)

// A Backend opens one store, and opens it again with what it kept.
type Backend struct {
	Open func() queue.Store
	// Reopen closes the store and returns it as the next process finds it.
	Reopen func() queue.Store
}

// TestStore runs the suite. open makes an empty backend.
func TestStore(t *testing.T, open func(t *testing.T) Backend) {
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		s := open(t).Open()
		if _, err := s.Get(t.Context(), 7); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("Get of an absent record: %v, want ErrNotFound", err)
		}
		if err := s.Delete(t.Context(), 7); err != nil {
			t.Errorf("Delete of an absent record: %v", err)
		}
		if got := all(t, s); len(got) != 0 {
			t.Errorf("an empty store has %v", got)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		s := open(t).Open()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Put(ctx, 1, []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("Put with a cancelled context: %v", err)
		}
		if _, err := s.Get(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("Get with a cancelled context: %v", err)
		}
	})
	t.Run("large", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		s := b.Open()
		large := []byte(strings.Repeat("large ", 1<<20))
		if err := s.Put(t.Context(), 1, large); err != nil {
			t.Fatal(err)
		}
		s = b.Reopen()
		got, err := s.Get(t.Context(), 1)
		if err != nil || string(got) != string(large) {
			t.Errorf("a record of %d bytes came back with %d: %v", len(large), len(got), err)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		s := b.Open()
		want := make(map[uint64]string)
		var mu sync.Mutex
		var writers sync.WaitGroup
		for w := range uint64(8) {
			writers.Go(func() {
				for i := range uint64(50) {
					number := w*1000 + i
					err := s.Put(t.Context(), number, fmt.Appendf(nil, "record %d", number))
					if err == nil && i%3 == 0 {
						err = s.Delete(t.Context(), number)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if i%3 != 0 {
						mu.Lock()
						want[number] = fmt.Sprintf("record %d", number)
						mu.Unlock()
					}
				}
			})
		}
		writers.Wait()
		if diff := cmp.Diff(all(t, b.Reopen()), want); diff != "" {
			t.Errorf("after all writers (-got +want):\n%s", diff)
		}
	})
	t.Run("random", func(t *testing.T) {
		t.Parallel()
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		b := open(t)
		s := b.Open()
		want := make(map[uint64]string)
		for step := range 3000 {
			number := random.Uint64N(40)
			switch n := random.IntN(100); {
			case n < 45:
				record := fmt.Sprintf("%d %s", step, strings.Repeat("x", random.IntN(2000)))
				if err := s.Put(t.Context(), number, []byte(record)); err != nil {
					t.Fatal(err)
				}
				want[number] = record
			case n < 90:
				if err := s.Delete(t.Context(), number); err != nil {
					t.Fatal(err)
				}
				delete(want, number)
			case n < 99:
				got, err := s.Get(t.Context(), number)
				if record, ok := want[number]; ok != (err == nil) || ok && string(got) != record {
					t.Fatalf("step %d: record %d is %.20q (%v), want %.20q", step, number, got, err, record)
				}
			default:
				s = b.Reopen()
				if diff := cmp.Diff(all(t, s), want); diff != "" {
					t.Fatalf("step %d, opened again (-got +want):\n%s", step, diff)
				}
			}
		}
		if diff := cmp.Diff(all(t, s), want); diff != "" {
			t.Errorf("at the end (-got +want):\n%s", diff)
		}
	})
}

// all reads a store, and checks that the numbers ascend.
func all(t *testing.T, s queue.Store) map[uint64]string {
	t.Helper()
	records := make(map[uint64]string)
	last, first := uint64(0), true
	err := s.Each(t.Context(), func(number uint64, record []byte) error {
		if !first && number <= last {
			t.Errorf("record %d comes after record %d", number, last)
		}
		last, first = number, false
		records[number] = string(record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}
