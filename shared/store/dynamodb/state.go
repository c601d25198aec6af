package dynamodb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"peerless/shared/ledger"
)

// Conditions under which Apply writes: nothing of a later block is overwritten.
const (
	notLater   = "attribute_not_exists(pk) OR b < :b" // a key's state
	notFurther = "attribute_not_exists(pk) OR n < :n" // the savepoint
)

// How the savepoint moves over a block that leaves the definitions of chaincodes as they are, and over another.
const (
	moveOn      = "SET n = :n, l = if_not_exists(l, :zero)"
	moveDefined = "SET n = :n, l = :n"
)

// How long an Apply goes on, by the wall clock, and how long a tombstone stays for it. A process that was stopped in the middle,
// as Lambda does, and goes on a day later must not write what a tombstone would have kept away.
const (
	applyTime     = 5 * time.Minute
	tombstoneTime = 24 * time.Hour
)

// Apply implements ledger.State.
func (s *Store) Apply(ctx context.Context, channel string, batch *ledger.Batch) error {
	if err := s.apply(ctx, channel, batch); err != nil {
		return s.failed(ctx, channel, fmt.Sprintf("apply block %d", batch.Block), err)
	}
	return nil
}

func (s *Store) apply(ctx context.Context, channel string, batch *ledger.Batch) error {
	if err := s.usable(ctx, channel); err != nil {
		return err
	}
	known := s.known(channel)
	if batch.Block > known.savepoint.Load() {
		it, err := getItem(ctx, s.client, s.table, headPartition(channel), only)
		if err != nil {
			return err
		}
		if it != nil {
			n, err := numberIn(it, number)
			if err != nil {
				return err
			}
			known.raise(&known.savepoint, n)
		}
	}
	switch savepoint := known.savepoint.Load(); {
	case batch.Block < savepoint:
		return nil
	case batch.Block > savepoint:
		return fmt.Errorf("%d blocks are applied: the next is block %d", savepoint, savepoint)
	}
	w := s.effects(channel, batch)
	if err := w.write(ctx, w.indexes, w.pieces); err != nil {
		return err
	}
	if err := w.write(ctx, w.conditional, w.plain); err != nil {
		return err
	}
	if err := s.moveSavepoint(ctx, channel, batch); err != nil {
		return err
	}
	known.raise(&known.savepoint, batch.Block+1)
	if len(batch.Private) > 0 {
		if err := s.forget(ctx, []string{unappliedPartition(channel, batch.Block, batch.Hash)}); err != nil {
			s.logger.Warn("private data of a block that is applied stays beside it for a while", "channel", channel, "block", batch.Block, "error", err)
		}
	}
	return nil
}

// moveSavepoint says that a block is applied, and whether it wrote definitions of chaincodes. If it is said already another has
// applied the block too.
func (s *Store) moveSavepoint(ctx context.Context, channel string, batch *ledger.Batch) error {
	input := &sdk.UpdateItemInput{
		TableName: &s.table, Key: newItem(headPartition(channel), only),
		ConditionExpression:       aws.String(notFurther),
		UpdateExpression:          aws.String(moveOn),
		ExpressionAttributeValues: item{":n": numberOf(batch.Block + 1), ":zero": numberOf(0)},
	}
	if slices.ContainsFunc(batch.Writes, func(w ledger.Write) bool { return w.Namespace == ledger.LifecycleNamespace }) {
		input.UpdateExpression = aws.String(moveDefined)
		delete(input.ExpressionAttributeValues, ":zero")
	}
	_, err := s.client.UpdateItem(ctx, input)
	if conditionFailed(err) {
		return nil
	}
	return explain(s.table, err)
}

// A conditional is an item to be written if its condition holds.
type conditional struct {
	item      item
	condition string
	values    item
	pieces    string // of a private value: the partition of the pieces of the one that it replaces
}

// effects are the writes of a batch: pieces of large values and entries of indexes first, then the rest. What a block does to an
// index is derived from the documents before it, so that a document is not written before its entries are.
type effects struct {
	store       *Store
	began       time.Time
	pieces      []item
	indexes     []conditional
	conditional []conditional
	plain       []item // the same whoever writes them
}

