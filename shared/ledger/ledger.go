package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// ErrExists is returned for a channel that is already there.
var ErrExists = errors.New("already exists")

// ErrClosed is returned when the ledger has been closed.
var ErrClosed = errors.New("the ledger is closed")

// ErrBusy is returned for a transaction when too many wait for their turn on its channel. It was not accepted: try again later.
var ErrBusy = errors.New("too many transactions wait")

// ErrRefused: the store did not take the block, and it is certain that the block is not there. Nothing was committed.
var ErrRefused = errors.New("the store refused the block, nothing was committed")

// ErrOutcomeUnknown: the store failed while a block was being appended. The block may be there or not: ask for the transaction
// later.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// A Config says how a ledger works. Store and Signer are required.
type Config struct {
	Store  Store
	Signer *msp.Signer // signs blocks, as an orderer does

	// CheckpointKey signs the logs' checkpoints. Without it there are no receipts.
	CheckpointKey ed25519.PrivateKey

	// Keys seals the values of private data. Without it none are kept, and only their hashes are known.
	Keys collection.Keys

	// Shared says that other processes append to the same store. Default false: this one is alone, and what it remembers of
	// a channel's end is the truth. A SharedStore is asked less often than another.
	Shared bool

	// MaxTransactions a block holds. Default 500.
	MaxTransactions int
	// MaxBytes of envelopes that a block holds, one transaction always fits. Default 8 MiB.
	MaxBytes int
	// GroupPause is how long a block waits at most for transactions that are on their way (Channel.Join). Default 2 ms.
	GroupPause time.Duration
	// InboxPause is how long a block waits for letters where others write to the channel too. Default 12 ms.
	InboxPause time.Duration
	// InboxPatience is how long a letter waits for its block until its sender writes one himself; up to twice as long, by
	// chance. Default 250 ms.
	InboxPatience time.Duration
	// ApplyPatience is how long this process waits for others to apply their blocks, until it does. Default 200 ms.
	ApplyPatience time.Duration
	// MaxQueue transactions wait on a channel. Default 10,000.
	MaxQueue int
	// RerunBudget is how long the simulations that are repeated over a block being cut may take together. Default 100 ms.
	RerunBudget time.Duration
	// PrivateEntries is how many entries of indexes of collections are kept in memory in all. Default MaxPrivateEntries.
	PrivateEntries int
	// AppendRetries is how often an append whose outcome is unknown is tried again. Default 4.
	AppendRetries int
	// RetryPause before the first of them; it doubles each time. Default 10 ms.
	RetryPause time.Duration

	Logger *slog.Logger // default: none
}

