package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/tidwall/btree"

	"peerless/shared/collection"
	"peerless/shared/mango"
	"peerless/shared/wire"
)

// Indexes of collections are in the memory of a process that queries them, and nowhere else: on disk their entries would hold private
// values in the clear. The first query reads the whole collection; later ones add what the blocks since then wrote.

const (
	// MaxPrivateEntries is how many entries of such indexes a ledger keeps in all, of some 150 bytes each: those of the collections queried
	// last. One that is over it is not kept, and its queries read the whole collection.
	MaxPrivateEntries = 1_000_000
	// privateCatchUp is how many blocks are read to bring an index up to a view. Behind that it is built anew.
	privateCatchUp = 1000
	// privateTouched is for how many blocks back it is remembered what they wrote, for views that are older than the index.
	privateTouched = 256
)

// A PrivateIndexes says whose indexes are meant.
type PrivateIndexes struct {
	Chaincode, Collection string
	MSPID                 string // the organisation that reads
	Indexes               []*mango.Index
	Open                  func(key string, sealed []byte) ([]byte, error) // what makes its values readable
}

// privateIndexes are those that a ledger keeps.
type privateIndexes struct {
	mu      sync.Mutex
	kept    map[privateIndexKey]*privateIndex
	clock   int // counts uses
	entries int // of all, as of their last use
}

type privateIndexKey struct{ channel, chaincode, collection, mspID string }

// A privateIndex is the indexes of a collection.
type privateIndex struct {
	used, counted int // of privateIndexes.mu

	mu sync.Mutex
	privateEntries
}

// privateEntries are entries of a collection's indexes. They are added and never taken away: a reader compares an entry with the document
// that it finds.
type privateEntries struct {
	indexes   []*mango.Index
	trees     []*btree.BTreeG[KV] // nil: not built, or too large
	tooLarge  bool
	documents int                 // when they were built
	height    uint64              // that they are brought up to
	touched   map[uint64][]string // by block: hashes of the keys that it wrote
}

// PrivateEntries reads the entries of an index of a collection as View.Range does those of another's: the key is the entry, the value
// the document's key. There may be entries that are no document's any more.
type PrivateEntries func(start, end string, limit int) []KV

// PrivateIndex returns the entries of one of a collection's indexes, with all those of the documents in a view; nil if they are not kept, or
// not as old as the view: then who queries reads the whole collection.
func (c *Channel) PrivateIndex(ctx context.Context, view View, of PrivateIndexes, x *mango.Index) (PrivateEntries, error) {
	switch v := view.(type) {
	case *overlay:
		if v.hash == nil {
			return nil, nil // a block is being cut
		}
	case *drafting:
		return nil, nil // it may show blocks in part
	}
	all := &c.ledger.private
	p := all.use(privateIndexKey{c.name, of.Chaincode, of.Collection, of.MSPID})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := c.bring(ctx, p, view, of); errors.Is(err, errTooOld) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("indexes of collection %s of %s: %w", of.Collection, of.Chaincode, err)
	}
	if p.tooLarge = p.tooLarge || !all.count(p, p.size(), c.ledger.PrivateEntries); p.tooLarge {
		p.trees = nil
	}
	i := slices.IndexFunc(p.indexes, x.Equal)
	if p.trees == nil || i < 0 {
		return nil, nil
	}
	tree := p.trees[i]
	return func(start, end string, limit int) []KV {
		var entries []KV
		tree.Ascend(KV{Key: start}, func(e KV) bool {
			if len(entries) == limit || end != "" && e.Key >= end {
				return false
			}
			entries = append(entries, e)
			return true
		})
		return entries
	}, nil
}

// use returns an index, and notes that it is used.
func (all *privateIndexes) use(key privateIndexKey) *privateIndex {
	all.mu.Lock()
	defer all.mu.Unlock()
	p := all.kept[key]
	if p == nil {
		p = &privateIndex{}
		if all.kept == nil {
			all.kept = make(map[privateIndexKey]*privateIndex)
		}
		all.kept[key] = p
	}
	all.clock++
	p.used = all.clock
	return p
}

// count notes how many entries an index has, lets go of those used least lately until all are few enough, and reports whether it fits.
func (all *privateIndexes) count(p *privateIndex, entries, limit int) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.entries += entries - p.counted
	p.counted = entries
	for all.entries > limit {
		var oldest privateIndexKey
		for key, other := range all.kept {
			if other != p && other.counted > 0 && (all.kept[oldest] == nil || other.used < all.kept[oldest].used) {
				oldest = key
			}
		}
		other := all.kept[oldest]
		if other == nil {
			all.entries -= p.counted
			p.counted = 0
			return false
		}
		all.entries -= other.counted
		delete(all.kept, oldest)
	}
	return true
}

func (p *privateIndex) size() int {
	n := 0
	for _, tree := range p.trees {
		n += tree.Len()
	}
	return n
}

