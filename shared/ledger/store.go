package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// Errors that every store returns, wrapped with the operation.
var (
	// ErrConflict: another block already holds the number. Read it back, then cut the next one.
	ErrConflict = errors.New("another block holds this number")
	// ErrNotFound: no such channel, block or transaction. Absent keys are not an error: they are nil.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable: the store did not do it now, and may do it later: it is out of reach, or throttles its callers. What was to
	// be written may be there or not.
	ErrUnavailable = errors.New("the store is not available now")
	// ErrDamaged: what was read is not what was written (checksum or encoding). Nothing of it may be served.
	ErrDamaged = errors.New("stored data is damaged")
)

// A Version names the transaction that last wrote a key: Fabric's height of a key.
type Version struct {
	Block uint64 // number of the block
	Tx    uint64 // position in the block, from 0
}

// An Item is the committed state of one key.
type Item struct {
	Value    []byte  // never empty: to write the empty value is to delete the key
	Metadata []byte  // a marshalled kvrwset.KVMetadataWrite without its key; nil if there is none
	Version  Version // who wrote it last
}

// A KV is a row of a range.
type KV struct {
	Key  string
	Item *Item
}

// A Write gives one key of one namespace its state after a block.
type Write struct {
	Namespace, Key string
	Item           *Item // nil: the key is deleted
}

// A Change is one entry of a key's history. A block can hold several of one key.
type Change struct {
	Namespace, Key string
	Version        Version
	TxID           string
	Timestamp      time.Time // the proposal's, UTC
	Value          []byte    // nil if IsDelete
	IsDelete       bool
}

// A TxEntry says where a transaction stands. An id is entered once: with its first occurrence in the chain.
type TxEntry struct {
	TxID    string
	Version Version // block and position
	Code    peer.TxValidationCode
}

// A Batch is all that block number Block does to a channel's state. It is derived from the block alone, but for Private.
type Batch struct {
	Block   uint64
	Hash    []byte    // the block's header hash: the key of the look-up by hash
	Writes  []Write   // at most one per key
	History []Change  // in block order
	Txs     []TxEntry // in block order

	// Outcomes of letters that the block's writer took along. They are no part of what the block does: a SharedStore keeps them
	// beside the block, any other store passes over them.
	Outcomes []Outcome

	// Private holds the writes to private values, at most one per key, in namespaces that Writes does not touch. The values are
	// sealed. They become visible with Writes, and are to be forgotten when they are overwritten or deleted: a store keeps no
	// other copy of them for longer than it takes to make them durable.
	Private []Write
}

// Log is the chain of blocks of each channel. Blocks are numbered from 0 without gaps. Safe for concurrent use.
type Log interface {
	// Append makes block batch.Block of the channel durable if the channel has exactly that many blocks: the conditional
	// write that orders a channel. Block 0 creates the channel.
	//
	// nil: the block is durable and visible to every read that starts after. A block equal byte for byte to the one that
	// holds the number is success too: a retry can meet its own write. ErrConflict: another block holds the number, or the
	// number is beyond the next one. Any other error: the outcome is unknown; the caller reads the block back before it
	// tells anyone anything.
	//
	// batch is what Apply will be given for this block. A store that can makes it visible in the same atomic write; any
	// other leaves it to Apply, and keeps batch.Private for Unapplied. Neither argument is modified or kept after the call.
	Append(ctx context.Context, channel string, block []byte, batch *Batch) error

	// Block returns the bytes given to Append, or ErrNotFound.
	Block(ctx context.Context, channel string, number uint64) ([]byte, error)

	// Height returns the number of blocks, 0 for a channel that does not exist. It is consistent: it counts every block
	// whose Append returned before the call.
	Height(ctx context.Context, channel string) (uint64, error)

	// Channels returns the names of the channels, sorted.
	Channels(ctx context.Context) ([]string, error)
}

// State is what the chain says, derived from it. Safe for concurrent use.
type State interface {
	// Apply makes a block's effects visible and moves the savepoint to batch.Block+1. It is idempotent: for a block below
	// the savepoint it does nothing and returns nil. Blocks come in order; a gap is an error. Apply may be interrupted at
	// any point and repeated: a key already at the batch's version, or a later one, stays. That holds for a key that a later
	// block deleted too: a store in which an Apply can be late keeps the number of the deleting block.
	Apply(ctx context.Context, channel string, batch *Batch) error

	// View opens a reader of the channel's state. A channel without a block has an empty view with savepoint 0.
	View(ctx context.Context, channel string) (View, error)
}

