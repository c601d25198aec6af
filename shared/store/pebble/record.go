package pebble

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A segment is a file of records. All numbers are little endian.
//
//	segment:  "peerlog1" | number 8 | length of the segment before 8 | salt 8 | CRC-32C of these 4
//	record:   CRC-32C of the rest of the header 4 | payload's length 4 | payload's CRC-32C 4 | synced 8 | kind 1 | zeros 3 | payload
//
// The checksums of records start from the salt, a random number, so that neither old data nor a block whose author
// tries can look like a record. "Length of the segment before" is how much of that counts: what follows there was voided.
// "Synced" is an offset in the segment up to which everything was on disk before this record was written.
const (
	segmentMagic      = "peerlog1"
	segmentHeaderSize = 36
	recordHeaderSize  = 24

	kindBlock = 1 // the payload is a block and its batch
	kindMark  = 2 // there is no payload: only synced counts

	maxPayload = 1<<31 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type segmentHeader struct {
	number   uint64
	previous int64 // how much of the segment before counts
	salt     uint64
}

func (h segmentHeader) encode() []byte {
	b := append(make([]byte, 0, segmentHeaderSize), segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.previous))
	b = binary.LittleEndian.AppendUint64(b, h.salt)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseSegmentHeader(b []byte) (segmentHeader, bool) {
	if len(b) != segmentHeaderSize || string(b[:8]) != segmentMagic ||
		crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
		return segmentHeader{}, false
	}
	return segmentHeader{
		number:   binary.LittleEndian.Uint64(b[8:]),
		previous: int64(binary.LittleEndian.Uint64(b[16:])),
		salt:     binary.LittleEndian.Uint64(b[24:]),
	}, true
}

type recordHeader struct {
	kind     byte
	length   uint32
	checksum uint32 // of the payload
	synced   int64
}

func (s segmentHeader) checksum(b []byte) uint32 {
	return crc32.Update(uint32(s.salt)^uint32(s.salt>>32), castagnoli, b)
}

// put writes the header to b[:recordHeaderSize].
func (h recordHeader) put(s segmentHeader, b []byte) {
	binary.LittleEndian.PutUint32(b[4:], h.length)
	binary.LittleEndian.PutUint32(b[8:], h.checksum)
	binary.LittleEndian.PutUint64(b[12:], uint64(h.synced))
	b[20], b[21], b[22], b[23] = h.kind, 0, 0, 0
	binary.LittleEndian.PutUint32(b, s.checksum(b[4:recordHeaderSize]))
}

func parseRecordHeader(s segmentHeader, b []byte) (recordHeader, bool) {
	if len(b) < recordHeaderSize || s.checksum(b[4:recordHeaderSize]) != binary.LittleEndian.Uint32(b) {
		return recordHeader{}, false
	}
	h := recordHeader{
		kind:     b[20],
		length:   binary.LittleEndian.Uint32(b[4:]),
		checksum: binary.LittleEndian.Uint32(b[8:]),
		synced:   int64(binary.LittleEndian.Uint64(b[12:])),
	}
	return h, (h.kind == kindBlock || h.kind == kindMark && h.length == 0) && b[21]|b[22]|b[23] == 0
}

// readRecord reads the record at offset, of which no byte may lie at end or beyond. ok is false if there is no sound record.
// err is an error of reading. The payload is valid until buf is used again.
func readRecord(f io.ReaderAt, s segmentHeader, offset, end int64, buf *[]byte) (h recordHeader, payload []byte, ok bool, err error) {
	if end-offset < recordHeaderSize {
		return h, nil, false, nil
	}
	var head [recordHeaderSize]byte
	if _, err := f.ReadAt(head[:], offset); err != nil {
		return h, nil, false, err
	}
	h, ok = parseRecordHeader(s, head[:])
	if !ok || int64(h.length) > end-offset-recordHeaderSize {
		return h, nil, false, nil
	}
	*buf = slices.Grow((*buf)[:0], int(h.length))
	payload = (*buf)[:h.length]
	if h.length > 0 {
		if _, err := f.ReadAt(payload, offset+recordHeaderSize); err != nil {
			return h, nil, false, err
		}
	}
	return h, payload, s.checksum(payload) == h.checksum, nil
}

// syncedBeyond reports whether some sound header after offset says that the segment was synced beyond offset. If so, what
// is at offset was sound once.
func syncedBeyond(f io.ReaderAt, s segmentHeader, offset, end int64) (bool, error) {
	const window = 1 << 20
	buf := make([]byte, window+recordHeaderSize)
	for at := offset; at < end; at += window {
		n := int(min(end-at, int64(len(buf))))
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return false, err
		}
		for i := 0; i+recordHeaderSize <= n; i++ {
			if h, ok := parseRecordHeader(s, buf[i:n]); ok && h.synced > offset {
				return true, nil
			}
		}
	}
	return false, nil
}

// readSegmentHeader returns the file's header and size. ok is false if there is no sound header.
func readSegmentHeader(f vfs.File) (h segmentHeader, size int64, ok bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return h, 0, false, err
	}
	if info.Size() < segmentHeaderSize {
		return h, info.Size(), false, nil
	}
	b := make([]byte, segmentHeaderSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return h, 0, false, err
	}
	h, ok = parseSegmentHeader(b)
	return h, info.Size(), ok, nil
}
