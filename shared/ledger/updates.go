package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/tidwall/btree"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// stateKey is a key within a channel. Private data has namespaces of its own: HashedNamespace, PrivateNamespace.
type stateKey struct{ namespace, key string }

func (k stateKey) less(o stateKey) bool {
	if k.namespace != o.namespace {
		return k.namespace < o.namespace
	}
	return k.key < o.key
}

// update is a key's state after the transactions of a block so far.
type update struct {
	stateKey
	item *Item  // nil: deleted
	tx   uint64 // who wrote it, by position in the block
}

// updates are the writes of a block in progress, over the state before it. A copy is cheap and stays as it is.
type updates struct {
	number  uint64 // of the block
	keys    *btree.BTreeG[update]
	history []Change
	layouts layoutsOf // of the public state's indexes
}

func newUpdates(number uint64) *updates {
	less := func(a, b update) bool { return a.less(b.stateKey) }
	return &updates{number: number, keys: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 16})}
}

// snapshot returns the updates as they are now.
func (u *updates) snapshot() *updates {
	return &updates{number: u.number, keys: u.keys.Copy(), history: slices.Clip(u.history), layouts: u.layouts}
}

func (u *updates) get(k stateKey) (update, bool) { return u.keys.Get(update{stateKey: k}) }

// operation is what one transaction does to one key.
type operation struct {
	stateKey
	namespace, collection         string // of a hashed key; else empty
	writes, deletes, setsMetadata bool
	value, metadata               []byte
}

// operations collects what a transaction does, in the order of its read-write set.
func operations(set *wire.RWSet) ([]*operation, error) {
	var ops []*operation
	index := make(map[stateKey]*operation)
	of := func(k stateKey, namespace, collection string) *operation {
		op := index[k]
		if op == nil {
			op = &operation{stateKey: k, namespace: namespace, collection: collection}
			index[k] = op
			ops = append(ops, op)
		}
		return op
	}
	for i := range set.Namespaces {
		ns := &set.Namespaces[i]
		for _, w := range ns.KV.GetWrites() {
			of(stateKey{ns.Namespace, w.Key}, "", "").write(w.Value, isDelete(w))
		}
		for _, m := range ns.KV.GetMetadataWrites() {
			if err := of(stateKey{ns.Namespace, m.Key}, "", "").setMetadata(m.Entries); err != nil {
				return nil, err
			}
		}
		for j := range ns.Collections {
			coll := &ns.Collections[j]
			hashed := HashedNamespace(ns.Namespace, coll.Name)
			for _, w := range coll.Hashed.GetHashedWrites() {
				of(stateKey{hashed, string(w.KeyHash)}, ns.Namespace, coll.Name).write(w.ValueHash, w.IsDelete || w.IsPurge || len(w.ValueHash) == 0)
			}
			for _, m := range coll.Hashed.GetMetadataWrites() {
				if err := of(stateKey{hashed, string(m.KeyHash)}, ns.Namespace, coll.Name).setMetadata(m.Entries); err != nil {
					return nil, err
				}
			}
		}
	}
	return ops, nil
}

// isDelete reports whether a write deletes its key: to write the empty value is to delete, as in Fabric.
func isDelete(w *kvrwset.KVWrite) bool { return w.IsDelete || len(w.Value) == 0 }

func (op *operation) write(value []byte, isDelete bool) {
	if isDelete {
		op.deletes = true
	} else {
		op.writes, op.value = true, value
	}
}

func (op *operation) setMetadata(entries []*kvrwset.KVMetadataEntry) error {
	op.setsMetadata = true
	if entries == nil {
		return nil
	}
	metadata, err := proto.MarshalOptions{Deterministic: true}.Marshal(&kvrwset.KVMetadataWrite{Entries: entries})
	if err != nil {
		return fmt.Errorf("metadata of key %q: %w", op.key, err)
	}
	op.metadata = metadata
	return nil
}

// apply adds a valid transaction's writes. A value written without metadata keeps the key's metadata, metadata written without
// a value keeps the value, and metadata of a key that does not exist is dropped: Fabric's validation/tx_ops.go. As there, a key
// that an earlier transaction of the block deleted counts with its state before the block. private is told of each hashed key's
// new state.
func (u *updates) apply(ctx context.Context, before *reader, tx *wire.Transaction, position uint64, private func(*operation, *Item) error) error {
	ops, err := operations(tx.RWSet)
	if err != nil {
		return err
	}
	version := Version{u.number, position}
	for _, op := range ops {
		next := update{stateKey: op.stateKey, tx: position}
		switch {
		case op.deletes:
		case op.writes && op.setsMetadata:
			next.item = &Item{Value: op.value, Metadata: op.metadata, Version: version}
		default:
			current, err := u.latest(ctx, before, op.stateKey)
			if err != nil {
				return err
			}
			if op.writes {
				next.item = &Item{Value: op.value, Version: version}
				if current != nil {
					next.item.Metadata = current.Metadata
				}
			} else if current != nil {
				next.item = &Item{Value: current.Value, Metadata: op.metadata, Version: version}
			} else {
				continue
			}
		}
		if err := u.reindex(ctx, before, next); err != nil {
			return err
		}
		u.keys.Set(next)
		if op.collection != "" {
			if err := private(op, next.item); err != nil {
				return err
			}
		}
	}
	u.addHistory(tx, version)
	return nil
}

