package dynamodb

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
)

// Conditions under which Apply writes: nothing of a later block is overwritten.
const (
	notLater   = "attribute_not_exists(pk) OR b < :b" // a key's state
	notFurther = "attribute_not_exists(pk) OR n < :n" // the savepoint
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
	w, err := s.effects(channel, batch)
	if err != nil {
		return err
	}
	if err := w.write(ctx, w.pieces); err != nil {
		return err
	}
	if err := w.write(ctx, w.items); err != nil {
		return err
	}
	head := newItem(headPartition(channel), only)
	head[number] = numberOf(batch.Block + 1)
	// If the condition fails, another has applied this block too.
	if err := w.write(ctx, []conditional{{head, notFurther, item{":n": numberOf(batch.Block + 1)}}}); err != nil {
		return err
	}
	known.raise(&known.savepoint, batch.Block+1)
	return nil
}

// A conditional is an item to be written if its condition holds.
type conditional struct {
	item      item
	condition string
	values    item
}

// effects are the writes of a batch, in two steps: the pieces of large values before what refers to them.
type effects struct {
	store         *Store
	began         time.Time
	pieces, items []conditional
}

func (s *Store) effects(channel string, batch *ledger.Batch) (*effects, error) {
	w := &effects{store: s, began: time.Now().Round(0)} // without its monotonic reading, which may stand still in a stopped machine
	for _, write := range batch.Writes {
		if err := w.state(channel, batch.Block, write); err != nil {
			return nil, err
		}
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
		w.items = append(w.items, conditional{item: it, condition: absent})
	}
	it := newItem(hashPartition(channel, batch.Hash), only)
	it[number] = numberOf(batch.Block)
	w.items = append(w.items, conditional{item: it})
	return w, nil
}

func (w *effects) stage(it item, name string, content []byte, limit int, pk string) {
	for _, p := range stage(it, name, content, limit, pk, valuePiece) {
		w.pieces = append(w.pieces, conditional{item: p})
	}
}

func (w *effects) state(channel string, n uint64, write ledger.Write) error {
	it := newItem(StatePartition(channel, write.Namespace), stateKey(write.Key))
	pieces := HistoryPartition(channel, write.Namespace)
	it[block] = numberOf(n)
	if len(write.Key) > maxWholeKey {
		w.stage(it, longKey, []byte(write.Key), maxLongKey, pieces)
	}
	if write.Item == nil {
		it[expiry] = numberOf(uint64(w.began.Add(tombstoneTime).Unix()))
	} else {
		if write.Item.Version.Block != n {
			return fmt.Errorf("key %q of %s has version %v", write.Key, write.Namespace, write.Item.Version)
		}
		it[position] = numberOf(write.Item.Version.Tx)
		w.stage(it, value, write.Item.Value, maxValue, pieces)
		if write.Item.Metadata != nil {
			w.stage(it, metadata, write.Item.Metadata, maxMetadata, pieces)
		}
	}
	w.items = append(w.items, conditional{it, notLater, item{":b": numberOf(n)}})
	return nil
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
	w.items = append(w.items, conditional{item: it})
}

func (w *effects) write(ctx context.Context, writes []conditional) error {
	return parallel(ctx, len(writes), func(ctx context.Context, i int) error {
		if time.Now().Round(0).Sub(w.began) > applyTime {
			return fmt.Errorf("given up: it takes more than %v", applyTime)
		}
		_, err := putItem(ctx, w.store.client, w.store.table, writes[i].item, writes[i].condition, writes[i].values)
		return err
	})
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

// ViewAt implements ledger.Shared: a view for who knows how many blocks are applied at least. It makes no call.
func (s *Store) ViewAt(channel string, savepoint uint64) ledger.View {
	return NewReader(s.client, s.table, channel).View(savepoint)
}
