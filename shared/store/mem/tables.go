package mem

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"peerless/shared/ledger"
)

// tables is one channel's derived state. A tree may be shared with copies of it: nodes are copied when written.
type tables struct {
	items   *btree.BTreeG[row]
	history *btree.BTreeG[ledger.Change]
	txs     *btree.BTreeG[ledger.TxEntry]
	hashes  *btree.BTreeG[hashRow]

	savepoint uint64 // number of blocks applied
}

// row is the state of a key after block. A nil item marks a key deleted by that block: kept so that an Apply of an
// earlier block, still under way elsewhere, cannot bring the key back.
type row struct {
	namespace, key string
	item           *ledger.Item
	block          uint64
}

type hashRow struct {
	hash  string
	block uint64
}

func newTables() *tables {
	noLocks := btree.Options{NoLocks: true}
	return &tables{
		items: btree.NewBTreeGOptions(func(a, b row) bool {
			return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.key, b.key)) < 0
		}, noLocks),
		history: btree.NewBTreeGOptions(func(a, b ledger.Change) bool {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Key, b.Key), compareVersions(a.Version, b.Version)) < 0
		}, noLocks),
		txs:    btree.NewBTreeGOptions(func(a, b ledger.TxEntry) bool { return a.TxID < b.TxID }, noLocks),
		hashes: btree.NewBTreeGOptions(func(a, b hashRow) bool { return a.hash < b.hash }, noLocks),
	}
}

func compareVersions(a, b ledger.Version) int {
	return cmp.Or(cmp.Compare(a.Block, b.Block), cmp.Compare(a.Tx, b.Tx))
}

// copy returns tables that share nothing visible with t. It writes to t's trees: the caller holds the lock for writing.
func (t *tables) copy() *tables {
	return &tables{t.items.Copy(), t.history.Copy(), t.txs.Copy(), t.hashes.Copy(), t.savepoint}
}

// The put methods are the single writes of Apply. Each is idempotent, and yields to what a later block wrote.

func (t *tables) putItem(block uint64, w ledger.Write) {
	r := row{namespace: w.Namespace, key: w.Key, block: block}
	if old, ok := t.items.Get(r); ok && old.block >= block {
		return
	}
	r.item = cloneItem(w.Item)
	t.items.Set(r)
}

func (t *tables) putHistory(c ledger.Change) { t.history.Set(cloneChange(c)) }

func (t *tables) putTx(e ledger.TxEntry) {
	if _, ok := t.txs.Get(e); !ok {
		t.txs.Set(e)
	}
}

func (t *tables) putHash(hash []byte, block uint64) { t.hashes.Set(hashRow{string(hash), block}) }

func (t *tables) putSavepoint(n uint64) { t.savepoint = max(t.savepoint, n) }

// writes returns the single writes that apply b to t, in order.
func (t *tables) writes(b *ledger.Batch) []step {
	steps := make([]step, 0, len(b.Private)+len(b.Writes)+len(b.History)+len(b.Txs)+2)
	for i, w := range slices.Concat(b.Private, b.Writes) {
		steps = append(steps, step{OpItem, i, func() { t.putItem(b.Block, w) }})
	}
	for i, c := range b.History {
		steps = append(steps, step{OpHistory, i, func() { t.putHistory(c) }})
	}
	for i, e := range b.Txs {
		steps = append(steps, step{OpTx, i, func() { t.putTx(e) }})
	}
	return append(steps,
		step{OpHash, 0, func() { t.putHash(b.Hash, b.Block) }},
		step{OpSavepoint, 0, func() { t.putSavepoint(b.Block + 1) }})
}

type step struct {
	op    Op
	index int
	do    func()
}

func (t *tables) get(namespace, key string) *ledger.Item {
	r, _ := t.items.Get(row{namespace: namespace, key: key})
	return cloneItem(r.item)
}

func (t *tables) scan(namespace, start, end string, limit int) []ledger.KV {
	var rows []ledger.KV
	t.items.Ascend(row{namespace: namespace, key: start}, func(r row) bool {
		if r.namespace != namespace || (end != "" && r.key >= end) {
			return false
		}
		if r.item != nil {
			rows = append(rows, ledger.KV{Key: r.key, Item: cloneItem(r.item)})
		}
		return len(rows) < limit
	})
	return rows
}

func (t *tables) changes(namespace, key string, before ledger.Version, limit int) []ledger.Change {
	pivot := ledger.Change{Namespace: namespace, Key: key, Version: before}
	if before == (ledger.Version{}) {
		pivot.Version = ledger.Version{Block: ^uint64(0), Tx: ^uint64(0)}
	}
	var changes []ledger.Change
	t.history.Descend(pivot, func(c ledger.Change) bool {
		if c.Namespace != namespace || c.Key != key {
			return false
		}
		if c.Version != pivot.Version {
			changes = append(changes, cloneChange(c))
		}
		return len(changes) < limit
	})
	return changes
}

func cloneItem(i *ledger.Item) *ledger.Item {
	if i == nil {
		return nil
	}
	return &ledger.Item{Value: cloneBytes(i.Value), Metadata: bytes.Clone(i.Metadata), Version: i.Version}
}

func cloneChange(c ledger.Change) ledger.Change {
	c.Timestamp = c.Timestamp.In(time.UTC)
	if c.IsDelete {
		c.Value = nil
	} else {
		c.Value = cloneBytes(c.Value)
	}
	return c
}

// cloneBytes is a copy that is never nil.
func cloneBytes(b []byte) []byte { return append([]byte{}, b...) }
