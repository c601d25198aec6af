package dynamodb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
)

// Sizes in bytes. An item of DynamoDB has at most 400 KB with its key and its attributes' names.
const (
	maxBody     = 16 << 10  // of a block in its item: that is read by all who wait for the block
	maxValue    = 256 << 10 // of a value in its item
	maxMetadata = 64 << 10
	maxLongKey  = 16 << 10
	pieceSize   = 384 << 10
)

// stage gives an item an attribute. What is over the limit goes into pieces of the partition, which are returned: they must be
// written before the item.
func stage(it item, name string, content []byte, limit int, pk string, mark byte) []item {
	if len(content) <= limit {
		it[name] = bytesOf(content)
		return nil
	}
	sum := sha256.Sum256(content)
	it[name+staged] = bytesOf(binary.BigEndian.AppendUint64(sum[:], uint64(len(content))))
	var pieces []item
	for i := 0; len(content) > 0; i++ {
		n := min(len(content), pieceSize)
		piece := newItem(pk, pieceKey(mark, sum[:], i))
		piece[body] = bytesOf(content[:n])
		pieces, content = append(pieces, piece), content[n:]
	}
	return pieces
}

// has reports whether an item has an attribute, in itself or in pieces.
func has(it item, name string) bool { return it[name] != nil || it[name+staged] != nil }

// content returns what stage gave to an item.
func (r *Reader) content(ctx context.Context, it item, name, pk string, mark byte) ([]byte, error) {
	if it[name] != nil {
		return bytesIn(it, name)
	}
	reference, err := bytesIn(it, name+staged)
	if err != nil || len(reference) != sha256.Size+8 {
		return nil, damaged(it, name+staged)
	}
	sum, length := reference[:sha256.Size], binary.BigEndian.Uint64(reference[sha256.Size:])
	if length > 1<<30 {
		return nil, damaged(it, name+staged)
	}
	ids := make([]id, (int(length)+pieceSize-1)/pieceSize)
	for i := range ids {
		ids[i] = id{pk, string(pieceKey(mark, sum, i))}
	}
	pieces, err := getItems(ctx, r.client, r.table, ids)
	if err != nil {
		return nil, err
	}
	all := make([]byte, 0, length)
	for _, i := range ids {
		if pieces[i] == nil {
			return nil, damaged(it, name+staged)
		}
		piece, err := bytesIn(pieces[i], body)
		if err != nil {
			return nil, err
		}
		all = append(all, piece...)
	}
	if got := sha256.Sum256(all); !bytes.Equal(got[:], sum) {
		return nil, damaged(it, name+staged)
	}
	return all, nil
}
