package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"

	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// Errors of a transaction that does what it may not, in Fabric's words, misspelling included.
var (
	// ErrReadOnly: the transaction has made a paginated query and may not write any more.
	ErrReadOnly = errors.New("unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed")
	// ErrHasWritten: the transaction has written and may not make a paginated query any more.
	ErrHasWritten = errors.New("unsuppored transaction. Paginated queries are supported only in a read-only transaction")
	// ErrTooManyRows: a query without pages has more than MaxRows rows.
	ErrTooManyRows = fmt.Errorf("query returns more than %d rows", MaxRows)
	// ErrDone: the results have been taken.
	ErrDone = errors.New("transaction is simulated already")
)

// A Tx simulates one transaction. Its methods may be called from several goroutines and run one at a time.
//
// An error of the view stays: Results returns it, so that a contract that passes over a failed read cannot have what it
// made of it endorsed. Byte slices that a Tx returns are the view's and must not be modified; those it is given must not
// be modified later.
type Tx struct {
	view ledger.View
	txID string

	mu         sync.Mutex
	namespaces map[string]*namespace
	private    []*Iterator                  // queries of private data
	seen       map[string][]*kvrwset.KVRead // by rich queries of private data, by namespace
	privateSet wire.PrivateSet
	wrote      bool // a write was tried: no paginated queries
	paged      bool // a paginated query was made: no writes
	queried    bool // private data was queried: no writes
	done       bool
	err        error // the view's first
}

// A namespace is what a transaction did to the keys of one chaincode.
type namespace struct {
	reads    map[string]*ledger.Item // as first read, nil if absent
	writes   map[string][]byte       // empty is a delete
	metadata map[string]map[string][]byte
	ranges   []*Iterator // in the order they were opened

	// versions of keys that were read, nil if absent, where the values are not kept: by rich queries, and elsewhere (Merge).
	versions map[string]*kvrwset.Version
	queries  []*kvrwset.RangeQueryInfo // of executions elsewhere

	collections map[string]*collection
}

// New begins a transaction over a view, which stays the caller's to close.
func New(view ledger.View, txID string) *Tx {
	return &Tx{view: view, txID: txID, namespaces: map[string]*namespace{}}
}

// Savepoint is the number of blocks that the view holds.
func (t *Tx) Savepoint() uint64 { return t.view.Savepoint() }

// Err returns the first error of the view, nil if there was none.
func (t *Tx) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// namespace needs mu.
func (t *Tx) namespace(name string) *namespace {
	ns := t.namespaces[name]
	if ns == nil {
		ns = &namespace{}
		t.namespaces[name] = ns
	}
	return ns
}

// failed keeps an error of the view. It needs mu.
func (t *Tx) failed(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// GetState returns the committed value of a key, nil if there is none. What the transaction wrote itself is not seen.
func (t *Tx) GetState(ctx context.Context, ns, key string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	item, err := t.read(ctx, ns, key)
	if err != nil || item == nil {
		return nil, err
	}
	return item.Value, nil
}

// GetItem is GetState with the key's version and metadata.
func (t *Tx) GetItem(ctx context.Context, ns, key string) (*ledger.Item, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read(ctx, ns, key)
}

// GetMultipleStates returns the committed values of keys, in their order; nil where there is none.
func (t *Tx) GetMultipleStates(ctx context.Context, ns string, keys []string) ([][]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.fetch(ctx, ns, keys); err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if item := t.namespaces[ns].reads[key]; item != nil {
			values[i] = item.Value
		}
	}
	return values, nil
}

// read needs mu.
func (t *Tx) read(ctx context.Context, ns, key string) (*ledger.Item, error) {
	if err := t.fetch(ctx, ns, []string{key}); err != nil {
		return nil, err
	}
	return t.namespaces[ns].reads[key], nil
}

// fetch records the keys as read. One that was read before stays as it was then. It needs mu.
func (t *Tx) fetch(ctx context.Context, ns string, keys []string) error {
	if t.done {
		return ErrDone
	}
	if space := t.namespaces[ns]; space != nil {
		keys = space.unread(keys)
	}
	if len(keys) == 0 {
		return nil
	}
	items, err := t.view.Get(ctx, ns, keys)
	if err != nil {
		return t.failed(fmt.Errorf("read state of %s: %w", ns, err))
	}
	space := t.namespace(ns)
	if space.reads == nil {
		space.reads = make(map[string]*ledger.Item, len(keys))
	}
	for i, key := range keys {
		space.reads[key] = items[i]
	}
	return nil
}

// unread returns those of the keys that have not been read.
func (ns *namespace) unread(keys []string) []string {
	known := func(key string) bool { _, ok := ns.reads[key]; return ok }
	if !slices.ContainsFunc(keys, known) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), known)
}

// PutState writes a key. The last write of a key counts. An empty value deletes it, as in Fabric.
func (t *Tx) PutState(ns, key string, value []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mayWrite(); err != nil {
		return err
	}
	space := t.namespace(ns)
	if space.writes == nil {
		space.writes = map[string][]byte{}
	}
	space.writes[key] = value
	return nil
}

// DelState deletes a key, which need not exist.
func (t *Tx) DelState(ns, key string) error { return t.PutState(ns, key, nil) }

// mayWrite needs mu.
func (t *Tx) mayWrite() error {
	if t.done {
		return ErrDone
	}
	if t.queried {
		return fmt.Errorf("txid [%s]: %w", t.txID, ErrQueried)
	}
	if t.paged {
		return fmt.Errorf("txid [%s]: %w", t.txID, ErrReadOnly)
	}
	t.wrote = true
	return nil
}
