package simulate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/mango"
	"peerless/shared/wire"
)

// Errors of a transaction that mixes queries of private data and writes, in Fabric's words, misspelling included.
var (
	// ErrQueried: the transaction has queried private data and may not write any more.
	ErrQueried = errors.New("unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed")
	// ErrNoQuery: the transaction has written and may not query private data any more.
	ErrNoQuery = errors.New("unsuppored transaction. Queries on pvt data is supported only in a read-only transaction")
)

// ErrScan: a rich query of private data has looked at MaxRows values and there are more, and the entries of an index are not kept.
var ErrScan = fmt.Errorf("a rich query of private data looks at each value of the collection, at most at %d: read a range of its keys, or give the package an index that serves it", MaxRows)

// A Collection is one of a chaincode's, as whoever simulates sees it.
type Collection struct {
	Name string
	// Open makes a stored value readable. Nil: the values are not here, but their hashes are.
	Open func(key string, sealed []byte) ([]byte, error)
	// Indexes for rich queries, of which there are no entries in the state.
	Indexes []*mango.Index
	// Entries returns the entries of one of them that are kept elsewhere, nil if they are not: then all values are looked at. Nil: none is kept.
	Entries func(ctx context.Context, view ledger.View, x *mango.Index) (ledger.PrivateEntries, error)
}

// A collection is what a transaction did to the private keys of one collection.
type collection struct {
	reads    map[string]*ledger.Item // of the hashed keys, by key
	writes   map[string]privateWrite
	metadata map[string]map[string][]byte
	read     bool // values were read, not only hashes
}

type privateWrite struct {
	value []byte // empty is a delete
	purge bool
}

// collection needs mu.
func (t *Tx) collection(ns, name string) *collection {
	space := t.namespace(ns)
	if space.collections == nil {
		space.collections = map[string]*collection{}
	}
	c := space.collections[name]
	if c == nil {
		c = &collection{reads: map[string]*ledger.Item{}, writes: map[string]privateWrite{}, metadata: map[string]map[string][]byte{}}
		space.collections[name] = c
	}
	return c
}

// hashes returns the hashed items of keys: nil where there is none. It needs mu.
func (t *Tx) hashes(ctx context.Context, ns, name string, keys []string) ([]*ledger.Item, error) {
	if t.done {
		return nil, ErrDone
	}
	hashed := make([]string, len(keys))
	for i, key := range keys {
		hash := sha256.Sum256([]byte(key))
		hashed[i] = string(hash[:])
	}
	items, err := t.view.Get(ctx, ledger.HashedNamespace(ns, name), hashed)
	if err != nil {
		return nil, t.failed(fmt.Errorf("read hashes of collection %s of %s: %w", name, ns, err))
	}
	return items, nil
}

// GetPrivateData returns the committed value of a private key, nil if there is none. It fails where the value is not here and
// the hash is: Fabric's getPrivateData.
func (t *Tx) GetPrivateData(ctx context.Context, ns string, c Collection, key string) ([]byte, error) {
	values, err := t.GetMultiplePrivateData(ctx, ns, c, []string{key})
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// GetMultiplePrivateData returns the committed values of private keys, in their order; nil where there is none.
func (t *Tx) GetMultiplePrivateData(ctx context.Context, ns string, c Collection, keys []string) ([][]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hashes, err := t.hashes(ctx, ns, c.Name, keys)
	if err != nil {
		return nil, err
	}
	items := make([]*ledger.Item, len(keys))
	if c.Open != nil {
		if items, err = t.view.Get(ctx, ledger.PrivateNamespace(ns, c.Name), keys); err != nil {
			return nil, t.failed(fmt.Errorf("read collection %s of %s: %w", c.Name, ns, err))
		}
	}
	did := t.collection(ns, c.Name)
	did.read = true
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if !sameVersion(hashes[i], items[i]) {
			if c.Open != nil && !t.view.Fixed() {
				// A commit may have run between the two: then this read is found to be old, and the simulation repeated.
				did.reads[key] = hashes[i]
			}
			return nil, fmt.Errorf("private data matching public hash version is not available. Public hash version = %s, Private data version = %s", height(hashes[i]), height(items[i]))
		}
		did.reads[key] = hashes[i]
		if items[i] == nil {
			continue
		}
		if values[i], err = open(c, key, items[i], hashes[i]); err != nil {
			return nil, t.failed(fmt.Errorf("read collection %s of %s: %w", c.Name, ns, err))
		}
	}
	return values, nil
}

