package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"peerless/shared/ledger"
)

// Records is a queue.Store in a data directory, beside the ledger: the messages of a queue. The methods are documented there.
//
// It is a log of its own, in the ledger's format, of which an index in memory says where each record is. A Put is synced, and shares
// its sync with others at the same time; a Delete is not. Segments in which nothing is left are removed, and what little is left in
// the oldest ones is written again, so that the files are at most about twice what is kept, and four segments.
type Records struct {
	store *Store
	log   *log

	moving sync.RWMutex // held for reading by each call, for writing to remove segments
	mu     sync.Mutex   // guards what follows
	made   bool         // the log's directory is there, durably
	first  uint64       // number of the oldest segment
	places map[uint64]recordPlace
	sizes  map[uint64]int64 // of what was written to each segment
	kept   map[uint64]int64 // of which is kept
}

// recordPlace is where a record is.
type recordPlace struct {
	segment       uint64
	offset, after int64
}

// recordSegment is the size at which the records' log begins its next file.
const recordSegment = 8 << 20

// The payload of a record in the log: one of these bytes, then the number, then the record.
const (
	opPut    = 'p'
	opDelete = 'd'
)

// Records returns the store's records.
func (s *Store) Records() *Records { return s.records }

// openRecords finds out where the records of a directory are.
func openRecords(s *Store, sums map[string]fileSum) (*Records, error) {
	r := &Records{
		store: s, first: 1, places: make(map[uint64]recordPlace), sizes: make(map[uint64]int64), kept: make(map[uint64]int64),
		log: &log{fs: s.config.FS, dir: s.dir.records(), folder: recordsDir, size: min(s.config.SegmentBytes, recordSegment), sums: maps.Clone(sums)},
	}
	if _, err := s.config.FS.Stat(r.log.dir); errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	numbers, err := segments(s.config.FS, r.log.dir, pruned)
	if err != nil {
		return nil, err
	}
	if len(numbers) > 0 {
		r.first = numbers[0]
	}
	r.log.previous, r.log.cut, err = scan(s.config.FS, r.log.dir, pruned, position{}, func(start, end position, payload []byte) error {
		op, number, _, err := parseOp(payload)
		if err != nil {
			return err
		}
		r.note(op, number, recordPlace{start.segment, start.offset, end.offset})
		return nil
	})
	return r, err
}

