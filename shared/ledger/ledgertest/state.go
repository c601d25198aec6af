package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

func testItems(f *fixture) {
	withMetadata := func(value, metadata string, v ledger.Version) *ledger.Item {
		i := item(value, v)
		i.Metadata = []byte(metadata)
		return i
	}
	f.commit("ch", block("ch", 0), batch("ch", 0,
		put("ns", "plain", "v", at(0, 0)),
		put("ns", "nul", "\x00", at(0, 1)),
		ledger.Write{Namespace: "ns", Key: "meta", Item: withMetadata("v", "m", at(0, 2))},
		ledger.Write{Namespace: "ns", Key: "nulmeta", Item: withMetadata("\x00", "\x00", at(0, 3))},
		put("ns", "gone", "v", at(0, 4)),
		put("ns", "back", "v", at(0, 5)),
		del("ns", "never"),
	))
	v := f.view("ch")
	f.items(v, "ns", map[string]*ledger.Item{
		"plain": item("v", at(0, 0)), "nul": item("\x00", at(0, 1)), "meta": withMetadata("v", "m", at(0, 2)),
		"nulmeta": withMetadata("\x00", "\x00", at(0, 3)), "gone": item("v", at(0, 4)), "back": item("v", at(0, 5)),
		"never": nil, "absent": nil, "": nil, "plai": nil, "plainer": nil,
	})
	f.commit("ch", block("ch", 1), batch("ch", 1, del("ns", "gone"), del("ns", "back"), del("ns", "absent"),
		ledger.Write{Namespace: "ns", Key: "plain", Item: withMetadata("w", "m", at(1, 0))},
		put("ns", "meta", "w", at(1, ^uint64(0)))))
	f.items(f.view("ch"), "ns", map[string]*ledger.Item{"gone": nil, "back": nil, "absent": nil,
		"plain": withMetadata("w", "m", at(1, 0)), "meta": item("w", at(1, ^uint64(0))), "nul": item("\x00", at(0, 1))})
	f.commit("ch", block("ch", 2), batch("ch", 2, put("ns", "back", "again", at(2, 7))))
	v = f.view("ch")
	f.items(v, "ns", map[string]*ledger.Item{"back": item("again", at(2, 7)), "gone": nil})

	got, err := v.Get(f.ctx, "ns", []string{"back", "gone", "back"})
	if err != nil {
		f.Fatalf("get: %v", err)
	}
	f.diff("a key asked for twice", got, []*ledger.Item{item("again", at(2, 7)), nil, item("again", at(2, 7))})
	if got, err := v.Get(f.ctx, "ns", nil); err != nil || len(got) != 0 {
		f.Errorf("get of no keys: got %v, %v", got, err)
	}
	many := make([]string, 300) // more than a DynamoDB BatchGetItem takes
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	many[150], many[299] = "back", "nul"
	got, err = v.Get(f.ctx, "ns", many)
	if err != nil || len(got) != 300 {
		f.Fatalf("get of 300 keys: got %d items, %v", len(got), err)
	}
	for i, it := range got {
		if (it != nil) != (i == 150 || i == 299) {
			f.Errorf("get of 300 keys: item %d is %v", i, it)
		}
	}
}