// bring adds to the indexes what a view's documents lack in them.
func (c *Channel) bring(ctx context.Context, p *privateIndex, view View, of PrivateIndexes) error {
	height := view.Savepoint()
	same := slices.EqualFunc(p.indexes, of.Indexes, (*mango.Index).Equal)
	switch {
	case same && p.tooLarge:
		return nil
	case same && p.trees != nil && height < p.height:
		return p.older(ctx, view, of)
	case !same || p.trees == nil || height > p.height+privateCatchUp || p.size() > (2*p.documents+1000)*len(p.indexes):
		return p.build(ctx, view, of, c.ledger.PrivateEntries)
	}
	for ; p.height < height; p.height++ {
		hashes, err := c.wroteTo(ctx, of, p.height)
		if err != nil {
			return err
		}
		if err := p.add(ctx, view, of, hashes); err != nil {
			return err
		}
		p.touched[p.height] = hashes
		delete(p.touched, p.height-privateTouched)
	}
	return nil
}

// errTooOld: a view is older than what is known of the blocks since then.
var errTooOld = errors.New("the view is older than the index")

// older adds the entries of documents that blocks behind an older view replaced.
func (p *privateIndex) older(ctx context.Context, view View, of PrivateIndexes) error {
	for n := view.Savepoint(); n < p.height; n++ {
		hashes, known := p.touched[n]
		if !known {
			return errTooOld
		}
		if err := p.add(ctx, view, of, hashes); err != nil {
			return err
		}
	}
	return nil
}

// build reads a view's whole collection, unless it has more entries than the limit.
func (p *privateIndex) build(ctx context.Context, view View, of PrivateIndexes, limit int) error {
	p.privateEntries = privateEntries{indexes: of.Indexes, height: view.Savepoint(), touched: make(map[uint64][]string)}
	trees := make([]*btree.BTreeG[KV], len(of.Indexes))
	for i := range trees {
		trees[i] = btree.NewBTreeG(func(a, b KV) bool { return a.Key < b.Key })
	}
	for start := ""; ; {
		rows, err := view.Range(ctx, PrivateNamespace(of.Chaincode, of.Collection), start, "", rangePage)
		if err != nil {
			return err
		}
		p.documents += len(rows)
		if p.tooLarge = p.documents*len(trees) > limit; p.tooLarge {
			return nil
		}
		if err := enter(trees, of, rows); err != nil {
			return err
		}
		if len(rows) < rangePage {
			p.trees = trees
			return nil
		}
		start = rows[len(rows)-1].Key + "\x00"
	}
}

// add enters the documents of some keys, given by their hashes, as a view has them.
func (p *privateIndex) add(ctx context.Context, view View, of PrivateIndexes, hashes []string) error {
	if len(hashes) == 0 {
		return nil
	}
	held, err := view.Get(ctx, privateKeysNamespace(of.Chaincode, of.Collection), hashes)
	if err != nil {
		return err
	}
	var keys []string
	for _, item := range held {
		if item != nil && len(item.Value) > 0 {
			keys = append(keys, string(item.Value[1:]))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	items, err := view.Get(ctx, PrivateNamespace(of.Chaincode, of.Collection), keys)
	if err != nil {
		return err
	}
	rows := make([]KV, 0, len(keys))
	for i, item := range items {
		if item != nil {
			rows = append(rows, KV{Key: keys[i], Item: item})
		}
	}
	return enter(p.trees, of, rows)
}

func enter(trees []*btree.BTreeG[KV], of PrivateIndexes, rows []KV) error {
	for _, row := range rows {
		value, err := of.Open(row.Key, row.Item.Value)
		if errors.Is(err, collection.ErrNoKey) {
			continue // written before the organisation was a member
		}
		if err != nil {
			return err
		}
		doc := mango.ParseDocument(row.Key, value)
		for i, x := range of.Indexes {
			if entry, ok := x.Entry(doc); ok {
				trees[i].Set(KV{Key: entry, Item: &Item{Value: []byte(strings.Clone(row.Key))}})
			}
		}
	}
	return nil
}

// wroteTo returns the hashes of the keys of a collection that a block wrote.
func (c *Channel) wroteTo(ctx context.Context, of PrivateIndexes, number uint64) ([]string, error) {
	block, err := c.Block(ctx, number)
	if err != nil {
		return nil, err
	}
	codes, err := wire.ValidationCodes(block)
	if err != nil || len(codes) != len(block.GetData().GetData()) {
		return nil, fmt.Errorf("block %d has no verdict for each transaction: %w", number, ErrDamaged)
	}
	var hashes []string
	for i, raw := range block.Data.Data {
		if codes[i] != peer.TxValidationCode_VALID {
			continue
		}
		tx, _ := wire.ParseEnvelope(raw)
		if tx == nil || tx.RWSet == nil {
			continue
		}
		for _, ns := range tx.RWSet.Namespaces {
			for _, part := range ns.Collections {
				if ns.Namespace != of.Chaincode || part.Name != of.Collection {
					continue
				}
				for _, w := range part.Hashed.GetHashedWrites() {
					hashes = append(hashes, string(w.KeyHash))
				}
			}
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes), nil
}
