package gateway_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// hosts are the chaincodes of a test, by channel and name.
type hosts map[string]chaincode.Host

func (h hosts) Host(_ context.Context, channel, name string) (chaincode.Host, error) {
	if host := h[channel+"/"+name]; host != nil {
		return host, nil
	}
	return nil, fmt.Errorf("chaincode %s on %s: %w", name, channel, ledger.ErrNotFound)
}

// platform is a service with one organisation and the asset-transfer contract in process, on a store in memory.
func platform(tb testing.TB, store ledger.Store) (*service.Service, *msp.Signer) {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	organizations, err := organization.Open("")
	must(err)
	own, err := organizations.Organization("PeerlessMSP")
	must(err)
	orderer, err := organizations.Orderer()
	must(err)
	l, err := ledger.Open(ledger.Config{Store: store, Signer: orderer.Orderer()})
	must(err)
	contract, err := assettransfer.New()
	must(err)
	host, err := chaincode.StartInProcess("assets", contract, chaincode.Config{})
	must(err)
	s, err := service.New(service.Config{Ledger: l, Chaincodes: hosts{"main/assets": host}, Organizations: organizations})
	must(err)
	genesis, err := channelconfig.Genesis(channelconfig.Spec{Channel: "main",
		Organizations: []channelconfig.Organization{{MSPID: "PeerlessMSP", MSP: own.MSPConfig()}},
		Orderer:       channelconfig.Organization{MSPID: organization.OrdererMSP, MSP: orderer.MSPConfig()}}, time.Now())
	must(err)
	must(s.CreateChannel(tb.Context(), genesis))
	user, err := own.User("bench", nil)
	must(err)
	_, err = s.Define(tb.Context(), "main", user, service.Definition{Name: "assets", Version: "1"})
	must(err)
	tb.Cleanup(func() {
		host.Close()
		if err := l.Close(); err != nil {
			tb.Errorf("close ledger: %v", err)
		}
	})
	return s, user
}

func assetArgs(id string) [][]byte {
	return [][]byte{[]byte(id), []byte("blue"), []byte("5"), []byte("tomoko"), []byte("300")}
}

func BenchmarkSubmit(b *testing.B) {
	s, user := platform(b, mem.New(mem.Config{}))
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.SubmitTransaction(b.Context(), service.Request{Channel: "main", Chaincode: "assets", Function: "CreateAsset",
				Args: assetArgs(fmt.Sprint("a", n.Add(1))), User: user})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSubmitOneHotKey(b *testing.B) {
	s, user := platform(b, mem.New(mem.Config{}))
	request := service.Request{Channel: "main", Chaincode: "assets", Function: "CreateAsset", Args: assetArgs("hot"), User: user}
	if _, err := s.SubmitTransaction(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.SubmitTransaction(b.Context(), service.Request{Channel: "main", Chaincode: "assets", Function: "UpdateAsset", Args: assetArgs("hot"), User: user})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	s, user := platform(b, mem.New(mem.Config{}))
	request := service.Request{Channel: "main", Chaincode: "assets", Function: "CreateAsset", Args: assetArgs("a1"), User: user}
	if _, err := s.SubmitTransaction(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.EvaluateTransaction(b.Context(), service.Request{Channel: "main", Chaincode: "assets", Function: "ReadAsset", Args: [][]byte{[]byte("a1")}, User: user})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