func testNamespaces(f *fixture) {
	names := []string{"", "a", "ab", "a\x00", "a\x00b", "a$b", "a/b", "b", "_lifecycle", "a\U0010ffff", "ns", "s"}
	keys := []string{"", "b", "\x00", "\x00b", "k", "sk", "/b", "\U0010ffff"}
	b := batch("ch", 0)
	for i, ns := range names {
		for j, key := range keys {
			b.Writes = append(b.Writes, put(ns, key, ns+"|"+key, at(0, uint64(i*100+j))))
			b.History = append(b.History, change(ns, key, ns+"|"+key, at(0, uint64(i*100+j))))
		}
	}
	f.commit("ch", block("ch", 0), b)
	v := f.view("ch")
	for i, ns := range names {
		want := make([]ledger.KV, 0, len(keys))
		for j, key := range keys {
			want = append(want, ledger.KV{Key: key, Item: item(ns+"|"+key, at(0, uint64(i*100+j)))})
			f.items(v, ns, map[string]*ledger.Item{key: want[j].Item, key + "x": nil})
			f.history(v, ns, key, ledger.Version{}, 10, []ledger.Change{change(ns, key, ns+"|"+key, at(0, uint64(i*100+j)))})
			f.history(v, ns, key+"x", ledger.Version{}, 10, nil)
		}
		slices.SortFunc(want, func(a, b ledger.KV) int { return strings.Compare(a.Key, b.Key) })
		f.ranged(v, ns, "", "", 100, want)
		f.ranged(v, ns, "", "", len(keys), want)
	}
	f.ranged(v, "abc", "", "", 10, nil)
	f.ranged(v, "absent", "", "", 10, nil)
}

// oddKeys are keys that trip encodings with separators, in byte order.
var oddKeys = []string{
	"", "\x00", "\x00\x00", "\x00\x01", "\x00a\x00b\x00", "\x00a\x00c\x00", "\x00ÿ", "\x00\U0010ffff", "\x01", "\x01\x00", " ", "#", "$", ":", "A",
	"a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00a", "a\x01", "a ", "a/", "a/b", "aa", "ab", "a\U0010ffff", "b", "z", "~", "\x7f", "\u0080", "é", "ÿ",
	"\ue000", "\uffff", "\U00010000", "\U0001f600", "\U0010ffff", "\U0010ffff\x00", "\U0010ffff\U0010ffff",
}

func testOddKeys(f *fixture) {
	b := batch("ch", 0)
	var rows []ledger.KV
	for i, key := range oddKeys {
		value := strings.Repeat("\x00", i%3+1) + key
		b.Writes = append(b.Writes, put("ns", key, value, at(0, uint64(i))))
		b.History = append(b.History, change("ns", key, value, at(0, uint64(i))))
		b.Txs = append(b.Txs, entry("id "+key, at(0, uint64(i)), peer.TxValidationCode_VALID))
		rows = append(rows, ledger.KV{Key: key, Item: item(value, at(0, uint64(i)))})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(b.Writes), func(i, j int) { b.Writes[i], b.Writes[j] = b.Writes[j], b.Writes[i] })
	f.commit("ch", block("ch", 0), b)

	v := f.view("ch")
	f.ranged(v, "ns", "", "", 1000, rows)
	for i, start := range oddKeys {
		f.items(v, "ns", map[string]*ledger.Item{start: rows[i].Item})
		f.history(v, "ns", start, ledger.Version{}, 10, []ledger.Change{b.History[i]})
		f.ranged(v, "ns", start, "", 1000, rows[i:])
		f.ranged(v, "ns", start, start, 1000, rowsBetween(rows, start, start))
		for _, end := range oddKeys {
			f.ranged(v, "ns", start, end, 1000, rowsBetween(rows, start, end))
		}
		entries, err := v.Transactions(f.ctx, []string{"id " + start})
		if err != nil {
			f.Fatalf("transactions: %v", err)
		}
		f.diff("transactions", entries, []*ledger.TxEntry{&b.Txs[i]})
	}

	d := batch("ch", 1)
	for i, key := range oddKeys {
		if i%2 == 0 {
			d.Writes = append(d.Writes, del("ns", key))
		}
	}
	f.commit("ch", block("ch", 1), d)
	var left []ledger.KV
	for i := 1; i < len(rows); i += 2 {
		left = append(left, rows[i])
	}
	f.ranged(f.view("ch"), "ns", "", "", 1000, left)
}

