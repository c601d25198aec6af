package wire_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/wire"
)

// The commit hashes of the real peer's whole chain, computed from nothing but its blocks.
func TestCommitHashesOfRealChain(t *testing.T) {
	t.Parallel()
	state := map[stateKey][]byte{}
	var previous []byte
	for number := range uint64(26) {
		b := goldenBlock(t, fmt.Sprintf("blocks/alpha-%03d.pb", number))
		codes, err := wire.ValidationCodes(b)
		if err != nil {
			t.Fatal(err)
		}
		changed := map[stateKey]wire.Update{}
		for i, raw := range b.Data.Data {
			tx, _ := wire.ParseEnvelope(raw)
			if codes[i] != peer.TxValidationCode_VALID || tx.RWSet == nil {
				continue
			}
			for _, u := range updatesOf(tx.RWSet, state) {
				u.Block, u.Tx = number, uint64(i)
				key := stateKey{u.Namespace, u.Collection, u.Key}
				changed[key] = u
				state[key] = u.Value
			}
		}
		if number == 0 {
			continue
		}
		var updates []wire.Update
		for _, u := range changed {
			updates = append(updates, u)
		}
		want := wire.CommitHash(b)
		got := wire.NextCommitHash(previous, codes, updates)
		equal(t, fmt.Sprintf("commit hash of block %d", number), got, want)
		previous = want
	}
}

type stateKey struct{ namespace, collection, key string }

// updatesOf is what a set writes: values, hashes of private values, and keys of which only metadata is written, if they
// have a value.
func updatesOf(set *wire.RWSet, state map[stateKey][]byte) (updates []wire.Update) {
	written := map[stateKey]bool{}
	put := func(ns, collection, key string, value []byte) {
		written[stateKey{ns, collection, key}] = true
		updates = append(updates, wire.Update{Namespace: ns, Collection: collection, Key: key, Value: value})
	}
	touch := func(ns, collection, key string) {
		at := stateKey{ns, collection, key}
		if value := state[at]; value != nil && !written[at] {
			put(ns, collection, key, value)
		}
	}
	for _, ns := range set.Namespaces {
		for _, w := range ns.KV.GetWrites() {
			if w.GetIsDelete() || len(w.GetValue()) == 0 {
				w.Value = nil
			}
			put(ns.Namespace, "", w.GetKey(), w.GetValue())
		}
		for _, m := range ns.KV.GetMetadataWrites() {
			touch(ns.Namespace, "", m.GetKey())
		}
		for _, c := range ns.Collections {
			for _, w := range c.Hashed.GetHashedWrites() {
				if w.GetIsDelete() || len(w.GetValueHash()) == 0 {
					w.ValueHash = nil
				}
				put(ns.Namespace, c.Name, string(w.GetKeyHash()), w.GetValueHash())
			}
			for _, m := range c.Hashed.GetMetadataWrites() {
				touch(ns.Namespace, c.Name, string(m.GetKeyHash()))
			}
		}
	}
	return updates
}

// The order in which updates are given does not count; anything else does.
func TestNextCommitHashDepends(t *testing.T) {
	t.Parallel()
	codes := []peer.TxValidationCode{0, 11}
	a := wire.Update{Namespace: "n", Key: "a", Value: []byte("1"), Block: 300}
	b := wire.Update{Namespace: "n", Collection: "c", Key: "a", Value: []byte("1"), Block: 300}
	later := a
	later.Tx = 1
	deleted := a
	deleted.Value = nil
	seen := map[[sha256.Size]byte]string{}
	for name, hash := range map[string][]byte{
		"both":          wire.NextCommitHash(nil, codes, []wire.Update{a, b}),
		"public":        wire.NextCommitHash(nil, codes, []wire.Update{a}),
		"private":       wire.NextCommitHash(nil, codes, []wire.Update{b}),
		"later":         wire.NextCommitHash(nil, codes, []wire.Update{later}),
		"deleted":       wire.NextCommitHash(nil, codes, []wire.Update{deleted}),
		"nothing":       wire.NextCommitHash(nil, codes, nil),
		"other codes":   wire.NextCommitHash(nil, codes[:1], nil),
		"after a block": wire.NextCommitHash([]byte("previous"), codes, nil),
	} {
		if other, ok := seen[[sha256.Size]byte(hash)]; ok {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[[sha256.Size]byte(hash)] = name
	}
	equal(t, "hash in other order", wire.NextCommitHash(nil, codes, []wire.Update{b, a}), wire.NextCommitHash(nil, codes, []wire.Update{a, b}))
}
