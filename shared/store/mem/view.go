package mem

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"peerless/shared/ledger"
)

// view reads tables: a copy of its own (fixed), or the live ones under the store's lock (loose).
type view struct {
	tables    *tables
	mu        *sync.RWMutex // nil if the view is fixed
	savepoint uint64
	closed    atomic.Bool
}

var _ ledger.View = (*view)(nil)

// read runs f on the tables if the view can be read.
func (v *view) read(ctx context.Context, op string, f func(*tables) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if v.closed.Load() {
		return fmt.Errorf("%s: view: %w", op, ErrClosed)
	}
	if v.mu != nil {
		v.mu.RLock()
		defer v.mu.RUnlock()
	}
	return f(v.tables)
}

func (v *view) Savepoint() uint64 { return v.savepoint }

func (v *view) Fixed() bool { return v.mu == nil }

func (v *view) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	items := make([]*ledger.Item, len(keys))
	err := v.read(ctx, "get", func(t *tables) error {
		for i, key := range keys {
			items[i] = t.get(namespace, key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (v *view) Range(ctx context.Context, namespace, start, end string, limit int) (rows []ledger.KV, err error) {
	err = v.read(ctx, "range", func(t *tables) error {
		if limit <= 0 {
			return fmt.Errorf("range: limit %d: %w", limit, ErrMisuse)
		}
		rows = t.scan(namespace, start, end, limit)
		return nil
	})
	return rows, err
}

func (v *view) History(ctx context.Context, namespace, key string, before ledger.Version, limit int) (changes []ledger.Change, err error) {
	err = v.read(ctx, "history", func(t *tables) error {
		if limit <= 0 {
			return fmt.Errorf("history: limit %d: %w", limit, ErrMisuse)
		}
		changes = t.changes(namespace, key, before, limit)
		return nil
	})
	return changes, err
}

func (v *view) Transactions(ctx context.Context, txIDs []string) ([]*ledger.TxEntry, error) {
	entries := make([]*ledger.TxEntry, len(txIDs))
	err := v.read(ctx, "transactions", func(t *tables) error {
		for i, id := range txIDs {
			if e, ok := t.txs.Get(ledger.TxEntry{TxID: id}); ok {
				entries[i] = &e
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

func (v *view) BlockByHash(ctx context.Context, hash []byte) (number uint64, err error) {
	err = v.read(ctx, "block by hash", func(t *tables) error {
		r, ok := t.hashes.Get(hashRow{hash: string(hash)})
		if !ok {
			return fmt.Errorf("block with hash %x: %w", hash, ledger.ErrNotFound)
		}
		number = r.block
		return nil
	})
	return number, err
}

func (v *view) Close() error {
	v.closed.Store(true)
	return nil
}
