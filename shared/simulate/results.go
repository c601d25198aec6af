package simulate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"

	"peerless/shared/wire"
)

// Results ends the simulation and returns its read-write set, in Fabric's order: namespaces and keys sorted, range
// queries as they were opened, those of executions elsewhere first, one that says the same as an earlier one left out. It fails if the view has, and with
// ErrDone at a second call.
func (t *Tx) Results() (*wire.RWSet, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil, ErrDone
	}
	t.done = true
	if t.err != nil {
		return nil, t.err
	}
	set := &wire.RWSet{Namespaces: make([]wire.NamespaceSet, 0, len(t.namespaces))}
	for _, name := range slices.Sorted(maps.Keys(t.namespaces)) {
		kv, err := t.namespaces[name].results()
		if err != nil {
			return nil, fmt.Errorf("results of %s: %w", name, err)
		}
		ns := wire.NamespaceSet{Namespace: name, KV: kv}
		if ns.Collections, err = t.collectionResults(name); err != nil {
			return nil, fmt.Errorf("results of %s: %w", name, err)
		}
		if ns.Collections == nil && t.namespaces[name].only() {
			continue
		}
		set.Namespaces = append(set.Namespaces, ns)
	}
	return set, nil
}

// only reports whether all that was done to the namespace were queries of private data, which leave nothing.
func (ns *namespace) only() bool {
	return ns.collections != nil && ns.reads == nil && ns.writes == nil && ns.metadata == nil && ns.ranges == nil &&
		ns.versions == nil && ns.queries == nil
}

// collectionResults returns what the transaction did to a namespace's collections, and keeps the private part. It needs mu.
func (t *Tx) collectionResults(ns string) ([]wire.CollectionSet, error) {
	var sets []wire.CollectionSet
	collections := t.namespaces[ns].collections
	for _, name := range slices.Sorted(maps.Keys(collections)) {
		if collections[name].empty() {
			continue
		}
		set, private, err := collections[name].results(name)
		if err != nil {
			return nil, err
		}
		sets = append(sets, *set)
		if private != nil {
			t.privateSet = append(t.privateSet, wire.PrivateCollection{Namespace: ns, Collection: name, Raw: private})
		}
	}
	return sets, nil
}

// Private returns what was written to collections, once the results have been taken.
func (t *Tx) Private() wire.PrivateSet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.privateSet
}

// Queries returns what the queries of private data have seen, in the form of a read-write set, nil if there were none: an
// endorser that reads a state which moves compares it again. It is recorded nowhere.
func (t *Tx) Queries() (*wire.RWSet, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.private == nil && t.seen == nil {
		return nil, nil
	}
	set := &wire.RWSet{}
	for ns, reads := range t.seen {
		set.Namespaces = append(set.Namespaces, wire.NamespaceSet{Namespace: ns, KV: &kvrwset.KVRWSet{Reads: reads}})
	}
	for _, it := range t.private {
		info, err := it.info()
		if err != nil {
			return nil, err
		}
		set.Namespaces = append(set.Namespaces, wire.NamespaceSet{Namespace: it.ns, KV: &kvrwset.KVRWSet{RangeQueriesInfo: []*kvrwset.RangeQueryInfo{info}}})
	}
	return set, nil
}

func (ns *namespace) results() (*kvrwset.KVRWSet, error) {
	kv := &kvrwset.KVRWSet{}
	reads, err := ns.allReads()
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(reads)) {
		kv.Reads = append(kv.Reads, reads[key])
	}
	for _, key := range slices.Sorted(maps.Keys(ns.writes)) {
		value := ns.writes[key]
		kv.Writes = append(kv.Writes, &kvrwset.KVWrite{Key: key, IsDelete: len(value) == 0, Value: value})
	}
	for _, key := range slices.Sorted(maps.Keys(ns.metadata)) {
		write := &kvrwset.KVMetadataWrite{Key: key}
		for _, name := range slices.Sorted(maps.Keys(ns.metadata[key])) {
			write.Entries = append(write.Entries, &kvrwset.KVMetadataEntry{Name: name, Value: ns.metadata[key][name]})
		}
		kv.MetadataWrites = append(kv.MetadataWrites, write)
	}
	type query struct {
		start, end string
		exhausted  bool
	}
	seen := map[query]bool{}
	infos := slices.Clip(ns.queries)
	for _, it := range ns.ranges {
		info, err := it.info()
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	for _, info := range infos {
		if q := (query{info.StartKey, info.EndKey, info.ItrExhausted}); !seen[q] {
			seen[q] = true
			kv.RangeQueriesInfo = append(kv.RangeQueriesInfo, info)
		}
	}
	return kv, nil
}