// open makes a value readable and compares it with its hash, which the channel vouches for.
func open(c Collection, key string, item, hash *ledger.Item) ([]byte, error) {
	value, err := c.Open(key, item.Value)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(value); !bytes.Equal(sum[:], hash.Value) {
		return nil, fmt.Errorf("a private value is not what its hash says: %w", ledger.ErrDamaged)
	}
	return value, nil
}

func sameVersion(a, b *ledger.Item) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Version == b.Version
}

// height writes an item's version as Fabric does.
func height(item *ledger.Item) string {
	if item == nil {
		return "<nil>"
	}
	return fmt.Sprintf("{BlockNum: %d, TxNum: %d}", item.Version.Block, item.Version.Tx)
}

// GetPrivateDataHash returns the SHA-256 of a private key's committed value, nil if there is none. It needs no membership.
func (t *Tx) GetPrivateDataHash(ctx context.Context, ns, name, key string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	item, err := t.readHash(ctx, ns, name, key)
	if err != nil || item == nil {
		return nil, err
	}
	return item.Value, nil
}

// readHash needs mu.
func (t *Tx) readHash(ctx context.Context, ns, name, key string) (*ledger.Item, error) {
	hashes, err := t.hashes(ctx, ns, name, []string{key})
	if err != nil {
		return nil, err
	}
	t.collection(ns, name).reads[key] = hashes[0]
	return hashes[0], nil
}

// GetPrivateMetadata returns the committed metadata of a private key, nil if there is none. It counts as a read of its hash.
func (t *Tx) GetPrivateMetadata(ctx context.Context, ns, name, key string) (map[string][]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	item, err := t.readHash(ctx, ns, name, key)
	if err != nil || item == nil {
		return nil, err
	}
	entries, err := ParseMetadata(item.Metadata)
	if err != nil {
		return nil, t.failed(fmt.Errorf("metadata of a key of collection %s of %s: %w", name, ns, err))
	}
	return entries, nil
}

// PutPrivateData writes a private key. The last write of a key counts. An empty value deletes it.
func (t *Tx) PutPrivateData(ns, name, key string, value []byte) error {
	return t.writePrivate(ns, name, key, privateWrite{value: value})
}

// DelPrivateData deletes a private key, which need not exist.
func (t *Tx) DelPrivateData(ns, name, key string) error {
	return t.writePrivate(ns, name, key, privateWrite{})
}

// PurgePrivateData deletes a private key and what is kept of it from earlier.
func (t *Tx) PurgePrivateData(ns, name, key string) error {
	return t.writePrivate(ns, name, key, privateWrite{purge: true})
}

func (t *Tx) writePrivate(ns, name, key string, write privateWrite) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mayWrite(); err != nil {
		return err
	}
	t.collection(ns, name).writes[key] = write
	return nil
}

// SetPrivateMetadata replaces a private key's metadata. No entries delete it.
func (t *Tx) SetPrivateMetadata(ns, name, key string, entries map[string][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mayWrite(); err != nil {
		return err
	}
	t.collection(ns, name).metadata[key] = entries
	return nil
}

// mayQueryPrivate needs mu.
func (t *Tx) mayQueryPrivate() error {
	if t.done {
		return ErrDone
	}
	if t.wrote {
		return fmt.Errorf("txid [%s]: %w", t.txID, ErrNoQuery)
	}
	t.queried = true
	return nil
}

// QueryPrivate begins a query of private data that the caller makes: from here on the transaction may not write.
func (t *Tx) QueryPrivate() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mayQueryPrivate()
}

// PrivateRange opens a query for the private keys with start ≤ key < end; the empty end is open. As in Fabric it leaves nothing
// in the read-write set, which is why such a transaction may not write; Queries tells what it saw.
func (t *Tx) PrivateRange(ctx context.Context, ns string, c Collection, start, end string) (*Iterator, error) {
	if err := t.QueryPrivate(); err != nil {
		return nil, err
	}
	it := &Iterator{ns: ledger.PrivateNamespace(ns, c.Name), start: start, end: end, limit: MaxRows, private: &c}
	it.last = c.Open == nil
	t.mu.Lock()
	t.collection(ns, c.Name).read = true
	t.mu.Unlock()
	return t.open(ctx, it)
}

