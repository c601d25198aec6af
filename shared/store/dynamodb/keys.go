package dynamodb

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
)

// The attributes of the primary key.
const (
	partitionKey = "pk"
	sortKey      = "sk"
)

// Attributes of items. What is too large to stand in an item stands in pieces, and a reference to them under the name with
// staged appended.
const (
	body      = "b" // of a block, or of a piece
	value     = "v"
	metadata  = "m"
	longKey   = "k"
	block     = "b" // number of the block that wrote the item
	position  = "t" // of the transaction in it
	wrote     = "w" // the version's block, where it is not the one that wrote the item
	number    = "n"
	txID      = "x"
	timestamp = "s"
	deletion  = "d"
	code      = "c"
	defined   = "l"
	fates     = "o" // of letters: formatOutcomes
	envelope  = "e"
	trusted   = "u"
	expiry    = "ttl" // seconds since 1970: DynamoDB removes the item some time after

	staged = "#"
)

// maxWholeKey is the length of the longest ledger key that stands in a sort key as it is. A longer one stands as its beginning,
// a mark and its hash: 1023 bytes of the 1024 that a sort key may have.
const maxWholeKey = 990

// Marks after a key or its beginning. The smallest byte at the end keeps the order of keys, and gives the empty key a byte.
const (
	wholeMark = 0
	longMark  = 1
)

// only is the sort key of a partition's only item, or of its first.
var only = []byte{0}

func partition(kind, channel string, rest ...string) string {
	return strings.Join(append([]string{kind, channel}, rest...), "#")
}

// StatePartition returns the partition key of a namespace's state: a contract's function needs to read it, and HistoryPartition.
func StatePartition(channel, namespace string) string { return partition("state", channel, namespace) }

// HistoryPartition returns the partition key of a namespace's history, where the state's large values stand too.
func HistoryPartition(channel, namespace string) string {
	return partition("history", channel, namespace)
}

func blockPartition(channel string, number uint64) string {
	return partition("block", channel, fmt.Sprintf("%020d", number))
}

func txPartition(channel, id string) string {
	if len(id) > 1024 { // what a client calls an id can be anything
		sum := sha256.Sum256([]byte(id))
		return partition("longtx", channel, hex.EncodeToString(sum[:]))
	}
	return partition("tx", channel, id)
}

func hashPartition(channel string, hash []byte) string {
	return partition("hash", channel, hex.EncodeToString(hash))
}

// checkChannel refuses names that a partition key cannot hold.
func checkChannel(name string) error {
	if name == "" || strings.Contains(name, "#") || len(name) > 255 {
		return fmt.Errorf("channel name %q: it has 1 to 255 bytes and no '#'", name)
	}
	return nil
}

// stateKey returns the sort key of a ledger key's state.
func stateKey(key string) []byte {
	if len(key) <= maxWholeKey {
		return append([]byte(key), wholeMark)
	}
	sum := sha256.Sum256([]byte(key))
	return append(append([]byte(key[:maxWholeKey]), longMark), sum[:]...)
}

// stateRange returns the first and the last sort key at which a ledger key with start ≤ key < end can stand. The rows there may
// have others too: end itself, and long keys that begin as start or end does.
func stateRange(start, end string) (first, last []byte) {
	first = append([]byte(start), wholeMark)
	if len(start) > maxWholeKey {
		first = append([]byte(start[:maxWholeKey]), longMark)
	}
	switch {
	case end == "":
		return first, nil
	case len(end) > maxWholeKey:
		return first, append([]byte(end[:maxWholeKey]), longMark+1)
	}
	return first, append([]byte(end), wholeMark)
}

// historyKey returns the sort key of a key's change.
func historyKey(key string, v ledger.Version) []byte {
	sum := sha256.Sum256([]byte(key))
	b := append([]byte{'h'}, sum[:]...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, v.Block), v.Tx)
}

// pieceKey returns the sort key of one piece of what has a hash. The mark says whose partition it is.
func pieceKey(mark byte, hash []byte, index int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{mark}, hash...), uint32(index))
}

// Marks of pieces: among a block's items, and among a namespace's history.
const (
	blockPiece = 1
	valuePiece = 'v'
)

// An item is a row of the table.
type item = map[string]types.AttributeValue

func newItem(pk string, sk []byte) item {
	return item{partitionKey: text(pk), sortKey: bytesOf(sk)}
}
