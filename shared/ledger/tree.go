package ledger

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// TreeNamespace is where the state keeps the hashes of the channel's log (package receipt). It cannot be a chaincode's name, no
// transaction can write to it, and the commit hash, which is Fabric's, does not cover it.
//
// There is one key for each block, treeKey, with the hashes of all subtrees that the block completes, smallest first. They are
// written in the block's batch and never change.
const TreeNamespace = "_tree"

// treeKey is the key of a block's hashes: its number in 16 hexadecimal digits.
func treeKey(block uint64) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, block))
}

// hashesBefore returns the keys of the hashes that log reads for a block: of the subtrees to the left of those that it completes.
func hashesBefore(block uint64) []string {
	var keys []string
	for level := uint(0); (block+1)>>level&1 == 0; level++ {
		keys = append(keys, treeKey(block>>level<<level-1))
	}
	return keys
}

// log adds the block, all of whose transactions are accepted, to the channel's log. It reads and writes as many hashes as the
// block completes subtrees: two on average.
func (j *judge) log(ctx context.Context, header *common.BlockHeader) error {
	root, err := j.tree.Root()
	if err != nil {
		return fmt.Errorf("log block %d: %w", j.updates.number, err)
	}
	leaf := receipt.BlockHash(header, j.tree.Size(), root)
	hashes, err := tlog.StoredHashesForRecordHash(int64(j.updates.number), leaf, logReader{ctx, j.view})
	if err != nil {
		return fmt.Errorf("log block %d: %w", j.updates.number, err)
	}
	value := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, hash := range hashes {
		value = append(value, hash[:]...)
	}
	j.updates.keys.Set(update{stateKey: stateKey{TreeNamespace, treeKey(j.updates.number)},
		item: &Item{Value: value, Version: Version{Block: j.updates.number}}})
	return nil
}

// reserved reports whether only the ledger may write to a namespace.
func reserved(namespace string) bool {
	return namespace == TreeNamespace || namespace == ExpiryNamespace
}

// writesReserved reports whether a transaction writes where only the ledger may.
func writesReserved(tx *wire.Transaction) bool {
	if tx.RWSet == nil {
		return false
	}
	for i := range tx.RWSet.Namespaces {
		if ns := &tx.RWSet.Namespaces[i]; reserved(ns.Namespace) && writesTo(ns) {
			return true
		}
	}
	return false
}

// logReader reads the hashes of a channel's log from its state.
type logReader struct {
	ctx  context.Context
	view View
}

var _ tlog.HashReader = logReader{}

// ReadHashes implements tlog.HashReader: with one look-up, and ErrDamaged for what is not there.
func (l logReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	keys, levels := make([]string, len(indexes)), make([]int, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		keys[i], levels[i] = treeKey(uint64(n+1)<<level-1), level // the block that completes the subtree
	}
	items, err := l.view.Get(l.ctx, TreeNamespace, keys)
	if err != nil {
		return nil, fmt.Errorf("read %d hashes of the log: %w", len(keys), err)
	}
	hashes := make([]tlog.Hash, len(indexes))
	for i, item := range items {
		start := levels[i] * tlog.HashSize
		if item == nil || len(item.Value) < start+tlog.HashSize {
			return nil, fmt.Errorf("read hashes of the log: those of block %s are not in the state: %w", keys[i], ErrDamaged)
		}
		copy(hashes[i][:], item.Value[start:])
	}
	return hashes, nil
}
