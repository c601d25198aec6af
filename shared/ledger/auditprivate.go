package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"peerless/shared/collection"
	"peerless/shared/wire"
)

// A PrivateReport says what an audit has seen of a channel's private values. A value that is here is what its hash on the chain
// says, or the audit fails; that one is not here is no damage, since no block brings it.
type PrivateReport struct {
	Hashes uint64 `json:"hashes"` // private keys of the state; each has a value here, or is Absent
	Opened uint64 `json:"opened"` // values that were opened and are what their hashes say
	Sealed uint64 `json:"sealed"` // values that were not opened: their organisations' keys are not here
	Absent uint64 `json:"absent"` // hashes whose values are not here: they never came, or were lost

	// Private keys that the chain says are gone, by what the last block about each did to it.
	Deleted uint64 `json:"deleted"`
	Purged  uint64 `json:"purged"`
	Expired uint64 `json:"expired"`
}

// A fate is what the last block that was about a key did to it. Of public keys it is always isWritten.
type fate byte

const (
	isWritten fate = iota
	isDeleted
	isPurged
	isExpired
)

// note remembers every key that a block writes, and what became of the private ones. txs are its valid transactions.
func (r *replayer) note(batch *Batch, txs []*wire.Transaction) {
	gone := make(map[stateKey]fate)
	for _, tx := range txs {
		for i := range tx.RWSet.Namespaces {
			ns := &tx.RWSet.Namespaces[i]
			for k := range ns.Collections {
				hashed := HashedNamespace(ns.Namespace, ns.Collections[k].Name)
				for _, w := range ns.Collections[k].Hashed.GetHashedWrites() {
					switch {
					case w.IsPurge:
						gone[stateKey{hashed, string(w.KeyHash)}] = isPurged
					case w.IsDelete || len(w.ValueHash) == 0:
						gone[stateKey{hashed, string(w.KeyHash)}] = isDeleted
					}
				}
			}
		}
	}
	for _, w := range batch.Writes {
		k, what := stateKey{w.Namespace, w.Key}, isWritten
		if w.Item == nil && strings.Contains(w.Namespace, hashedMark) {
			if what = gone[k]; what == isWritten {
				what = isExpired // no transaction took it away
			}
		}
		r.keys[k] = what
	}
}

// comparePrivate compares the values of every collection with the hashes that the chain gives, which are the state's.
func (r *replayer) comparePrivate(ctx context.Context, namespaces map[string]bool, got View) error {
	for namespace := range namespaces {
		name, collectionName, hashed := strings.Cut(namespace, hashedMark)
		if !hashed {
			continue
		}
		if r.report.Private == nil {
			r.report.Private = &PrivateReport{}
		}
		if err := r.compareCollection(ctx, name, collectionName, got); err != nil {
			return err
		}
	}
	if r.report.Private == nil {
		return nil
	}
	for _, what := range r.keys {
		switch what {
		case isDeleted:
			r.report.Private.Deleted++
		case isPurged:
			r.report.Private.Purged++
		case isExpired:
			r.report.Private.Expired++
		}
	}
	return nil
}

func (r *replayer) compareCollection(ctx context.Context, name, collectionName string, got View) error {
	held := 0
	for start := ""; ; {
		hashes, err := got.Range(ctx, HashedNamespace(name, collectionName), start, "", rangePage)
		if err != nil {
			return err
		}
		n, err := r.compareValues(ctx, name, collectionName, hashes, got)
		if err != nil {
			return err
		}
		held += n
		if len(hashes) < rangePage {
			break
		}
		start = hashes[len(hashes)-1].Key + "\x00"
	}
	// As many as there should be, and each of these was found: there are no others.
	for _, namespace := range []string{PrivateNamespace(name, collectionName), privateKeysNamespace(name, collectionName)} {
		rows, err := count(ctx, got, namespace)
		if err != nil {
			return err
		}
		if rows != held {
			return broken("collection %s of %s: %d of its values are here and %d belong to a hash on the chain", collectionName, name, rows, held)
		}
	}
	return nil
}

// compareValues compares the values of some hashed keys, and returns how many are here.
func (r *replayer) compareValues(ctx context.Context, name, collectionName string, hashes []KV, got View) (held int, err error) {
	byHash := make([]string, len(hashes))
	for i, h := range hashes {
		byHash[i] = h.Key
	}
	keys, err := got.Get(ctx, privateKeysNamespace(name, collectionName), byHash)
	if err != nil {
		return 0, err
	}
	clear := make([]string, len(hashes))
	for i, key := range keys {
		if key != nil && len(key.Value) > 0 {
			clear[i] = string(key.Value[1:])
		}
	}
	values, err := got.Get(ctx, PrivateNamespace(name, collectionName), clear)
	if err != nil {
		return 0, err
	}
	for i, h := range hashes {
		r.report.Private.Hashes++
		if keys[i] == nil {
			r.report.Private.Absent++
			continue
		}
		held++
		// The key is private too: it is named by its hash.
		wrong := func(what string) error {
			return broken("the key with hash %s of collection %s of %s: %s", hex.EncodeToString([]byte(h.Key)), collectionName, name, what)
		}
		switch sum := sha256.Sum256([]byte(clear[i])); {
		case string(sum[:]) != h.Key:
			return 0, wrong("another key is kept for it")
		case values[i] == nil:
			return 0, wrong("the key is here and its value is not")
		case values[i].Version != h.Item.Version || keys[i].Version != h.Item.Version:
			return 0, wrong("the value is not that of the transaction that wrote the hash")
		}
		value, err := r.openValue(PrivatePlace(r.Channel, name, collectionName, clear[i]), values[i].Value)
		switch {
		case errors.Is(err, collection.ErrNoKey):
			r.report.Private.Sealed++
			continue
		case errors.Is(err, collection.ErrSealed):
			return 0, wrong(err.Error())
		case err != nil:
			return 0, err
		}
		if sum := sha256.Sum256(value); string(sum[:]) != string(h.Item.Value) {
			return 0, wrong("the value is not what its hash says")
		}
		r.report.Private.Opened++
	}
	return held, nil
}

func (r *replayer) openValue(place string, sealed []byte) ([]byte, error) {
	if r.Keys == nil {
		return nil, collection.ErrNoKey
	}
	return collection.Open(r.Keys, "", place, sealed)
}

// count returns how many rows a namespace has.
func count(ctx context.Context, view View, namespace string) (rows int, err error) {
	for start := ""; ; {
		page, err := view.Range(ctx, namespace, start, "", rangePage)
		if err != nil {
			return 0, err
		}
		if rows += len(page); len(page) < rangePage {
			return rows, nil
		}
		start = page[len(page)-1].Key + "\x00"
	}
}