// checkRecords reads every record of a directory.
func checkRecords(d *directory) error {
	if _, err := d.fs.Stat(d.records()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	_, _, err := scan(d.fs, d.records(), pruned, position{}, func(start, _ position, payload []byte) error {
		if _, _, _, err := parseOp(payload); err != nil {
			return fmt.Errorf("queue: %s: record at %d: %w", segmentName(start.segment), start.offset, err)
		}
		return nil
	})
	return err
}

// appendOp appends a payload behind room for the log's header.
func appendOp(op byte, number uint64, record []byte) []byte {
	b := make([]byte, recordHeaderSize, recordHeaderSize+1+binary.MaxVarintLen64+len(record))
	return append(binary.AppendUvarint(append(b, op), number), record...)
}

func parseOp(payload []byte) (op byte, number uint64, record []byte, err error) {
	if len(payload) > 0 {
		op = payload[0]
		payload = payload[1:]
	}
	d := decoder{rest: payload}
	number, record = d.uvarint(), d.all()
	if d.bad || op != opPut && (op != opDelete || len(record) > 0) {
		return 0, 0, nil, damaged("queue: a record cannot be decoded")
	}
	return op, number, record, nil
}

// note takes what was written at a place into the index. r.mu is held, or nobody else knows r.
func (r *Records) note(op byte, number uint64, p recordPlace) {
	if old, ok := r.places[number]; ok {
		r.kept[old.segment] -= old.after - old.offset
	}
	r.sizes[p.segment] += p.after - p.offset
	if op == opDelete {
		delete(r.places, number)
		return
	}
	r.places[number] = p
	r.kept[p.segment] += p.after - p.offset
}

// Put implements queue.Store.
func (r *Records) Put(ctx context.Context, number uint64, record []byte) error {
	return r.change(ctx, "put", opPut, number, record)
}

// Delete implements queue.Store.
func (r *Records) Delete(ctx context.Context, number uint64) error {
	if err := r.change(ctx, "delete", opDelete, number, nil); err != nil {
		return err
	}
	return r.prune(ctx)
}

func (r *Records) change(ctx context.Context, what string, op byte, number uint64, record []byte) error {
	err := r.store.use(ctx)
	if err == nil {
		defer r.store.lifetime.RUnlock()
		r.moving.RLock()
		defer r.moving.RUnlock()
		err = r.write(op, number, record)
	}
	if err != nil {
		return fmt.Errorf("%s record %d: %w", what, number, classify(err))
	}
	return nil
}

// write appends one payload to the log, and syncs it if it puts a record.
func (r *Records) write(op byte, number uint64, record []byte) error {
	if int64(len(record)) > maxPayload/2 {
		return fmt.Errorf("a record of %d bytes is too large", len(record))
	}
	if err := r.makeDirectory(); err != nil {
		return err
	}
	segment, start, end, err := r.log.write(appendOp(op, number, record))
	if err != nil {
		return err
	}
	r.log.done(position{segment.number, start})
	if op == opPut {
		if err := r.log.sync(segment, end); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(op, number, recordPlace{segment.number, start, end})
	return nil
}

func (r *Records) makeDirectory() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made {
		return nil
	}
	fs := r.store.config.FS
	err := fs.MkdirAll(r.log.dir, 0o700)
	if err == nil {
		err = syncDir(fs, r.store.dir.path)
	}
	r.made = err == nil
	return err
}

// Get implements queue.Store.
func (r *Records) Get(ctx context.Context, number uint64) ([]byte, error) {
	err := r.store.use(ctx)
	if err == nil {
		defer r.store.lifetime.RUnlock()
		r.moving.RLock()
		defer r.moving.RUnlock()
		var record []byte
		if record, err = r.read(number); err == nil {
			return record, nil
		}
	}
	return nil, fmt.Errorf("record %d: %w", number, classify(err))
}

func (r *Records) read(number uint64) ([]byte, error) {
	r.mu.Lock()
	p, ok := r.places[number]
	r.mu.Unlock()
	if !ok {
		return nil, ledger.ErrNotFound
	}
	segment, err := openSegment(r.store.config.FS, r.log.dir, p.segment)
	if err != nil {
		return nil, err
	}
	defer segment.Close()
	var buf []byte
	_, payload, ok, err := readRecord(segment, segment.segmentHeader, p.offset, p.after, &buf)
	if err != nil || !ok {
		return nil, damaged("queue: %s: record at %d: %w", segmentName(p.segment), p.offset, errors.Join(err))
	}
	_, found, record, err := parseOp(payload)
	if err == nil && found != number {
		err = damaged("queue: %s: record at %d has the number %d", segmentName(p.segment), p.offset, found)
	}
	return record, err
}

// Each implements queue.Store.
func (r *Records) Each(ctx context.Context, visit func(number uint64, record []byte) error) error {
	r.mu.Lock()
	numbers := slices.Sorted(maps.Keys(r.places))
	r.mu.Unlock()
	for _, number := range numbers {
		record, err := r.Get(ctx, number)
		if errors.Is(err, ledger.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		if err := visit(number, record); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the oldest segments as long as they have little left, which it writes again.
func (r *Records) prune(ctx context.Context) error {
	if !r.crowded() {
		return nil
	}
	err := r.store.use(ctx)
	if err == nil {
		defer r.store.lifetime.RUnlock()
		r.moving.Lock()
		defer r.moving.Unlock()
		for err == nil && r.crowded() {
			err = r.removeOldest()
		}
	}
	if err != nil {
		return fmt.Errorf("shorten the queue's log: %w", classify(err))
	}
	return nil
}

// crowded reports whether the oldest segment should go: nothing is left in it, or all of them hold much more than is kept.
func (r *Records) crowded() bool {
	current := r.log.currentNumber()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first >= current {
		return false
	}
	var size, kept int64
	for segment, n := range r.sizes {
		size += n
		kept += r.kept[segment]
	}
	return r.kept[r.first] == 0 || size > 2*kept+4*r.log.size
}

// removeOldest writes again what is left in the oldest segment, and removes it. Segments go in their order: a Delete may only go
// after what it deletes. r.moving is held.
func (r *Records) removeOldest() error {
	r.mu.Lock()
	segment := r.first
	var left []uint64
	for number, p := range r.places {
		if p.segment == segment {
			left = append(left, number)
		}
	}
	r.mu.Unlock()
	for _, number := range left {
		record, err := r.read(number)
		if err != nil {
			return err
		}
		if err := r.write(opPut, number, record); err != nil {
			return err
		}
	}
	name := segmentName(segment)
	if err := r.store.config.FS.Remove(r.store.config.FS.PathJoin(r.log.dir, name)); err != nil {
		return err
	}
	r.log.forget(name)
	r.mu.Lock()
	delete(r.sizes, segment)
	delete(r.kept, segment)
	r.first++
	r.mu.Unlock()
	// The next one may go only when this one is gone for good: there must be no gap.
	return syncDir(r.store.config.FS, r.log.dir)
}

// currentNumber is the number of the segment that is written to, or 0 before the first write of this process.
func (l *log) currentNumber() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return 0
	}
	return l.current.number
}

// forget drops what is known of a segment that was removed.
func (l *log) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sums, l.folder+"/"+name)
}
