// Package simtest gives tests a state to simulate on: one they write themselves, or those that the channel of a recorded
// Fabric network went through (testdata/conformance/wire/blocks). It takes every transaction for what it is said to be and
// checks nothing: that is the ledger's part.
package simtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

const channel = "alpha"

// A Tx is a transaction with its outcome.
type Tx struct {
	ID        string
	Timestamp time.Time
	RWSet     *wire.RWSet
	Code      peer.TxValidationCode
	Recorded  *wire.Transaction // nil unless it comes from a recorded block
}

// Blocks returns the transactions of channel alpha's recorded blocks, by block. dir is testdata/conformance.
func Blocks(tb testing.TB, dir string) [][]Tx {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "wire", "blocks", channel+"-*.pb"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no recorded blocks in %s: %v", dir, err)
	}
	blocks := make([][]Tx, len(files))
	for i, file := range files { // Glob sorts
		raw, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		block, err := wire.ParseBlock(raw)
		if err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		codes, err := wire.ValidationCodes(block)
		if err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		for k, envelope := range block.Data.Data {
			tx, _ := wire.ParseEnvelope(envelope)
			blocks[i] = append(blocks[i], Tx{ID: tx.TxID, Timestamp: tx.Timestamp, RWSet: tx.RWSet, Code: codes[k], Recorded: tx})
		}
	}
	return blocks
}

// A State is a channel's state, block after block.
type State struct {
	store *mem.Store
	next  uint64
}

// NewState returns the state of a channel without blocks.
func NewState() *State { return &State{store: mem.New(mem.Config{})} }

// View returns the state as it is. The test closes it.
func (s *State) View(tb testing.TB) ledger.View {
	tb.Helper()
	view, err := s.store.View(context.Background(), channel)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = view.Close() })
	return view
}

// Put commits a block with one transaction that writes the keys, given as key, value, key, value…, and returns its id.
func (s *State) Put(tb testing.TB, ns string, pairs ...string) string {
	tb.Helper()
	kv := &kvrwset.KVRWSet{}
	for i := 0; i < len(pairs); i += 2 {
		kv.Writes = append(kv.Writes, &kvrwset.KVWrite{Key: pairs[i], Value: []byte(pairs[i+1]), IsDelete: pairs[i+1] == ""})
	}
	id := fmt.Sprintf("%064x", s.next)
	s.Commit(tb, Tx{ID: id, RWSet: &wire.RWSet{Namespaces: []wire.NamespaceSet{{Namespace: ns, KV: kv}}}})
	return id
}

// Commit adds a block. The writes of its valid transactions take effect.
func (s *State) Commit(tb testing.TB, txs ...Tx) {
	tb.Helper()
	ctx := context.Background()
	view, err := s.store.View(ctx, channel)
	if err != nil {
		tb.Fatal(err)
	}
	defer view.Close()

	block := []byte(fmt.Sprintf("block %d", s.next))
	hash := sha256.Sum256(block)
	batch := &ledger.Batch{Block: s.next, Hash: hash[:]}
	items := map[[2]string]*ledger.Item{}
	get := func(key [2]string) *ledger.Item {
		if item, ok := items[key]; ok {
			return item
		}
		found, err := view.Get(ctx, key[0], []string{key[1]})
		if err != nil {
			tb.Fatal(err)
		}
		return found[0]
	}
	for i, tx := range txs {
		version := ledger.Version{Block: s.next, Tx: uint64(i)}
		batch.Txs = append(batch.Txs, ledger.TxEntry{TxID: tx.ID, Version: version, Code: tx.Code})
		if tx.Code != peer.TxValidationCode_VALID || tx.RWSet == nil {
			continue
		}
		for _, ns := range tx.RWSet.Namespaces {
			for _, write := range ns.KV.Writes {
				key := [2]string{ns.Namespace, write.Key}
				change := ledger.Change{Namespace: ns.Namespace, Key: write.Key, Version: version, TxID: tx.ID, Timestamp: tx.Timestamp, IsDelete: write.IsDelete}
				var item *ledger.Item
				if !write.IsDelete {
					change.Value = write.Value
					item = &ledger.Item{Value: write.Value, Version: version}
					if old := get(key); old != nil {
						item.Metadata = old.Metadata
					}
				}
				items[key] = item
				batch.History = append(batch.History, change)
			}
			for _, write := range ns.KV.MetadataWrites {
				key := [2]string{ns.Namespace, write.Key}
				old := get(key)
				if old == nil {
					continue
				}
				item := &ledger.Item{Value: old.Value, Version: version}
				if len(write.Entries) > 0 {
					if item.Metadata, err = proto.Marshal(&kvrwset.KVMetadataWrite{Entries: write.Entries}); err != nil {
						tb.Fatal(err)
					}
				}
				items[key] = item
			}
		}
	}
	for key, item := range items {
		batch.Writes = append(batch.Writes, ledger.Write{Namespace: key[0], Key: key[1], Item: item})
	}
	if err := s.store.Append(ctx, channel, block, batch); err != nil {
		tb.Fatal(err)
	}
	s.next++
}

// Public returns the set without private data and without the definitions that Fabric keeps in _lifecycle, marshalled.
func Public(tb testing.TB, set *wire.RWSet) []byte {
	tb.Helper()
	public := &wire.RWSet{}
	for _, ns := range set.Namespaces {
		if ns.Namespace != "_lifecycle" && !strings.HasPrefix(ns.Namespace, "lscc") {
			public.Namespaces = append(public.Namespaces, wire.NamespaceSet{Namespace: ns.Namespace, KV: ns.KV})
		}
	}
	raw, err := public.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}
