package simulate

import (
	"context"
	"fmt"

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
