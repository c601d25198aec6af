package conformance

import (
	"context"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// position is where a transaction stands in a channel.
type position struct {
	block uint64
	tx    int
}

func (p position) before(other position) bool {
	return p.block < other.block || p.block == other.block && p.tx < other.tx
}

// chain numbers a channel's blocks as results do: 0 is the block of the scenario's first commit.
type chain struct {
	base   *uint64 // nil until the first commit
	merged []span  // runs of blocks that count as one, in order
	blocks map[uint64]*peer.FilteredBlock
}

type span struct{ first, last uint64 }

func (r *run) chain(channel string) *chain {
	c := r.chains[channel]
	if c == nil {
		c = &chain{blocks: map[uint64]*peer.FilteredBlock{}}
		r.chains[channel] = c
	}
	return c
}

// relative gives a block's number in results. A block before the first commit has a negative one.
func (c *chain) relative(block uint64) int64 {
	if c.base == nil {
		return int64(block)
	}
	number := int64(block) - int64(*c.base)
	for _, s := range c.merged {
		if block > s.first {
			number -= int64(min(block, s.last) - s.first)
		}
	}
	return number
}

// absolute gives the first block with a number.
func (c *chain) absolute(number uint64) uint64 {
	if c.base == nil {
		return number
	}
	block := *c.base
	for c.relative(block) < int64(number) {
		block++
	}
	return block
}

// landing is a transaction that a step brought into the chain, before its block has a number.
type landing struct {
	item    object
	channel string
	at      position
	status  *gateway.CommitStatusResponse
	again   *peer.TxValidationCode // of this occurrence, if there was an earlier one
}

// number gives the transactions of one step the numbers of their blocks, and notes those that do not stand in the order
// in which they were submitted.
func (r *run) number(landed []landing) {
	for i, l := range landed {
		c := r.chain(l.channel)
		if c.base == nil {
			base := l.at.block
			c.base = &base
		}
		if i > 0 && !landed[i-1].at.before(l.at) {
			l.item["outOfOrder"] = true
		}
		if first := landed[0].at.block; r.options.Regroup && i == len(landed)-1 && first < l.at.block {
			c.merged = append(c.merged, span{first, l.at.block})
		}
	}
	for _, l := range landed {
		c := r.chain(l.channel)
		l.item["commit"] = object{"code": l.status.GetResult().String(), "block": c.relative(l.status.GetBlockNumber())}
		if l.again != nil {
			l.item["inBlock"] = object{"code": l.again.String(), "block": c.relative(l.at.block)}
		}
	}
}

// find waits for a transaction at or behind a position.
func (r *run) find(ctx context.Context, channel, txID string, from position) (position, peer.TxValidationCode, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.network.FilteredBlocks(ctx, Organizations[0], r.reader, channel, from.block)
	if err != nil {
		return position{}, 0, err
	}
	for {
		block, err := stream.Recv()
		if err != nil {
			return position{}, 0, err
		}
		r.chain(channel).blocks[block.GetNumber()] = block
		for i, tx := range block.GetFilteredTransactions() {
			at := position{block.GetNumber(), i}
			if tx.GetTxid() == txID && !at.before(from) {
				return at, tx.GetTxValidationCode(), nil
			}
		}
	}
}

// block reads one block that exists.
func (r *run) block(ctx context.Context, channel string, number uint64) (*peer.FilteredBlock, error) {
	known := r.chain(channel).blocks
	if known[number] == nil {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := r.network.FilteredBlocks(ctx, Organizations[0], r.reader, channel, number)
		if err != nil {
			return nil, fmt.Errorf("read block %d: %w", number, err)
		}
		block, err := stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("read block %d: %w", number, err)
		}
		if block.GetNumber() != number {
			return nil, fmt.Errorf("read block %d: got block %d", number, block.GetNumber())
		}
		known[number] = block
	}
	return known[number], nil
}

// version names the transaction that wrote a version: null if there is none, "earlier" if it is not the scenario's.
func (r *run) version(ctx context.Context, channel string, v *kvrwset.Version) (any, error) {
	const earlier = "earlier"
	c := r.chain(channel)
	switch {
	case v == nil:
		return nil, nil
	case c.base == nil || v.GetBlockNum() < *c.base:
		return earlier, nil
	}
	block, err := r.block(ctx, channel, v.GetBlockNum())
	if err != nil {
		return nil, fmt.Errorf("version %d/%d: %w", v.GetBlockNum(), v.GetTxNum(), err)
	}
	txs := block.GetFilteredTransactions()
	if v.GetTxNum() >= uint64(len(txs)) {
		return fmt.Sprintf("no transaction %d in block %d", v.GetTxNum(), v.GetBlockNum()), nil
	}
	if label, ok := r.names.labels[txs[v.GetTxNum()].GetTxid()]; ok {
		return "tx:" + label, nil
	}
	return earlier, nil
}
