package ledger

import (
	"bytes"
	"context"
	"slices"
)

// overlay is a view of the state with a block's writes laid over it: of a block being cut, or of one that is in the log and
// not yet applied.
type overlay struct {
	View
	updates *updates
	txs     []TxEntry
	hash    []byte   // the block's, nil while it is being cut
	private []string // ids of private sets that are done with once the block is applied
}

var _ View = (*overlay)(nil)

func (o *overlay) Savepoint() uint64 {
	if o.hash == nil {
		return o.View.Savepoint()
	}
	return o.updates.number + 1
}

func (o *overlay) Get(ctx context.Context, namespace string, keys []string) ([]*Item, error) {
	items, err := o.View.Get(ctx, namespace, keys)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if up, ok := o.updates.get(stateKey{namespace, key}); ok && !o.later(items[i]) {
			items[i] = up.item
		}
	}
	return items, nil
}

// later reports whether what is below has a key from the block laid over, or from a later one: if applying it was interrupted, or
// goes on elsewhere. Such an item is what the block made of the key, whatever it looks like when the block is gone through again.
func (o *overlay) later(below *Item) bool {
	return below != nil && below.Version.Block >= o.updates.number
}

func (o *overlay) Range(ctx context.Context, namespace, start, end string, limit int) ([]KV, error) {
	var over []update
	o.updates.keys.Ascend(update{stateKey: stateKey{namespace, start}}, func(up update) bool {
		if up.namespace != namespace || end != "" && up.key >= end {
			return false
		}
		over = append(over, up)
		return true
	})
	// Of limit+len(over) rows below, at most len(over) are hidden: what is left fills the limit, or there is no more.
	below, err := o.View.Range(ctx, namespace, start, end, limit+len(over))
	if err != nil {
		return nil, err
	}
	rows := make([]KV, 0, limit)
	for len(rows) < limit && (len(below) > 0 || len(over) > 0) {
		switch {
		case len(over) == 0 || len(below) > 0 && below[0].Key < over[0].key:
			rows = append(rows, below[0])
			below = below[1:]
		default:
			item := over[0].item
			if len(below) > 0 && below[0].Key == over[0].key {
				if o.later(below[0].Item) {
					item = below[0].Item
				}
				below = below[1:]
			}
			if item != nil {
				rows = append(rows, KV{Key: over[0].key, Item: item})
			}
			over = over[1:]
		}
	}
	return rows, nil
}

func (o *overlay) History(ctx context.Context, namespace, key string, before Version, limit int) ([]Change, error) {
	var changes []Change
	for _, c := range slices.Backward(o.updates.history) {
		if c.Namespace == namespace && c.Key == key && (before == Version{} || c.Version.less(before)) && len(changes) < limit {
			changes = append(changes, c)
		}
	}
	if len(changes) == limit {
		return changes, nil
	}
	// What is below may have a part of the block already, if applying it was interrupted.
	if first := (Version{Block: o.updates.number}); before == (Version{}) || first.less(before) {
		before = first
	}
	older, err := o.View.History(ctx, namespace, key, before, limit-len(changes))
	if err != nil {
		return nil, err
	}
	return append(changes, older...), nil
}

func (v Version) less(w Version) bool {
	return v.Block < w.Block || v.Block == w.Block && v.Tx < w.Tx
}

func (o *overlay) Transactions(ctx context.Context, txIDs []string) ([]*TxEntry, error) {
	entries, err := o.View.Transactions(ctx, txIDs)
	if err != nil {
		return nil, err
	}
	for i, id := range txIDs {
		for j := range o.txs {
			if entries[i] == nil && o.txs[j].TxID == id {
				entries[i] = &o.txs[j]
			}
		}
	}
	return entries, nil
}

func (o *overlay) BlockByHash(ctx context.Context, hash []byte) (uint64, error) {
	if o.hash != nil && bytes.Equal(hash, o.hash) {
		return o.updates.number, nil
	}
	return o.View.BlockByHash(ctx, hash)
}
