package chaincode

import (
	"sync/atomic"
	"testing"
)

// BenchmarkProcess measures a transaction with one read and one write, alone and with 64 under way.
func BenchmarkProcess(b *testing.B) {
	for name, mode := range modes {
		b.Run(name+"/alone", func(b *testing.B) {
			p := startProcess(b, "contract", mode)
			mustCall(b, p, "put", "k", "v")
			for b.Loop() {
				mustCall(b, p, "put", "k", "v")
			}
		})
		b.Run(name+"/64", func(b *testing.B) {
			p := startProcess(b, "contract", mode)
			mustCall(b, p, "put", "k", "v")
			var failed atomic.Bool
			b.SetParallelism(32) // of 2 cores
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.Execute(b.Context(), invocation(b, "put", "k", "v")); err != nil {
						failed.Store(true)
					}
				}
			})
			if failed.Load() {
				b.Error("a transaction failed")
			}
		})
	}
}
