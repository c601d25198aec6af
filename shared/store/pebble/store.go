package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/s2"

	"peerless/shared/ledger"
)

// Config tunes a store. The zero value is right for a server of some hundred MB of memory.
type Config struct {
	CacheBytes    int64               // memory for what is read, and of this, Pebble takes what the state to be written uses; default 32 MiB
	MemTableBytes uint64              // state that is collected before it is written; up to four times this is used, and as much is replayed after a crash; default 8 MiB
	SegmentBytes  int64               // size at which the log begins its next file; default 64 MiB
	Staged        ledger.StagedLimits // of private sets that wait
	Logger        *slog.Logger        // default: nothing is logged
	FS            vfs.FS              // default: the operating system's
}

func (c Config) withDefaults() Config {
	if c.CacheBytes == 0 {
		c.CacheBytes = 32 << 20
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = 8 << 20
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	c.Staged = c.Staged.WithDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	return c
}

// Store is a ledger.Store in a directory. The methods are documented there.
type Store struct {
	config   Config
	dir      *directory
	db       *database
	log      *log
	records  *Records
	private  *privateLog
	sweeping sync.Mutex // held to sweep the private log

	lifetime sync.RWMutex // held for reading by each call, for writing by Close
	closed   bool

	mu       sync.Mutex // guards what follows
	channels map[string]*channel
	views    map[*view]struct{}
	sweeper  *time.Timer // will sweep the private log; nil if nothing is there to sweep
}

// channel is what is known of a channel without a look at the disk.
type channel struct {
	mu      sync.Mutex // held through each Append, and to write what follows
	height  atomic.Uint64
	doubted atomic.Bool // an Append failed, and the log may not have voided its record
}

var _ ledger.Store = (*Store)(nil)

// use begins a call. The caller calls s.lifetime.RUnlock if there is no error.
func (s *Store) use(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.lifetime.RLock()
	err := s.db.failure()
	if s.closed {
		err = ErrClosed
	}
	if err != nil {
		s.lifetime.RUnlock()
	}
	return err
}

// channel returns the channel, which is made if that is asked for. It is nil if there is none.
func (s *Store) channel(name string, create bool) *channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[name]
	if c == nil && create {
		c = &channel{}
		s.channels[name] = c
	}
	return c
}

// Append implements ledger.Log.
func (s *Store) Append(ctx context.Context, channel string, block []byte, batch *ledger.Batch) error {
	if channel == "" || batch == nil {
		return errors.New("append: no channel or no batch")
	}
	err := s.use(ctx)
	if err == nil {
		defer s.lifetime.RUnlock()
		err = s.append(ctx, channel, block, batch)
	}
	if err != nil {
		return fmt.Errorf("append block %d to channel %q: %w", batch.Block, channel, classify(err))
	}
	return nil
}

func (s *Store) append(ctx context.Context, name string, block []byte, batch *ledger.Batch) error {
	c := s.channel(name, batch.Block == 0)
	if c == nil {
		return ledger.ErrConflict
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case batch.Block > c.height.Load():
		return ledger.ErrConflict
	case batch.Block < c.height.Load():
		held, err := s.block(name, batch.Block)
		if err == nil && !bytes.Equal(held, block) {
			err = ledger.ErrConflict
		}
		return err
	}
	if err := s.settle(c); err != nil {
		return err
	}
	if err := s.db.writable(); err != nil {
		return err
	}

	record, err := encodeRecord(name, block, batch)
	if err != nil {
		return err
	}
	defer record.free()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(batch.Private) > 0 {
		s.private.appending.RLock()
		defer s.private.appending.RUnlock()
		if err := s.private.keep(name, batch); err != nil {
			return err
		}
		defer s.sweepLater()
	}
	segment, start, end, err := s.log.write(record.bytes)
	if err != nil {
		c.doubted.Store(true)
		return err
	}
	from, to := position{segment.number, start}, position{segment.number, end}
	defer s.log.done(from)
	synced := make(chan error, 1)
	go func() { synced <- s.log.sync(segment, end) }()
	effects, err := s.db.effects(name, batch, from, to, s.log.replayFrom(from, to))
	if syncErr := <-synced; syncErr != nil {
		c.doubted.Store(true)
		if err == nil {
			err = effects.Close()
		}
		return errors.Join(syncErr, err)
	}
	// The block is durable: from here on an error leaves the store failed, and the next Open will find the block.
	if err == nil {
		err = errors.Join(s.db.commit(effects), effects.Close())
	}
	if err != nil {
		s.db.fail(err)
		return err
	}
	c.height.Add(1)
	return nil
}

