package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A position is a place in the log. Positions are ordered.
type position struct {
	segment uint64
	offset  int64
}

func (p position) before(q position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

// log is the writing end of the log. Every write goes to a segment that this process began: what an earlier one left at
// the end of its last segment is never touched, but counted or voided by the header of the next.
type log struct {
	fs     vfs.FS
	dir    string
	folder string // the directory's name in the data directory
	size   int64  // a segment that is larger is followed by the next

	mu       sync.Mutex // guards the writing of records, and what follows
	current  *segment   // nil before the first record
	previous uint64     // number of the last segment, if current is nil
	cut      int64      // how much of the last segment counts, if current is nil
	broken   error      // why there is no current segment after a failed write; nil if there was none
	inFlight []position // of records written and not yet in the database
	sums     map[string]fileSum
}

// segment is an open segment.
type segment struct {
	segmentHeader
	name    string
	file    vfs.File
	written atomic.Int64   // length of the file; log.mu guards writes
	reserve int64          // up to where the file has space on disk; guarded by log.mu
	digest  *xxhash.Digest // of all that was written; guarded by log.mu

	syncMu sync.Mutex // held to sync; taken after log.mu if both are
	synced atomic.Int64
	failed error // of a sync: nothing beyond synced counts; guarded by syncMu
}

func segmentName(number uint64) string { return fmt.Sprintf("%012d.log", number) }

// write writes a record, not yet synced, and returns the segment and where in it the record begins and ends. record has
// room for the header before the payload. After an error the record is void, unless inDoubt.
func (l *log) write(record []byte) (s *segment, start, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return nil, 0, 0, err
	}
	s = l.current
	start = s.written.Load()
	payload := record[recordHeaderSize:]
	h := recordHeader{kind: kindBlock, length: uint32(len(payload)), checksum: s.checksum(payload), synced: s.synced.Load()}
	h.put(s.segmentHeader, record)
	if err := s.append(record); err != nil {
		l.abandon(start, err)
		return nil, 0, 0, err
	}
	l.inFlight = append(l.inFlight, position{s.number, start})
	return s, start, s.written.Load(), nil
}

// append writes b at the end of the file.
func (s *segment) append(b []byte) error {
	_, _ = s.digest.Write(b) // never fails
	s.reserveFor(int64(len(b)))
	if n, err := s.file.Write(b); err != nil {
		return fmt.Errorf("write log: %w", err)
	} else if n != len(b) {
		return fmt.Errorf("write log: %w", io.ErrShortWrite)
	}
	s.written.Add(int64(len(b)))
	return nil
}

// reserveFor reserves space on disk for n bytes, and for as much again as the file has within limits: a sync is about a
// third faster if it has no space to find. The length of the file stays what was written.
func (s *segment) reserveFor(n int64) {
	written := s.written.Load()
	if written+n <= s.reserve {
		return
	}
	more := written + n - s.reserve + min(max(written, 64<<10), 4<<20)
	if s.file.Preallocate(s.reserve, more) == nil { // if not, the write says why
		s.reserve += more
	}
}

// sync makes all of the segment before end durable. Callers at the same time share one sync. After an error the caller's
// record is void, unless inDoubt.
func (l *log) sync(s *segment, end int64) error {
	synced, err := s.sync(end)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.current == s {
			l.abandon(s.written.Load(), err)
		}
		return err
	}
	if synced > 0 {
		l.mark(s, synced)
	}
	return nil
}

// sync returns how much it synced, or 0 if others had done it.
func (s *segment) sync(end int64) (synced int64, err error) {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if s.synced.Load() >= end {
		return 0, nil
	}
	if s.failed != nil {
		return 0, s.failed
	}
	synced = s.written.Load()
	if err := s.file.SyncData(); err != nil {
		s.failed = fmt.Errorf("sync log: %w", err)
		return 0, s.failed
	}
	s.synced.Store(synced)
	return synced, nil
}

