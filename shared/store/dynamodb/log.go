package dynamodb

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
)

// absent is the condition that there is no item with the key.
const absent = "attribute_not_exists(pk)"

// Append implements ledger.Log.
func (s *Store) Append(ctx context.Context, channel string, raw []byte, batch *ledger.Batch) error {
	if err := s.append(ctx, channel, raw, batch); err != nil {
		return s.failed(ctx, channel, fmt.Sprintf("append block %d", batch.Block), err)
	}
	return nil
}

func (s *Store) append(ctx context.Context, channel string, raw []byte, batch *ledger.Batch) error {
	n, outcomes := batch.Block, batch.Outcomes
	if err := s.usable(ctx, channel); err != nil {
		return err
	}
	known := s.known(channel)
	if height := known.height.Load(); n < height {
		// It is there: nothing needs to be written to say whether it is this one.
		return s.compare(ctx, channel, raw, n)
	} else if n > height {
		before, err := getItem(ctx, s.client, s.table, blockPartition(channel, n-1), only, partitionKey)
		if err != nil {
			return err
		}
		if before == nil {
			return fmt.Errorf("there is no block %d: %w", n-1, ledger.ErrConflict)
		}
		known.raise(&known.height, n)
	}
	if n == 0 {
		// The list may have a channel that gets no block, but no channel's block comes before it is in the list.
		if _, err := putItem(ctx, s.client, s.table, newItem(channelsPartition, []byte(channel)), "", nil); err != nil {
			return err
		}
	}
	if len(batch.Private) > 0 {
		if err := s.keepUnapplied(ctx, channel, batch); err != nil {
			return err
		}
	}
	it := newItem(blockPartition(channel, n), only)
	if len(outcomes) > 0 {
		it[fates] = bytesOf(formatOutcomes(outcomes))
	}
	pieces := stage(it, body, raw, maxBody, blockPartition(channel, n), blockPiece)
	if err := s.put(ctx, pieces); err != nil {
		return err
	}
	ok, err := putItem(ctx, s.client, s.table, it, absent, nil)
	if err != nil {
		return err
	}
	known.raise(&known.height, n+1)
	if ok {
		return nil
	}
	// Another writer's, or this one's own: the SDK tries again when a reply is lost.
	err = s.compare(ctx, channel, raw, n)
	if err != nil && len(pieces) > 0 {
		s.discard(ctx, pieces)
	}
	if err != nil && len(batch.Private) > 0 {
		if err := s.forget(ctx, []string{unappliedPartition(channel, n, batch.Hash)}); err != nil {
			s.logger.Warn("private data of a block that lost stays in the table for a while", "channel", channel, "block", n, "error", err)
		}
	}
	return err
}

// compare returns nil if a block that is there has these bytes, else ErrConflict.
func (s *Store) compare(ctx context.Context, channel string, raw []byte, n uint64) error {
	there, err := s.block(ctx, channel, n)
	if err == nil && !bytes.Equal(there, raw) {
		err = ledger.ErrConflict
	}
	return err
}

// put writes items of which it does not matter whether they are there already.
func (s *Store) put(ctx context.Context, items []item) error {
	return writeItems(ctx, s.client, s.table, puts(items))
}

// discard removes the pieces of a block that lost. If that fails they stay, and nobody refers to them.
func (s *Store) discard(ctx context.Context, pieces []item) {
	requests := make([]types.WriteRequest, len(pieces))
	for i, p := range pieces {
		requests[i] = types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: item{partitionKey: p[partitionKey], sortKey: p[sortKey]}}}
	}
	if err := writeItems(ctx, s.client, s.table, requests); err != nil {
		s.logger.Warn("pieces of a block that lost stay in the table", "partition", pieces[0][partitionKey].(*types.AttributeValueMemberS).Value, "error", err)
	}
}