// settle makes sure that no failed Append of the channel can still count. c.mu is held.
func (s *Store) settle(c *channel) error {
	if !c.doubted.Load() {
		return nil
	}
	if err := s.log.repair(); err != nil {
		return fmt.Errorf("the outcome of an earlier append is unknown: %w", err)
	}
	c.doubted.Store(false)
	return nil
}

// settled is settle for those who do not hold c.mu.
func (s *Store) settled(c *channel) error {
	if !c.doubted.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.settle(c)
}

// record is a buffer of the log's write.
type record struct {
	bytes []byte // header and payload
	plain []byte
}

var records = sync.Pool{New: func() any { return new(record) }}

func encodeRecord(channel string, block []byte, batch *ledger.Batch) (*record, error) {
	r := records.Get().(*record)
	r.plain = appendPayload(r.plain[:0], channel, block, batch)
	size := s2.MaxEncodedLen(len(r.plain))
	if size < 0 || size > math.MaxInt32 {
		r.free()
		return nil, fmt.Errorf("a block of %d bytes is too large", len(block))
	}
	r.bytes = slices.Grow(r.bytes[:0], recordHeaderSize+size)[:recordHeaderSize+size]
	r.bytes = r.bytes[:recordHeaderSize+len(s2.Encode(r.bytes[recordHeaderSize:], r.plain))]
	return r, nil
}

func (r *record) free() {
	if cap(r.plain) <= 4<<20 {
		records.Put(r)
	}
}

// Apply implements ledger.State. Append applies what it appends, so that there is nothing to do but to check the order.
func (s *Store) Apply(ctx context.Context, channel string, batch *ledger.Batch) error {
	if batch == nil {
		return errors.New("apply: no batch")
	}
	height, err := s.Height(ctx, channel)
	if err == nil && batch.Block >= height {
		err = fmt.Errorf("the channel has %d blocks", height)
	}
	if err != nil {
		return fmt.Errorf("apply block %d: %w", batch.Block, err)
	}
	return nil
}

// Block implements ledger.Log.
func (s *Store) Block(ctx context.Context, channel string, number uint64) ([]byte, error) {
	err := s.use(ctx)
	if err == nil {
		defer s.lifetime.RUnlock()
		var block []byte
		if block, err = s.block(channel, number); err == nil {
			return block, nil
		}
		if c := s.channel(channel, false); c != nil && errors.Is(err, ledger.ErrNotFound) {
			if settleErr := s.settled(c); settleErr != nil {
				err = settleErr
			}
		}
	}
	return nil, fmt.Errorf("block %d of channel %q: %w", number, channel, classify(err))
}

// block reads a block from the log.
func (s *Store) block(channel string, number uint64) ([]byte, error) {
	value, closer, err := s.db.Get(blockKey(channel, number))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ledger.ErrNotFound
	} else if err != nil {
		return nil, err
	}
	d := decoder{rest: value}
	at, length := d.position(), int64(d.uvarint())
	if !d.done() {
		return nil, damaged("place in the log")
	}
	if err := closer.Close(); err != nil {
		return nil, err
	}
	segment, err := openSegment(s.config.FS, s.dir.log(), at.segment)
	if err != nil {
		return nil, err
	}
	defer segment.Close()
	var buf, plain []byte
	_, payload, ok, err := readRecord(segment, segment.segmentHeader, at.offset, at.offset+length, &buf)
	if err != nil || !ok {
		return nil, damaged("%s: record at %d: %w", segmentName(at.segment), at.offset, errors.Join(err))
	}
	r, err := parsePayload(payload, &plain)
	if err != nil {
		return nil, err
	}
	if r.channel != channel || r.number != number {
		return nil, damaged("%s: record at %d is of block %d of channel %q", segmentName(at.segment), at.offset, r.number, r.channel)
	}
	return r.block, nil
}

// Height implements ledger.Log.
func (s *Store) Height(ctx context.Context, channel string) (uint64, error) {
	if err := s.use(ctx); err != nil {
		return 0, fmt.Errorf("height: %w", err)
	}
	defer s.lifetime.RUnlock()
	c := s.channel(channel, false)
	if c == nil {
		return 0, nil
	}
	if err := s.settled(c); err != nil {
		return 0, fmt.Errorf("height of channel %q: %w", channel, classify(err))
	}
	return c.height.Load(), nil
}

// Channels implements ledger.Log.
func (s *Store) Channels(ctx context.Context) ([]string, error) {
	if err := s.use(ctx); err != nil {
		return nil, fmt.Errorf("channels: %w", err)
	}
	defer s.lifetime.RUnlock()
	savepoints, err := s.db.savepoints()
	if err != nil {
		return nil, fmt.Errorf("channels: %w", classify(err))
	}
	names := make([]string, 0, len(savepoints))
	for name := range savepoints {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
