package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/channelconfig"
	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// A Channel is one chain of blocks and the state that follows from it. Safe for concurrent use.
type Channel struct {
	ledger *Ledger
	name   string

	loading sync.Mutex  // held while the end of the chain is read
	loaded  atomic.Bool // tip and config are set

	config  atomic.Pointer[channelconfig.Config]
	height  atomic.Uint64 // blocks known to be in the log
	applied atomic.Uint64 // blocks known to be in the state
	looked  atomic.Int64  // when the end of a shared log was last looked at, in nanoseconds since 1970
	recall  recall        // of a shared channel
	last    atomic.Pointer[common.Block]
	end     atomic.Pointer[Position] // as last looked at
	ahead   atomic.Pointer[anticipation]

	checkpoints atomic.Pointer[receipt.Signer] // nil until it is first asked for

	// The committer's: only the goroutine that is cutting a block touches them, or load before there is one.
	tip         tip
	definitions map[string]*Definition // as of the tip; dropped when the lifecycle changes
	stale       bool                   // the tip may not be the log's: an append's outcome is unknown, or another appended
	contended   time.Time              // until then others are taken to append too: see inbox.go

	underway atomic.Int64  // transactions that joined and did not leave
	arrived  chan struct{} // holds one when something was queued lately

	mu      sync.Mutex
	queue   []*pending
	cutting bool          // a goroutine is at work on the queue
	changed chan struct{} // closed, and made anew, when a block is there
}

// tip is the end of the chain.
type tip struct {
	height     uint64
	hash       []byte // of the last header
	commitHash []byte
	lastConfig uint64 // number of the last configuration block
}

// load reads the end of the chain, and applies what is in the log and not yet in the state.
func (c *Channel) load(ctx context.Context) error {
	if c.loaded.Load() {
		return nil
	}
	c.loading.Lock()
	defer c.loading.Unlock()
	if c.loaded.Load() {
		return nil
	}
	if err := c.readTip(ctx); err != nil {
		return err
	}
	if err := c.catchUp(ctx, c.tip.height); err != nil {
		c.ledger.Logger.Warn("blocks are not applied yet", "channel", c.name, "error", err)
	}
	c.loaded.Store(true)
	return nil
}

// readTip reads the end of the chain from the log. What it takes to be the last block is read at the same time as where the end
// is: mostly it is the last.
func (c *Channel) readTip(ctx context.Context) error {
	guess := c.height.Load()
	var last *common.Block
	var guessing sync.WaitGroup
	if guess > 0 && guess != c.tip.height {
		guessing.Go(func() { last, _ = c.lastBlock(ctx, guess-1) })
	}
	var p Position
	var err error
	if end := c.end.Load(); !c.stale && end != nil && end.Height == guess && c.lookedLately() {
		p = *end
	} else {
		p, err = c.position(ctx)
	}
	guessing.Wait()
	if err != nil {
		return err
	}
	if p.Height == 0 {
		return fmt.Errorf("channel %s: %w", c.name, ErrNotFound)
	}
	if p.Height == c.tip.height {
		return nil
	}
	if last == nil || p.Height != guess {
		if last, err = c.lastBlock(ctx, p.Height-1); err != nil {
			return fmt.Errorf("load channel %s: %w", c.name, err)
		}
	}
	t := tip{height: p.Height, hash: wire.HeaderHash(last.Header), commitHash: wire.CommitHash(last)}
	if p.Height > 1 {
		if _, t.lastConfig, err = wire.BlockSignatures(last); err != nil {
			return fmt.Errorf("load channel %s: block %d: %w", c.name, p.Height-1, err)
		}
	}
	if c.config.Load() == nil || c.tip.lastConfig != t.lastConfig {
		block, err := c.Block(ctx, t.lastConfig)
		if err != nil {
			return fmt.Errorf("load channel %s: configuration block: %w", c.name, err)
		}
		config, err := c.ledger.configs.Parse(block)
		if err != nil {
			return fmt.Errorf("load channel %s: configuration block %d: %w", c.name, t.lastConfig, err)
		}
		c.config.Store(config)
	}
	if p.Savepoint < p.Height || p.Defined > c.tip.height {
		c.definitions = make(map[string]*Definition)
	}
	c.tip = t
	return nil
}

// Name returns the channel's name.
func (c *Channel) Name() string { return c.name }

// Config returns the channel's configuration as of its last block.
func (c *Channel) Config() *channelconfig.Config { return c.config.Load() }

// Height returns the number of blocks.
func (c *Channel) Height(ctx context.Context) (uint64, error) {
	if !c.ledger.Shared {
		return c.height.Load(), nil
	}
	p, err := c.position(ctx)
	return p.Height, err
}

