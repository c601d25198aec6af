package dynamodb

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
)

// How long what is on its way stays, by DynamoDB's clock: private sets that nobody commits, and private writes of blocks that
// nobody applies, or that lost. A channel's next user applies its blocks, whoever appended them.
const (
	stagedTime    = 3 * 24 * time.Hour
	unappliedTime = 30 * 24 * time.Hour
)

func stagedPartition(channel, id string) string { return partition("staged", channel, id) }

func unappliedPartition(channel string, number uint64, hash []byte) string {
	return partition("unapplied", channel, fmt.Sprintf("%020d", number), hex.EncodeToString(hash))
}

// passing makes an item that has its time, with its pieces.
func passing(pk string, content []byte, stay time.Duration) (it item, pieces []item) {
	it = newItem(pk, only)
	pieces = stage(it, body, content, maxBody, pk, blockPiece)
	until := numberOf(uint64(time.Now().Add(stay).Unix()))
	it[expiry] = until
	for _, piece := range pieces {
		piece[expiry] = until
	}
	return it, pieces
}

// Stage implements ledger.Transient.
func (s *Store) Stage(ctx context.Context, channel string, sets []ledger.StagedSet) error {
	err := s.usable(ctx, channel)
	var items, pieces []item
	for _, set := range sets {
		it, more := passing(stagedPartition(channel, set.ID), set.Set, stagedTime)
		items, pieces = append(items, it), append(pieces, more...)
	}
	if err == nil {
		err = s.put(ctx, pieces)
	}
	if err == nil {
		err = s.put(ctx, items)
	}
	if err != nil {
		return s.failed(ctx, channel, "stage private data", err)
	}
	return nil
}

// Staged implements ledger.Transient.
func (s *Store) Staged(ctx context.Context, channel string, names []string) ([][]byte, error) {
	sets, err := s.staged(ctx, channel, names)
	if err != nil {
		return nil, s.failed(ctx, channel, "staged private data", err)
	}
	return sets, nil
}

func (s *Store) staged(ctx context.Context, channel string, names []string) ([][]byte, error) {
	if err := s.usable(ctx, channel); err != nil {
		return nil, err
	}
	sets := make([][]byte, len(names))
	if len(names) == 0 {
		return sets, nil
	}
	ids := make([]id, len(names))
	for i, name := range names {
		ids[i] = id{stagedPartition(channel, name), string(only)}
	}
	found, err := getItems(ctx, s.client, s.table, ids)
	if err != nil {
		return nil, err
	}
	reader := NewReader(s.client, s.table, channel)
	err = parallel(ctx, len(ids), func(ctx context.Context, i int) (err error) {
		if it := found[ids[i]]; it != nil {
			sets[i], err = reader.content(ctx, it, body, ids[i].pk, blockPiece)
		}
		return err
	})
	return sets, err
}

// Unstage implements ledger.Transient. What is too old goes by its TTL.
func (s *Store) Unstage(ctx context.Context, channel string, names []string, _ uint64) error {
	err := s.usable(ctx, channel)
	if err == nil {
		partitions := make([]string, len(names))
		for i, name := range names {
			partitions[i] = stagedPartition(channel, name)
		}
		err = s.forget(ctx, partitions)
	}
	if err != nil {
		return s.failed(ctx, channel, "unstage private data", err)
	}
	return nil
}

// forget removes the items of partitions that passing made, and their pieces.
func (s *Store) forget(ctx context.Context, partitions []string) error {
	if len(partitions) == 0 {
		return nil
	}
	ids := make([]id, len(partitions))
	for i, pk := range partitions {
		ids[i] = id{pk, string(only)}
	}
	found, err := getItems(ctx, s.client, s.table, ids, partitionKey, body+staged)
	if err != nil {
		return err
	}
	var requests []types.WriteRequest
	for i, it := range found {
		pieces, err := pieceKeys(it, body, i.pk, blockPiece)
		if err != nil {
			return err
		}
		for _, key := range append(pieces, newItem(i.pk, only)) {
			requests = append(requests, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: key}})
		}
	}
	return writeItems(ctx, s.client, s.table, requests)
}

// pieceKeys returns the primary keys of the pieces of an item's attribute, none if it stands in the item.
func pieceKeys(it item, name, pk string, mark byte) ([]item, error) {
	if it[name+staged] == nil {
		return nil, nil
	}
	reference, err := bytesIn(it, name+staged)
	if err != nil || len(reference) != hashSize+8 {
		return nil, damaged(it, name+staged)
	}
	var keys []item
	for i := range (binary.BigEndian.Uint64(reference[hashSize:]) + pieceSize - 1) / pieceSize {
		keys = append(keys, newItem(pk, pieceKey(mark, reference[:hashSize], int(i))))
	}
	return keys, nil
}

// hashSize is SHA-256's.
const hashSize = 32

// keepUnapplied keeps a block's private writes for whoever applies it.
func (s *Store) keepUnapplied(ctx context.Context, channel string, batch *ledger.Batch) error {
	var encoded bytes.Buffer
	if err := gob.NewEncoder(&encoded).Encode(batch.Private); err != nil {
		return fmt.Errorf("private writes: %w", err)
	}
	it, pieces := passing(unappliedPartition(channel, batch.Block, batch.Hash), encoded.Bytes(), unappliedTime)
	if err := s.put(ctx, pieces); err != nil {
		return err
	}
	return s.put(ctx, []item{it})
}

// Unapplied implements ledger.Transient.
func (s *Store) Unapplied(ctx context.Context, channel string, number uint64, hash []byte) ([]ledger.Write, error) {
	writes, err := s.unapplied(ctx, channel, number, hash)
	if err != nil {
		return nil, s.failed(ctx, channel, fmt.Sprintf("private data of block %d", number), err)
	}
	return writes, nil
}

func (s *Store) unapplied(ctx context.Context, channel string, number uint64, hash []byte) ([]ledger.Write, error) {
	if err := s.usable(ctx, channel); err != nil {
		return nil, err
	}
	pk := unappliedPartition(channel, number, hash)
	it, err := getItem(ctx, s.client, s.table, pk, only)
	if err != nil || it == nil {
		return nil, err
	}
	encoded, err := NewReader(s.client, s.table, channel).content(ctx, it, body, pk, blockPiece)
	if err != nil {
		return nil, err
	}
	var writes []ledger.Write
	if err := gob.NewDecoder(bytes.NewReader(encoded)).Decode(&writes); err != nil {
		return nil, fmt.Errorf("private writes: %w: %w", ledger.ErrDamaged, err)
	}
	return writes, nil
}

// replace writes an item under its condition, and removes the pieces of the value that it replaces, which are nobody else's: what
// is sealed is like nothing else. If it is interrupted between the two they stay.
func (w *effects) replace(ctx context.Context, c conditional) error {
	s := w.store
	input := &sdk.PutItemInput{
		TableName: &s.table, Item: c.item, ConditionExpression: &c.condition, ExpressionAttributeValues: c.values, ReturnValues: types.ReturnValueAllOld,
	}
	out, err := s.client.PutItem(ctx, input)
	if conditionFailed(err) {
		return nil
	}
	if err != nil {
		return explain(s.table, err)
	}
	keys, err := pieceKeys(out.Attributes, value, c.pieces, valuePiece)
	if err != nil {
		return err
	}
	requests := make([]types.WriteRequest, len(keys))
	for i, key := range keys {
		requests[i] = types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: key}}
	}
	return writeItems(ctx, s.client, s.table, requests)
}
