package organization

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"peerless/shared/collection"
	"peerless/shared/docstore"
	"peerless/shared/secret"
)

// KindDataKey is the kind of the documents that hold organisations' data keys, by MSP id.
const KindDataKey = "datakey"

// dataKeySize is AES-256's, in bytes.
const dataKeySize = 32

// dataKey is the document: what seals an organisation's private values.
type dataKey struct {
	Key []byte `json:"key"` // sealed
}

var _ collection.Keys = (*Registry)(nil)

// DataKey implements collection.Keys. The key is made when it is first asked for. An organisation has one if its endorser is
// here; the values of one that endorses by itself are its own to keep.
func (r *Registry) DataKey(mspID string) (cipher.AEAD, error) {
	switch endorser, err := r.Endorser(mspID); {
	case errors.Is(err, ErrNotFound), err == nil && !endorser.Local():
		return nil, fmt.Errorf("organisation %q: %w", mspID, collection.ErrNoKey)
	case err != nil:
		return nil, err
	}
	key, err := r.dataKeys.get(mspID, mspID, func() (cipher.AEAD, error) { return r.loadDataKey(mspID) })
	if err != nil {
		return nil, fmt.Errorf("data key of organisation %s: %w", mspID, err)
	}
	return key, nil
}

func (r *Registry) loadDataKey(mspID string) (cipher.AEAD, error) {
	ctx, cancel := r.context()
	defer cancel()
	doc, err := r.Store.Get(ctx, KindDataKey, mspID)
	if errors.Is(err, docstore.ErrNotFound) {
		doc, err = r.makeDataKey(ctx, mspID)
	}
	if err != nil {
		return nil, storeError(err)
	}
	return r.openDataKey(ctx, doc)
}

// openDataKey opens the key in an organisation's document.
func (r *Registry) openDataKey(ctx context.Context, doc docstore.Document) (cipher.AEAD, error) {
	var kept dataKey
	if err := doc.Decode(&kept); err != nil {
		return nil, storeError(err)
	}
	name := purpose(KindDataKey, doc.ID, partKey)
	raw, err := r.unseal(ctx, kept.Key, name)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	aead, err := secret.NewAEAD(raw)
	if err != nil {
		return nil, damaged(name, err)
	}
	return aead, nil
}

// makeDataKey makes a key. If another process was faster, its document is returned.
func (r *Registry) makeDataKey(ctx context.Context, mspID string) (docstore.Document, error) {
	raw := make([]byte, dataKeySize)
	rand.Read(raw) // never fails
	defer clear(raw)
	sealed, err := r.Sealer.Seal(ctx, raw, purpose(KindDataKey, mspID, partKey))
	if err != nil {
		return docstore.Document{}, err
	}
	return docstore.Create(ctx, r.Store, KindDataKey, mspID, dataKey{sealed})
}

// DataKeys returns the data keys that are in documents, for who looks and makes none: an audit. An organisation without one is
// collection.ErrNoKey.
func DataKeys(ctx context.Context, documents docstore.Store, sealer secret.Sealer) collection.Keys {
	return &keptKeys{ctx, &Registry{Config: Config{Store: documents, Sealer: sealer}}, newCache[cipher.AEAD]()}
}

type keptKeys struct {
	ctx      context.Context // of the look
	registry *Registry
	opened   *cache[cipher.AEAD]
}

// DataKey implements collection.Keys.
func (k *keptKeys) DataKey(mspID string) (cipher.AEAD, error) {
	key, err := k.opened.get(mspID, mspID, func() (cipher.AEAD, error) {
		doc, err := k.registry.Store.Get(k.ctx, KindDataKey, mspID)
		if errors.Is(err, docstore.ErrNotFound) {
			return nil, collection.ErrNoKey
		}
		if err != nil {
			return nil, storeError(err)
		}
		return k.registry.openDataKey(k.ctx, doc)
	})
	if err != nil {
		return nil, fmt.Errorf("data key of organisation %s: %w", mspID, err)
	}
	return key, nil
}
