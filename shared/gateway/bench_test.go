package gateway_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	service "peerless/shared/gateway"
	"peerless/shared/store/mem"
)

// assets is a platform with the asset-transfer contract, on a store in memory.
func assets(b *testing.B) *platform {
	b.Helper()
	contract, err := assettransfer.New()
	if err != nil {
		b.Fatal(err)
	}
	return newPlatform(b, mem.New(mem.Config{}), contract, service.Config{})
}

func assetArgs(id string) [][]byte {
	return [][]byte{[]byte(id), []byte("blue"), []byte("5"), []byte("tomoko"), []byte("300")}
}

func BenchmarkSubmit(b *testing.B) {
	s := assets(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.SubmitTransaction(b.Context(), service.Request{Channel: "main", Chaincode: "cc", Function: "CreateAsset",
				Args: assetArgs(fmt.Sprint("a", n.Add(1))), User: s.user})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSubmitOneHotKey(b *testing.B) {
	s := assets(b)
	request := service.Request{Channel: "main", Chaincode: "cc", Function: "CreateAsset", Args: assetArgs("hot"), User: s.user}
	if _, err := s.SubmitTransaction(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.SubmitTransaction(b.Context(), service.Request{Channel: "main", Chaincode: "cc", Function: "UpdateAsset", Args: assetArgs("hot"), User: s.user})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	s := assets(b)
	request := service.Request{Channel: "main", Chaincode: "cc", Function: "CreateAsset", Args: assetArgs("a1"), User: s.user}
	if _, err := s.SubmitTransaction(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.EvaluateTransaction(b.Context(), service.Request{Channel: "main", Chaincode: "cc", Function: "ReadAsset", Args: [][]byte{[]byte("a1")}, User: s.user})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
