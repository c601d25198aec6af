package ledger

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// ErrNoCheckpoints: the ledger was opened without a key for checkpoints.
var ErrNoCheckpoints = errors.New("the ledger has no key for checkpoints")

// Receipt proves that a transaction stands in the chain, as of the chain's end, or returns ErrNotFound. If the chain holds the id
// more than once, it is of the first.
func (c *Channel) Receipt(ctx context.Context, txID string) (*receipt.Receipt, error) {
	r, err := c.receipt(ctx, txID)
	if err != nil {
		return nil, fmt.Errorf("receipt of transaction %s of channel %s: %w", txID, c.name, err)
	}
	return r, nil
}

func (c *Channel) receipt(ctx context.Context, txID string) (*receipt.Receipt, error) {
	signer, err := c.signer(ctx)
	if err != nil {
		return nil, err
	}
	entry, err := c.Entry(ctx, txID)
	if err != nil {
		return nil, err
	}
	block, err := c.Block(ctx, entry.Version.Block)
	if err != nil {
		return nil, err
	}
	if entry.Version.Tx >= uint64(len(block.Data.Data)) {
		return nil, fmt.Errorf("block %d has no position %d: %w", entry.Version.Block, entry.Version.Tx, ErrDamaged)
	}
	// The view is opened after the entry was found: it has the block.
	view, err := c.View(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	r, err := receipt.New(c.name, block, entry.Version.Tx, view.Savepoint(), logReader{ctx, view}, signer)
	if err != nil {
		return nil, err
	}
	if err := receipt.Verify(r, signer.VerifierKey()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, nil
}

// Checkpoint signs the channel's log as of the chain's end: a signed note.
func (c *Channel) Checkpoint(ctx context.Context) (string, error) {
	signer, err := c.signer(ctx)
	if err != nil {
		return "", fmt.Errorf("checkpoint of channel %s: %w", c.name, err)
	}
	view, err := c.View(ctx)
	if err != nil {
		return "", fmt.Errorf("checkpoint of channel %s: %w", c.name, err)
	}
	defer view.Close()
	root, err := LogRoot(ctx, view, view.Savepoint())
	if err != nil {
		return "", fmt.Errorf("checkpoint of channel %s: %w", c.name, err)
	}
	return signer.Checkpoint(view.Savepoint(), root)
}

// VerifierKey returns the public key that the channel's checkpoints are signed with, in the form of signed notes.
func (c *Channel) VerifierKey(ctx context.Context) (string, error) {
	signer, err := c.signer(ctx)
	if err != nil {
		return "", fmt.Errorf("verifier key of channel %s: %w", c.name, err)
	}
	return signer.VerifierKey(), nil
}

// signer returns what signs the channel's checkpoints. It is named after the channel's first block.
func (c *Channel) signer(ctx context.Context) (*receipt.Signer, error) {
	if signer := c.checkpoints.Load(); signer != nil {
		return signer, nil
	}
	if len(c.ledger.CheckpointKey) == 0 {
		return nil, ErrNoCheckpoints
	}
	first, err := c.Block(ctx, 0)
	if err != nil {
		return nil, err
	}
	signer, err := receipt.NewSigner(receipt.Origin(c.name, wire.HeaderHash(first.Header)), c.ledger.CheckpointKey)
	if err != nil {
		return nil, err
	}
	c.checkpoints.Store(signer)
	return signer, nil
}

// LogRoot returns the root of a channel's log as it was at a size, from the hashes in a view of the channel. It is an error if the
// view has fewer blocks.
func LogRoot(ctx context.Context, view View, size uint64) (tlog.Hash, error) {
	if size > view.Savepoint() {
		return tlog.Hash{}, fmt.Errorf("root of a log at size %d: there are %d blocks", size, view.Savepoint())
	}
	return tlog.TreeHash(int64(size), logReader{ctx, view})
}
