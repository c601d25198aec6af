package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/wire"
)

// A collection has three namespaces. The hashes follow from the blocks, as in Fabric's privacyenabledstate; the values, and the
// keys that the hashes are of, do not. No chaincode's name has a '$'.
const (
	hashedMark      = "$$h" // by the hash of the key: the hash of the value
	privateMark     = "$$p" // by the key: the sealed value, with the version of the hashed key
	privateKeysMark = "$$k" // by the hash of the key: the key, after one byte
)

// HashedNamespace is where the hashes of a collection's private data stand, by the SHA-256 of the key.
func HashedNamespace(namespace, collection string) string { return namespace + hashedMark + collection }

// PrivateNamespace is where the sealed values of a collection stand, by key.
func PrivateNamespace(namespace, collection string) string {
	return namespace + privateMark + collection
}

func privateKeysNamespace(namespace, collection string) string {
	return namespace + privateKeysMark + collection
}

// isPrivate reports whether a namespace holds what does not follow from the blocks.
func isPrivate(namespace string) bool {
	_, mark, ok := strings.Cut(namespace, "$$")
	return ok && (strings.HasPrefix(mark, "p") || strings.HasPrefix(mark, "k"))
}

// PrivatePlace is the place for which a private value is sealed.
func PrivatePlace(channel, namespace, collection, key string) string {
	return strings.Join([]string{"value", channel, namespace, collection, key}, "\x00")
}

// stagedPlace is the place for which a transaction's writes to a collection are sealed until it is committed.
func stagedPlace(channel, id, namespace, collection string) string {
	return strings.Join([]string{"staged", channel, id, namespace, collection}, "\x00")
}

// privateWrites returns the private writes of a transaction by hashed key. What its read-write set has no hash of is left out.
func privateWrites(tx *wire.Transaction, set wire.PrivateSet) (map[stateKey]*kvrwset.KVWrite, error) {
	if len(set) == 0 {
		return nil, nil
	}
	writes := make(map[stateKey]*kvrwset.KVWrite)
	for i := range tx.RWSet.Namespaces {
		ns := &tx.RWSet.Namespaces[i]
		for k := range ns.Collections {
			raw := set.Of(ns.Namespace, &ns.Collections[k])
			if raw == nil {
				continue
			}
			kv := &kvrwset.KVRWSet{}
			if err := proto.Unmarshal(raw, kv); err != nil {
				return nil, fmt.Errorf("private writes of %s to %s: %w", ns.Namespace, ns.Collections[k].Name, err)
			}
			hashed := HashedNamespace(ns.Namespace, ns.Collections[k].Name)
			for _, w := range kv.Writes {
				hash := sha256.Sum256([]byte(w.Key))
				writes[stateKey{hashed, string(hash[:])}] = w
			}
		}
	}
	return writes, nil
}

// applyPrivate lets the private value follow its hash: item is the hashed key's new state, nil if it is deleted. A value that is
// not here is not kept, and neither is the one that it replaces: the hash says that it is no longer true.
func (j *judge) applyPrivate(ctx context.Context, op *operation, item *Item, writes map[stateKey]*kvrwset.KVWrite) error {
	if item != nil {
		if err := j.schedule(ctx, op, item.Version); err != nil {
			return err
		}
	}
	if j.keys == nil {
		return nil
	}
	held, err := j.heldKey(ctx, op)
	if err != nil {
		return err
	}
	values := PrivateNamespace(op.namespace, op.collection)
	switch {
	case item == nil:
		j.drop(op, held)
	case op.writes:
		write := writes[op.stateKey]
		sealed, err := j.sealValue(ctx, op, write)
		if err != nil {
			return err
		}
		if sealed == nil {
			j.drop(op, held)
			return nil
		}
		j.set(stateKey{values, write.Key}, &Item{Value: sealed, Version: item.Version})
		j.set(stateKey{privateKeysNamespace(op.namespace, op.collection), op.key}, &Item{Value: []byte("k" + write.Key), Version: item.Version})
	case held != nil:
		// Only the metadata changed, and with it the version.
		value, err := j.updates.latest(ctx, j.before, stateKey{values, *held})
		if err != nil || value == nil {
			return err
		}
		j.set(stateKey{values, *held}, &Item{Value: value.Value, Version: item.Version})
	}
	return nil
}

// set gives a key its state after the block, outside of any transaction.
func (j *judge) set(k stateKey, item *Item) {
	j.updates.keys.Set(update{stateKey: k, item: item, tx: j.position})
}

// heldKey returns the key whose value is held for a hashed key, nil if none is.
func (j *judge) heldKey(ctx context.Context, op *operation) (*string, error) {
	item, err := j.updates.latest(ctx, j.before, stateKey{privateKeysNamespace(op.namespace, op.collection), op.key})
	if err != nil || item == nil || len(item.Value) == 0 {
		return nil, err
	}
	key := string(item.Value[1:])
	return &key, nil
}

// drop deletes the value held for a hashed key.
func (j *judge) drop(op *operation, held *string) {
	if held == nil {
		return
	}
	j.set(stateKey{PrivateNamespace(op.namespace, op.collection), *held}, nil)
	j.set(stateKey{privateKeysNamespace(op.namespace, op.collection), op.key}, nil)
}

// sealValue seals a value for the members of its collection. It is nil if the value is not here, or no member's values are kept
// here.
func (j *judge) sealValue(ctx context.Context, op *operation, write *kvrwset.KVWrite) ([]byte, error) {
	definition, err := j.definition(ctx, op.namespace)
	if err != nil {
		return nil, err
	}
	members := collection.Members(collection.Find(definition.GetCollections(), j.config, op.collection))
	if write == nil {
		j.missing += len(members)
		return nil, nil
	}
	if hash := sha256.Sum256(write.Value); string(hash[:]) != string(op.value) {
		j.missing++
		return nil, nil
	}
	sealed, err := collection.Seal(j.keys, members, PrivatePlace(j.channel, op.namespace, op.collection, write.Key), write.Value)
	if errors.Is(err, collection.ErrNoKey) {
		return nil, nil
	}
	return sealed, err
}
