package wire

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/encoding/protowire"
)

// An Update is what a block leaves of one key: its last value in the block.
type Update struct {
	Namespace  string
	Collection string // "" for the public state; else Key is a key's hash and Value a value's
	Key        string
	Value      []byte // nil: deleted
	Block, Tx  uint64 // the version: who wrote it
}

// NextCommitHash returns the hash that a peer puts into a block's metadata and that chains the state's updates from block
// to block: SHA-256 of the number of codes, the codes, the updates and the previous hash, as Fabric's kvledger and txmgr
// have it. previous is nil for block 1; block 0 has no commit hash.
//
// The updates are all that valid transactions of the block wrote, at most one for a key, in any order. A key of which only
// metadata was written is among them with the value that it had; the namespace "", Fabric's for configurations, is not.
func NextCommitHash(previous []byte, codes []peer.TxValidationCode, updates []Update) []byte {
	message := protowire.AppendVarint(nil, uint64(len(codes)))
	for _, code := range codes {
		message = append(message, byte(code))
	}
	return sum(appendUpdates(message, updates), previous)
}

// appendUpdates appends the updates in order of namespace, collection and key as a message of Fabric's txmgr.Updates. A
// namespace, and a collection, is named where it begins.
func appendUpdates(to []byte, updates []Update) []byte {
	updates = slices.Clone(updates)
	slices.SortFunc(updates, func(a, b Update) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.Key, b.Key))
	})
	var last Update
	for _, u := range updates {
		var write []byte
		if u.Namespace != last.Namespace {
			write = appendField(write, 1, []byte(u.Namespace))
			last.Collection = ""
		}
		if u.Collection != last.Collection {
			write = appendField(write, 2, []byte(u.Collection))
		}
		write = appendField(write, 3, []byte(u.Key))
		if u.Value == nil {
			write = protowire.AppendTag(write, 4, protowire.VarintType)
			write = protowire.AppendVarint(write, 1)
		}
		write = appendField(write, 5, u.Value)
		write = appendField(write, 6, appendOrdered(appendOrdered(nil, u.Block), u.Tx))
		to = protowire.AppendBytes(protowire.AppendTag(to, 1, protowire.BytesType), write)
		last = u
	}
	return to
}

func appendField(to []byte, field protowire.Number, value []byte) []byte {
	if len(value) == 0 {
		return to
	}
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), value)
}

// appendOrdered appends a number so that bytes are ordered as numbers are: how many bytes it has, and these, big-endian.
func appendOrdered(to []byte, n uint64) []byte {
	size := (bits.Len64(n) + 7) / 8
	to = append(to, byte(size))
	for i := size - 1; i >= 0; i-- {
		to = append(to, byte(n>>(8*i)))
	}
	return to
}
