package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/s2"

	"peerless/shared/ledger"
)

// appendPayload appends the payload of a block's record, before compression.
func appendPayload(b []byte, channel string, block []byte, batch *ledger.Batch) []byte {
	b = binary.AppendUvarint(appendString(b, channel), batch.Block)
	b = append(binary.AppendUvarint(b, uint64(len(block))), block...)
	return appendBatch(b, batch)
}

// A logged block is a record of the log taken apart. It shares the payload's bytes.
type logged struct {
	channel string
	number  uint64
	block   []byte
	rest    decoder // the batch
}

func (r *logged) batch() (*ledger.Batch, error) {
	b := r.rest.batch(r.number)
	if !r.rest.done() {
		return nil, damaged("batch of block %d of channel %q cannot be decoded", r.number, r.channel)
	}
	return b, nil
}

// parsePayload decompresses into buf and takes apart.
func parsePayload(payload []byte, buf *[]byte) (*logged, error) {
	size, err := s2.DecodedLen(payload)
	if err != nil || size > maxPayload {
		return nil, damaged("log record cannot be decompressed")
	}
	*buf = slices.Grow((*buf)[:0], size)
	plain, err := s2.Decode((*buf)[:size], payload)
	if err != nil {
		return nil, damaged("log record cannot be decompressed: %w", err)
	}
	d := decoder{rest: plain}
	r := &logged{channel: string(d.bytes()), number: d.uvarint(), block: d.bytes()}
	if d.bad {
		return nil, damaged("log record cannot be decoded")
	}
	r.rest = d
	return r, nil
}

// Whether segments may be missing at the front of a log.
const (
	whole  = false
	pruned = true
)

// segments returns the numbers of the log's segments, which follow each other, from 1 unless the log is pruned.
func segments(fs vfs.FS, dir string, pruned bool) ([]uint64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list log: %w", err)
	}
	slices.Sort(names)
	first := uint64(1)
	if pruned && len(names) > 0 {
		if n, err := strconv.ParseUint(strings.TrimSuffix(names[0], ".log"), 10, 64); err == nil && n > 0 {
			first = n
		}
	}
	var numbers []uint64
	for i, name := range names {
		if want := segmentName(first + uint64(i)); name != want {
			return nil, damaged("log: found %s where %s should be", name, want)
		}
		numbers = append(numbers, first+uint64(i))
	}
	return numbers, nil
}

// scan calls visit for each block's record from the position on, in order, with the record's position and the position
// of its end. It returns the last segment's number and how much of it counts, which is 0 and 0 for an empty log.
func scan(fs vfs.FS, dir string, pruned bool, from position, visit func(start, end position, payload []byte) error) (last uint64, cut int64, err error) {
	numbers, err := segments(fs, dir, pruned)
	if err != nil || len(numbers) == 0 {
		if err == nil && from.segment > 0 {
			err = damaged("log: no segment is left")
		}
		return 0, 0, err
	}
	last = numbers[len(numbers)-1]
	if from.segment > last {
		return 0, 0, damaged("log: %s is missing", segmentName(from.segment))
	}
	if from.before(position{segment: numbers[0]}) {
		from = position{segment: numbers[0]}
	}

	current, err := openSegment(fs, dir, from.segment)
	if err != nil {
		return 0, 0, err
	}
	if current.torn {
		_ = current.Close() // only read
		if last == 1 {
			return 0, 0, nil
		}
		return 0, 0, damaged("%s has no header", segmentName(current.number))
	}
	defer func() {
		if current != nil {
			_ = current.Close() // only read
		}
	}()
	for {
		var next *openedSegment
		end := int64(-1)
		if current.number < last {
			next, err = openSegment(fs, dir, current.number+1)
			if err != nil {
				return 0, 0, err
			}
			if next.torn {
				_ = next.Close() // only read
				if next.number != last {
					return 0, 0, damaged("%s has no header", segmentName(next.number))
				}
				next, last = nil, current.number
			} else {
				end = next.previous
			}
		}
		cut, err = current.scan(from.offset, end, visit)
		_ = current.Close() // only read
		current = next
		if err != nil || current == nil {
			return last, cut, err
		}
		from = position{segment: current.number}
	}
}

// openedSegment is a segment opened for reading.
type openedSegment struct {
	vfs.File
	segmentHeader
	size int64
	torn bool // there is no whole header: its writer died before it wrote a record
}

func openSegment(fs vfs.FS, dir string, number uint64) (*openedSegment, error) {
	name := segmentName(number)
	f, err := fs.Open(fs.PathJoin(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, damaged("log: %s is missing", name)
	} else if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	s := &openedSegment{File: f}
	var ok bool
	s.segmentHeader, s.size, ok, err = readSegmentHeader(f)
	switch {
	case err != nil:
		err = fmt.Errorf("read %s: %w", name, err)
	case !ok && s.size < segmentHeaderSize:
		s.torn, s.number = true, number
	case !ok || s.number != number:
		err = damaged("%s: header", name)
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return s, nil
}

// scan visits the segment's records from offset to end, or as far as there are records if end is -1.
func (s *openedSegment) scan(offset, end int64, visit func(start, end position, payload []byte) error) (cut int64, err error) {
	name := segmentName(s.number)
	if offset = max(offset, segmentHeaderSize); offset > s.size || end > s.size {
		return 0, damaged("%s is cut off: it has %d bytes of %d", name, s.size, max(offset, end))
	}
	limit := end
	if end < 0 {
		limit = s.size
	}
	var buf []byte
	for offset < limit {
		h, payload, ok, err := readRecord(s, s.segmentHeader, offset, limit, &buf)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		if !ok && end >= 0 {
			return 0, damaged("%s: record at %d", name, offset)
		}
		if !ok {
			synced, err := syncedBeyond(s, s.segmentHeader, offset, s.size)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", name, err)
			}
			if synced {
				return 0, damaged("%s: record at %d", name, offset)
			}
			break // the writer died here
		}
		next := offset + recordHeaderSize + int64(h.length)
		if h.kind == kindBlock {
			if err := visit(position{s.number, offset}, position{s.number, next}, payload); err != nil {
				return 0, err
			}
		}
		offset = next
	}
	return offset, nil
}
