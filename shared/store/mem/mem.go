package mem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"peerless/shared/ledger"
)

var (
	// ErrClosed: the store or the view was closed before the call.
	ErrClosed = errors.New("closed")
	// ErrMisuse: the caller broke the contract of ledger.Store. It is a defect of the program, never of the data.
	ErrMisuse = errors.New("store used against its contract")
)

// Config says how a store departs from the ordinary. The zero value is a store with fixed views whose Append makes the
// block and its effects visible at once.
type Config struct {
	// Hook decides the outcome of each write. It is called with no lock held: it may block, and may call the store. It must
	// be safe for concurrent use. Default: every write proceeds.
	Hook func(Write) Outcome

	// Loose gives views that see what is applied after they were opened, and an Apply whose single writes become visible
	// one by one, each of which the hook can fail. Default: views are fixed and Apply is atomic.
	Loose bool

	// SeparateApply makes Append leave the batch to Apply.
	SeparateApply bool

	// Staged bounds the private sets that wait.
	Staged ledger.StagedLimits
}

// Store is a ledger.Store in memory. The methods are documented there.
type Store struct {
	config Config

	mu       sync.RWMutex // guards what follows, and all inside the channels
	channels map[string]*channel
	staged   map[string]map[string]ledger.StagedSet // by channel and id
	closed   bool
}

type channel struct {
	blocks  [][]byte
	digests [][sha256.Size]byte // of the batch of each block
	tables  *tables
	frozen  *tables // a copy of tables for fixed views; nil once tables was written

	unapplied map[uint64][]ledger.Write // private writes of blocks that are not applied
}

var _ ledger.Store = (*Store)(nil)

// New returns an empty store.
func New(c Config) *Store {
	if c.Hook == nil {
		c.Hook = func(Write) Outcome { return Proceed }
	}
	c.Staged = c.Staged.WithDefaults()
	return &Store{config: c, channels: make(map[string]*channel), staged: make(map[string]map[string]ledger.StagedSet)}
}

// Append implements ledger.Log.
func (s *Store) Append(ctx context.Context, channel string, block []byte, batch *ledger.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if channel == "" || batch == nil {
		return fmt.Errorf("append: no channel or no batch: %w", ErrMisuse)
	}
	outcome := s.config.Hook(Write{Op: OpAppend, Channel: channel, Block: batch.Block})
	if outcome == FailNotApplied {
		return fmt.Errorf("append block %d: %w", batch.Block, ErrInjected)
	}
	err := s.append(channel, block, batch)
	if outcome == FailApplied {
		err = ErrInjected
	}
	if err != nil {
		return fmt.Errorf("append block %d: %w", batch.Block, err)
	}
	return nil
}

func (s *Store) append(name string, block []byte, batch *ledger.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	c := s.channels[name]
	if c == nil {
		c = &channel{tables: newTables(), unapplied: make(map[uint64][]ledger.Write)}
	}
	switch height := uint64(len(c.blocks)); {
	case batch.Block > height:
		return fmt.Errorf("the next block is %d: %w", height, ledger.ErrConflict)
	case batch.Block < height && bytes.Equal(c.blocks[batch.Block], block):
		return c.checkBatch(batch)
	case batch.Block < height:
		return ledger.ErrConflict
	}
	s.channels[name] = c
	c.blocks = append(c.blocks, cloneBytes(block))
	c.digests = append(c.digests, digest(batch))
	if !s.config.SeparateApply {
		c.apply(batch)
	} else if len(batch.Private) > 0 {
		c.unapplied[batch.Block] = cloneWrites(batch.Private)
	}
	return nil
}

// checkBatch checks that a block's batch is the one it came with.
func (c *channel) checkBatch(batch *ledger.Batch) error {
	if c.digests[batch.Block] != digest(batch) {
		return fmt.Errorf("the batch differs from the one given to Append: %w", ErrMisuse)
	}
	return nil
}

// apply writes all of the batch.
func (c *channel) apply(batch *ledger.Batch) {
	c.frozen = nil
	for _, w := range c.tables.writes(batch) {
		w.do()
	}
}

