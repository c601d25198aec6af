package simulate

import (
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/simulate/rangequery"
)

var (
	// ErrMalformed: a read-write set is not one that a simulation leaves.
	ErrMalformed = errors.New("malformed read-write set")
	// ErrStale: the state changed between two reads of one transaction. Simulate it again.
	ErrStale = errors.New("the state changed while the transaction was simulated")
)

// An Access says what decides between writes and queries, in all of a transaction's namespaces together.
type Access struct {
	Wrote   bool // a write was tried
	Paged   bool // a paginated query was made
	Queried bool // private data was queried
}

// Access returns what the transaction has done so far.
func (t *Tx) Access() Access {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Access{t.wrote, t.paged, t.queried}
}

// SetAccess adds what the transaction has done elsewhere.
func (t *Tx) SetAccess(a Access) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(a)
}

// add needs mu.
func (t *Tx) add(a Access) {
	t.wrote, t.paged, t.queried = t.wrote || a.Wrote, t.paged || a.Paged, t.queried || a.Queried
}

// View returns the view that the transaction reads, which is its caller's to close.
func (t *Tx) View() ledger.View { return t.view }

// Seen returns what the transaction has read of a key, nil if it has not, or there was nothing. Asking is not recorded.
func (t *Tx) Seen(ns, key string) *ledger.Item {
	t.mu.Lock()
	defer t.mu.Unlock()
	if space := t.namespaces[ns]; space != nil {
		return space.reads[key]
	}
	return nil
}

// Merge adds what an execution of the transaction somewhere else did to a namespace: reads and range queries by version, and
// writes. set is checked for its form: ErrMalformed; what it says was read is checked when the transaction is validated. ErrStale
// if it has another version of a key than the transaction has seen. A write after a paginated query is ErrReadOnly, one after a query
// of private data ErrQueried.
func (t *Tx) Merge(ns string, set *kvrwset.KVRWSet, a Access) error {
	if err := checkSet(set); err != nil {
		return fmt.Errorf("read-write set of %s: %w", ns, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(a)
	writes := len(set.Writes)+len(set.MetadataWrites) > 0
	switch {
	case t.done:
		return ErrDone
	case t.queried && writes:
		return fmt.Errorf("txid [%s]: %w", t.txID, ErrQueried)
	case t.paged && writes:
		return fmt.Errorf("txid [%s]: %w", t.txID, ErrReadOnly)
	}
	space := t.namespace(ns)
	for _, r := range set.Reads {
		if space.versions == nil {
			space.versions = make(map[string]*kvrwset.Version, len(set.Reads))
		}
		if known, ok := space.versions[r.Key]; ok && !proto.Equal(known, r.Version) {
			return t.failed(fmt.Errorf("key %q of %s: %w", r.Key, ns, ErrStale))
		}
		space.versions[r.Key] = r.Version
	}
	for _, w := range set.Writes {
		if space.writes == nil {
			space.writes = make(map[string][]byte, len(set.Writes))
		}
		space.writes[w.Key] = w.Value
	}
	for _, m := range set.MetadataWrites {
		entries := make(map[string][]byte, len(m.Entries))
		for _, entry := range m.Entries {
			entries[entry.Name] = entry.Value
		}
		if space.metadata == nil {
			space.metadata = make(map[string]map[string][]byte)
		}
		space.metadata[m.Key] = entries
	}
	space.queries = append(space.queries, set.RangeQueriesInfo...)
	return nil
}

// allReads returns the reads, by key.
func (ns *namespace) allReads() (map[string]*kvrwset.KVRead, error) {
	all := make(map[string]*kvrwset.KVRead, len(ns.reads)+len(ns.versions))
	for key, item := range ns.reads {
		all[key] = read(key, item)
	}
	for key, version := range ns.versions {
		if here, ok := all[key]; ok && !proto.Equal(here.Version, version) {
			return nil, fmt.Errorf("key %q: %w", key, ErrStale)
		}
		all[key] = &kvrwset.KVRead{Key: key, Version: version}
	}
	return all, nil
}

// checkSet returns ErrMalformed unless a set has the form that Results gives one.
func checkSet(set *kvrwset.KVRWSet) error {
	if err := ascending("read", set.Reads); err != nil {
		return err
	}
	if err := ascending("write", set.Writes); err != nil {
		return err
	}
	if err := ascending("metadata of", set.MetadataWrites); err != nil {
		return err
	}
	for _, w := range set.Writes {
		if w.IsDelete != (len(w.Value) == 0) {
			return fmt.Errorf("%w: key %q is written and deleted", ErrMalformed, w.Key)
		}
	}
	for _, m := range set.MetadataWrites {
		for i, entry := range m.Entries {
			if i > 0 && entry.GetName() <= m.Entries[i-1].GetName() {
				return fmt.Errorf("%w: metadata of key %q is out of order", ErrMalformed, m.Key)
			}
		}
	}
	for _, q := range set.RangeQueriesInfo {
		if err := checkQuery(q); err != nil {
			return fmt.Errorf("%w: range query from %q to %q: %w", ErrMalformed, q.GetStartKey(), q.GetEndKey(), err)
		}
	}
	return nil
}

// ascending checks that each key stands once, in order.
func ascending[T interface{ GetKey() string }](what string, list []T) error {
	for i := range list {
		if i > 0 && list[i].GetKey() <= list[i-1].GetKey() {
			return fmt.Errorf("%w: %s key %q is out of order", ErrMalformed, what, list[i].GetKey())
		}
	}
	return nil
}

func checkQuery(q *kvrwset.RangeQueryInfo) error {
	switch reads := q.GetReadsInfo().(type) {
	case nil:
	case *kvrwset.RangeQueryInfo_RawReads:
		rows := reads.RawReads.GetKvReads()
		if len(rows) > rangequery.MaxDegree {
			return fmt.Errorf("%d rows are not summarised", len(rows))
		}
		if err := ascending("row", rows); err != nil {
			return err
		}
		for _, row := range rows {
			if row.GetVersion() == nil || row.GetKey() < q.StartKey || q.EndKey != "" && row.GetKey() > q.EndKey {
				return fmt.Errorf("row %q is none of it", row.GetKey())
			}
		}
	case *kvrwset.RangeQueryInfo_ReadsMerkleHashes:
		summary := reads.ReadsMerkleHashes
		if summary.GetMaxDegree() != rangequery.MaxDegree || summary.GetMaxLevel() == 0 || summary.GetMaxLevel() > 64 || len(summary.GetMaxLevelHashes()) > rangequery.MaxDegree {
			return errors.New("its summary is none")
		}
		for _, hash := range summary.GetMaxLevelHashes() {
			if len(hash) != 32 {
				return errors.New("its summary is none")
			}
		}
	}
	return nil
}
