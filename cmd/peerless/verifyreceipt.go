package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"peerless/shared/receipt"
)

// receiptCheck is what is known of a receipt that holds.
type receiptCheck struct {
	OK            bool   `json:"ok"`
	Channel       string `json:"channel"`
	TransactionID string `json:"transactionId"`
	Code          string `json:"code"`
	BlockNumber   uint64 `json:"blockNumber"`
	Index         uint64 `json:"index"`
	Size          uint64 `json:"size"` // of the log that the checkpoint is of, in blocks
	VerifierKey   string `json:"verifierKey"`
	Pinned        bool   `json:"pinned"` // whether the caller named the key
}

// verifyReceipt checks a receipt offline. Without a key it takes the one that the receipt names.
func (a *app) verifyReceipt(file, key string) error {
	r, err := a.readReceipt(file)
	if err != nil {
		return err
	}
	check, _, err := checkReceipt(r, key)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errVerify, file, err)
	}
	if a.json {
		return a.printJSON(check)
	}
	fmt.Fprintf(a.out, "receipt holds: transaction %s is %s, in block %d at %d of channel %s\n", check.TransactionID, check.Code, check.BlockNumber, check.Index, check.Channel)
	fmt.Fprintf(a.out, "signed in a checkpoint of %d blocks with %s\n", check.Size, oneLine(check.VerifierKey))
	a.warnOfKey(check.Pinned, "receipt")
	return nil
}

// warnOfKey says what a check is worth whose key came from what was checked.
func (a *app) warnOfKey(pinned bool, source string) {
	if !pinned {
		a.note("the key came from the %s itself: this shows that it is consistent, not who made it. Name the platform's with --verifier-key", source)
	}
}

func checkReceipt(r *receipt.Receipt, key string) (*receiptCheck, *receipt.Checkpoint, error) {
	pinned := key != ""
	if !pinned {
		key = r.VerifierKey
	}
	if err := receipt.Verify(r, key); err != nil {
		return nil, nil, err
	}
	checkpoint, err := receipt.OpenCheckpoint(r.Checkpoint, key)
	if err != nil {
		return nil, nil, err
	}
	return &receiptCheck{true, r.Channel, r.TransactionID, r.Code, r.BlockNumber, r.Index, checkpoint.Size, key, pinned}, checkpoint, nil
}

// readReceipt reads a receipt from a file, or from standard input if that is named -.
func (a *app) readReceipt(file string) (*receipt.Receipt, error) {
	in := a.in
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the receipt: %w", err)
		}
		defer opened.Close()
		in = opened
	}
	raw, err := io.ReadAll(io.LimitReader(in, receipt.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the receipt: %w", err)
	}
	r, err := receipt.Parse(raw)
	if errors.Is(err, receipt.ErrForm) {
		return nil, fmt.Errorf("%w: %s: %w", errVerify, file, err)
	}
	return r, err
}
