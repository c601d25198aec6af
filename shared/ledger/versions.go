package ledger

import (
	"bytes"
	"context"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/simulate/rangequery"
	"peerless/shared/wire"
)

// versions checks what a transaction read against the state before the block and the block's earlier writes: namespace by
// namespace, plain reads, then ranges, then private reads by hash, as Fabric's validation/validator.go.
func (j *judge) versions(ctx context.Context, set *wire.RWSet) (peer.TxValidationCode, error) {
	for i := range set.Namespaces {
		ns := &set.Namespaces[i]
		for _, read := range ns.KV.GetReads() {
			if ok, err := j.current(ctx, stateKey{ns.Namespace, read.Key}, read.Version); err != nil || !ok {
				return peer.TxValidationCode_MVCC_READ_CONFLICT, err
			}
		}
		for _, query := range ns.KV.GetRangeQueriesInfo() {
			if ok, err := j.unchanged(ctx, ns.Namespace, query); err != nil || !ok {
				return peer.TxValidationCode_PHANTOM_READ_CONFLICT, err
			}
		}
		for k := range ns.Collections {
			hashed := HashedNamespace(ns.Namespace, ns.Collections[k].Name)
			for _, read := range ns.Collections[k].Hashed.GetHashedReads() {
				if ok, err := j.current(ctx, stateKey{hashed, string(read.KeyHash)}, read.Version); err != nil || !ok {
					return peer.TxValidationCode_MVCC_READ_CONFLICT, err
				}
			}
		}
	}
	return peer.TxValidationCode_VALID, nil
}

// current reports whether a key still has the version that was read; nil is no such key.
//
// A key that an earlier transaction of the block wrote has changed for every reader, with one exception that Fabric does not
// have: a transaction simulated over the block being cut names the version (this block, position) that it read, and is current
// if exactly that transaction wrote the key last. See DESIGN.md, hot keys.
func (j *judge) current(ctx context.Context, k stateKey, read *kvrwset.Version) (bool, error) {
	if up, ok := j.updates.get(k); ok {
		return up.item != nil && read != nil && read.BlockNum == j.updates.number && read.TxNum == up.tx, nil
	}
	item, err := j.before.get(ctx, k)
	if err != nil {
		return false, err
	}
	if item == nil || read == nil {
		return item == nil && read == nil, nil
	}
	return read.BlockNum == item.Version.Block && read.TxNum == item.Version.Tx, nil
}

// rangePage is how many rows of a range are read from the state at a time.
const rangePage = 1000

// unchanged repeats a range query on the state and the block's earlier writes and compares the keys and versions it finds.
func (j *judge) unchanged(ctx context.Context, namespace string, query *kvrwset.RangeQueryInfo) (bool, error) {
	over := &overlay{View: j.view, updates: j.updates}
	end := query.EndKey
	if !query.ItrExhausted {
		end += "\x00" // the end is then the last key seen, and part of the range
	}
	results := rangequery.NewResults(query.GetReadsMerkleHashes().GetMaxDegree())
	start := query.StartKey
	for {
		rows, err := over.Range(ctx, namespace, start, end, rangePage)
		if err != nil {
			return false, fmt.Errorf("repeat range query of %s: %w", namespace, err)
		}
		for _, row := range rows {
			if err := results.Add(&kvrwset.KVRead{Key: row.Key, Version: &kvrwset.Version{BlockNum: row.Item.Version.Block, TxNum: row.Item.Version.Tx}}); err != nil {
				return false, err
			}
		}
		if len(rows) < rangePage {
			break
		}
		start = rows[len(rows)-1].Key + "\x00"
	}
	raw, merkle, err := results.Done()
	if err != nil {
		return false, err
	}
	if want := query.GetReadsMerkleHashes(); want != nil {
		return sameSummary(want, merkle), nil
	}
	return sameReads(query.GetRawReads().GetKvReads(), raw), nil
}

func sameReads(a, b []*kvrwset.KVRead) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || a[i].Version.GetBlockNum() != b[i].Version.GetBlockNum() || a[i].Version.GetTxNum() != b[i].Version.GetTxNum() {
			return false
		}
	}
	return true
}

func sameSummary(a, b *kvrwset.QueryReadsMerkleSummary) bool {
	if b == nil || a.MaxDegree != b.MaxDegree || a.MaxLevel != b.MaxLevel || len(a.MaxLevelHashes) != len(b.MaxLevelHashes) {
		return false
	}
	for i := range a.MaxLevelHashes {
		if !bytes.Equal(a.MaxLevelHashes[i], b.MaxLevelHashes[i]) {
			return false
		}
	}
	return true
}
