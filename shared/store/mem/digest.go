package mem

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"peerless/shared/ledger"
)

// digest identifies a batch by its meaning: a nil and an empty hash, value or metadata are the same. Private
// writes do not count: sealed anew they differ.
func digest(b *ledger.Batch) [sha256.Size]byte {
	d := digester{sha256.New()}
	d.number(b.Block)
	d.text(string(b.Hash))
	d.number(uint64(len(b.Writes)))
	for _, w := range b.Writes {
		d.text(w.Namespace)
		d.text(w.Key)
		d.flag(w.Item != nil)
		if w.Item != nil {
			d.text(string(w.Item.Value))
			d.text(string(w.Item.Metadata))
			d.version(w.Item.Version)
		}
	}
	d.number(uint64(len(b.History)))
	for _, c := range b.History {
		d.text(c.Namespace)
		d.text(c.Key)
		d.version(c.Version)
		d.text(c.TxID)
		d.number(uint64(c.Timestamp.Unix()))
		d.number(uint64(c.Timestamp.Nanosecond()))
		d.flag(c.IsDelete)
		d.text(string(c.Value))
	}
	d.number(uint64(len(b.Txs)))
	for _, e := range b.Txs {
		d.text(e.TxID)
		d.version(e.Version)
		d.number(uint64(e.Code))
	}
	return [sha256.Size]byte(d.Sum(nil))
}

type digester struct{ hash.Hash }

func (d digester) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	d.Write(b[:])
}

func (d digester) text(s string) {
	d.number(uint64(len(s)))
	d.Write([]byte(s))
}

func (d digester) version(v ledger.Version) {
	d.number(v.Block)
	d.number(v.Tx)
}

func (d digester) flag(b bool) {
	if b {
		d.number(1)
	} else {
		d.number(0)
	}
}
