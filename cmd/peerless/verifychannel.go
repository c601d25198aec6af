package main

import (
	"bytes"
	"context"
	"fmt"

	"peerless/shared/ledger"
	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// remoteAudit is what an audit of a server's channel found.
type remoteAudit struct {
	OK           bool          `json:"ok"`
	Channel      string        `json:"channel"`
	Blocks       uint64        `json:"blocks"`
	Transactions uint64        `json:"transactions"`
	Invalid      uint64        `json:"invalid"`
	Hash         string        `json:"hash"` // of the last block's header, in hex
	Root         string        `json:"root"` // of the log, in base64 as in its checkpoints
	VerifierKey  string        `json:"verifierKey"`
	Pinned       bool          `json:"pinned"`        // whether the caller named the key
	State        bool          `json:"stateCompared"` // never: a server's state is not at hand
	Receipt      *receiptCheck `json:"receipt,omitempty"`
}

// verifyChannel downloads a channel's blocks, judges them again, and compares the log that they add up to with the server's
// checkpoint, and with a receipt's if there is one.
func (a *app) verifyChannel(ctx context.Context, r *remote, channel, file, key string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pinned := key != ""
	if !pinned {
		shown, err := r.Channel(ctx, channel)
		if err != nil {
			return err
		}
		key = shown.VerifierKey
	}
	signed, err := r.Checkpoint(ctx, channel)
	if err != nil {
		return err
	}
	checkpoint, err := receipt.OpenCheckpoint(signed, key)
	if err != nil {
		return fmt.Errorf("%w: the server's checkpoint of channel %s: %w", errVerify, channel, err)
	}
	result := &remoteAudit{OK: true, Channel: channel, VerifierKey: key, Pinned: pinned}
	var earlier *receipt.Checkpoint
	if file != "" {
		proof, err := a.readReceipt(file)
		if err != nil {
			return err
		}
		if result.Receipt, earlier, err = checkReceipt(proof, key); err != nil {
			return fmt.Errorf("%w: %s: %w", errVerify, file, err)
		}
	}
	if err := a.replayChannel(ctx, r, result, checkpoint, earlier); err != nil {
		return fmt.Errorf("%w: %w", errVerify, err)
	}
	return a.printRemoteAudit(result)
}

// replayChannel audits the blocks, and compares the log's root at each checkpoint's size. earlier may be nil.
func (a *app) replayChannel(ctx context.Context, r *remote, result *remoteAudit, checkpoint, earlier *receipt.Checkpoint) error {
	scratch, remove, err := openScratch()
	if err != nil {
		return err
	}
	defer remove()
	show, end := a.counter("judging " + result.Channel)
	defer end()
	blocks := &download{remote: r, height: checkpoint.Size, ahead: make(map[uint64]chan downloaded)}
	audit := &ledger.Audit{Chain: blocks, Channel: result.Channel, Scratch: scratch, Progress: show}
	report, err := audit.Run(ctx)
	if err != nil {
		return err
	}
	first, err := scratch.Block(ctx, result.Channel, 0)
	if err != nil {
		return fmt.Errorf("read the replay: %w", err)
	}
	genesis, err := wire.ParseBlock(first)
	if err != nil {
		return fmt.Errorf("read the replay: %w", err)
	}
	if origin := receipt.Origin(result.Channel, wire.HeaderHash(genesis.Header)); origin != checkpoint.Origin {
		return fmt.Errorf("the blocks are of the log %s, the checkpoint of %s", origin, checkpoint.Origin)
	}
	view, err := scratch.View(ctx, result.Channel)
	if err != nil {
		return fmt.Errorf("read the replay: %w", err)
	}
	defer view.Close()
	root, err := ledger.LogRoot(ctx, view, checkpoint.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(root[:], checkpoint.Root[:]) {
		return fmt.Errorf("the server signed the root %s for %d blocks, its blocks have %s", checkpoint.Root, checkpoint.Size, root)
	}
	result.Blocks, result.Transactions, result.Invalid = report.Blocks, report.Transactions, report.Invalid
	result.Hash, result.Root = fmt.Sprintf("%x", report.Hash), root.String()
	if earlier == nil {
		return nil
	}
	if earlier.Size > checkpoint.Size {
		return fmt.Errorf("the receipt was signed for %d blocks, the server has only %d: blocks are gone", earlier.Size, checkpoint.Size)
	}
	then, err := ledger.LogRoot(ctx, view, earlier.Size)
	if err != nil {
		return err
	}
	if then != earlier.Root {
		return fmt.Errorf("the receipt was signed for another chain: its first %d blocks had the root %s, the server's have %s", earlier.Size, earlier.Root, then)
	}
	return nil
}

func (a *app) printRemoteAudit(result *remoteAudit) error {
	if a.json {
		return a.printJSON(result)
	}
	fmt.Fprintf(a.out, "channel %s holds: %d blocks, %d transactions (%d invalid), last hash %s\n",
		result.Channel, result.Blocks, result.Transactions, result.Invalid, shorten(result.Hash, 17))
	fmt.Fprintf(a.out, "chain, signatures, verdicts and commit hashes were judged again; the server's checkpoint is that of these blocks\n")
	if c := result.Receipt; c != nil {
		fmt.Fprintf(a.out, "receipt holds: transaction %s is %s, in block %d at %d; these blocks go on from its checkpoint of %d\n", c.TransactionID, c.Code, c.BlockNumber, c.Index, c.Size)
	}
	fmt.Fprintf(a.out, "state was not compared: that takes the data directory (peerless verify --data)\n")
	a.warnOfKey(result.Pinned, "server")
	return nil
}

// downloads is how many blocks are asked for at a time.
const downloads = 8

// download is a server's chain up to a height. It is read in order, by one goroutine, and fetches ahead.
type download struct {
	*remote
	height uint64
	next   uint64 // the first block that was not asked for
	ahead  map[uint64]chan downloaded
}

type downloaded struct {
	raw []byte
	err error
}

var _ ledger.Chain = (*download)(nil)

func (d *download) Height(context.Context, string) (uint64, error) { return d.height, nil }

func (d *download) Block(ctx context.Context, channel string, number uint64) ([]byte, error) {
	for ; d.next < min(d.height, number+downloads); d.next++ {
		one, n := make(chan downloaded, 1), d.next
		d.ahead[n] = one
		go func() {
			raw, err := d.RawBlock(ctx, channel, n)
			one <- downloaded{raw, err}
		}()
	}
	got := <-d.ahead[number]
	delete(d.ahead, number)
	return got.raw, got.err
}
