package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
)

// privateDir holds the private log. It is there once something private was written.
const privateDir = "private"

// privateLog keeps for a while what must be durable and must not stay: sealed private sets until they are committed, and the
// private writes of blocks until Pebble has them on disk, which has no log of its own. Sweeping copies what is still wanted to a
// new segment and removes the older ones, so that nothing of the rest remains.
//
// A segment is a sequence of records: the payload's length and CRC-32C, four bytes each, and the payload, which begins with its
// kind. What a crash cut short at the end of a segment was never acknowledged.
type privateLog struct {
	fs     vfs.FS
	dir    string // of the segments
	root   string
	limits ledger.StagedLimits

	mu       sync.Mutex // guards what follows, and writing
	current  *privateSegment
	segments []string // names of those that are there, the current one last
	bytes    int64    // in all of them
	number   uint64   // of the last one begun
	staged   map[string]map[string]stagedPlace
	waiting  map[string]int64      // bytes of the staged sets, by channel; "" is all
	blocks   int                   // records of blocks since the last sweep
	stale    map[privateRange]bool // since the last compaction

	compacted time.Time    // when that was
	appending sync.RWMutex // held for reading from a block's write until it is in Pebble; taken before mu
}

// privateSegment is the segment that is written to.
type privateSegment struct {
	name    string
	file    vfs.File
	written atomic.Int64 // privateLog.mu guards writes
	broken  atomic.Bool  // a sync failed: nothing more is written here

	syncMu sync.Mutex // held to sync; taken after privateLog.mu if both are. Guards what follows
	synced int64
	left   bool // the file is closed
}

// stagedPlace is where a staged set is.
type stagedPlace struct {
	segment string
	offset  int64 // of the record's payload
	length  int
	height  uint64
	at      int64 // when it was staged, in seconds since 1970; 0: not known
}

// privateRange names a namespace of private values.
type privateRange struct{ channel, namespace string }

// The kinds of records.
const (
	privateStagedV1 = 1 // channel, id, height, set
	privateForgot   = 2 // channel, number of ids, ids
	privateOfBlock  = 3 // channel, number, header hash, writes
	privateStaged   = 4 // channel, id, height, time in seconds since 1970, set
	privateHeader   = 8 // bytes before each payload
	maxPrivateBytes = 1 << 30
)

// blockWrites are the private writes of a block, as the private log holds them.
type blockWrites struct {
	channel string
	number  uint64
	hash    string
}

func newPrivateLog(fs vfs.FS, root, dir string, limits ledger.StagedLimits) *privateLog {
	return &privateLog{fs: fs, root: root, dir: dir, limits: limits, staged: make(map[string]map[string]stagedPlace), waiting: make(map[string]int64), stale: make(map[privateRange]bool), compacted: time.Now()}
}

// open reads the segments that are there, and returns the writes of blocks that Pebble may lack.
func (p *privateLog) open() (map[blockWrites][]ledger.Write, error) {
	names, err := p.fs.List(p.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("private log: %w", err)
	}
	slices.Sort(names)
	blocks := make(map[blockWrites][]ledger.Write)
	for _, name := range names {
		if _, err := fmt.Sscanf(name, "%d.log", &p.number); err != nil {
			return nil, damaged("private log: %s", name)
		}
		data, err := readFile(p.fs, p.fs.PathJoin(p.dir, name))
		if err != nil {
			return nil, fmt.Errorf("private log: %w", err)
		}
		p.segments = append(p.segments, name)
		p.bytes += int64(len(data))
		for offset := 0; ; {
			payload, ok := privateRecord(data[offset:])
			if !ok {
				break
			}
			if err := p.replay(name, int64(offset+privateHeader), payload, blocks); err != nil {
				return nil, err
			}
			offset += privateHeader + len(payload)
		}
	}
	p.blocks = len(blocks)
	return blocks, nil
}

// privateRecord returns the payload of the first record, false if there is no whole one.
func privateRecord(data []byte) ([]byte, bool) {
	if len(data) < privateHeader {
		return nil, false
	}
	length := binary.LittleEndian.Uint32(data)
	if length == 0 || uint64(length) > uint64(len(data)-privateHeader) {
		return nil, false
	}
	payload := data[privateHeader : privateHeader+int(length)]
	return payload, crc32.Checksum(payload, castagnoli) == binary.LittleEndian.Uint32(data[4:])
}

func (p *privateLog) replay(segment string, offset int64, payload []byte, blocks map[blockWrites][]ledger.Write) error {
	d := decoder{rest: payload[1:]}
	channel := string(d.bytes())
	switch payload[0] {
	case privateStaged, privateStagedV1:
		id, height, at := string(d.bytes()), d.uvarint(), int64(0)
		if payload[0] == privateStaged {
			at = int64(d.uvarint())
		}
		p.place(channel, id, stagedPlace{segment, offset, len(payload), height, at})
		d.all()
	case privateForgot:
		for range d.count() {
			p.displace(channel, string(d.bytes()))
		}
	case privateOfBlock:
		key := blockWrites{channel, d.uvarint(), string(d.bytes())}
		blocks[key] = d.writes()
	default:
		d.bad = true
	}
	if !d.done() {
		return damaged("private log: %s: record at %d", segment, offset)
	}
	return nil
}

func (p *privateLog) place(channel, id string, at stagedPlace) {
	if p.staged[channel] == nil {
		p.staged[channel] = make(map[string]stagedPlace)
	}
	p.displace(channel, id)
	p.staged[channel][id] = at
	p.waiting[channel] += int64(at.length)
	p.waiting[""] += int64(at.length)
}