// testLongKeys has keys around and far beyond what a store may take for a key of its own: DynamoDB's has 1024 bytes.
func testLongKeys(f *fixture) {
	var keys []string
	for _, n := range []int{950, 989, 990, 991, 1022, 1023, 1024, 1025, 2048, 2049, 70_000} {
		long := strings.Repeat("k", n)
		keys = append(keys, long, long+"\x00", long+"\x01", long+"z", long[1:]+"a", long[:n-1]+"\x00", long[:n/2]+"\U0010ffff"+long[n/2:])
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	b := batch("ch", 0)
	var rows []ledger.KV
	for i, key := range keys {
		v := at(0, uint64(i))
		b.Writes = append(b.Writes, put("ns", key, fmt.Sprint(i), v))
		b.History = append(b.History, change("ns", key, fmt.Sprint(i), v))
		b.Txs = append(b.Txs, entry("id "+key, v, peer.TxValidationCode_VALID))
		rows = append(rows, ledger.KV{Key: key, Item: item(fmt.Sprint(i), v)})
	}
	f.commit("ch", block("ch", 0), b)
	v := f.view("ch")
	rng := rand.New(rand.NewPCG(3, 4))
	f.ranged(v, "ns", "", "", 1000, rows)
	for i, key := range keys {
		f.items(v, "ns", map[string]*ledger.Item{key: rows[i].Item, key + "absent": nil})
		f.history(v, "ns", key, ledger.Version{}, 10, b.History[i:i+1])
		end, limit := keys[rng.IntN(len(keys))], 1+rng.IntN(10)
		between := rowsBetween(rows, key, end)
		f.ranged(v, "ns", key, end, 1000, between)
		f.ranged(v, "ns", key, end, limit, between[:min(limit, len(between))])
		f.ranged(v, "ns", key, "", limit, rows[i:][:min(limit, len(rows)-i)])
	}
	entries, err := v.Transactions(f.ctx, []string{"id " + keys[0], "id " + keys[len(keys)-1]})
	if err != nil {
		f.Fatalf("transactions: %v", err)
	}
	f.diff("transactions", entries, []*ledger.TxEntry{&b.Txs[0], &b.Txs[len(keys)-1]})
}

// rowsBetween is what a range over rows returns.
func rowsBetween(rows []ledger.KV, start, end string) []ledger.KV {
	var in []ledger.KV
	for _, r := range rows {
		if r.Key >= start && (end == "" || r.Key < end) {
			in = append(in, r)
		}
	}
	return in
}

func testRangeLimits(f *fixture) {
	const n = 260
	b := batch("ch", 0)
	var rows []ledger.KV
	for i := range n {
		key := fmt.Sprintf("k%04d", i)
		b.Writes = append(b.Writes, put("ns", key, key, at(0, 0)))
		rows = append(rows, ledger.KV{Key: key, Item: item(key, at(0, 0))})
	}
	f.commit("ch", block("ch", 0), b)
	v := f.view("ch")
	for _, limit := range []int{1, 2, 100, n - 1, n, n + 1, 1 << 30} {
		f.ranged(v, "ns", "", "", limit, rows[:min(n, limit)])
		f.ranged(v, "ns", "k0010", "k0250", limit, rows[10:][:min(240, limit)])
		f.ranged(v, "ns", "k9", "", limit, nil)
		f.ranged(v, "ns", "", "k0000", limit, nil)
		f.ranged(v, "ns", "k0200", "k0100", limit, nil)
	}
	var paged []ledger.KV
	for start := ""; ; {
		page, err := v.Range(f.ctx, "ns", start, "", 7)
		if err != nil {
			f.Fatalf("range: %v", err)
		}
		paged = append(paged, page...)
		if len(page) < 7 {
			break
		}
		start = page[len(page)-1].Key + "\x00"
	}
	f.diff("pages", paged, rows)
}

func testLargeValues(f *fixture) {
	value := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{2}).Read(value)
	b := batch("ch", 0, put("ns", "k", string(value), at(0, 0)), put("ns", "l", string(value), at(0, 0)), put("ns", "m", "small", at(0, 0)))
	b.Writes[1].Item.Metadata = bytes.Repeat([]byte("policy"), 2000)
	b.History = []ledger.Change{change("ns", "k", string(value), at(0, 0)), change("ns", "k", string(value), at(0, 1))}
	f.commit("ch", value, b)
	v := f.view("ch")
	f.items(v, "ns", map[string]*ledger.Item{"k": b.Writes[0].Item, "l": b.Writes[1].Item})
	f.ranged(v, "ns", "", "", 10, []ledger.KV{{Key: "k", Item: b.Writes[0].Item}, {Key: "l", Item: b.Writes[1].Item}, {Key: "m", Item: b.Writes[2].Item}})
	f.history(v, "ns", "k", ledger.Version{}, 10, []ledger.Change{b.History[1], b.History[0]})
	f.commit("ch", block("ch", 1), batch("ch", 1, put("ns", "k", "small now", at(1, 0)), del("ns", "l")))
	f.items(f.view("ch"), "ns", map[string]*ledger.Item{"k": item("small now", at(1, 0)), "l": nil})
}

