package ledger

import (
	"context"
	"fmt"
	"strings"
)

// ExpiryNamespace is where the state keeps which hashed keys expire with which block. Like TreeNamespace it cannot be a
// chaincode's name, no transaction can write to it, and the commit hash does not cover it. What was written by block n to a
// collection that lives for b blocks is taken away by block n+b+1, after its transactions were judged: Fabric's
// pvtstatepurgemgmt. It follows from the blocks, and the expired hashes do not show in Fabric's commit hash either.
const ExpiryNamespace = "_expiry"

// There is a key for each block with which something expires, treeKey, and one for each hashed key, after it: its value is one byte,
// its version that of the hashed key's write. Those of block n are taken away with block n+1, and treeKey with block n+2, so that an
// Apply of any of them that was interrupted can be derived again.

// expiryKey is the key under which a hashed key stands.
func expiryKey(block uint64, op *operation) string {
	return strings.Join([]string{treeKey(block), op.namespace, op.collection, op.key}, "\x00")
}

// expiries are the keys that say whether something is to be done with a block: for it, and for the two before.
func expiries(block uint64) []string {
	var keys []string
	for n := uint64(0); n <= 2 && n <= block; n++ {
		keys = append(keys, treeKey(block-n))
	}
	return keys
}

func parseExpiryKey(key string) (*operation, bool) {
	parts := strings.SplitN(key, "\x00", 4)
	if len(parts) != 4 {
		return nil, false
	}
	return &operation{stateKey: stateKey{HashedNamespace(parts[1], parts[2]), parts[3]}, namespace: parts[1], collection: parts[2]}, true
}

// schedule notes when a hashed key expires, if its collection says that it does.
func (j *judge) schedule(ctx context.Context, op *operation, version Version) error {
	definition, err := j.definition(ctx, op.namespace)
	if err != nil {
		return err
	}
	for _, c := range definition.GetCollections().GetConfig() {
		static := c.GetStaticCollectionConfig()
		if static.GetName() != op.collection || static.BlockToLive == 0 {
			continue
		}
		if last := version.Block + static.BlockToLive + 1; last > version.Block {
			j.set(stateKey{ExpiryNamespace, treeKey(last)}, &Item{Value: []byte{1}, Version: version})
			j.set(stateKey{ExpiryNamespace, expiryKey(last, op)}, &Item{Value: []byte{1}, Version: version})
		}
	}
	return nil
}

// expire deletes what expires with the block: unless it was written again, by this block or an earlier one.
func (j *judge) expire(ctx context.Context) error {
	for age, key := range expiries(j.updates.number) {
		item, err := j.before.get(ctx, stateKey{ExpiryNamespace, key})
		if err != nil {
			return fmt.Errorf("expire private data: %w", err)
		}
		switch {
		case item == nil:
		case age == 2:
			j.set(stateKey{ExpiryNamespace, key}, nil)
		default:
			if err := j.expired(ctx, key, age == 1); err != nil {
				return fmt.Errorf("expire private data: %w", err)
			}
		}
	}
	return nil
}

// expired goes through the keys that expire with a block; done says that they have, with the block before this one.
func (j *judge) expired(ctx context.Context, block string, done bool) error {
	start, end := block+"\x00", block+"\x01"
	for {
		rows, err := j.view.Range(ctx, ExpiryNamespace, start, end, rangePage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			op, ok := parseExpiryKey(row.Key)
			if !ok {
				return fmt.Errorf("key %q: %w", row.Key, ErrDamaged)
			}
			if done {
				j.set(stateKey{ExpiryNamespace, row.Key}, nil)
			} else if err := j.expireKey(ctx, op, row.Item.Version); err != nil {
				return err
			}
		}
		if len(rows) < rangePage {
			return nil
		}
		start = rows[len(rows)-1].Key + "\x00"
	}
}

// expireKey deletes a hashed key, and its value, if it is still as it was written then.
func (j *judge) expireKey(ctx context.Context, op *operation, written Version) error {
	if _, again := j.updates.get(op.stateKey); again {
		return nil
	}
	item, err := j.before.get(ctx, op.stateKey)
	if err != nil || item == nil || item.Version != written {
		return err
	}
	j.set(op.stateKey, nil)
	if j.keys == nil {
		return nil
	}
	held, err := j.heldKey(ctx, op)
	if err != nil {
		return err
	}
	j.drop(op, held)
	return nil
}
