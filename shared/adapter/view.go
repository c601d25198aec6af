package adapter

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"peerless/shared/ledger"
)

// definitions is a view of a chaincode's state that knows the definitions of its indexes, which stand where the function cannot read.
type definitions struct {
	ledger.View
	chaincode string
	indexes   []byte
	layout    []byte
}

func (d *definitions) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	if namespace != ledger.LifecycleNamespace {
		return d.View.Get(ctx, namespace, keys)
	}
	items := make([]*ledger.Item, len(keys))
	for i, key := range keys {
		switch {
		case key == ledger.IndexesKey(d.chaincode) && len(d.indexes) > 0:
			items[i] = &ledger.Item{Value: d.indexes}
		case key == ledger.LayoutKey(d.chaincode) && len(d.layout) > 0:
			items[i] = &ledger.Item{Value: d.layout}
		}
	}
	return items, nil
}

// observed is a view that knows what has been seen through it: what two executions of a contract have seen is compared by its
// hash. It can be suspended: nothing more is then seen.
type observed struct {
	ledger.View

	mu        sync.Mutex
	hash      hash.Hash
	suspended error
}

func newObserved(view ledger.View) *observed { return &observed{View: view, hash: sha256.New()} }

// sum returns the hash of all that has been seen.
func (o *observed) sum() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hash.Sum(nil)
}

func (o *observed) suspend(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.suspended = err
}

// see adds to the hash, or fails if the view is suspended. Versions stand for values.
func (o *observed) see(what string, versions ...any) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.suspended != nil {
		return o.suspended
	}
	o.text(what)
	for _, v := range versions {
		switch v := v.(type) {
		case string:
			o.text(v)
		case *ledger.Item:
			if v == nil {
				o.text("")
			} else {
				o.number(v.Version.Block + 1)
				o.number(v.Version.Tx)
			}
		case ledger.Version:
			o.number(v.Block)
			o.number(v.Tx)
		}
	}
	return nil
}

func (o *observed) text(s string) {
	o.number(uint64(len(s)))
	o.hash.Write([]byte(s))
}

func (o *observed) number(n uint64) { o.hash.Write(binary.BigEndian.AppendUint64(nil, n)) }

func (o *observed) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	if err := o.see("get"); err != nil {
		return nil, err
	}
	items, err := o.View.Get(ctx, namespace, keys)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if err := o.see(key, items[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (o *observed) Range(ctx context.Context, namespace, start, end string, limit int) ([]ledger.KV, error) {
	if err := o.see("range", start, end); err != nil {
		return nil, err
	}
	rows, err := o.View.Range(ctx, namespace, start, end, limit)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if err := o.see(row.Key, row.Item); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (o *observed) History(ctx context.Context, namespace, key string, before ledger.Version, limit int) ([]ledger.Change, error) {
	if err := o.see("history", key); err != nil {
		return nil, err
	}
	changes, err := o.View.History(ctx, namespace, key, before, limit)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if err := o.see("change", c.Version); err != nil {
			return nil, err
		}
	}
	return changes, nil
}