func testHistory(f *fixture) {
	var all []ledger.Change // newest first
	for n := range uint64(12) {
		b := batch("ch", n)
		for tx := range n%4 + 1 {
			v := at(n, tx*(1<<33)) // positions above 32 bits order too
			c := change("ns", "k", fmt.Sprint(v), v)
			if tx == 2 {
				c = deletion("ns", "k", v)
			}
			if tx == 3 {
				c = change("ns", "k", "", v)
			}
			b.History = append(b.History, c)
			all = append([]ledger.Change{c}, all...)
			b.History = append(b.History, change("ns", "k2", "other", v), change("n", "sk", "other", v), change("ns", "k\x00", "other", v))
		}
		f.commit("ch", block("ch", n), b)
	}
	v := f.view("ch")
	f.history(v, "ns", "k", ledger.Version{}, 1000, all)
	f.history(v, "ns", "k", at(1<<62, 0), 1000, all)
	f.history(v, "ns", "k", all[len(all)-1].Version, 1000, all)
	for i, c := range all[:len(all)-1] {
		f.history(v, "ns", "k", c.Version, 1000, all[i+1:])
		f.history(v, "ns", "k", c.Version, 1, all[i+1:i+2])
		f.history(v, "ns", "k", at(c.Version.Block, c.Version.Tx+1), 2, all[i:min(i+2, len(all))])
	}
	f.history(v, "ns", "k", at(0, 1), 10, all[len(all)-1:])
	f.history(v, "ns", "absent", ledger.Version{}, 10, nil)
	f.history(v, "absent", "k", ledger.Version{}, 10, nil)
	f.history(v, "ns", "", ledger.Version{}, 10, nil)
	f.items(v, "ns", map[string]*ledger.Item{"k": nil})

	var paged []ledger.Change
	for before := (ledger.Version{}); ; {
		page, err := v.History(f.ctx, "ns", "k", before, 5)
		if err != nil {
			f.Fatalf("history: %v", err)
		}
		paged = append(paged, page...)
		if len(page) < 5 || page[len(page)-1].Version == (ledger.Version{}) {
			break // nothing is older than the zero version, which as before means from the newest
		}
		before = page[len(page)-1].Version
	}
	f.diff("pages", paged, all)
}

func testHistoryTimes(f *fixture) {
	times := []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Unix(0, 0).UTC(),
		time.Unix(0, 1).UTC(), time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	}
	b := batch("ch", 0)
	var want []ledger.Change
	for i, at := range times {
		c := change("ns", "k", "v", ledger.Version{Tx: uint64(i)})
		c.Timestamp = at
		b.History = append(b.History, c)
		want = append([]ledger.Change{c}, want...)
	}
	f.commit("ch", block("ch", 0), b)
	got, err := f.view("ch").History(f.ctx, "ns", "k", ledger.Version{}, 10)
	if err != nil {
		f.Fatalf("history: %v", err)
	}
	f.diff("history", got, want)
	for _, c := range got {
		if c.Timestamp.Location() != time.UTC {
			f.Errorf("timestamp %v: got location %v, want UTC", c.Timestamp, c.Timestamp.Location())
		}
	}
}

