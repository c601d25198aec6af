package mem

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"peerless/shared/ledger"
)

// Records is a queue.Store in memory. The methods are documented there. The zero value is empty.
type Records struct {
	// Hook is called before each Put, and can fail it: nothing is kept then. nil: none fails.
	Hook func(number uint64) error

	mu      sync.Mutex
	records map[uint64][]byte
}

// Put implements queue.Store.
func (r *Records) Put(ctx context.Context, number uint64, record []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put record %d: %w", number, err)
	}
	if r.Hook != nil {
		if err := r.Hook(number); err != nil {
			return fmt.Errorf("put record %d: %w", number, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.records == nil {
		r.records = make(map[uint64][]byte)
	}
	r.records[number] = bytes.Clone(record)
	return nil
}

// Get implements queue.Store.
func (r *Records) Get(ctx context.Context, number uint64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("record %d: %w", number, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record, ok := r.records[number]
	if !ok {
		return nil, fmt.Errorf("record %d: %w", number, ledger.ErrNotFound)
	}
	return bytes.Clone(record), nil
}

// Delete implements queue.Store.
func (r *Records) Delete(ctx context.Context, number uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete record %d: %w", number, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.records, number)
	return nil
}

// Each implements queue.Store.
func (r *Records) Each(ctx context.Context, visit func(number uint64, record []byte) error) error {
	r.mu.Lock()
	records := maps.Clone(r.records)
	r.mu.Unlock()
	for _, number := range slices.Sorted(maps.Keys(records)) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		if err := visit(number, records[number]); err != nil {
			return err
		}
	}
	return nil
}