// PrivateQuery opens a rich query of private data, under the terms of PrivateRange. Where the entries of an index are not kept it looks
// at every value of the collection until it has enough, and no further than at MaxRows: ErrScan.
func (t *Tx) PrivateQuery(ctx context.Context, ns string, c Collection, query string) (*Documents, error) {
	if err := t.QueryPrivate(); err != nil {
		return nil, err
	}
	q, err := mango.ParseQuery([]byte(query))
	if err != nil {
		return nil, err
	}
	d := &Documents{ns: ledger.PrivateNamespace(ns, c.Name), query: q, limit: MaxRows, private: &c}
	if q.Limit >= 0 && q.Limit <= MaxRows {
		d.limit, d.paged = q.Limit, true
	}
	t.mu.Lock()
	t.collection(ns, c.Name).read = true
	t.mu.Unlock()
	return t.find(ctx, d)
}

// row is a row with its value opened.
func (c *Collection) row(row ledger.KV) (ledger.KV, error) {
	value, err := c.Open(row.Key, row.Item.Value)
	if err != nil {
		return row, err
	}
	return ledger.KV{Key: row.Key, Item: &ledger.Item{Value: value, Version: row.Item.Version}}, nil
}

// see notes a row that a query of private data returned, for Queries. It needs mu.
func (t *Tx) see(ns string, row ledger.KV) {
	if t.seen == nil {
		t.seen = map[string][]*kvrwset.KVRead{}
	}
	t.seen[ns] = append(t.seen[ns], read(row.Key, row.Item))
}

// results returns the collection's part of the read-write set: the hashed one, and the private one, which is nil if nothing was
// written. Both are in the order of the keys.
func (c *collection) results(name string) (*wire.CollectionSet, []byte, error) {
	hashed, private := &kvrwset.HashedRWSet{}, &kvrwset.KVRWSet{}
	for _, key := range slices.Sorted(maps.Keys(c.reads)) {
		hash := sha256.Sum256([]byte(key))
		hashed.HashedReads = append(hashed.HashedReads, &kvrwset.KVReadHash{KeyHash: hash[:], Version: read(key, c.reads[key]).Version})
	}
	for _, key := range slices.Sorted(maps.Keys(c.writes)) {
		write := c.writes[key]
		hash := sha256.Sum256([]byte(key))
		h := &kvrwset.KVWriteHash{KeyHash: hash[:], IsDelete: len(write.value) == 0, IsPurge: write.purge}
		if !h.IsDelete {
			sum := sha256.Sum256(write.value)
			h.ValueHash = sum[:]
		}
		hashed.HashedWrites = append(hashed.HashedWrites, h)
		private.Writes = append(private.Writes, &kvrwset.KVWrite{Key: key, IsDelete: h.IsDelete, Value: write.value})
	}
	for _, key := range slices.Sorted(maps.Keys(c.metadata)) {
		hash := sha256.Sum256([]byte(key))
		h := &kvrwset.KVMetadataWriteHash{KeyHash: hash[:]}
		for _, entry := range slices.Sorted(maps.Keys(c.metadata[key])) {
			h.Entries = append(h.Entries, &kvrwset.KVMetadataEntry{Name: entry, Value: c.metadata[key][entry]})
		}
		hashed.MetadataWrites = append(hashed.MetadataWrites, h)
		private.MetadataWrites = append(private.MetadataWrites, &kvrwset.KVMetadataWrite{Key: key})
	}
	set := &wire.CollectionSet{Name: name, Hashed: hashed}
	if len(private.Writes) == 0 && len(private.MetadataWrites) == 0 {
		return set, nil, nil
	}
	raw, err := proto.Marshal(private)
	if err != nil {
		return nil, nil, fmt.Errorf("collection %s: %w", name, err)
	}
	sum := sha256.Sum256(raw)
	set.PrivateHash = sum[:]
	return set, raw, nil
}

// empty reports whether the collection leaves nothing in the read-write set.
func (c *collection) empty() bool { return len(c.reads)+len(c.writes)+len(c.metadata) == 0 }

// A CollectionUse is a collection that a transaction touched.
type CollectionUse struct {
	Namespace, Collection string
	Read                  bool // values, not only hashes: who endorses this must hold them
}

// Collections returns the collections that were touched, sorted.
func (t *Tx) Collections() []CollectionUse {
	t.mu.Lock()
	defer t.mu.Unlock()
	var used []CollectionUse
	for _, ns := range slices.Sorted(maps.Keys(t.namespaces)) {
		for _, name := range slices.Sorted(maps.Keys(t.namespaces[ns].collections)) {
			used = append(used, CollectionUse{ns, name, t.namespaces[ns].collections[name].read})
		}
	}
	return used
}
