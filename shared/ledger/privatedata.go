package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/wire"
)

// PrivateData returns what the valid transactions of a block wrote to collections, by position in the block, as far as an
// organisation holds it: Fabric's block and private data. may says whether the reader may see a collection, given as it was defined
// below the block.
//
// What is held is the state: a value that was overwritten, deleted or purged since, or has expired, is left out, and so are
// deletes, whose keys are not kept. A set that lacks nothing has the bytes that its hash in the block is of.
func (c *Channel) PrivateData(ctx context.Context, block *common.Block, mspID string, may func(*peer.StaticCollectionConfig) bool) (map[uint64]wire.PrivateSet, error) {
	if c.ledger.Keys == nil {
		return nil, nil
	}
	codes, err := wire.ValidationCodes(block)
	if err != nil || len(codes) != len(block.GetData().GetData()) {
		return nil, fmt.Errorf("block %d has no verdict for each transaction: %w", block.GetHeader().GetNumber(), ErrDamaged)
	}
	r := &privateReader{Channel: c, number: block.GetHeader().GetNumber(), mspID: mspID, may: may, collections: make(map[string]*peer.CollectionConfigPackage)}
	defer r.close()
	sets := make(map[uint64]wire.PrivateSet)
	for i, raw := range block.Data.Data {
		if codes[i] != peer.TxValidationCode_VALID {
			continue
		}
		tx, _ := wire.ParseEnvelope(raw)
		if tx == nil || tx.RWSet == nil || tx.RWSet.PrivateID(tx.TxID) == "" {
			continue
		}
		set, err := r.read(ctx, tx.RWSet)
		if err != nil {
			return nil, fmt.Errorf("private data of block %d of channel %s: %w", r.number, c.name, err)
		}
		if len(set) > 0 {
			sets[uint64(i)] = set
		}
	}
	return sets, nil
}

// A privateReader reads the private data of one block for one organisation.
type privateReader struct {
	*Channel
	number      uint64
	mspID       string
	may         func(*peer.StaticCollectionConfig) bool
	collections map[string]*peer.CollectionConfigPackage // as defined below the block

	view View // nil until something is read
}

func (r *privateReader) close() {
	if r.view != nil {
		r.view.Close()
	}
}

// read returns what is held of a transaction's private set.
func (r *privateReader) read(ctx context.Context, set *wire.RWSet) (held wire.PrivateSet, err error) {
	if r.view == nil {
		if r.view, err = r.View(ctx); err != nil {
			return nil, err
		}
	}
	for i := range set.Namespaces {
		ns := &set.Namespaces[i]
		for k := range ns.Collections {
			part := &ns.Collections[k]
			if len(part.PrivateHash) == 0 {
				continue
			}
			eligible, err := r.eligible(ctx, ns.Namespace, part.Name)
			if err != nil {
				return nil, err
			}
			if !eligible {
				continue
			}
			kv, err := r.values(ctx, ns.Namespace, part)
			if err != nil {
				return nil, err
			}
			if len(kv.Writes)+len(kv.MetadataWrites) == 0 {
				continue
			}
			raw, err := proto.Marshal(kv)
			if err != nil {
				return nil, err
			}
			held = append(held, wire.PrivateCollection{Namespace: ns.Namespace, Collection: part.Name, Raw: raw})
		}
	}
	return held, nil
}

// eligible reports whether a collection belongs to the organisation, and the reader may see it: Fabric's CheckCollectionPolicy.
func (r *privateReader) eligible(ctx context.Context, chaincode, name string) (bool, error) {
	all, known := r.collections[chaincode]
	if !known {
		var err error
		if all, err = collectionsBelow(ctx, r.view, chaincode, r.number); err != nil {
			return false, err
		}
		r.collections[chaincode] = all
	}
	static := collection.Find(all, r.Config(), name)
	return static != nil && slices.Contains(collection.Members(static), r.mspID) && r.may(static), nil
}

// values returns the writes to a collection that are still so, sorted by key as in every private set.
func (r *privateReader) values(ctx context.Context, chaincode string, part *wire.CollectionSet) (*kvrwset.KVRWSet, error) {
	kv := &kvrwset.KVRWSet{}
	for _, w := range part.Hashed.GetHashedWrites() {
		key, value, err := r.held(ctx, chaincode, part.Name, w.KeyHash)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(value); value != nil && string(sum[:]) == string(w.ValueHash) {
			kv.Writes = append(kv.Writes, &kvrwset.KVWrite{Key: key, Value: value})
		}
	}
	for _, w := range part.Hashed.GetMetadataWrites() {
		key, value, err := r.held(ctx, chaincode, part.Name, w.KeyHash)
		if err != nil {
			return nil, err
		}
		if value != nil {
			kv.MetadataWrites = append(kv.MetadataWrites, &kvrwset.KVMetadataWrite{Key: key})
		}
	}
	slices.SortFunc(kv.Writes, func(a, b *kvrwset.KVWrite) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(kv.MetadataWrites, func(a, b *kvrwset.KVMetadataWrite) int { return strings.Compare(a.Key, b.Key) })
	return kv, nil
}

// held returns the private key and value of a hashed key, nil if the organisation does not hold them.
func (r *privateReader) held(ctx context.Context, chaincode, name string, hash []byte) (key string, value []byte, err error) {
	keys, err := r.view.Get(ctx, privateKeysNamespace(chaincode, name), []string{string(hash)})
	if err != nil || keys[0] == nil || len(keys[0].Value) == 0 {
		return "", nil, err
	}
	key = string(keys[0].Value[1:])
	values, err := r.view.Get(ctx, PrivateNamespace(chaincode, name), []string{key})
	if err != nil || values[0] == nil {
		return "", nil, err
	}
	value, err = collection.Open(r.ledger.Keys, r.mspID, PrivatePlace(r.name, chaincode, name, key), values[0].Value)
	if errors.Is(err, collection.ErrNoKey) {
		return "", nil, nil // it was not a member yet when this was written
	}
	return key, value, err
}

// collectionsBelow returns a chaincode's collections as they were defined before a block.
func collectionsBelow(ctx context.Context, view View, chaincode string, block uint64) (*peer.CollectionConfigPackage, error) {
	changes, err := view.History(ctx, LifecycleNamespace, fieldKey(chaincode, "Collections"), Version{Block: block}, 1)
	if err != nil || len(changes) == 0 || changes[0].IsDelete {
		return nil, err
	}
	field, all := &lifecycle.StateData{}, &peer.CollectionConfigPackage{}
	if proto.Unmarshal(changes[0].Value, field) != nil || proto.Unmarshal(field.GetBytes(), all) != nil {
		return nil, fmt.Errorf("collections of %s below block %d: %w", chaincode, block, ErrDamaged)
	}
	return all, nil
}