// mark notes at the end of the segment that it is synced, unless somebody else is writing: the next record then says it.
func (l *log) mark(s *segment, synced int64) {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	if l.current != s || s.written.Load() != synced {
		return
	}
	var b [recordHeaderSize]byte
	h := recordHeader{kind: kindMark, checksum: s.checksum(nil), synced: synced}
	h.put(s.segmentHeader, b[:])
	if err := s.append(b[:]); err != nil {
		l.abandon(synced, err)
	}
}

// ready makes sure that there is a current segment with room. l.mu is held.
func (l *log) ready() error {
	if s := l.current; s != nil {
		if s.written.Load() < l.size {
			return nil
		}
		if err := l.retire(s.written.Load()); err != nil {
			l.broken = err
			return err
		}
		l.sums[l.folder+"/"+s.name] = fileSum{size: s.written.Load(), sum: s.digest.Sum64()}
	}
	if err := l.begin(); err != nil {
		if l.broken != nil {
			return fmt.Errorf("%w (after: %w)", err, l.broken)
		}
		return err
	}
	l.broken = nil
	return nil
}

// retire closes the current segment after syncing what is before cut. What is not synced then will never count: if the
// sync fails, that is more. l.mu is held.
func (l *log) retire(cut int64) error {
	s := l.current
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if s.failed == nil && s.synced.Load() < cut {
		if err := s.file.SyncData(); err != nil {
			s.failed = fmt.Errorf("sync log: %w", err)
		} else {
			s.synced.Store(cut)
		}
	}
	err := s.failed
	if err == nil {
		s.failed = errRetired
	}
	_ = s.file.Close() // what counts is synced
	l.current, l.previous, l.cut = nil, s.number, s.synced.Load()
	return err
}

// errRetired is what waits for those whose record was voided with another's failed write.
var errRetired = errors.New("log segment was abandoned after a failed write")

// abandon leaves the current segment, in which nothing from cut on may count, and tries to void that. l.mu is held.
func (l *log) abandon(cut int64, cause error) {
	_ = l.retire(cut) // another failure changes nothing: the segment is left
	l.broken = cause
	_ = l.ready() // if it fails, it is tried again by the next who needs it
}

// repair tries to void what is in doubt, if anything is. After nil, what failed is void.
func (l *log) repair() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		return nil
	}
	return l.ready()
}

// begin starts the next segment. Once it returns nil, what the last one holds beyond l.cut is void for good.
func (l *log) begin() error {
	h := segmentHeader{number: l.previous + 1, previous: l.cut, salt: rand.Uint64()}
	name := segmentName(h.number)
	path := l.fs.PathJoin(l.dir, name)
	file, err := l.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("begin log segment: %w", err)
	}
	s := &segment{segmentHeader: h, name: name, file: file, digest: xxhash.New()}
	if err = s.append(h.encode()); err == nil {
		if err = file.Sync(); err == nil {
			err = syncDir(l.fs, l.dir)
		}
	}
	if err != nil {
		_ = file.Close()
		_ = l.fs.Remove(path)
		return fmt.Errorf("begin log segment: %w", err)
	}
	s.synced.Store(segmentHeaderSize)
	l.current = s
	return nil
}

// replayFrom returns the position from which the log must be read once the record between start and end is in the
// database: before every other record that is not.
func (l *log) replayFrom(start, end position) position {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.inFlight {
		if p != start && p.before(end) {
			end = p
		}
	}
	return end
}

// done forgets a record that is in the database, or void.
func (l *log) done(start position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = slices.DeleteFunc(l.inFlight, func(p position) bool { return p == start })
}

// close syncs and closes the current segment.
func (l *log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.current
	if s == nil {
		return nil
	}
	l.current = nil
	err := s.file.Sync()
	if err == nil {
		l.sums[l.folder+"/"+s.name] = fileSum{size: s.written.Load(), sum: s.digest.Sum64()}
	}
	if closeErr := s.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

func appendPosition(b []byte, p position) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, p.segment), uint64(p.offset))
}

func (d *decoder) position() position {
	return position{segment: d.uvarint(), offset: int64(d.uvarint())}
}
