package dynamodb

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

// errClosed: the store or the view was closed before the call.
var errClosed = errors.New("closed")

// view is a Reader with the look-ups that only the platform may make. It is not fixed.
type view struct {
	*Reader
	savepoint uint64
	closed    atomic.Bool
}

var _ ledger.View = (*view)(nil)

func (v *view) Savepoint() uint64 { return v.savepoint }
func (v *view) Fixed() bool       { return false }

func (v *view) Close() error {
	v.closed.Store(true)
	return nil
}

func (v *view) check(op string) error {
	if v.closed.Load() {
		return fmt.Errorf("%s: view: %w", op, errClosed)
	}
	return nil
}

func (v *view) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	if err := v.check("get"); err != nil {
		return nil, err
	}
	return v.Reader.Get(ctx, namespace, keys)
}

func (v *view) Range(ctx context.Context, namespace, start, end string, limit int) ([]ledger.KV, error) {
	if err := v.check("range"); err != nil {
		return nil, err
	}
	return v.Reader.Range(ctx, namespace, start, end, limit)
}

func (v *view) History(ctx context.Context, namespace, key string, before ledger.Version, limit int) ([]ledger.Change, error) {
	if err := v.check("history"); err != nil {
		return nil, err
	}
	return v.Reader.History(ctx, namespace, key, before, limit)
}

func (v *view) Transactions(ctx context.Context, txIDs []string) ([]*ledger.TxEntry, error) {
	if err := v.check("transactions"); err != nil {
		return nil, err
	}
	entries := make([]*ledger.TxEntry, len(txIDs))
	if len(txIDs) == 0 {
		return entries, v.failed(ctx, "transactions", nil)
	}
	ids := make([]id, len(txIDs))
	for i, txID := range txIDs {
		ids[i] = id{txPartition(v.channel, txID), string(only)}
	}
	found, err := getItems(ctx, v.client, v.table, ids)
	if err != nil {
		return nil, v.failed(ctx, "transactions", err)
	}
	for i, txID := range txIDs {
		it := found[ids[i]]
		if it == nil {
			continue
		}
		version, err := versionIn(it)
		if err != nil {
			return nil, err
		}
		verdict, err := numberIn(it, code)
		if err != nil {
			return nil, err
		}
		entries[i] = &ledger.TxEntry{TxID: txID, Version: version, Code: peer.TxValidationCode(verdict)}
	}
	return entries, nil
}

func (v *view) BlockByHash(ctx context.Context, hash []byte) (uint64, error) {
	if err := v.check("block by hash"); err != nil {
		return 0, err
	}
	it, err := getItem(ctx, v.client, v.table, hashPartition(v.channel, hash), only)
	if err := v.failed(ctx, "block by hash", err); err != nil {
		return 0, err
	}
	if it == nil {
		return 0, fmt.Errorf("block with hash %s of channel %s: %w", hex.EncodeToString(hash), v.channel, ledger.ErrNotFound)
	}
	return numberIn(it, number)
}
