package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
)

// database is Pebble, kept from ending the process: where it would, fatal is set, and every later call fails.
type database struct {
	*pebble.DB
	logger *slog.Logger
	fatal  atomic.Pointer[error]

	mu         sync.Mutex
	flush      error // how the last flush ended
	background error // of the last flush, nil if it went well; of damage
}

// openDatabase opens the database in dir.
func openDatabase(fs vfs.FS, dir string, c Config, readOnly bool) (*database, error) {
	db := &database{logger: c.Logger}
	o := &pebble.Options{
		FS: vfs.OnDiskFull(fs, func() {
			// Pebble repeats what failed without a pause.
			time.Sleep(20 * time.Millisecond)
		}),
		FormatMajorVersion:          pebble.FormatNewest,
		DisableWAL:                  true,
		ReadOnly:                    readOnly,
		CacheSize:                   c.CacheBytes,
		MemTableSize:                c.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                500,
		Logger:                      pebbleLogger{db},
		EventListener: &pebble.EventListener{
			BackgroundError: db.backgroundFailed,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { db.setBackground(damaged("state: %v", info.Details)) },
			FlushEnd:        func(i pebble.FlushInfo) { db.flushEnded(i.Err) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	err := db.guard(func() (err error) {
		db.DB, err = pebble.Open(dir, o)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return db, nil
}

// guard runs f, in which Pebble may call Fatalf or panic, and waits for it.
func (db *database) guard(f func() error) error {
	if err := db.failure(); err != nil {
		return err
	}
	err := errors.New("stopped")
	done := make(chan struct{})
	go func() {
		defer close(done) // also if f ends in runtime.Goexit
		defer func() {
			if r := recover(); r != nil {
				db.fail(fmt.Errorf("panic: %v", r))
			}
		}()
		err = f()
	}()
	<-done
	if fatal := db.failure(); fatal != nil {
		return fatal
	}
	return err
}

// failure is why no call can succeed any more, or nil.
func (db *database) failure() error {
	if p := db.fatal.Load(); p != nil {
		return *p
	}
	return nil
}

func (db *database) fail(err error) {
	err = fmt.Errorf("%w: start the process again: %w", ErrFailed, classify(err))
	if db.fatal.CompareAndSwap(nil, &err) {
		db.logger.Error("the state failed", "error", err)
	}
}

// flushEnded notes how a flush ended. An end that is an error need not be a failure, of a table without rows for instance:
// Pebble says which are (backgroundFailed).
func (db *database) flushEnded(err error) {
	db.mu.Lock()
	db.flush = err
	db.mu.Unlock()
	if err == nil {
		db.setBackground(nil)
	}
}

// backgroundFailed is told what failed in a flush or a compaction. Pebble repeats a flush until it succeeds, and until then takes
// only so many writes. What fails in a compaction stops no write, and is tried again when there is more to compact.
func (db *database) backgroundFailed(err error) {
	db.mu.Lock()
	ofFlush := db.flush != nil && errors.Is(err, db.flush)
	db.mu.Unlock()
	if ofFlush {
		db.setBackground(err)
	} else {
		db.logger.Warn("the state was not compacted", "error", err)
	}
}

// setBackground keeps an error for which no write may be tried; nil ends it. Damage has no end.
func (db *database) setBackground(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if errors.Is(db.background, ledger.ErrDamaged) {
		return
	}
	if err != nil {
		if db.background == nil {
			db.logger.Warn("the state cannot be written", "error", err)
		}
		err = classify(err)
	}
	db.background = err
}

// writable returns why the next commit should not be tried: it could wait for ever.
func (db *database) writable() error {
	if err := db.failure(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.background
}

// shut writes what is not written yet, and closes the database. One that failed is left as it is: Pebble would wait for
// goroutines that ended.
func (db *database) shut() error {
	if err := db.writable(); err != nil {
		return err
	}
	return db.guard(func() error { return errors.Join(db.Flush(), db.Close()) })
}

// pebbleLogger takes what Pebble says. Where Pebble relies on Fatalf not to return, the goroutine ends there: Pebble's own in
// the background, or that of guard.
type pebbleLogger struct{ db *database }

func (l pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.db.logger.Warn("pebble", "message", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("state: %w", cause)
		}
	}
	l.db.fail(err)
	runtime.Goexit()
}

// effects makes the batch that commit writes: what block b leaves. Its record is between start and end, and the database will
// hold all before replay. The caller closes the batch.
func (db *database) effects(channel string, b *ledger.Batch, start, end, replay position) (*pebble.Batch, error) {
	batch := db.NewBatch()
	err := errors.Join(
		batch.Set(blockKey(channel, b.Block), binary.AppendUvarint(appendPosition(nil, start), uint64(end.offset-start.offset)), nil),
		batch.Set(hashKey(channel, b.Hash), binary.AppendUvarint(nil, b.Block), nil),
		batch.Set(channelKey(channel), binary.AppendUvarint(nil, b.Block+1), nil),
		batch.Set([]byte{keyReplay}, appendPosition(nil, replay), nil),
		putItems(batch, channel, b.Writes),
		putItems(batch, channel, b.Private),
		putHistory(batch, channel, b.History),
		db.putTxs(batch, channel, b.Txs))
	if err != nil {
		return nil, errors.Join(err, batch.Close())
	}
	return batch, nil
}

// commit writes a batch, not synced.
func (db *database) commit(batch *pebble.Batch) error {
	return db.guard(func() error { return batch.Commit(pebble.NoSync) })
}

func putItems(batch *pebble.Batch, channel string, writes []ledger.Write) error {
	var value []byte
	for i := range writes {
		w := &writes[i]
		key := stateKey(channel, w.Namespace, w.Key)
		var err error
		if w.Item == nil {
			err = batch.Delete(key, nil)
		} else {
			value = appendItem(value[:0], w.Item)
			err = batch.Set(key, value, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func putHistory(batch *pebble.Batch, channel string, changes []ledger.Change) error {
	var value []byte
	for i := range changes {
		c := &changes[i]
		value = appendChange(value[:0], c)
		if err := batch.Set(historyKey(channel, c.Namespace, c.Key, c.Version), value, nil); err != nil {
			return err
		}
	}
	return nil
}

// putTxs enters the ids that are not entered yet.
func (db *database) putTxs(batch *pebble.Batch, channel string, txs []ledger.TxEntry) error {
	keys := make([][]byte, len(txs))
	first := make(map[string]int, len(txs))
	for i := range txs {
		keys[i] = txKey(channel, txs[i].TxID)
		if _, ok := first[txs[i].TxID]; !ok {
			first[txs[i].TxID] = i
		}
	}
	return find(db.DB, keys, func(i int, held []byte) error {
		if held != nil || first[txs[i].TxID] != i {
			return nil
		}
		return batch.Set(keys[i], appendTx(nil, &txs[i]), nil)
	})
}

// find calls visit for each key with its value, or with nil. A value is valid during its visit.
func find(r pebble.Reader, keys [][]byte, visit func(i int, value []byte) error) error {
	if len(keys) == 0 {
		return nil
	}
	it, err := newFinder(r)
	if err != nil {
		return err
	}
	return errors.Join(findWith(it, keys, visit), it.Close())
}

// newFinder returns an iterator for findWith. Unlike Get it asks the filters of every level, which is quicker where keys may be
// absent: most ids are new, and so are many keys.
func newFinder(r pebble.Reader) (*pebble.Iterator, error) {
	return r.NewIter(&pebble.IterOptions{UseL6Filters: true})
}

func findWith(it *pebble.Iterator, keys [][]byte, visit func(i int, value []byte) error) (err error) {
	for i, key := range keys {
		var value []byte
		if it.SeekPrefixGE(key) && bytes.Equal(it.Key(), key) {
			if value, err = it.ValueAndErr(); err != nil {
				return err
			}
		} else if err := it.Error(); err != nil {
			return err
		}
		if err := visit(i, value); err != nil {
			return err
		}
	}
	return nil
}

// replayPosition is where the log has what the database may lack.
func (db *database) replayPosition() (position, error) {
	value, closer, err := db.Get([]byte{keyReplay})
	if errors.Is(err, pebble.ErrNotFound) {
		return position{}, nil
	} else if err != nil {
		return position{}, err
	}
	d := decoder{rest: value}
	p := d.position()
	if !d.done() {
		return position{}, damaged("state: position in the log")
	}
	return p, closer.Close()
}

// savepoints returns the savepoint of each channel.
func (db *database) savepoints() (map[string]uint64, error) {
	channels := make(map[string]uint64)
	err := each(context.Background(), db.DB, []byte{keyChannel}, []byte{keyChannel + 1}, func(key, value []byte) (bool, error) {
		d := decoder{rest: value}
		channels[string(key[1:])] = d.uvarint()
		if !d.done() {
			return false, damaged("state: savepoint of channel %q", key[1:])
		}
		return true, nil
	})
	return channels, err
}

// each calls visit for the rows from start to before end until it returns false.
func each(ctx context.Context, r pebble.Reader, start, end []byte, visit func(key, value []byte) (bool, error)) (err error) {
	it, err := r.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if more, err := visit(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return it.Error()
}
