package local_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/conformance"
	"peerless/shared/conformance/local"
	"peerless/shared/store/mem"
)

// tampered is a network with one fault.
type tampered struct {
	conformance.Network
	evaluate func(*gateway.EvaluateResponse) (*gateway.EvaluateResponse, error)
	submit   func([]*gateway.SubmitRequest) []*gateway.SubmitRequest
	status   func(*gateway.CommitStatusResponse)
}

func (n *tampered) Evaluate(ctx context.Context, mspID string, request *gateway.EvaluateRequest) (*gateway.EvaluateResponse, error) {
	response, err := n.Network.Evaluate(ctx, mspID, request)
	if n.evaluate == nil || err != nil {
		return response, err
	}
	return n.evaluate(response)
}

func (n *tampered) Submit(ctx context.Context, mspID string, requests []*gateway.SubmitRequest) []error {
	if n.submit == nil {
		return n.Network.Submit(ctx, mspID, requests)
	}
	return append(n.Network.Submit(ctx, mspID, n.submit(requests)), make([]error, len(requests))...)[:len(requests)]
}

func (n *tampered) CommitStatus(ctx context.Context, mspID string, request *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error) {
	response, err := n.Network.CommitStatus(ctx, mspID, request)
	if err == nil && n.status != nil {
		n.status(response)
	}
	return response, err
}

// A fault of a network is found, and where it is.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	files, err := conformance.Files()
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := conformance.Scenarios(files)
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) *conformance.Scenario {
		for _, s := range scenarios {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no scenario %s", name)
		return nil
	}
	for _, c := range []struct {
		name, scenario string
		fault          tampered
		want           string // the first difference
	}{
		{"none", "crud", tampered{}, ""},
		{"another payload", "crud", tampered{evaluate: func(r *gateway.EvaluateResponse) (*gateway.EvaluateResponse, error) {
			r.Result.Payload = []byte(strings.Replace(string(r.Result.Payload), "null", `""`, 1))
			return r, nil
		}}, `missing: result[0].value: got "", want null`},
		{"another status", "crud", tampered{evaluate: func(r *gateway.EvaluateResponse) (*gateway.EvaluateResponse, error) {
			r.Result.Status = 201
			return r, nil
		}}, `missing: response.status: got 201, want 200`},
		{"an error", "crud", tampered{evaluate: func(*gateway.EvaluateResponse) (*gateway.EvaluateResponse, error) {
			return nil, status.Error(codes.Internal, "no")
		}}, `missing: error: got {"code":"INTERNAL","message":"no","stage":"evaluate"}, want nothing`},
		{"another code", "crud", tampered{status: func(r *gateway.CommitStatusResponse) {
			r.Result = peer.TxValidationCode_MVCC_READ_CONFLICT
		}}, `create: commit.code: got "MVCC_READ_CONFLICT", want "VALID"`},
		{"another order", "blind-writes", tampered{submit: func(requests []*gateway.SubmitRequest) []*gateway.SubmitRequest {
			if len(requests) == 3 {
				return []*gateway.SubmitRequest{requests[0], requests[2], requests[1]}
			}
			return requests
		}}, `block: txs[2].outOfOrder: got true, want nothing`},
	} {
		store := mem.New(mem.Config{})
		network, identities, err := local.Start(t.Context(), local.Config{Store: store, Host: func(name string) (chaincode.Host, error) {
			return chaincode.StartInProcess(name, probe.New(), chaincode.Config{})
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.fault.Network = network
		differences, err := conformance.Run(t.Context(), &c.fault, identities, named(c.scenario), conformance.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		first := ""
		if len(differences) > 0 {
			first = differences[0].String()
		}
		if first != c.want {
			t.Errorf("%s: got %q first, want %q", c.name, first, c.want)
		}
		if err := network.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
