package simulate

import (
	"context"
	"fmt"

	"peerless/shared/ledger"
)

// A HistoryIterator returns a key's changes, newest first. History is not part of the read-write set: it is not checked
// again when the transaction is validated.
type HistoryIterator struct {
	tx       *Tx
	ns, key  string
	changes  []ledger.Change // fetched, not returned
	before   ledger.Version
	last     bool
	fetched  bool
	returned int
	closed   bool
}

// History opens a query for the changes of a key.
func (t *Tx) History(_ context.Context, ns, key string) (*HistoryIterator, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil, ErrDone
	}
	return &HistoryIterator{tx: t, ns: ns, key: key}, nil
}

// Next returns the next older change, or false if there is none.
func (it *HistoryIterator) Next(ctx context.Context) (ledger.Change, bool, error) {
	it.tx.mu.Lock()
	defer it.tx.mu.Unlock()
	if it.closed || it.tx.done {
		return ledger.Change{}, false, nil
	}
	if len(it.changes) == 0 && !it.last {
		if err := it.fetch(ctx); err != nil {
			return ledger.Change{}, false, it.tx.failed(fmt.Errorf("history of %s/%s: %w", it.ns, it.key, err))
		}
	}
	if len(it.changes) == 0 {
		return ledger.Change{}, false, nil
	}
	if it.returned == MaxRows {
		return ledger.Change{}, false, ErrTooManyRows
	}
	change := it.changes[0]
	it.changes = it.changes[1:]
	it.returned++
	return change, true, nil
}

func (it *HistoryIterator) fetch(ctx context.Context) error {
	limit := nextFetch
	if !it.fetched {
		limit = firstFetch
	}
	changes, err := it.tx.view.History(ctx, it.ns, it.key, it.before, limit)
	if err != nil {
		return err
	}
	it.fetched, it.changes, it.last = true, changes, len(changes) < limit
	if len(changes) > 0 {
		it.before = changes[len(changes)-1].Version
		// Nothing is older than block 0, and the zero version would begin again.
		it.last = it.last || it.before == ledger.Version{}
	}
	return nil
}

// Close lets go of the changes.
func (it *HistoryIterator) Close() {
	it.tx.mu.Lock()
	defer it.tx.mu.Unlock()
	it.changes, it.last, it.closed = nil, true, true
}