// RawBlock returns a block as it is stored, or ErrNotFound; ErrDamaged if its data is not what its header says.
func (c *Channel) RawBlock(ctx context.Context, number uint64) ([]byte, error) {
	raw, err := c.ledger.Store.Block(ctx, c.name, number)
	if err != nil {
		return nil, fmt.Errorf("block %d of channel %s: %w", number, c.name, err)
	}
	if _, err := wire.ParseBlock(raw); err != nil {
		return nil, fmt.Errorf("block %d of channel %s: %w: %w", number, c.name, ErrDamaged, err)
	}
	return raw, nil
}

// Block returns a block, or ErrNotFound; ErrDamaged if its data is not what its header says.
func (c *Channel) Block(ctx context.Context, number uint64) (*common.Block, error) {
	raw, err := c.ledger.Store.Block(ctx, c.name, number)
	if err != nil {
		return nil, fmt.Errorf("block %d of channel %s: %w", number, c.name, err)
	}
	block, err := wire.ParseBlock(raw)
	if err != nil {
		return nil, fmt.Errorf("block %d of channel %s: %w: %w", number, c.name, ErrDamaged, err)
	}
	if block.GetHeader().GetNumber() != number {
		return nil, fmt.Errorf("block %d of channel %s: it says it is block %d: %w", number, c.name, block.GetHeader().GetNumber(), ErrDamaged)
	}
	return block, nil
}

// lastBlock is Block for one that is near the end of the chain: the one that was last asked for is at hand.
func (c *Channel) lastBlock(ctx context.Context, number uint64) (*common.Block, error) {
	if last := c.last.Load(); last != nil && last.Header.Number == number {
		return last, nil
	}
	block, err := c.Block(ctx, number)
	if err == nil && c.ledger.shared != nil {
		c.last.Store(block)
	}
	return block, err
}

// ConfigBlock returns the last block with a configuration.
func (c *Channel) ConfigBlock(ctx context.Context) (*common.Block, error) {
	height, err := c.Height(ctx)
	if err != nil {
		return nil, err
	}
	last, err := c.Block(ctx, height-1)
	if err != nil {
		return nil, err
	}
	number := uint64(0)
	if height > 1 {
		if _, number, err = wire.BlockSignatures(last); err != nil {
			return nil, fmt.Errorf("configuration of channel %s: block %d: %w", c.name, height-1, err)
		}
	}
	return c.Block(ctx, number)
}

// BlockByHash returns the number of the block with this header hash, or ErrNotFound.
func (c *Channel) BlockByHash(ctx context.Context, hash []byte) (uint64, error) {
	view, err := c.View(ctx)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	return view.BlockByHash(ctx, hash)
}

// A TransactionRecord is a transaction in its block.
type TransactionRecord struct {
	TxEntry
	Envelope []byte            // a common.Envelope
	Tx       *wire.Transaction // taken apart as far as it could be
}

// Entry says where a transaction stands, or ErrNotFound.
func (c *Channel) Entry(ctx context.Context, txID string) (TxEntry, error) {
	view, err := c.View(ctx)
	if err != nil {
		return TxEntry{}, err
	}
	defer view.Close()
	entries, err := view.Transactions(ctx, []string{txID})
	if err != nil {
		return TxEntry{}, fmt.Errorf("transaction %s of channel %s: %w", txID, c.name, err)
	}
	if entries[0] == nil {
		return TxEntry{}, fmt.Errorf("transaction %s of channel %s: %w", txID, c.name, ErrNotFound)
	}
	return *entries[0], nil
}

// Transaction returns a transaction by its id, or ErrNotFound.
func (c *Channel) Transaction(ctx context.Context, txID string) (*TransactionRecord, error) {
	entry, err := c.Entry(ctx, txID)
	if err != nil {
		return nil, err
	}
	block, err := c.Block(ctx, entry.Version.Block)
	if err != nil {
		return nil, err
	}
	if entry.Version.Tx >= uint64(len(block.Data.Data)) {
		return nil, fmt.Errorf("transaction %s of channel %s: block %d has no position %d: %w", txID, c.name, entry.Version.Block, entry.Version.Tx, ErrDamaged)
	}
	record := &TransactionRecord{TxEntry: entry, Envelope: block.Data.Data[entry.Version.Tx]}
	record.Tx, _ = wire.ParseEnvelope(record.Envelope)
	return record, nil
}

// View opens a reader of the state as of the last block. A block that is in the log and cannot be applied now is laid over.
func (c *Channel) View(ctx context.Context) (View, error) {
	if shared := c.ledger.shared; shared != nil {
		p, err := c.position(ctx)
		if err != nil {
			return nil, err
		}
		return c.viewOf(ctx, shared, p.Height, p.Savepoint)
	}
	height, err := c.Height(ctx)
	if err != nil {
		return nil, err
	}
	view, err := c.ledger.Store.View(ctx, c.name)
	if err != nil {
		return nil, fmt.Errorf("read state of channel %s: %w", c.name, err)
	}
	return c.upTo(ctx, view, height)
}

