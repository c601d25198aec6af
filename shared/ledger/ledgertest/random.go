package ledgertest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

// testRandom commits random blocks to two channels and compares everything with a model, now and then after reopening.
func testRandom(f *fixture) {
	seed := uint64(time.Now().UnixNano())
	f.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	channels := []string{"ch", "ch2"}
	models := map[string]*model{"ch": newModel(), "ch2": newModel()}
	for range 60 {
		name := channels[rng.IntN(len(channels))]
		m := models[name]
		b := m.random(rng, name)
		f.commit(name, block(name, b.Block), b)
		m.apply(b)
		if f.caps.Persistent && rng.IntN(20) == 0 {
			f.reopen()
		}
		if rng.IntN(5) == 0 {
			f.checkModel(rng, name, m)
		}
	}
	for _, name := range channels {
		f.checkModel(rng, name, models[name])
	}
}

// model is what a channel's state should be, kept as simply as can be.
type model struct {
	height  uint64
	items   map[[2]string]*ledger.Item
	history map[[2]string][]ledger.Change // oldest first
	txs     map[string]ledger.TxEntry
}

var (
	modelNamespaces = []string{"", "a", "ab", "a\x00"}
	modelKeys       = append([]string{"k1", "k2", "k3", "k4"}, oddKeys[:12]...)
)

func newModel() *model {
	return &model{items: map[[2]string]*ledger.Item{}, history: map[[2]string][]ledger.Change{}, txs: map[string]ledger.TxEntry{}}
}

// random makes the next block's batch.
func (m *model) random(rng *rand.Rand, channel string) *ledger.Batch {
	b := batch(channel, m.height)
	last := map[[2]string]ledger.Write{}
	for tx := range uint64(rng.IntN(6)) {
		v := at(m.height, tx)
		b.Txs = append(b.Txs, entry(fmt.Sprintf("id%d", rng.IntN(200)), v, peer.TxValidationCode(rng.IntN(12))))
		written := map[[2]string]bool{}
		for range rng.IntN(5) {
			id := [2]string{modelNamespaces[rng.IntN(len(modelNamespaces))], modelKeys[rng.IntN(len(modelKeys))]}
			if written[id] {
				continue
			}
			written[id] = true
			if rng.IntN(3) == 0 {
				last[id] = del(id[0], id[1])
				b.History = append(b.History, deletion(id[0], id[1], v))
				continue
			}
			value := make([]byte, 1+rng.IntN(4)*rng.IntN(500))
			for i := range value {
				value[i] = byte(rng.Uint32())
			}
			w := put(id[0], id[1], string(value), v)
			if rng.IntN(3) == 0 {
				w.Item.Metadata = []byte(fmt.Sprint("metadata ", v))
			}
			last[id] = w
			b.History = append(b.History, change(id[0], id[1], string(value), v))
		}
	}
	for _, w := range last {
		b.Writes = append(b.Writes, w)
	}
	return b
}

func (m *model) apply(b *ledger.Batch) {
	m.height = b.Block + 1
	for _, w := range b.Writes {
		m.items[[2]string{w.Namespace, w.Key}] = w.Item
	}
	for _, c := range b.History {
		id := [2]string{c.Namespace, c.Key}
		m.history[id] = append(m.history[id], c)
	}
	for _, e := range b.Txs {
		if _, ok := m.txs[e.TxID]; !ok {
			m.txs[e.TxID] = e
		}
	}
}

func (m *model) rows(namespace, start, end string, limit int) []ledger.KV {
	var rows []ledger.KV
	for id, it := range m.items {
		if id[0] == namespace && it != nil {
			rows = append(rows, ledger.KV{Key: id[1], Item: it})
		}
	}
	slices.SortFunc(rows, func(a, b ledger.KV) int { return cmp.Compare(a.Key, b.Key) })
	rows = rowsBetween(rows, start, end)
	return rows[:min(limit, len(rows))]
}

func (f *fixture) checkModel(rng *rand.Rand, channel string, m *model) {
	f.Helper()
	f.height(channel, m.height)
	v, err := f.store.View(f.ctx, channel)
	if err != nil {
		f.Fatalf("view: %v", err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			f.Errorf("close view: %v", err)
		}
	}()
	for _, ns := range modelNamespaces {
		want := map[string]*ledger.Item{}
		for _, key := range modelKeys {
			id := [2]string{ns, key}
			want[key] = m.items[id]
			changes := slices.Clone(m.history[id])
			slices.Reverse(changes)
			f.history(v, ns, key, ledger.Version{}, 1000, changes)
			if n := len(changes); n > 0 {
				i := rng.IntN(n)
				if before := changes[i].Version; before != (ledger.Version{}) {
					f.history(v, ns, key, before, 2, changes[i+1:min(n, i+3)])
				}
			}
		}
		f.items(v, ns, want)
		f.ranged(v, ns, "", "", 1000, m.rows(ns, "", "", 1000))
		for range 10 {
			start, end, limit := modelKeys[rng.IntN(len(modelKeys))], modelKeys[rng.IntN(len(modelKeys))], 1+rng.IntN(10)
			f.ranged(v, ns, start, end, limit, m.rows(ns, start, end, limit))
		}
	}
	ids, want := make([]string, 200), make([]*ledger.TxEntry, 200)
	for i := range ids {
		ids[i] = fmt.Sprintf("id%d", i)
		if e, ok := m.txs[ids[i]]; ok {
			want[i] = &e
		}
	}
	got, err := v.Transactions(f.ctx, ids)
	if err != nil {
		f.Fatalf("transactions: %v", err)
	}
	f.diff("transactions", got, want)
	for n := range m.height {
		f.block(channel, n, block(channel, n))
	}
}
