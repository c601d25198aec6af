// Package store_test measures candidates for the embedded store on Peerless's workload: blocks of endorsed transactions,
// each durable before the answer, with the state, history and index entries that they leave. MEASUREMENTS.md has the results.
//
//	go test ./shared/store -run '^$' -bench . -benchtime 6250x -timeout 30m
package store_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"go.etcd.io/bbolt"

	"peerless/shared/ledger"
	embedded "peerless/shared/store/pebble"
)

// A candidate is a way to keep blocks and what they leave.
type candidate interface {
	commit(block []byte, batch *ledger.Batch) error
	get(key string) ([]byte, error)
	close() error
}

type entry struct{ key, value []byte }

var candidates = []struct {
	name string
	open func(dir string) (candidate, error)
}{
	{"PebbleOneBatch", func(dir string) (candidate, error) { return openPebble(dir, false) }},
	{"PebbleOneBatchBlobs", func(dir string) (candidate, error) { return openPebble(dir, true) }},
	{"LogAndPebble", openLogged},
	{"Bbolt", openBolt},
	{"Store", openStore},
}

func BenchmarkBlocksOf32(b *testing.B) { benchmark(b, 32) }

func BenchmarkBlocksOf1(b *testing.B) { benchmark(b, 1) }

func benchmark(b *testing.B, txs int) {
	for _, c := range candidates {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			s, err := c.open(dir)
			if err != nil {
				b.Fatal(err)
			}
			work := newWorkload(txs)
			debug.FreeOSMemory()
			resetPeakMemory(b)
			cpu, written := cpuSeconds(), writtenBytes(b)
			b.ResetTimer()
			for n := range b.N {
				if err := s.commit(work.next(uint64(n))); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			total := float64(b.N * txs)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
			b.ReportMetric((cpuSeconds()-cpu)/total*1000, "cpu-s/ktx")
			b.ReportMetric((writtenBytes(b)-written)/1e6, "MB-written")
			b.ReportMetric(status(b, "VmHWM:")/1e3, "MB-rss")
			start := time.Now()
			if err := s.close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds()*1e3, "ms-close")
			b.ReportMetric(diskUsage(b, dir)/1e6, "MB-disk")

			start = time.Now()
			if s, err = c.open(dir); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds()*1e3, "ms-reopen")
			const gets = 20_000
			rng := rand.New(rand.NewPCG(7, 7))
			start = time.Now()
			for range gets {
				key := stateKey(rng.Uint64N(uint64(b.N * txs)))
				if v, err := s.get(key); err != nil || len(v) == 0 {
					b.Fatalf("get %q: %d bytes, %v", key, len(v), err)
				}
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/gets, "µs/get")
			if err := s.close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// workload makes blocks of about 3.4 kB a transaction, of which two thirds repeat (certificates), with one state write of
// 200 B, one history entry and one transaction id each. Keys come in no order, as ids do.
type workload struct {
	txs    int
	blocks [][]byte
	rng    *rand.ChaCha8
}

func newWorkload(txs int) *workload {
	w := &workload{txs: txs, rng: rand.NewChaCha8([32]byte{1})}
	certificate := make([]byte, 2300)
	w.rng.Read(certificate)
	for i, c := range certificate {
		certificate[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[c%64]
	}
	for range 64 {
		var block []byte
		for range txs {
			own := make([]byte, 1100)
			w.rng.Read(own)
			block = append(append(block, certificate...), own...)
		}
		w.blocks = append(w.blocks, block)
	}
	return w
}

func stateKey(i uint64) string { return fmt.Sprintf("asset%016x", i*0x9e3779b97f4a7c15) }

func (w *workload) next(n uint64) ([]byte, *ledger.Batch) {
	batch := &ledger.Batch{Block: n, Hash: binary.BigEndian.AppendUint64(make([]byte, 24), n)}
	for tx := range w.txs {
		random := make([]byte, 232)
		w.rng.Read(random)
		for i := range 150 { // a JSON asset is text, not noise
			random[i] = ' ' + random[i]&31
		}
		version, id := ledger.Version{Block: n, Tx: uint64(tx)}, hex.EncodeToString(random[200:])
		item := &ledger.Item{Value: random[:200], Version: version}
		key := stateKey(n*uint64(w.txs) + uint64(tx))
		batch.Writes = append(batch.Writes, ledger.Write{Namespace: "asset", Key: key, Item: item})
		batch.History = append(batch.History, ledger.Change{Namespace: "asset", Key: key, Version: version, TxID: id, Timestamp: time.Unix(int64(n), 0), Value: item.Value})
		batch.Txs = append(batch.Txs, ledger.TxEntry{TxID: id, Version: version})
	}
	return w.blocks[n%uint64(len(w.blocks))], batch
}

// entries is a batch as rows of a table.
func entries(b *ledger.Batch) []entry {
	rows := make([]entry, 0, 3*len(b.Txs)+1)
	for i, w := range b.Writes {
		history := binary.BigEndian.AppendUint64([]byte("v/ch/"+w.Key), b.Block)
		id, _ := hex.DecodeString(b.Txs[i].TxID)
		rows = append(rows,
			entry{[]byte("s/ch/" + w.Key), w.Item.Value},
			entry{binary.BigEndian.AppendUint32(history, uint32(i)), append(id, w.Item.Value...)},
			entry{append([]byte("t/ch/"), id...), binary.BigEndian.AppendUint64(nil, b.Block)})
	}
	return append(rows, entry{append([]byte("h/ch/"), b.Hash...), binary.BigEndian.AppendUint64(nil, b.Block)})
}

func blockKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("b/ch/"), n) }

func pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		CacheSize:          16 << 20,
		MemTableSize:       16 << 20,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             quiet{},
	}
	o.MemTableStopWritesThreshold = 4
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// pebbleOneBatch keeps everything in Pebble, a block and its entries in one synced batch.
type pebbleOneBatch struct{ db *pebble.DB }

func openPebble(dir string, blobs bool) (candidate, error) {
	o := pebbleOptions()
	if blobs {
		o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
			return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 2048, MaxBlobReferenceDepth: 10, RewriteMinimumAge: time.Hour, TargetGarbageRatio: 1}
		}
	}
	db, err := pebble.Open(dir, o)
	return pebbleOneBatch{db}, err
}

func (p pebbleOneBatch) commit(block []byte, b *ledger.Batch) error {
	batch := p.db.NewBatch()
	defer batch.Close()
	if err := batch.Set(blockKey(b.Block), block, nil); err != nil {
		return err
	}
	for _, e := range entries(b) {
		if err := batch.Set(e.key, e.value, nil); err != nil {
			return err
		}
	}
	return batch.Commit(pebble.Sync)
}

func (p pebbleOneBatch) get(key string) ([]byte, error) {
	v, closer, err := p.db.Get([]byte("s/ch/" + key))
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

func (p pebbleOneBatch) close() error { return p.db.Close() }

// logged appends a block and its entries to a file, synced, and keeps the entries in Pebble without a log of its own: what
// a crash loses there is replayed.
type logged struct {
	pebbleOneBatch
	file   *os.File
	record []byte
}

func openLogged(dir string) (candidate, error) {
	o := pebbleOptions()
	o.DisableWAL = true
	db, err := pebble.Open(filepath.Join(dir, "state"), o)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &logged{pebbleOneBatch: pebbleOneBatch{db}, file: file}
	return l, l.replay()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (l *logged) commit(block []byte, b *ledger.Batch) error {
	r := append(l.record[:0], make([]byte, 8)...)
	r = append(binary.AppendUvarint(r, uint64(len(block))), block...)
	batch := l.db.NewBatch()
	defer batch.Close()
	for _, e := range entries(b) {
		if err := batch.Set(e.key, e.value, nil); err != nil {
			return err
		}
	}
	if err := batch.Set([]byte("savepoint"), binary.BigEndian.AppendUint64(nil, b.Block+1), nil); err != nil {
		return err
	}
	r = append(r, batch.Repr()...)
	binary.LittleEndian.PutUint32(r, uint32(len(r)-8))
	binary.LittleEndian.PutUint32(r[4:], crc32.Checksum(r[8:], castagnoli))
	l.record = r
	if _, err := l.file.Write(r); err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(l.file.Fd())); err != nil {
		return err
	}
	return batch.Commit(pebble.NoSync)
}

// replay reads the log's last part, as much as the state can lack.
func (l *logged) replay() error {
	size, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	tail := make([]byte, min(size, 100<<20))
	if _, err := l.file.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	crc32.Checksum(tail, castagnoli)
	return nil
}

func (l *logged) close() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	if err := l.db.Flush(); err != nil {
		return err
	}
	return l.db.Close()
}

// bolt keeps everything in a B+tree, a block and its entries in one transaction.
type bolt struct{ db *bbolt.DB }

func openBolt(dir string) (candidate, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	return bolt{db}, err
}

func (t bolt) commit(block []byte, b *ledger.Batch) error {
	return t.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("all"))
		if err != nil {
			return err
		}
		for _, e := range entries(b) {
			if err := bucket.Put(e.key, e.value); err != nil {
				return err
			}
		}
		return bucket.Put(blockKey(b.Block), block)
	})
}

func (b bolt) get(key string) (value []byte, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		value = append([]byte(nil), tx.Bucket([]byte("all")).Get([]byte("s/ch/"+key))...)
		return nil
	})
	return value, err
}

func (b bolt) close() error { return b.db.Close() }

// store is the one that was made of LogAndPebble.
type store struct{ *embedded.Store }

func openStore(dir string) (candidate, error) {
	s, err := embedded.Open(dir, embedded.Config{})
	return store{s}, err
}

func (s store) commit(block []byte, b *ledger.Batch) error {
	return s.Append(context.Background(), "ch", block, b)
}

func (s store) get(key string) ([]byte, error) {
	view, err := s.View(context.Background(), "ch")
	if err != nil {
		return nil, err
	}
	items, err := view.Get(context.Background(), "asset", []string{key})
	if err != nil {
		return nil, err
	}
	return items[0].Value, view.Close()
}

func (s store) close() error { return s.Close() }

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func writtenBytes(b *testing.B) float64 { return proc(b, "/proc/self/io", "write_bytes:") }

func status(b *testing.B, name string) float64 { return proc(b, "/proc/self/status", name) }

func proc(b *testing.B, file, name string) float64 {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Skipf("figures need Linux: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name)
	n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func resetPeakMemory(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Logf("peak memory is the process's: %v", err)
	}
}

func diskUsage(b *testing.B, dir string) (total float64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += float64(info.Sys().(*syscall.Stat_t).Blocks) * 512
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}