// viewOf returns a view of a shared channel's state as of height blocks, of which so many are applied.
func (c *Channel) viewOf(ctx context.Context, shared SharedStore, height, savepoint uint64) (View, error) {
	view, err := c.upTo(ctx, shared.ViewAt(c.name, savepoint), height)
	if err != nil {
		return nil, err
	}
	return &recalling{View: view, recall: &c.recall, height: height}, nil
}

// upTo lays over a view the blocks below height that it lacks.
func (c *Channel) upTo(ctx context.Context, view View, height uint64) (View, error) {
	for view.Savepoint() < height {
		over, err := c.layOver(ctx, view)
		if err != nil {
			view.Close()
			return nil, err
		}
		view = over
	}
	return view, nil
}

// layOver puts the next block that is not applied over a view.
func (c *Channel) layOver(ctx context.Context, view View) (*overlay, error) {
	number := view.Savepoint()
	block, err := c.lastBlock(ctx, number)
	if err != nil {
		return nil, err
	}
	j, err := replay(ctx, view, block)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", c.name, err)
	}
	over := &overlay{View: view, updates: j.updates, txs: j.entries, hash: wire.HeaderHash(block.Header), private: privateIDs(block)}
	private, err := c.ledger.Store.Unapplied(ctx, c.name, number, over.hash)
	if err != nil {
		return nil, fmt.Errorf("private data of block %d of channel %s: %w", number, c.name, err)
	}
	for _, w := range private {
		j.set(stateKey{w.Namespace, w.Key}, w.Item)
	}
	return over, nil
}

// BatchOf derives what a block does to the state from the verdicts recorded in it, judging nothing again. The view is of the
// state before the block. ErrDamaged: the block has no verdict for each transaction, or calls valid what cannot be.
func BatchOf(ctx context.Context, view View, block *common.Block) (*Batch, error) {
	j, err := replay(ctx, view, block)
	if err != nil {
		return nil, err
	}
	return j.batch(wire.HeaderHash(block.Header)), nil
}

func replay(ctx context.Context, view View, block *common.Block) (*judge, error) {
	number := block.GetHeader().GetNumber()
	codes, err := wire.ValidationCodes(block)
	if err != nil || len(codes) != len(block.Data.Data) {
		return nil, fmt.Errorf("block %d has no verdict for each transaction: %w", number, ErrDamaged)
	}
	// What is asked for more than once is remembered, and what will be asked for is read at the same time.
	memory := &recall{}
	memory.at(number, func(uint64) bool { return false })
	j := newJudge("", nil, &recalling{View: view, recall: memory, height: number}, number, make(map[string]*Definition))
	txs := make([]*checked, len(block.Data.Data))
	for i, raw := range block.Data.Data {
		tx, _ := wire.ParseEnvelope(raw)
		if tx == nil {
			tx = &wire.Transaction{}
		}
		txs[i] = &checked{raw: raw, digest: sha256.Sum256(raw), tx: tx, code: codes[i]}
	}
	if err := j.prefetch(ctx, txs); err != nil {
		return nil, fmt.Errorf("block %d: %w", number, err)
	}
	for i, c := range txs {
		tx := c.tx
		if codes[i] == peer.TxValidationCode_VALID && tx.RWSet == nil && tx.Type != common.HeaderType_CONFIG {
			return nil, fmt.Errorf("block %d: transaction %d is recorded as valid and has no read-write set: %w", number, i, ErrDamaged)
		}
		if codes[i] == peer.TxValidationCode_VALID && writesReserved(tx) {
			return nil, fmt.Errorf("block %d: transaction %d is recorded as valid and writes where only the ledger may: %w", number, i, ErrDamaged)
		}
		if err := j.accept(ctx, c, codes[i]); err != nil {
			return nil, fmt.Errorf("block %d: transaction %d: %w", number, i, err)
		}
	}
	if err := j.finish(ctx, block.GetHeader()); err != nil {
		return nil, err
	}
	return j, nil
}

// catchUp applies the blocks below height that are in the log and not yet in the state. Only load and the committer call it.
func (c *Channel) catchUp(ctx context.Context, height uint64) error {
	for c.applied.Load() < height {
		view, err := c.ledger.Store.View(ctx, c.name)
		if err != nil {
			return fmt.Errorf("read state of channel %s: %w", c.name, err)
		}
		if c.applied.Store(view.Savepoint()); view.Savepoint() >= height {
			return view.Close()
		}
		over, err := c.layOver(ctx, view)
		view.Close()
		if err != nil {
			return err
		}
		writes, private := over.updates.writes()
		batch := &Batch{Block: over.updates.number, Hash: over.hash, Writes: writes, History: over.updates.history, Txs: over.txs, Private: private}
		if err := c.ledger.Store.Apply(ctx, c.name, batch); err != nil {
			return fmt.Errorf("apply block %d of channel %s: %w", batch.Block, c.name, err)
		}
		c.applied.Store(batch.Block + 1)
		c.unstage(ctx, over.private)
	}
	return nil
}
