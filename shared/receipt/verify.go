package receipt

import (
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/wire"
)

// A Step is one link of the chain from the envelope to the signature.
type Step string

// The steps in which Verify goes.
const (
	StepCheckpoint Step = "checkpoint"  // signed with the key, and of this channel's log
	StepEnvelope   Step = "envelope"    // of this transaction, on this channel, in the form that its code says
	StepBlock      Step = "transaction" // envelope, code and position are in the tree of the block's transactions
	StepLog        Step = "block"       // header and tree are in the log that the checkpoint signs
)

// An Error says which step of a receipt's proof fails, and how.
type Error struct {
	Step   Step
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("the %s does not hold: %s", e.Step, e.Reason) }

func failed(step Step, format string, args ...any) error {
	return &Error{step, fmt.Sprintf(format, args...)}
}

// Verify checks everything that a receipt says against a verifier key, offline. nil means: whoever holds the key has signed for a
// chain in which this envelope is the transaction of this id, in this block at this position, with this code. An *Error says what
// fails; ErrForm, that it is no receipt or no key.
func Verify(r *Receipt, verifierKey string) error {
	if err := r.verify(verifierKey); err != nil {
		return fmt.Errorf("verify receipt: %w", err)
	}
	return nil
}

func (r *Receipt) verify(verifierKey string) error {
	if _, err := note.NewVerifier(verifierKey); err != nil {
		return fmt.Errorf("%w: verifier key: %v", ErrForm, err)
	}
	if r.VerifierKey != verifierKey {
		return failed(StepCheckpoint, "the receipt names the key %q, not %q", r.VerifierKey, verifierKey)
	}
	checkpoint, err := OpenCheckpoint(r.Checkpoint, verifierKey)
	if err != nil {
		return err
	}
	if originChannel(checkpoint.Origin) != r.Channel || r.Channel == "" {
		return failed(StepCheckpoint, "it is of the log %q, not of channel %q", checkpoint.Origin, r.Channel)
	}
	code, known := peer.TxValidationCode_value[r.Code]
	if !known || code < 0 || code > math.MaxUint8 {
		return failed(StepEnvelope, "there is no validation code %q", r.Code)
	}
	if err := r.verifyEnvelope(peer.TxValidationCode(code)); err != nil {
		return err
	}
	if r.Transactions > math.MaxInt64 || r.Index >= r.Transactions {
		return failed(StepBlock, "a block of %d transactions has no position %d", r.Transactions, r.Index)
	}
	leaf := TransactionHash(r.Index, peer.TxValidationCode(code), sha256.Sum256(r.Envelope))
	if err := tlog.CheckRecord(r.TransactionProof, int64(r.Transactions), r.TransactionsRoot, int64(r.Index), leaf); err != nil {
		return failed(StepBlock, "this envelope at position %d with the code %s is not under the root of the block's transactions: %v", r.Index, r.Code, err)
	}
	if r.Header.Number != r.BlockNumber {
		return failed(StepLog, "the header is of block %d, not %d", r.Header.Number, r.BlockNumber)
	}
	if r.BlockNumber >= checkpoint.Size {
		return failed(StepLog, "the checkpoint is of %d blocks, and has no block %d", checkpoint.Size, r.BlockNumber)
	}
	leaf = BlockHash(r.Header.block(), r.Transactions, r.TransactionsRoot)
	if err := tlog.CheckRecord(r.LogProof, int64(checkpoint.Size), checkpoint.Root, int64(r.BlockNumber), leaf); err != nil {
		return failed(StepLog, "a block %d with this header and these transactions is not in the log: %v", r.BlockNumber, err)
	}
	return nil
}

// verifyEnvelope checks that the envelope says what the receipt does. A valid one is whole; another may be wrong in the way that
// its code tells.
func (r *Receipt) verifyEnvelope(code peer.TxValidationCode) error {
	tx, form := wire.ParseEnvelope(r.Envelope)
	switch {
	case tx == nil:
		return failed(StepEnvelope, "it is not a transaction")
	case tx.TxID != r.TransactionID:
		return failed(StepEnvelope, "it is of transaction %q, not %q", tx.TxID, r.TransactionID)
	case code != peer.TxValidationCode_VALID:
		return nil
	case form != peer.TxValidationCode_VALID:
		return failed(StepEnvelope, "its form is %s, which cannot be valid", form)
	case tx.Channel != r.Channel:
		return failed(StepEnvelope, "it is of channel %q, not %q", tx.Channel, r.Channel)
	}
	return nil
}
