package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"peerless/shared/ledger"
)

// view is a snapshot of the database.
type view struct {
	store     *Store
	channel   string
	savepoint uint64

	mu       sync.RWMutex // held for reading by each call
	snapshot *pebble.Snapshot

	finderMu sync.Mutex // held to use finder
	finder   *pebble.Iterator
}

var _ ledger.View = (*view)(nil)

// View implements ledger.State.
func (s *Store) View(ctx context.Context, channel string) (ledger.View, error) {
	if err := s.use(ctx); err != nil {
		return nil, fmt.Errorf("view: %w", classify(err))
	}
	defer s.lifetime.RUnlock()
	v := &view{store: s, channel: channel, snapshot: s.db.NewSnapshot()}
	var err error
	if v.savepoint, err = v.readSavepoint(); err != nil {
		return nil, errors.Join(fmt.Errorf("view: %w", classify(err)), v.snapshot.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views[v] = struct{}{}
	return v, nil
}

func (v *view) readSavepoint() (n uint64, err error) {
	found, err := v.get(channelKey(v.channel), func(d *decoder) { n = d.uvarint() })
	if !found {
		return 0, err
	}
	return n, err
}

// use begins a call. The caller calls v.unuse if there is no error.
func (v *view) use(ctx context.Context) error {
	if err := v.store.use(ctx); err != nil {
		return err
	}
	v.mu.RLock()
	if v.snapshot == nil {
		v.unuse()
		return ErrClosed
	}
	return nil
}

func (v *view) unuse() {
	v.mu.RUnlock()
	v.store.lifetime.RUnlock()
}

// read runs f between use and unuse.
func (v *view) read(ctx context.Context, op string, f func() error) error {
	err := v.use(ctx)
	if err == nil {
		defer v.unuse()
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s: channel %q: %w", op, v.channel, classify(err))
	}
	return nil
}

// get decodes one value. The decoder's bytes are the caller's to keep.
func (v *view) get(key []byte, decode func(*decoder)) (found bool, err error) {
	value, closer, err := v.snapshot.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	d := decoder{rest: append(make([]byte, 0, len(value)), value...)}
	decode(&d)
	if !d.done() {
		err = damaged("state: value of %q", key)
	}
	return true, errors.Join(err, closer.Close())
}

func (v *view) Savepoint() uint64 { return v.savepoint }

func (v *view) Fixed() bool { return true }

func (v *view) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	items := make([]*ledger.Item, len(keys))
	err := v.read(ctx, "get", func() error {
		rows := make([][]byte, len(keys))
		for i, key := range keys {
			rows[i] = stateKey(v.channel, namespace, key)
		}
		return v.find(rows, func(i int, value []byte) error {
			if value == nil {
				return nil
			}
			d := decoder{rest: append(make([]byte, 0, len(value)), value...)}
			if items[i] = d.item(); !d.done() {
				return damaged("state: value of %q", rows[i])
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// find is find in the snapshot, with an iterator that is kept for the next call.
func (v *view) find(keys [][]byte, visit func(i int, value []byte) error) (err error) {
	if !v.finderMu.TryLock() {
		return find(v.snapshot, keys, visit)
	}
	defer v.finderMu.Unlock()
	if v.finder == nil {
		if v.finder, err = newFinder(v.snapshot); err != nil {
			return err
		}
	}
	return findWith(v.finder, keys, visit)
}

func (v *view) Range(ctx context.Context, namespace, start, end string, limit int) (rows []ledger.KV, err error) {
	err = v.read(ctx, "range", func() error {
		if limit <= 0 {
			return fmt.Errorf("limit %d", limit)
		}
		prefix := stateKey(v.channel, namespace, "")
		last := keyAfter(prefix)
		if end != "" {
			if end <= start {
				return nil
			}
			last = stateKey(v.channel, namespace, end)
		}
		return each(ctx, v.snapshot, stateKey(v.channel, namespace, start), last, func(key, value []byte) (bool, error) {
			d := decoder{rest: append(make([]byte, 0, len(value)), value...)}
			rows = append(rows, ledger.KV{Key: string(key[len(prefix):]), Item: d.item()})
			if !d.done() {
				return false, damaged("state: value of %q", key)
			}
			return len(rows) < limit, ctx.Err()
		})
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (v *view) History(ctx context.Context, namespace, key string, before ledger.Version, limit int) (changes []ledger.Change, err error) {
	err = v.read(ctx, "history", func() error {
		if limit <= 0 {
			return fmt.Errorf("limit %d", limit)
		}
		prefix := historyPrefix(v.channel, namespace, key)
		start := prefix
		if before != (ledger.Version{}) {
			start = append(historyKey(v.channel, namespace, key, before), 0)
		}
		return each(ctx, v.snapshot, start, keyAfter(prefix), func(k, value []byte) (bool, error) {
			version, ok := historyVersion(k[len(prefix):])
			c := ledger.Change{Namespace: namespace, Key: key, Version: version}
			d := decoder{rest: append(make([]byte, 0, len(value)), value...)}
			d.change(&c)
			if !ok || !d.done() {
				return false, damaged("state: value of %q", k)
			}
			changes = append(changes, c)
			return len(changes) < limit, ctx.Err()
		})
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

func (v *view) Transactions(ctx context.Context, txIDs []string) ([]*ledger.TxEntry, error) {
	entries := make([]*ledger.TxEntry, len(txIDs))
	err := v.read(ctx, "transactions", func() error {
		keys := make([][]byte, len(txIDs))
		for i, id := range txIDs {
			keys[i] = txKey(v.channel, id)
		}
		return v.find(keys, func(i int, value []byte) error {
			if value == nil {
				return nil
			}
			entries[i] = &ledger.TxEntry{TxID: txIDs[i]}
			d := decoder{rest: value}
			if d.tx(entries[i]); !d.done() {
				return damaged("state: value of %q", keys[i])
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

func (v *view) BlockByHash(ctx context.Context, hash []byte) (number uint64, err error) {
	err = v.read(ctx, "block by hash", func() error {
		found, err := v.get(hashKey(v.channel, hash), func(d *decoder) { number = d.uvarint() })
		if err == nil && !found {
			err = fmt.Errorf("block with hash %x: %w", hash, ledger.ErrNotFound)
		}
		return err
	})
	return number, err
}

// Close releases the snapshot. Close of the store has done it already if it came first.
func (v *view) Close() error {
	v.store.mu.Lock()
	delete(v.store.views, v)
	v.store.mu.Unlock()
	return v.release()
}

func (v *view) release() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.snapshot == nil {
		return nil
	}
	var err error
	if v.finder != nil {
		err = v.finder.Close()
	}
	err = errors.Join(err, v.snapshot.Close())
	v.snapshot = nil
	if err != nil {
		return fmt.Errorf("close view: %w", err)
	}
	return nil
}
