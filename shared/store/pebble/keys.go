package pebble

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"peerless/shared/ledger"
)

// Every key of the database is one of these bytes, then what it names. Each part but the last says its own length, so
// that no part can run into the next, whatever bytes it holds.
//
//	keyReplay                                      the position in the log from where the database may lack records
//	keyChannel  name                               its savepoint
//	keyBlock    channel, number                    where the record is in the log
//	keyHash     channel, header hash               the block's number
//	keyTx       channel, id                        block, position and code
//	keyState    channel, namespace, key            an item
//	keyHistory  channel, namespace, key, version   a change; versions in descending order
const (
	keyReplay  = 'r'
	keyChannel = 'c'
	keyBlock   = 'b'
	keyHash    = 'h'
	keyTx      = 't'
	keyState   = 's'
	keyHistory = 'v'
)

func channelKey(channel string) []byte { return append([]byte{keyChannel}, channel...) }

func blockKey(channel string, number uint64) []byte {
	return appendOrdered(prefixed(keyBlock, channel, 9), number)
}

func hashKey(channel string, hash []byte) []byte {
	return append(prefixed(keyHash, channel, len(hash)), hash...)
}

func txKey(channel, id string) []byte {
	return appendID(prefixed(keyTx, channel, len(id)+1), id)
}

// stateKey is the first key of the namespace if key is empty.
func stateKey(channel, namespace, key string) []byte {
	return append(appendString(prefixed(keyState, channel, len(namespace)+len(key)+2), namespace), key...)
}

// historyPrefix begins the keys of a key's changes.
func historyPrefix(channel, namespace, key string) []byte {
	k := prefixed(keyHistory, channel, len(namespace)+len(key)+24)
	return appendString(appendString(k, namespace), key)
}

func historyKey(channel, namespace, key string, v ledger.Version) []byte {
	k := historyPrefix(channel, namespace, key)
	start := len(k)
	k = appendOrdered(appendOrdered(k, v.Block), v.Tx)
	for i := start; i < len(k); i++ {
		k[i] = ^k[i]
	}
	return k
}

// historyVersion is the version at the end of a history key.
func historyVersion(suffix []byte) (ledger.Version, bool) {
	inverted := make([]byte, len(suffix))
	for i, b := range suffix {
		inverted[i] = ^b
	}
	block, rest, ok := cutOrdered(inverted)
	if !ok {
		return ledger.Version{}, false
	}
	tx, rest, ok := cutOrdered(rest)
	return ledger.Version{Block: block, Tx: tx}, ok && len(rest) == 0
}

func prefixed(kind byte, channel string, more int) []byte {
	k := make([]byte, 0, len(channel)+more+4)
	return appendString(append(k, kind), channel)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendOrdered appends n so that the order of the bytes is that of the numbers: how many bytes, then the bytes.
func appendOrdered(b []byte, n uint64) []byte {
	size := (bits.Len64(n) + 7) / 8
	b = append(b, byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

func cutOrdered(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] > 8 || len(b) < 1+int(b[0]) {
		return 0, nil, false
	}
	for _, c := range b[1 : 1+b[0]] {
		n = n<<8 | uint64(c)
	}
	return n, b[1+b[0]:], true
}

// appendID appends a transaction id: its 32 bytes if it is their hexadecimal form, as Fabric's are, else as it is.
func appendID(b []byte, id string) []byte {
	if len(id) == 64 {
		if raw, err := hex.DecodeString(id); err == nil && hex.EncodeToString(raw) == id {
			return append(append(b, 1), raw...)
		}
	}
	return append(append(b, 0), id...)
}

// parseID is the inverse of appendID.
func parseID(b []byte) (string, bool) {
	switch {
	case len(b) == 33 && b[0] == 1:
		return hex.EncodeToString(b[1:]), true
	case len(b) > 0 && b[0] == 0:
		return string(b[1:]), true
	}
	return "", false
}

// keyAfter is the first key that does not begin with prefix.
func keyAfter(prefix []byte) []byte {
	after := append([]byte(nil), prefix...)
	for i := len(after) - 1; i >= 0; i-- {
		if after[i]++; after[i] != 0 {
			return after[:i+1]
		}
	}
	return nil
}