// Block implements ledger.Log.
func (s *Store) Block(ctx context.Context, channel string, n uint64) ([]byte, error) {
	err := s.usable(ctx, channel)
	var raw []byte
	if err == nil {
		raw, err = s.block(ctx, channel, n)
	}
	if err != nil {
		return nil, s.failed(ctx, channel, fmt.Sprintf("block %d", n), err)
	}
	return raw, nil
}

func (s *Store) block(ctx context.Context, channel string, n uint64) ([]byte, error) {
	pk := blockPartition(channel, n)
	it, err := getItem(ctx, s.client, s.table, pk, only)
	if err != nil {
		return nil, err
	}
	if it == nil {
		return nil, ledger.ErrNotFound
	}
	return NewReader(s.client, s.table, channel).content(ctx, it, body, pk, blockPiece)
}

// Height implements ledger.Log.
func (s *Store) Height(ctx context.Context, channel string) (uint64, error) {
	p, err := s.Position(ctx, channel)
	return p.Height, err
}

// Position implements ledger.SharedStore, with one call in a process that was at the channel's end before.
//
// That block n is not there says that there are at most n; that there were n once is never undone. So the height is exact at the
// moment the absence was read.
func (s *Store) Position(ctx context.Context, channel string) (ledger.Position, error) {
	p, err := s.position(ctx, channel)
	if err != nil {
		return p, s.failed(ctx, channel, "height", err)
	}
	return p, nil
}

func (s *Store) position(ctx context.Context, channel string) (p ledger.Position, err error) {
	if err := s.usable(ctx, channel); err != nil {
		return p, err
	}
	known := s.known(channel)
	head := id{headPartition(channel), string(only)}
	for probes := uint64(2); ; probes = min(2*probes, maxBatchGet-1) {
		from := known.height.Load()
		ids := []id{head}
		for n := range probes {
			ids = append(ids, id{blockPartition(channel, from+n), string(only)})
		}
		found, err := getItems(ctx, s.client, s.table, ids, number, defined)
		if err != nil {
			return p, err
		}
		if it := found[head]; it != nil {
			if p.Savepoint, err = numberIn(it, number); err != nil {
				return p, err
			}
			if p.Defined, err = numberIn(it, defined); err != nil {
				return p, err
			}
			known.raise(&known.savepoint, p.Savepoint)
			known.raise(&known.height, p.Savepoint)
		}
		end := from
		for _, i := range ids[1:] {
			if found[i] == nil {
				break
			}
			end++
		}
		known.raise(&known.height, end)
		// If as many are known now, this very answer says that there are no more; else it is asked again from there.
		if end < from+probes && known.height.Load() == end {
			p.Height = end
			return p, nil
		}
	}
}

// Channels implements ledger.Log.
func (s *Store) Channels(ctx context.Context) ([]string, error) {
	names, err := s.channels(ctx)
	if err != nil {
		return nil, s.failed(ctx, "", "channels", err)
	}
	return names, nil
}

func (s *Store) channels(ctx context.Context) ([]string, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var names []string
	all := NewReader(s.client, s.table, "").query(channelsPartition, only, nil, true, maxPage)
	for !all.done {
		items, err := all.next(ctx)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			name, err := bytesIn(it, sortKey)
			if err != nil {
				return nil, err
			}
			names = append(names, string(name))
		}
	}
	// Those whose first block this process has not seen may have none.
	var unsure []id
	of := func(name string) id { return id{blockPartition(name, 0), string(only)} }
	for _, name := range names {
		if s.known(name).height.Load() == 0 {
			unsure = append(unsure, of(name))
		}
	}
	if len(unsure) > 0 {
		found, err := getItems(ctx, s.client, s.table, unsure, partitionKey)
		if err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			if found[of(name)] != nil {
				s.known(name).raise(&s.known(name).height, 1)
			}
			return s.known(name).height.Load() == 0
		})
	}
	slices.Sort(names)
	return names, nil
}