func testTransactions(f *fixture) {
	b := batch("ch", 0)
	for i, code := range []peer.TxValidationCode{peer.TxValidationCode_VALID, peer.TxValidationCode_MVCC_READ_CONFLICT, peer.TxValidationCode_INVALID_OTHER_REASON} {
		b.Txs = append(b.Txs, entry(fmt.Sprintf("id%d", i), at(0, uint64(i)), code))
	}
	f.commit("ch", block("ch", 0), b)
	again := batch("ch", 1)
	again.Txs = []ledger.TxEntry{
		entry("id1", at(1, 0), peer.TxValidationCode_DUPLICATE_TXID),
		entry("twice", at(1, 1), peer.TxValidationCode_VALID),
		entry("twice", at(1, 2), peer.TxValidationCode_DUPLICATE_TXID),
	}
	f.commit("ch", block("ch", 1), again)
	v := f.view("ch")
	ids := []string{"twice", "id2", "absent", "id0", "", "id", "id1", "id00", "id2"}
	got, err := v.Transactions(f.ctx, ids)
	if err != nil {
		f.Fatalf("transactions: %v", err)
	}
	f.diff("transactions", got, []*ledger.TxEntry{&again.Txs[1], &b.Txs[2], nil, &b.Txs[0], nil, nil, &b.Txs[1], nil, &b.Txs[2]})

	if got, err := v.Transactions(f.ctx, nil); err != nil || len(got) != 0 {
		f.Errorf("no transactions: got %v, %v", got, err)
	}
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("id%d", i)
	}
	got, err = v.Transactions(f.ctx, many)
	if err != nil || len(got) != 300 {
		f.Fatalf("300 transactions: got %d, %v", len(got), err)
	}
	for i, e := range got {
		if (e != nil) != (i < 3) {
			f.Errorf("300 transactions: entry %d is %v", i, e)
		}
	}
}

func testBlockByHash(f *fixture) {
	for n := range uint64(4) {
		f.commit("ch", block("ch", n), batch("ch", n))
	}
	v := f.view("ch")
	for n := range uint64(4) {
		if got, err := v.BlockByHash(f.ctx, blockHash("ch", n)); err != nil || got != n {
			f.Errorf("block by hash: got %d, %v, want %d", got, err, n)
		}
	}
	for _, hash := range [][]byte{nil, {}, blockHash("ch", 4), blockHash("ch", 3)[:31], append(blockHash("ch", 3), 0)} {
		if got, err := v.BlockByHash(f.ctx, hash); !errors.Is(err, ledger.ErrNotFound) {
			f.Errorf("block by hash %x: got %d, %v, want ErrNotFound", hash, got, err)
		}
	}
}

func testReadCancelled(f *fixture) {
	f.commit("ch", block("ch", 0), batch("ch", 0, put("ns", "k", "v", at(0, 0))))
	v := f.view("ch")
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	for name, read := range map[string]func() error{
		"block":         func() error { _, err := f.store.Block(ctx, "ch", 0); return err },
		"height":        func() error { _, err := f.store.Height(ctx, "ch"); return err },
		"channels":      func() error { _, err := f.store.Channels(ctx); return err },
		"view":          func() error { _, err := f.store.View(ctx, "ch"); return err },
		"get":           func() error { _, err := v.Get(ctx, "ns", []string{"k"}); return err },
		"range":         func() error { _, err := v.Range(ctx, "ns", "", "", 1); return err },
		"history":       func() error { _, err := v.History(ctx, "ns", "k", ledger.Version{}, 1); return err },
		"transactions":  func() error { _, err := v.Transactions(ctx, []string{"id"}); return err },
		"block by hash": func() error { _, err := v.BlockByHash(ctx, blockHash("ch", 0)); return err },
	} {
		if err := read(); !errors.Is(err, context.Canceled) {
			f.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
	f.items(v, "ns", map[string]*ledger.Item{"k": item("v", at(0, 0))})
}
