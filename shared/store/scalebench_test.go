package store_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"peerless/shared/ledger"
	embedded "peerless/shared/store/pebble"
)

// BenchmarkKeys updates random keys of a channel that has few or many, in blocks of 32 that each read what they write.
func BenchmarkKeys(b *testing.B) {
	for _, keys := range []uint64{1_000, 1_000_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			s, err := embedded.Open(b.TempDir(), embedded.Config{})
			if err != nil {
				b.Fatal(err)
			}
			work := newWorkload(32)
			rng := rand.New(rand.NewPCG(1, 1))
			n := uint64(0)
			commit := func(size int, key func(i int) uint64) {
				block, batch := work.next(n)
				for len(batch.Writes) < size { // the blocks that fill are larger, to be quick
					_, more := work.next(n<<32 | uint64(len(batch.Writes)))
					batch.Writes = append(batch.Writes, more.Writes...)
				}
				names := make([]string, len(batch.Writes))
				for i := range batch.Writes {
					names[i] = stateKey(key(i))
					batch.Writes[i].Key = names[i]
				}
				view, err := s.View(context.Background(), "ch")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := view.Get(context.Background(), "asset", names); err != nil {
					b.Fatal(err)
				}
				if err := view.Close(); err != nil {
					b.Fatal(err)
				}
				if err := s.Append(context.Background(), "ch", block, batch); err != nil {
					b.Fatal(err)
				}
				n++
			}
			for filled := uint64(0); filled < keys; filled += 1024 {
				commit(1024, func(i int) uint64 { return filled + uint64(i) })
			}
			cpu := cpuSeconds()
			b.ResetTimer()
			for range b.N {
				base := rng.Uint64N(keys)
				commit(32, func(i int) uint64 { return (base + uint64(i)*7919) % keys })
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
			b.ReportMetric((cpuSeconds()-cpu)/float64(b.N*32)*1000, "cpu-s/ktx")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkIdleChannels makes a thousand channels of two blocks, and reports what one more costs while it is idle.
func BenchmarkIdleChannels(b *testing.B) {
	const channels = 1000
	for range b.N {
		dir := b.TempDir()
		s, err := embedded.Open(dir, embedded.Config{})
		if err != nil {
			b.Fatal(err)
		}
		for i := range channels {
			for n := range uint64(2) {
				batch := &ledger.Batch{Block: n, Hash: binary.BigEndian.AppendUint64(nil, uint64(i)<<8|n)}
				if err := s.Append(context.Background(), fmt.Sprintf("channel%d", i), make([]byte, 4000), batch); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		before, goroutines := heap(), runtime.NumGoroutine()
		start := time.Now()
		if s, err = embedded.Open(dir, embedded.Config{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds()*1e3, "ms-open")
		b.ReportMetric((heap()-before)/channels, "B/channel")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() float64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkReopenAfterKill opens what kill -9 would leave after 200,000 transactions.
func BenchmarkReopenAfterKill(b *testing.B) {
	dir := b.TempDir()
	s, err := embedded.Open(dir, embedded.Config{})
	if err != nil {
		b.Fatal(err)
	}
	work := newWorkload(32)
	for n := range uint64(6250) {
		block, batch := work.next(n)
		if err := s.Append(context.Background(), "ch", block, batch); err != nil {
			b.Fatal(err)
		}
	}
	copies := make([]string, b.N)
	for i := range copies {
		copies[i] = copyQuiet(b, dir)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for _, dir := range copies {
		s, err := embedded.Open(dir, embedded.Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if height, err := s.Height(context.Background(), "ch"); err != nil || height != 6250 {
			b.Fatalf("height: %d, %v", height, err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// copyQuiet copies a directory whose files do not come and go meanwhile: it tries until that is so.
func copyQuiet(b *testing.B, dir string) string {
	b.Helper()
	for {
		before, err := filepath.Glob(filepath.Join(dir, "state", "*"))
		if err != nil {
			b.Fatal(err)
		}
		to := filepath.Join(b.TempDir(), "copy")
		err = os.CopyFS(to, os.DirFS(dir))
		after, globErr := filepath.Glob(filepath.Join(dir, "state", "*"))
		if err == nil && globErr == nil && slices.Equal(before, after) {
			return to
		}
		if err := os.RemoveAll(to); err != nil {
			b.Fatal(err)
		}
	}
}
