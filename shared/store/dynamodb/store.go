package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"peerless/shared/ledger"
)

// A Config says where a store is. Client and Table are required.
type Config struct {
	Client Client // a dynamodb.Client of the SDK
	Table  string // name of a table made by Description
	Logger *slog.Logger
}

// Store is a ledger.Store in a table of DynamoDB. The methods are documented there.
type Store struct {
	client Client
	table  string
	logger *slog.Logger
	closed atomic.Bool

	mu    sync.Mutex
	marks map[string]*marks
}

var _ ledger.SharedStore = (*Store)(nil)

// marks are what is known of a channel. Both only ever rise: they save looking for what cannot have changed.
type marks struct {
	height    atomic.Uint64 // there are at least so many blocks
	savepoint atomic.Uint64 // and of these so many are applied
}

// raise makes a mark n, unless it is higher.
func (*marks) raise(mark *atomic.Uint64, n uint64) {
	for {
		old := mark.Load()
		if old >= n || mark.CompareAndSwap(old, n) {
			return
		}
	}
}

// The partitions that are not a block's, a namespace's or a look-up's.
const channelsPartition = "channels"

func headPartition(channel string) string { return partition("head", channel) }

// Open returns the store in a table. It makes no call: Check says whether the table can be used.
func Open(config Config) (*Store, error) {
	if config.Client == nil || config.Table == "" {
		return nil, errors.New("open DynamoDB store: a client and a table's name are required")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &Store{client: config.Client, table: config.Table, logger: config.Logger, marks: make(map[string]*marks)}, nil
}

// Close implements ledger.Store. The client stays the caller's.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

func (s *Store) known(channel string) *marks {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[channel]
	if m == nil {
		m = &marks{}
		s.marks[channel] = m
	}
	return m
}

// open returns an error if nothing may be asked of the store now.
func (s *Store) open(ctx context.Context) error {
	if s.closed.Load() {
		return fmt.Errorf("store: %w", errClosed)
	}
	return ctx.Err()
}

func (s *Store) usable(ctx context.Context, channel string) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return checkChannel(channel)
}

// failed puts the operation before an error.
func (s *Store) failed(ctx context.Context, channel, op string, err error) error {
	if channel == "" {
		channel = "*"
	}
	return NewReader(s.client, s.table, channel).failed(ctx, op, err)
}