// Block implements ledger.Log.
func (s *Store) Block(ctx context.Context, channel string, number uint64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("block %d: %w", number, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("block %d: %w", number, ErrClosed)
	}
	c := s.channels[channel]
	if c == nil || number >= uint64(len(c.blocks)) {
		return nil, fmt.Errorf("block %d of channel %q: %w", number, channel, ledger.ErrNotFound)
	}
	return cloneBytes(c.blocks[number]), nil
}

// Height implements ledger.Log.
func (s *Store) Height(ctx context.Context, channel string) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("height: %w", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, fmt.Errorf("height: %w", ErrClosed)
	}
	if c := s.channels[channel]; c != nil {
		return uint64(len(c.blocks)), nil
	}
	return 0, nil
}

// Channels implements ledger.Log.
func (s *Store) Channels(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("channels: %w", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("channels: %w", ErrClosed)
	}
	names := make([]string, 0, len(s.channels))
	for name := range s.channels {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Apply implements ledger.State.
func (s *Store) Apply(ctx context.Context, channel string, batch *ledger.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if batch == nil {
		return fmt.Errorf("apply: no batch: %w", ErrMisuse)
	}
	outcome := s.config.Hook(Write{Op: OpApply, Channel: channel, Block: batch.Block})
	if outcome == FailNotApplied {
		return fmt.Errorf("apply block %d: %w", batch.Block, ErrInjected)
	}
	err := s.apply(ctx, channel, batch)
	if outcome == FailApplied {
		err = ErrInjected
	}
	if err != nil {
		return fmt.Errorf("apply block %d: %w", batch.Block, err)
	}
	return nil
}

func (s *Store) apply(ctx context.Context, name string, batch *ledger.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	c := s.channels[name]
	if c == nil || batch.Block >= uint64(len(c.blocks)) {
		return fmt.Errorf("the block was not appended: %w", ErrMisuse)
	}
	if err := c.checkBatch(batch); err != nil {
		return err
	}
	switch {
	case batch.Block < c.tables.savepoint:
		return nil
	case batch.Block > c.tables.savepoint:
		return fmt.Errorf("the savepoint is %d: blocks are applied in order: %w", c.tables.savepoint, ErrMisuse)
	}
	if s.config.Loose {
		if err := s.applyStepwise(ctx, name, c, batch); err != nil {
			return err
		}
	} else {
		c.apply(batch)
	}
	delete(c.unapplied, batch.Block)
	return nil
}

// applyStepwise writes the batch one write at a time, asking the hook with the lock released: s.mu is held when it is
// called and when it returns.
func (s *Store) applyStepwise(ctx context.Context, name string, c *channel, batch *ledger.Batch) error {
	for _, w := range c.tables.writes(batch) {
		s.mu.Unlock()
		outcome := s.config.Hook(Write{Op: w.op, Channel: name, Block: batch.Block, Index: w.index})
		s.mu.Lock()
		if s.closed {
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if outcome != FailNotApplied {
			w.do()
		}
		if outcome != Proceed {
			return fmt.Errorf("%v %d: %w", w.op, w.index, ErrInjected)
		}
	}
	return nil
}

// View implements ledger.State.
func (s *Store) View(ctx context.Context, name string) (ledger.View, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("view: %w", ErrClosed)
	}
	c := s.channels[name]
	switch {
	case c == nil && s.config.Loose:
		// A channel that does not exist yet has an empty view; it cannot follow one created later.
		return &view{tables: newTables(), mu: &s.mu}, nil
	case c == nil:
		return &view{tables: newTables()}, nil
	case s.config.Loose:
		return &view{tables: c.tables, mu: &s.mu, savepoint: c.tables.savepoint}, nil
	}
	if c.frozen == nil {
		c.frozen = c.tables.copy()
	}
	return &view{tables: c.frozen, savepoint: c.frozen.savepoint}, nil
}

// Close forgets everything. Views stay readable until they are closed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.channels, s.staged = nil, nil
	return nil
}
