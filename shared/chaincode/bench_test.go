package chaincode_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

var readWrite = contract{"rw": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
	value, err := stub.GetState(args[0])
	if err != nil {
		return fail(err)
	}
	if err := stub.PutState(args[0], append(value, 'x')); err != nil {
		return fail(err)
	}
	return shim.Success(nil)
}}

// One transaction with a GetState and a PutState, simulated and its read-write set marshalled.
func BenchmarkInProcess(b *testing.B) {
	host := start(b, readWrite)
	state := simtest.NewState()
	pairs := make([]string, 0, 2000)
	for i := range 1000 {
		pairs = append(pairs, fmt.Sprintf("k%d", i), "a value of one hundred and fifty bytes or so, to be like an asset")
	}
	state.Put(b, "test", pairs...)
	view := state.View(b)
	run := func(b *testing.B, inv *chaincode.Invocation) {
		one := *inv
		one.Tx = simulate.New(view, one.Proposal.TxID)
		if _, err := host.Execute(b.Context(), &one); err != nil {
			b.Error(err)
			return
		}
		set, err := one.Tx.Results()
		if err != nil {
			b.Error(err)
			return
		}
		if _, err := set.Marshal(); err != nil {
			b.Error(err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		inv := invocation(b, state, "rw", "k7")
		for b.Loop() {
			run(b, inv)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		var n atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			inv := invocation(b, state, "rw", fmt.Sprintf("k%d", n.Add(1)))
			for pb.Next() {
				run(b, inv)
			}
		})
	})
}