// latest returns a key's item, as the block's earlier transactions left it.
func (u *updates) latest(ctx context.Context, before *reader, k stateKey) (*Item, error) {
	if up, ok := u.get(k); ok && up.item != nil {
		return up.item, nil
	}
	return before.get(ctx, k)
}

// addHistory adds the public writes to the keys' history, as Fabric's history database does.
func (u *updates) addHistory(tx *wire.Transaction, version Version) {
	for i := range tx.RWSet.Namespaces {
		ns := &tx.RWSet.Namespaces[i]
		for _, w := range ns.KV.GetWrites() {
			change := Change{Namespace: ns.Namespace, Key: w.Key, Version: version, TxID: tx.TxID, Timestamp: tx.Timestamp, IsDelete: isDelete(w)}
			if !change.IsDelete {
				change.Value = w.Value
			}
			u.history = append(u.history, change)
		}
	}
}

// writes returns the block's net effect on each key; apart, that on what does not follow from the block.
func (u *updates) writes() (writes, private []Write) {
	writes = make([]Write, 0, u.keys.Len())
	u.keys.Scan(func(up update) bool {
		w := Write{Namespace: up.namespace, Key: up.key, Item: up.item}
		if isPrivate(up.namespace) {
			private = append(private, w)
		} else {
			writes = append(writes, w)
		}
		return true
	})
	return writes, private
}

// commitHash continues the chain of hashes over the state's updates, which Fabric's peers put into a block's metadata.
// The log's hashes, the indexes' entries, private values and when they expire are no part of it: Fabric has none.
func (u *updates) commitHash(previous []byte, codes []peer.TxValidationCode) []byte {
	all := make([]wire.Update, 0, u.keys.Len())
	u.keys.Scan(func(up update) bool {
		if reserved(up.namespace) || isPrivate(up.namespace) || IsIndex(up.namespace) {
			return true
		}
		namespace, collection, _ := strings.Cut(up.namespace, hashedMark)
		one := wire.Update{Namespace: namespace, Collection: collection, Key: up.key, Block: u.number, Tx: up.tx}
		if up.item != nil {
			one.Value = up.item.Value
		}
		all = append(all, one)
		return true
	})
	return wire.NextCommitHash(previous, codes, all)
}

// reader remembers what was read from the state before a block.
type reader struct {
	view  View
	items map[stateKey]*Item
}

func newReader(view View) *reader { return &reader{view: view, items: make(map[stateKey]*Item)} }

func (r *reader) get(ctx context.Context, k stateKey) (*Item, error) {
	if item, ok := r.items[k]; ok {
		return item, nil
	}
	items, err := r.view.Get(ctx, k.namespace, []string{k.key})
	if err != nil {
		return nil, fmt.Errorf("read key %q of %s: %w", k.key, k.namespace, err)
	}
	r.items[k] = items[0]
	return items[0], nil
}

// prefetch reads the keys that judging a block's transactions will ask for, one call for each namespace.
func (r *reader) prefetch(ctx context.Context, block uint64, txs []*checked) error {
	wanted := make(map[string][]string)
	want := func(namespace, key string) {
		k := stateKey{namespace, key}
		if _, ok := r.items[k]; !ok {
			r.items[k] = nil
			wanted[namespace] = append(wanted[namespace], key)
		}
	}
	for _, key := range expiries(block) {
		want(ExpiryNamespace, key)
	}
	for _, c := range txs {
		if c.tx.RWSet == nil {
			continue
		}
		for i := range c.tx.RWSet.Namespaces {
			ns := &c.tx.RWSet.Namespaces[i]
			for _, read := range ns.KV.GetReads() {
				want(ns.Namespace, read.Key)
			}
			for _, w := range ns.KV.GetWrites() {
				want(ns.Namespace, w.Key)
			}
			for _, m := range ns.KV.GetMetadataWrites() {
				want(ns.Namespace, m.Key)
			}
			for k := range ns.Collections {
				r.wantHashed(ns, &ns.Collections[k], want)
			}
		}
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for namespace, keys := range wanted {
		group.Go(func() error {
			items, err := r.view.Get(ctx, namespace, keys)
			if err != nil {
				return fmt.Errorf("read %d keys of %s: %w", len(keys), namespace, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, key := range keys {
				r.items[stateKey{namespace, key}] = items[i]
			}
			return nil
		})
	}
	return group.Wait()
}

// wantHashed wants what the writes to a collection are judged by, and the keys of the values that they replace.
func (r *reader) wantHashed(ns *wire.NamespaceSet, c *wire.CollectionSet, want func(namespace, key string)) {
	hashed, keys := HashedNamespace(ns.Namespace, c.Name), privateKeysNamespace(ns.Namespace, c.Name)
	for _, read := range c.Hashed.GetHashedReads() {
		want(hashed, string(read.KeyHash))
	}
	for _, w := range c.Hashed.GetHashedWrites() {
		want(hashed, string(w.KeyHash))
		want(keys, string(w.KeyHash))
	}
	for _, m := range c.Hashed.GetMetadataWrites() {
		want(hashed, string(m.KeyHash))
		want(keys, string(m.KeyHash))
	}
}
