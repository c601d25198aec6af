package receipt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/wire"
)

// TransactionHash is the leaf of a transaction in its block's tree. digest is SHA-256 of the envelope.
func TransactionHash(position uint64, code peer.TxValidationCode, digest [sha256.Size]byte) tlog.Hash {
	record := make([]byte, 0, 8+1+sha256.Size)
	record = binary.BigEndian.AppendUint64(record, position)
	record = append(record, byte(code))
	return tlog.RecordHash(append(record, digest[:]...))
}

// BlockHash is the leaf of a block in its channel's log.
func BlockHash(header *common.BlockHeader, transactions uint64, root tlog.Hash) tlog.Hash {
	record := wire.HeaderBytes(header)
	record = binary.BigEndian.AppendUint64(record, transactions)
	return tlog.RecordHash(append(record, root[:]...))
}

// A Tree is a block's transactions. The zero Tree is empty.
type Tree struct {
	size   int64
	hashes []tlog.Hash // in tlog's order of stored hashes
}

// Add adds a leaf.
func (t *Tree) Add(leaf tlog.Hash) error {
	more, err := tlog.StoredHashesForRecordHash(t.size, leaf, t)
	if err != nil {
		return err
	}
	t.hashes = append(t.hashes, more...)
	t.size++
	return nil
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return uint64(t.size) }

// Root returns the tree's hash.
func (t *Tree) Root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }

// Prove returns the proof that leaf n is in the tree.
func (t *Tree) Prove(n uint64) ([]tlog.Hash, error) {
	if n >= uint64(t.size) {
		return nil, fmt.Errorf("prove transaction %d of %d: there is none", n, t.size)
	}
	return tlog.ProveRecord(t.size, int64(n), t)
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("a tree of %d has no hash %d", t.size, index)
		}
		hashes[i] = t.hashes[index]
	}
	return hashes, nil
}

// TreeOf is the tree over a block's transactions. ErrForm: it has no verdict for each.
func TreeOf(block *common.Block) (*Tree, error) {
	envelopes := block.GetData().GetData()
	codes, err := wire.ValidationCodes(block)
	if err != nil || len(codes) != len(envelopes) {
		return nil, fmt.Errorf("%w: block %d has %d verdicts for %d transactions", ErrForm, block.GetHeader().GetNumber(), len(codes), len(envelopes))
	}
	t := &Tree{}
	for i, envelope := range envelopes {
		if err := t.Add(TransactionHash(uint64(i), codes[i], sha256.Sum256(envelope))); err != nil {
			return nil, err
		}
	}
	return t, nil
}
