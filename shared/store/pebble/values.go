package pebble

import (
	"encoding/binary"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

// The values of the database, and the parts of a batch in the log, have the same encoding: numbers as varints, bytes with
// their length before them.

func appendItem(b []byte, i *ledger.Item) []byte {
	b = appendVersion(b, i.Version)
	b = appendOptional(b, i.Metadata)
	return append(b, i.Value...)
}

func appendChange(b []byte, c *ledger.Change) []byte {
	id := appendID(nil, c.TxID)
	b = append(binary.AppendUvarint(b, uint64(len(id))), id...)
	b = binary.AppendVarint(b, c.Timestamp.Unix())
	b = binary.AppendUvarint(b, uint64(c.Timestamp.Nanosecond()))
	if c.IsDelete {
		return append(b, 1)
	}
	return append(append(b, 0), c.Value...)
}

func appendTx(b []byte, e *ledger.TxEntry) []byte {
	return binary.AppendUvarint(appendVersion(b, e.Version), uint64(uint32(e.Code)))
}

func appendVersion(b []byte, v ledger.Version) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, v.Block), v.Tx)
}

// appendOptional appends bytes of which nil and empty are told apart.
func appendOptional(b, bytes []byte) []byte {
	if bytes == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(bytes))+1), bytes...)
}

// A decoder takes an encoding apart. After the first thing that does not fit, bad is set and everything is zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.rest, d.bad = nil, true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.rest, d.bad = nil, true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.rest, d.bad = nil, true
		return nil
	}
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

func (d *decoder) optional() []byte {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	return d.take(n - 1)
}

func (d *decoder) flag() bool {
	b := d.take(1)
	if len(b) == 1 && b[0] > 1 {
		d.bad = true
	}
	return len(b) == 1 && b[0] == 1
}

// all takes what is left, never nil.
func (d *decoder) all() []byte {
	if d.rest == nil {
		return []byte{}
	}
	return d.take(uint64(len(d.rest)))
}

// count is a number of things that take at least one byte each.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.rest, d.bad = nil, true
		return 0
	}
	return int(n)
}

func (d *decoder) done() bool { return !d.bad && len(d.rest) == 0 }

func (d *decoder) version() ledger.Version {
	return ledger.Version{Block: d.uvarint(), Tx: d.uvarint()}
}

// item takes what appendItem appended: all that is left.
func (d *decoder) item() *ledger.Item {
	i := &ledger.Item{Version: d.version(), Metadata: d.optional()}
	i.Value = d.all()
	return i
}

// change fills in what appendChange appended: all that is left.
func (d *decoder) change(c *ledger.Change) {
	id, ok := parseID(d.bytes())
	c.TxID = id
	seconds, nanos := d.varint(), d.uvarint()
	if !ok || nanos >= uint64(time.Second) {
		d.bad = true
		return
	}
	c.Timestamp = time.Unix(seconds, int64(nanos)).UTC()
	if c.IsDelete = d.flag(); !c.IsDelete {
		c.Value = d.all()
	}
}

func (d *decoder) tx(e *ledger.TxEntry) {
	e.Version, e.Code = d.version(), peer.TxValidationCode(uint32(d.uvarint()))
}

// appendBatch appends all of a batch but its number, and but what is private.
func appendBatch(b []byte, batch *ledger.Batch) []byte {
	b = appendWrites(appendString(b, string(batch.Hash)), batch.Writes)
	b = binary.AppendUvarint(b, uint64(len(batch.History)))
	for i := range batch.History {
		c := &batch.History[i]
		b = appendVersion(appendString(appendString(b, c.Namespace), c.Key), c.Version)
		b = appendSized(b, func(b []byte) []byte { return appendChange(b, c) })
	}
	b = binary.AppendUvarint(b, uint64(len(batch.Txs)))
	for i := range batch.Txs {
		b = appendTx(appendString(b, batch.Txs[i].TxID), &batch.Txs[i])
	}
	return b
}

func appendWrites(b []byte, writes []ledger.Write) []byte {
	b = binary.AppendUvarint(b, uint64(len(writes)))
	for i := range writes {
		w := &writes[i]
		b = appendString(appendString(b, w.Namespace), w.Key)
		if w.Item == nil {
			b = append(b, 0)
		} else {
			b = appendSized(b, func(b []byte) []byte { return appendItem(b, w.Item) })
		}
	}
	return b
}

// writes is the inverse of appendWrites.
func (d *decoder) writes() []ledger.Write {
	writes := make([]ledger.Write, d.count())
	for i := range writes {
		w := &writes[i]
		w.Namespace, w.Key = string(d.bytes()), string(d.bytes())
		if s := d.sized(); s != nil {
			w.Item = s.item()
			d.bad = d.bad || !s.done()
		}
	}
	return writes
}

// appendSized appends what f appends, after its length in four bytes and never with length 0: that stands for nothing.
func appendSized(b []byte, f func([]byte) []byte) []byte {
	start := len(b)
	b = f(append(b, 1, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(b[start+1:], uint32(len(b)-start-5))
	return b
}

func (d *decoder) sized() *decoder {
	if !d.flag() {
		return nil
	}
	size := d.take(4)
	if size == nil {
		return nil
	}
	return &decoder{rest: d.take(uint64(binary.LittleEndian.Uint32(size)))}
}

// batch is the inverse of appendBatch. The batch shares the decoder's bytes.
func (d *decoder) batch(number uint64) *ledger.Batch {
	b := &ledger.Batch{Block: number, Hash: d.bytes()}
	b.Writes = d.writes()
	b.History = make([]ledger.Change, d.count())
	for i := range b.History {
		c := &b.History[i]
		c.Namespace, c.Key, c.Version = string(d.bytes()), string(d.bytes()), d.version()
		if s := d.sized(); s != nil {
			s.change(c)
			d.bad = d.bad || !s.done()
		}
	}
	b.Txs = make([]ledger.TxEntry, d.count())
	for i := range b.Txs {
		b.Txs[i].TxID = string(d.bytes())
		d.tx(&b.Txs[i])
	}
	return b
}