func (c Config) withDefaults() Config {
	if c.MaxTransactions == 0 {
		c.MaxTransactions = 500
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 8 << 20
	}
	if c.GroupPause == 0 {
		c.GroupPause = 2 * time.Millisecond
	}
	if c.InboxPause == 0 {
		c.InboxPause = 12 * time.Millisecond
	}
	if c.InboxPatience == 0 {
		c.InboxPatience = 250 * time.Millisecond
	}
	if c.ApplyPatience == 0 {
		c.ApplyPatience = 200 * time.Millisecond
	}
	if c.MaxQueue == 0 {
		c.MaxQueue = 10_000
	}
	if c.PrivateEntries == 0 {
		c.PrivateEntries = MaxPrivateEntries
	}
	if c.RerunBudget == 0 {
		c.RerunBudget = 100 * time.Millisecond
	}
	if c.AppendRetries == 0 {
		c.AppendRetries = 4
	}
	if c.RetryPause == 0 {
		c.RetryPause = 10 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return c
}

// A Ledger is a set of channels on one store.
type Ledger struct {
	Config
	shared SharedStore     // nil if the store is none, or not shared
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // committers

	configs channelconfig.Parser
	private privateIndexes

	mu       sync.Mutex
	channels map[string]*Channel // those that were used; an idle one has no goroutine and little memory
	closed   bool

	failure atomic.Pointer[error] // of the last append, nil if it went well
}

// Open opens a ledger. It reads nothing: a channel is loaded when it is first used.
func Open(config Config) (*Ledger, error) {
	if config.Store == nil || config.Signer == nil {
		return nil, errors.New("open ledger: a store and a block signer are required")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Ledger{Config: config.withDefaults(), ctx: ctx, cancel: cancel, channels: make(map[string]*Channel)}
	if config.Shared {
		l.shared, _ = config.Store.(SharedStore)
	}
	return l, nil
}

// Close waits until every transaction accepted is committed or refused. The store stays open.
func (l *Ledger) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.work.Wait()
	l.cancel()
	return nil
}

// Create makes a channel of its genesis block; ErrExists if there is one by that name.
func (l *Ledger) Create(ctx context.Context, genesis *common.Block) error {
	config, err := l.configs.Parse(genesis)
	if err != nil {
		return fmt.Errorf("create channel: %w", err)
	}
	height, err := l.Store.Height(ctx, config.Channel)
	if err != nil {
		return fmt.Errorf("create channel %s: %w", config.Channel, err)
	}
	if height > 0 {
		return fmt.Errorf("channel %s: %w", config.Channel, ErrExists)
	}
	j := newJudge(config.Channel, config, emptyView{}, 0, map[string]*Definition{})
	c := check(config, genesis.Data.Data[0])
	code := c.code
	if c.isConfig() {
		code = 0 // a genesis block's envelope is signed by nobody
	}
	if err := j.accept(ctx, c, code); err != nil {
		return fmt.Errorf("create channel %s: %w", config.Channel, err)
	}
	if err := j.finish(ctx, genesis.Header); err != nil {
		return fmt.Errorf("create channel %s: %w", config.Channel, err)
	}
	block := proto.CloneOf(genesis)
	wire.SetValidationCodes(block, j.codes)
	raw, err := proto.Marshal(block)
	if err != nil {
		return fmt.Errorf("create channel %s: %w", config.Channel, err)
	}
	batch := j.batch(wire.HeaderHash(block.Header))
	if err := l.Store.Append(ctx, config.Channel, raw, batch); errors.Is(err, ErrConflict) {
		return fmt.Errorf("channel %s: %w", config.Channel, ErrExists)
	} else if err != nil {
		return fmt.Errorf("create channel %s: %w", config.Channel, errors.Join(ErrOutcomeUnknown, err))
	}
	if err := l.Store.Apply(ctx, config.Channel, batch); err != nil {
		l.Logger.Warn("genesis block is not applied yet", "channel", config.Channel, "error", err)
	}
	return nil
}

// Healthy returns nil if blocks can be appended, as far as is known: the store answers, and the last append went well.
func (l *Ledger) Healthy(ctx context.Context) error {
	if _, err := l.Store.Channels(ctx); err != nil {
		return fmt.Errorf("the store does not answer: %w", err)
	}
	if failure := l.failure.Load(); failure != nil {
		return fmt.Errorf("the last block could not be appended: %w", *failure)
	}
	return nil
}

// Channels returns the names of the channels, sorted.
func (l *Ledger) Channels(ctx context.Context) ([]string, error) {
	names, err := l.Store.Channels(ctx)
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	return names, nil
}

// Channel returns a channel by name, or ErrNotFound.
func (l *Ledger) Channel(ctx context.Context, name string) (*Channel, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	c := l.channels[name]
	if c == nil {
		c = &Channel{ledger: l, name: name, definitions: make(map[string]*Definition), changed: make(chan struct{}), arrived: make(chan struct{}, 1)}
		l.channels[name] = c
	}
	l.mu.Unlock()

	if err := c.load(ctx); err != nil {
		l.mu.Lock()
		if l.channels[name] == c && !c.loaded.Load() {
			delete(l.channels, name)
		}
		l.mu.Unlock()
		return nil, err
	}
	return c, nil
}

// emptyView is the state of a channel before its first block.
type emptyView struct{}

var _ View = emptyView{}

func (emptyView) Savepoint() uint64 { return 0 }
func (emptyView) Fixed() bool       { return true }
func (emptyView) Close() error      { return nil }
func (emptyView) Get(_ context.Context, _ string, keys []string) ([]*Item, error) {
	return make([]*Item, len(keys)), nil
}
func (emptyView) Range(context.Context, string, string, string, int) ([]KV, error) { return nil, nil }
func (emptyView) History(context.Context, string, string, Version, int) ([]Change, error) {
	return nil, nil
}
func (emptyView) Transactions(_ context.Context, ids []string) ([]*TxEntry, error) {
	return make([]*TxEntry, len(ids)), nil
}
func (emptyView) BlockByHash(context.Context, []byte) (uint64, error) { return 0, ErrNotFound }
