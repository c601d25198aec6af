package pebble_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

// A chain makes a channel's blocks and batches: the same ones each time it is asked. A test can so tell what a store must hold
// from the number of blocks alone.
type chain struct {
	channel string
	seed    uint64
}

const chainKeys = 40

func (c chain) block(n uint64) []byte {
	rng := rand.New(rand.NewPCG(c.seed, n))
	text := bytes.Repeat([]byte("certificate "), 20)
	for range 200 + rng.IntN(1200) {
		text = append(text, byte(rng.Uint32()))
	}
	return fmt.Appendf(text, "block %d of %s", n, c.channel)
}

func (c chain) hash(n uint64) []byte { return fmt.Appendf(nil, "hash of %d of %s", n, c.channel) }

// change is the history entry that block n leaves for the key, and whether there is one.
func (c chain) change(n, key uint64) (ledger.Change, bool) {
	if (n+key)%3 != 0 {
		return ledger.Change{}, false
	}
	v := ledger.Version{Block: n, Tx: key}
	rng := rand.New(rand.NewPCG(c.seed+key, n))
	change := ledger.Change{Namespace: "ns", Key: fmt.Sprintf("key %d", key), Version: v, TxID: c.txID(n), Timestamp: time.Unix(int64(n), 5).UTC()}
	if change.IsDelete = (n+key)%7 == 0; !change.IsDelete {
		change.Value = make([]byte, 1+rng.IntN(200))
		for i := range change.Value {
			change.Value[i] = byte(rng.Uint32())
		}
	}
	return change, true
}

func (c chain) txID(n uint64) string { return fmt.Sprintf("%064x", c.seed<<32|n) }

func (c chain) tx(n uint64) ledger.TxEntry {
	return ledger.TxEntry{TxID: c.txID(n), Version: ledger.Version{Block: n}, Code: peer.TxValidationCode(n % 12)}
}

func (c chain) batch(n uint64) *ledger.Batch {
	b := &ledger.Batch{Block: n, Hash: c.hash(n), Txs: []ledger.TxEntry{c.tx(n)}}
	for key := range uint64(chainKeys) {
		if change, ok := c.change(n, key); ok {
			b.History = append(b.History, change)
			b.Writes = append(b.Writes, ledger.Write{Namespace: "ns", Key: change.Key, Item: itemOf(change)})
		}
	}
	return b
}

func itemOf(c ledger.Change) *ledger.Item {
	if c.IsDelete {
		return nil
	}
	return &ledger.Item{Value: c.Value, Metadata: []byte(c.TxID[60:]), Version: c.Version}
}

func (c chain) append(ctx context.Context, s ledger.Store, n uint64) error {
	return s.Append(ctx, c.channel, c.block(n), c.batch(n))
}

// diff is cmp.Diff, quick if there is none.
func diff(got, want any) string {
	if reflect.DeepEqual(got, want) {
		return ""
	}
	return cmp.Diff(got, want)
}

var errWrong = errors.New("the store answers, and wrongly")

// verify reads everything. An error that is not errWrong is one of the store. The height is at least acknowledged.
func (c chain) verify(ctx context.Context, s ledger.Store, acknowledged uint64) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: channel %q: %s", errWrong, c.channel, fmt.Sprintf(format, args...))
	}
	height, err := s.Height(ctx, c.channel)
	if err != nil {
		return err
	}
	if height < acknowledged || height > acknowledged+1 {
		return wrong("height %d, %d were acknowledged", height, acknowledged)
	}
	if height == 0 {
		return nil
	}
	v, err := s.View(ctx, c.channel)
	if err != nil {
		return err
	}
	defer v.Close()
	if got := v.Savepoint(); got != height {
		return wrong("savepoint %d, height %d", got, height)
	}
	for n := range height {
		got, err := s.Block(ctx, c.channel, n)
		if errors.Is(err, ledger.ErrNotFound) {
			return wrong("block %d is not there", n)
		} else if err != nil {
			return err
		}
		if !bytes.Equal(got, c.block(n)) {
			return wrong("block %d differs", n)
		}
		if at, err := v.BlockByHash(ctx, c.hash(n)); errors.Is(err, ledger.ErrNotFound) {
			return wrong("hash of block %d is not there", n)
		} else if err != nil {
			return err
		} else if at != n {
			return wrong("hash of block %d leads to %d", n, at)
		}
		entries, err := v.Transactions(ctx, []string{c.txID(n)})
		if err != nil {
			return err
		}
		want := c.tx(n)
		if d := diff(entries, []*ledger.TxEntry{&want}); d != "" {
			return wrong("transaction of block %d (-got +want):\n%s", n, d)
		}
	}
	if _, err := s.Block(ctx, c.channel, height); !errors.Is(err, ledger.ErrNotFound) {
		return wrong("block %d: %v, want ErrNotFound", height, err)
	}
	var rows []ledger.KV
	var keys []string
	var items []*ledger.Item
	for key := range uint64(chainKeys) {
		var changes []ledger.Change
		for n := range height {
			if change, ok := c.change(height-1-n, key); ok {
				changes = append(changes, change)
			}
		}
		name := fmt.Sprintf("key %d", key)
		got, err := v.History(ctx, "ns", name, ledger.Version{}, 1<<20)
		if err != nil {
			return err
		}
		if d := diff(got, changes); d != "" {
			return wrong("history of %q (-got +want):\n%s", name, d)
		}
		keys = append(keys, name)
		items = append(items, nil)
		if len(changes) > 0 && !changes[0].IsDelete {
			items[key] = itemOf(changes[0])
			rows = append(rows, ledger.KV{Key: name, Item: items[key]})
		}
	}
	got, err := v.Get(ctx, "ns", keys)
	if err != nil {
		return err
	}
	if d := diff(got, items); d != "" {
		return wrong("items (-got +want):\n%s", d)
	}
	ranged, err := v.Range(ctx, "ns", "", "", 1<<20)
	if err != nil {
		return err
	}
	sortRows(rows)
	if d := diff(ranged, rows); d != "" {
		return wrong("range (-got +want):\n%s", d)
	}
	return nil
}
