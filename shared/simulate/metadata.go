package simulate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
)

// GetStateMetadata returns the committed metadata of a key, nil if there is none. It counts as a read of the key.
func (t *Tx) GetStateMetadata(ctx context.Context, ns, key string) (map[string][]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	item, err := t.read(ctx, ns, key)
	if err != nil || item == nil {
		return nil, err
	}
	entries, err := ParseMetadata(item.Metadata)
	if err != nil {
		return nil, t.failed(fmt.Errorf("metadata of %s/%s: %w", ns, key, err))
	}
	return entries, nil
}

// ParseMetadata takes a key's stored metadata apart. Nil has no entries.
func ParseMetadata(raw []byte) (map[string][]byte, error) {
	if raw == nil {
		return nil, nil
	}
	message := &kvrwset.KVMetadataWrite{}
	if err := proto.Unmarshal(raw, message); err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrDamaged, err)
	}
	entries := make(map[string][]byte, len(message.Entries))
	for _, entry := range message.Entries {
		entries[entry.Name] = entry.Value
	}
	return entries, nil
}

// SetStateMetadata replaces a key's metadata. No entries delete it.
func (t *Tx) SetStateMetadata(ns, key string, entries map[string][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mayWrite(); err != nil {
		return err
	}
	space := t.namespace(ns)
	if space.metadata == nil {
		space.metadata = map[string]map[string][]byte{}
	}
	space.metadata[key] = entries
	return nil
}

// A KeyMetadata is the committed metadata of one key.
type KeyMetadata struct {
	Namespace, Key string
	Entries        map[string][]byte // never empty
}

// WrittenMetadata returns the committed metadata of the keys that the transaction writes, sorted; keys without metadata
// are left out. It says whose endorsement the keys themselves ask for. Asking is not recorded, and possible after Results.
func (t *Tx) WrittenMetadata(ctx context.Context) ([]KeyMetadata, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []KeyMetadata
	for _, name := range slices.Sorted(maps.Keys(t.namespaces)) {
		space := t.namespaces[name]
		keys := slices.AppendSeq(slices.Collect(maps.Keys(space.writes)), maps.Keys(space.metadata))
		slices.Sort(keys)
		keys = slices.Compact(keys)
		items := make(map[string]*ledger.Item, len(keys))
		if unread := space.unread(keys); len(unread) > 0 {
			fetched, err := t.view.Get(ctx, name, unread)
			if err != nil {
				return nil, fmt.Errorf("read metadata of %s: %w", name, err)
			}
			for i, key := range unread {
				items[key] = fetched[i]
			}
		}
		for _, key := range keys {
			item, ok := space.reads[key]
			if !ok {
				item = items[key]
			}
			if item == nil {
				continue
			}
			entries, err := ParseMetadata(item.Metadata)
			if err != nil {
				return nil, fmt.Errorf("metadata of %s/%s: %w", name, key, err)
			}
			if len(entries) > 0 {
				found = append(found, KeyMetadata{Namespace: name, Key: key, Entries: entries})
			}
		}
	}
	return found, nil
}