func (s *Store) effects(channel string, batch *ledger.Batch) *effects {
	w := &effects{store: s, began: time.Now().Round(0)} // without its monotonic reading, which may stand still in a stopped machine
	for _, write := range batch.Writes {
		w.state(channel, batch.Block, write)
	}
	for _, write := range batch.Private {
		w.state(channel, batch.Block, write)
		w.conditional[len(w.conditional)-1].pieces = HistoryPartition(channel, write.Namespace)
	}
	for _, change := range batch.History {
		w.history(channel, change)
	}
	entered := make(map[string]bool, len(batch.Txs))
	for _, entry := range batch.Txs {
		if entered[entry.TxID] {
			continue
		}
		entered[entry.TxID] = true
		it := newItem(txPartition(channel, entry.TxID), only)
		it[block], it[position], it[code] = numberOf(entry.Version.Block), numberOf(entry.Version.Tx), numberOf(uint64(entry.Code))
		w.conditional = append(w.conditional, conditional{item: it, condition: absent})
	}
	it := newItem(hashPartition(channel, batch.Hash), only)
	it[number] = numberOf(batch.Block)
	w.plain = append(w.plain, it)
	return w
}

func (w *effects) stage(it item, name string, content []byte, limit int, pk string) {
	w.pieces = append(w.pieces, stage(it, name, content, limit, pk, valuePiece)...)
}

func (w *effects) state(channel string, n uint64, write ledger.Write) {
	it := newItem(StatePartition(channel, write.Namespace), stateKey(write.Key))
	pieces := HistoryPartition(channel, write.Namespace)
	it[block] = numberOf(n)
	if len(write.Key) > maxWholeKey {
		w.stage(it, longKey, []byte(write.Key), maxLongKey, pieces)
	}
	if write.Item == nil {
		it[expiry] = numberOf(uint64(w.began.Add(tombstoneTime).Unix()))
	} else {
		if write.Item.Version.Block != n { // an index's entry is as old as its document
			it[wrote] = numberOf(write.Item.Version.Block)
		}
		it[position] = numberOf(write.Item.Version.Tx)
		w.stage(it, value, write.Item.Value, maxValue, pieces)
		if write.Item.Metadata != nil {
			w.stage(it, metadata, write.Item.Metadata, maxMetadata, pieces)
		}
	}
	some := &w.conditional
	if ledger.IsIndex(write.Namespace) {
		some = &w.indexes
	}
	*some = append(*some, conditional{item: it, condition: notLater, values: item{":b": numberOf(n)}})
}

func (w *effects) history(channel string, c ledger.Change) {
	pk := HistoryPartition(channel, c.Namespace)
	it := newItem(pk, historyKey(c.Key, c.Version))
	it[block], it[position] = numberOf(c.Version.Block), numberOf(c.Version.Tx)
	it[txID], it[timestamp] = text(c.TxID), bytesOf(timeBytes(c.Timestamp))
	if c.IsDelete {
		it[deletion] = &types.AttributeValueMemberBOOL{Value: true}
	} else {
		w.stage(it, value, c.Value, maxValue, pk)
	}
	w.plain = append(w.plain, it)
}

// write writes items, all at the same time.
func (w *effects) write(ctx context.Context, some []conditional, plain []item) error {
	inTime := func() error {
		if time.Now().Round(0).Sub(w.began) > applyTime {
			return fmt.Errorf("given up: it takes more than %v", applyTime)
		}
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := inTime(); err != nil {
			return err
		}
		return writeItems(ctx, w.store.client, w.store.table, puts(plain))
	})
	group.Go(func() error {
		return parallel(ctx, len(some), func(ctx context.Context, i int) error {
			if err := inTime(); err != nil {
				return err
			}
			if some[i].pieces != "" {
				return w.replace(ctx, some[i])
			}
			_, err := putItem(ctx, w.store.client, w.store.table, some[i].item, some[i].condition, some[i].values)
			return err
		})
	})
	return group.Wait()
}

// View implements ledger.State.
func (s *Store) View(ctx context.Context, channel string) (ledger.View, error) {
	if err := s.usable(ctx, channel); err != nil {
		return nil, s.failed(ctx, channel, "view", err)
	}
	it, err := getItem(ctx, s.client, s.table, headPartition(channel), only)
	if err != nil {
		return nil, s.failed(ctx, channel, "view", err)
	}
	if it == nil {
		return s.ViewAt(channel, 0), nil
	}
	n, err := numberIn(it, number)
	if err != nil {
		return nil, s.failed(ctx, channel, "view", err)
	}
	return s.ViewAt(channel, n), nil
}

// ViewAt implements ledger.SharedStore.
func (s *Store) ViewAt(channel string, savepoint uint64) ledger.View {
	return NewReader(s.client, s.table, channel).View(savepoint)
}
