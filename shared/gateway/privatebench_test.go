//go:build unix

package gateway_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/collection"
	service "peerless/shared/gateway"
	"peerless/shared/store/pebble"
)

// putter writes its second argument, or the transient field "value", under its first.
type putter struct{}

func (putter) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (putter) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	var err error
	if function == "public" {
		err = stub.PutState(args[0], []byte(args[1]))
	} else {
		var transient map[string][]byte
		if transient, err = stub.GetTransient(); err == nil {
			err = stub.PutPrivateData("own", args[0], transient["value"])
		}
	}
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

// BenchmarkCollections submits on a disk: public writes of a chaincode without collections, the same of one that has some and does not
// use them, and private writes. CPU time and allocations are what other work on the machine disturbs least.
func BenchmarkCollections(b *testing.B) {
	const some = `[{"name": "own", "policy": "OR('PeerlessMSP.member')", "memberOnlyRead": true, "blockToLive": 1000000}]`
	for _, c := range []struct{ name, collections, function string }{
		{"none", "", "public"}, {"not used", some, "public"}, {"private", some, "private"},
	} {
		b.Run(c.name, func(b *testing.B) {
			store, err := pebble.Open(b.TempDir(), pebble.Config{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { store.Close() })
			s := newPlatform(b, store, putter{}, service.Config{})
			if c.collections != "" {
				all, err := collection.Parse([]byte(c.collections))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Define(b.Context(), "main", s.user, service.Definition{Name: "cc", Version: "1", Collections: all}); err != nil {
					b.Fatal(err)
				}
			}
			value := make([]byte, 200)
			request := service.Request{Channel: "main", Chaincode: "cc", Function: c.function, User: s.user}
			if c.function == "private" {
				request.Transient = map[string][]byte{"value": append(value, 'v')}
			}
			var n atomic.Int64
			b.SetParallelism(32)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := request
					r.Args = [][]byte{fmt.Appendf(nil, "k%d", n.Add(1))}
					if c.function == "public" {
						r.Args = append(r.Args, fmt.Appendf(nil, "%0200d", 1))
					}
					if _, err := s.SubmitTransaction(b.Context(), r); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is the CPU time that this process used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