// A StagedSet is a transaction's private set on its way from the endorsement to the commit.
type StagedSet struct {
	ID     string // wire.RWSet.PrivateID
	Height uint64 // blocks of the channel when it was staged
	At     time.Time
	Set    []byte // sealed; never empty
}

// Transient keeps what private data needs besides blocks and state. What it forgets leaves no copy. Safe for concurrent use.
type Transient interface {
	// Stage makes sets durable. One with an ID that is there already replaces it. A store may have limits: it forgets what they say
	// can go (StagedLimits), and refuses what is over them then, ErrStagedFull.
	Stage(ctx context.Context, channel string, sets []StagedSet) error

	// Staged returns the sets with these IDs, in order; nil where there is none.
	Staged(ctx context.Context, channel string, ids []string) ([][]byte, error)

	// Unstage forgets the sets with these IDs, and all that were staged at a height less than below. A store may be late with
	// either, by its own rule.
	Unstage(ctx context.Context, channel string, ids []string, below uint64) error

	// Unapplied returns batch.Private of the block with this header hash, as Append was given it, if the block may not be
	// applied yet. It is nil for one that is applied, or has none.
	Unapplied(ctx context.Context, channel string, block uint64, hash []byte) ([]Write, error)
}

// A View reads a channel's state. It may be used by several goroutines; Close it when done. What it returns is the caller's; a
// limit below 1 is an error.
type View interface {
	// Savepoint is the number of blocks applied when the view was opened.
	Savepoint() uint64

	// Fixed reports whether the view is a snapshot: nothing applied after it was opened is seen through it. The reader of
	// a view that is not fixed must validate what it read.
	Fixed() bool

	// Get returns one item for each key, in order; nil where there is none.
	Get(ctx context.Context, namespace string, keys []string) ([]*Item, error)

	// Range returns the rows with start ≤ key < end in byte order, at most limit (> 0). The empty end is open. Fewer rows
	// than limit means that there are no more.
	Range(ctx context.Context, namespace, start, end string, limit int) ([]KV, error)

	// History returns a key's changes older than before, newest first, at most limit (> 0). The zero before means from
	// the newest: a reader of pages stops at a change of that version, which only the genesis block can make.
	History(ctx context.Context, namespace, key string, before Version, limit int) ([]Change, error)

	// Transactions returns where each transaction stands, in order; nil where there is none with that id.
	Transactions(ctx context.Context, txIDs []string) ([]*TxEntry, error)

	// BlockByHash returns the number of the block with this header hash, or ErrNotFound.
	BlockByHash(ctx context.Context, hash []byte) (uint64, error)

	Close() error
}

// A Store is all of these, over the same channels.
type Store interface {
	Log
	State
	Transient
	// Close releases the store. What was acknowledged is durable without it.
	Close() error
}

// A SharedStore is a Store that many processes write to, and that each call to takes long. It says where a channel's end is in one
// call, and has an inbox for each block that is to be: writers who would only be in each other's way leave what they have there,
// and one takes it along. An inbox is a courtesy: Append alone decides what is in the chain.
type SharedStore interface {
	Store

	// Position says where a channel's end is. It is as consistent as Height.
	Position(ctx context.Context, channel string) (Position, error)

	// ViewAt returns a view for a caller who knows that so many blocks are applied. It asks nobody.
	ViewAt(channel string, savepoint uint64) View

	// Leave puts letters into the inbox of a block. It reports whether the caller is the first to whom claimed is said for this
	// block: who is expected to write it, of the letters that it then finds. After an error some may be there.
	Leave(ctx context.Context, channel string, block uint64, letters []Letter) (claimed bool, err error)

	// Letters returns what is in the inbox of a block, as much as one call returns, in no particular order.
	Letters(ctx context.Context, channel string, block uint64) ([]Letter, error)

	// Outcomes returns what the block's Append was given, or ErrNotFound if there is no such block.
	Outcomes(ctx context.Context, channel string, block uint64) ([]Outcome, error)
}

// A Position is where a channel's end is.
type Position struct {
	Height    uint64 // number of blocks
	Savepoint uint64 // of these so many are applied, at least
	Defined   uint64 // one more than the number of the last applied block that wrote to LifecycleNamespace, as of Savepoint; 0 if none did
}

// MaxLetter is the size of the largest envelope that fits into an inbox, in bytes.
const MaxLetter = 300 << 10

// A Letter is a transaction that was left for whoever writes a block.
type Letter struct {
	Envelope []byte
	Trusted  bool // it is not to be recorded if it is invalid
}

// An Outcome is what became of a letter.
type Outcome struct {
	Digest   [sha256.Size]byte // of the envelope
	Code     peer.TxValidationCode
	Tx       uint64 // position in the block, if it was recorded
	Recorded bool
}
