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
		set.Namespaces = append(set.Namespaces, wire.NamespaceSet{Namespace: name, KV: kv})
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