// displace forgets where a staged set is.
func (p *privateLog) displace(channel, id string) {
	before := int64(p.staged[channel][id].length)
	delete(p.staged[channel], id)
	p.waiting[channel] -= before
	p.waiting[""] -= before
}

// write adds records to the current segment, which is begun if there is none. It returns where the payloads are. p.mu is held.
func (p *privateLog) write(payloads ...[]byte) (*privateSegment, []int64, error) {
	if p.current != nil && p.current.broken.Load() {
		p.leave()
	}
	if p.current == nil {
		if err := p.begin(); err != nil {
			return nil, nil, err
		}
	}
	s := p.current
	var buffer []byte
	offsets := make([]int64, len(payloads))
	for i, payload := range payloads {
		buffer = binary.LittleEndian.AppendUint32(buffer, uint32(len(payload)))
		buffer = binary.LittleEndian.AppendUint32(buffer, crc32.Checksum(payload, castagnoli))
		offsets[i] = s.written.Load() + int64(len(buffer))
		buffer = append(buffer, payload...)
	}
	if n, err := s.file.Write(buffer); err != nil || n < len(buffer) {
		p.leave()
		return nil, nil, fmt.Errorf("write private log: %w", cmp.Or(err, io.ErrShortWrite))
	}
	s.written.Add(int64(len(buffer)))
	p.bytes += int64(len(buffer))
	return s, offsets, nil
}

// leave ends the current segment: what is in it and not synced was not acknowledged. p.mu is held.
func (p *privateLog) leave() {
	s := p.current
	p.current = nil
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.left = true
	_ = s.file.Close() // what counts is synced
}

// begin starts the next segment. p.mu is held.
func (p *privateLog) begin() error {
	if len(p.segments) == 0 {
		if err := p.fs.MkdirAll(p.dir, 0o700); err != nil {
			return fmt.Errorf("begin private log: %w", err)
		}
		if err := syncDir(p.fs, p.root); err != nil {
			return fmt.Errorf("begin private log: %w", err)
		}
	}
	p.number++
	name := segmentName(p.number)
	file, err := p.fs.Create(p.fs.PathJoin(p.dir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("begin private log: %w", err)
	}
	p.segments = append(p.segments, name)
	if err := syncDir(p.fs, p.dir); err != nil {
		_ = file.Close()
		return fmt.Errorf("begin private log: %w", err)
	}
	p.current = &privateSegment{name: name, file: file}
	return nil
}

// sync makes all of the segment before end durable. Callers at the same time share one sync.
func (s *privateSegment) sync(end int64) error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if s.synced >= end {
		return nil
	}
	if s.left || s.broken.Load() {
		return errPrivateLeft
	}
	written := s.written.Load()
	if err := s.file.SyncData(); err != nil {
		s.broken.Store(true)
		return fmt.Errorf("sync private log: %w", err)
	}
	s.synced = written
	return nil
}

// errPrivateLeft is what waits for those whose segment was left after another's failed write.
var errPrivateLeft = errors.New("private log segment was left after a failed write")

// read returns the payload of a staged set's record. p.mu is held.
func (p *privateLog) read(at stagedPlace) ([]byte, error) {
	file, err := p.fs.Open(p.fs.PathJoin(p.dir, at.segment))
	if err != nil {
		return nil, fmt.Errorf("read private log: %w", err)
	}
	defer file.Close()
	data := make([]byte, privateHeader+at.length)
	if _, err := file.ReadAt(data, at.offset-privateHeader); err != nil {
		return nil, fmt.Errorf("read private log: %w", err)
	}
	payload, ok := privateRecord(data)
	if !ok || payload[0] != privateStaged && payload[0] != privateStagedV1 {
		return nil, damaged("private log: %s: record at %d", at.segment, at.offset)
	}
	return payload, nil
}

// rotate begins a segment with a copy of every set that is staged, and returns the names of the older ones, which nobody needs
// once Pebble has on disk what was committed before. p.mu is held.
func (p *privateLog) rotate() (older []string, err error) {
	var live [][]byte
	var places []func(segment string, offset int64)
	for channel, sets := range p.staged {
		for id, at := range sets {
			payload, err := p.read(at)
			if err != nil {
				return nil, err
			}
			live = append(live, payload)
			places = append(places, func(segment string, offset int64) {
				p.place(channel, id, stagedPlace{segment, offset, len(payload), at.height, at.at})
			})
		}
	}
	if s := p.current; s != nil {
		if err := s.sync(s.written.Load()); err != nil { // somebody may wait for it
			return nil, err
		}
		p.leave()
	}
	older = slices.Clone(p.segments)
	if len(live) > 0 {
		s, offsets, err := p.write(live...)
		if err != nil {
			return nil, err
		}
		if err := s.sync(s.written.Load()); err != nil {
			return nil, err
		}
		for i, place := range places {
			place(s.name, offsets[i])
		}
	}
	return older, nil
}

// remove removes segments. p.mu is held.
func (p *privateLog) remove(names []string) error {
	for _, name := range names {
		path := p.fs.PathJoin(p.dir, name)
		if info, err := p.fs.Stat(path); err == nil {
			p.bytes -= info.Size()
		}
		if err := p.fs.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove private log: %w", err)
		}
		p.segments = slices.DeleteFunc(p.segments, func(s string) bool { return s == name })
	}
	if len(names) == 0 {
		return nil
	}
	return syncDir(p.fs, p.dir)
}

// close ends the current segment.
func (p *privateLog) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil
	}
	err := p.current.sync(p.current.written.Load())
	p.leave()
	return err
}
