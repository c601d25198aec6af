package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	"peerless/shared/conformance"
	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// hosts runs each chaincode of the conformance network.
type hosts map[string]chaincode.Host

func (h hosts) Host(_ context.Context, channel, name string) (chaincode.Host, error) {
	if host := h[channel+"/"+name]; host != nil {
		return host, nil
	}
	return nil, fmt.Errorf("chaincode %s on %s: %w", name, channel, ledger.ErrNotFound)
}

// TestConformance runs what a real Fabric network was recorded at, against the probe in process and as a child program that
// dials in and that serves.
func TestConformance(t *testing.T) {
	files, err := conformance.Files()
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := conformance.Scenarios(files)
	if err != nil {
		t.Fatal(err)
	}
	program := buildProbe(t)
	for name, start := range map[string]func(name string) (chaincode.Host, error){
		"in process": func(name string) (chaincode.Host, error) {
			return chaincode.StartInProcess(name, probe.New(), chaincode.Config{})
		},
		"dialling in": func(name string) (chaincode.Host, error) {
			return chaincode.NewProcess(chaincode.ProcessConfig{Name: name, Path: program, Mode: chaincode.Dial})
		},
		"serving": func(name string) (chaincode.Host, error) {
			return chaincode.NewProcess(chaincode.ProcessConfig{Name: name, Path: program, Mode: chaincode.Serve})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network, identities := newNetwork(t, start)
			left := conformance.Check(t, network, identities, scenarios, []conformance.Need{conformance.PrivateData}, conformance.Options{})
			if ran := len(scenarios) - len(left); ran < 45 {
				t.Errorf("%d scenarios ran, want at least 45", ran)
			}
		})
	}
}

func buildProbe(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "probe")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "peerless/contracts/probe")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatalf("build probe: %v", err)
	}
	return program
}

// network is the recorded network as one service: testdata/conformance/README.md, section 1.
type network struct{ *service.Service }

var _ conformance.Network = (*network)(nil)

func newNetwork(t *testing.T, start func(name string) (chaincode.Host, error)) (*network, conformance.Identities) {
	t.Helper()
	organizations, err := organization.Open("")
	if err != nil {
		t.Fatal(err)
	}
	authorities := make(map[string]*msp.CA)
	var spec channelconfig.Spec
	for _, id := range append([]string{organization.OrdererMSP}, conformance.Organizations...) {
		ca, err := msp.NewCA(id)
		if err != nil {
			t.Fatal(err)
		}
		certificate, key, err := ca.PEM()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := organizations.Add(id, organization.Member{Authority: &organization.KeyPair{Certificate: certificate, Key: key}}); err != nil {
			t.Fatal(err)
		}
		authorities[id] = ca
		member := channelconfig.Organization{MSPID: id, MSP: ca.Config()}
		if id == organization.OrdererMSP {
			spec.Orderer = member
		} else {
			spec.Organizations = append(spec.Organizations, member)
		}
	}
	identities, err := conformance.Issue(func(u conformance.User) (*msp.Signer, error) {
		certificate, key, err := authorities[u.MSPID].Issue(msp.IssueRequest{CommonName: u.CommonName, Role: u.Role})
		if err != nil {
			return nil, err
		}
		return msp.NewSigner(u.MSPID, certificate, key)
	})
	if err != nil {
		t.Fatal(err)
	}
	orderer, err := organizations.Orderer()
	if err != nil {
		t.Fatal(err)
	}
	store := mem.New(mem.Config{})
	l, err := ledger.Open(ledger.Config{Store: store, Signer: orderer.Orderer()})
	if err != nil {
		t.Fatal(err)
	}
	running := make(hosts)
	s, err := service.New(service.Config{Ledger: l, Chaincodes: running, Organizations: organizations, ChaincodeTime: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alpha", "beta"} {
		spec.Channel = name
		genesis, err := channelconfig.Genesis(spec, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CreateChannel(t.Context(), genesis); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, host := range running {
			if err := host.Close(); err != nil {
				t.Errorf("close host: %v", err)
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("close ledger: %v", err)
		}
		for _, name := range []string{"alpha", "beta"} {
			audit := ledger.Audit{Store: store, Channel: name, Scratch: mem.New(mem.Config{})}
			if _, err := audit.Run(context.Background()); err != nil {
				t.Errorf("audit: %v", err)
			}
		}
	})
	byName := make(map[string]chaincode.Host)
	for _, cc := range conformance.Chaincodes {
		key := "probe"
		if cc.Name == "other" {
			key = "other" // another package, and so another process
		}
		if byName[key] == nil {
			if byName[key], err = start(key); err != nil {
				t.Fatal(err)
			}
		}
		running[cc.Channel+"/"+cc.Name] = byName[key]
		if _, err := s.Define(t.Context(), cc.Channel, identities["org1user"], service.Definition{Name: cc.Name, Version: "1", Policy: cc.Policy}); err != nil {
			t.Fatal(err)
		}
	}
	return &network{s}, identities
}

func (n *network) Evaluate(ctx context.Context, gatewayMSP string, r *gateway.EvaluateRequest) (*gateway.EvaluateResponse, error) {
	return n.At(gatewayMSP).Evaluate(ctx, r)
}

func (n *network) Endorse(ctx context.Context, gatewayMSP string, r *gateway.EndorseRequest) (*gateway.EndorseResponse, error) {
	return n.At(gatewayMSP).Endorse(ctx, r)
}

func (n *network) Submit(ctx context.Context, gatewayMSP string, r []*gateway.SubmitRequest) []error {
	return n.At(gatewayMSP).SubmitAll(ctx, r)
}

func (n *network) CommitStatus(ctx context.Context, gatewayMSP string, r *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error) {
	return n.At(gatewayMSP).CommitStatus(ctx, r)
}

// events is a stream of chaincode events as a client receives it.
type events struct {
	responses chan *gateway.ChaincodeEventsResponse
	err       error // set before responses is closed
}

func (n *network) ChaincodeEvents(ctx context.Context, gatewayMSP string, r *gateway.SignedChaincodeEventsRequest) (conformance.EventStream, error) {
	stream := &events{responses: make(chan *gateway.ChaincodeEventsResponse)}
	go func() {
		defer close(stream.responses)
		stream.err = n.At(gatewayMSP).ChaincodeEvents(ctx, r, func(response *gateway.ChaincodeEventsResponse) error {
			select {
			case stream.responses <- response:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return stream, nil
}

func (s *events) Recv() (*gateway.ChaincodeEventsResponse, error) {
	response, ok := <-s.responses
	if !ok {
		return nil, errors.Join(s.err, io.EOF)
	}
	return response, nil
}

// blocks reads a channel's blocks, filtered.
type blocks struct {
	ctx     context.Context
	channel *ledger.Channel
	next    uint64
}

func (n *network) FilteredBlocks(ctx context.Context, _ string, _ *msp.Signer, channel string, from uint64) (conformance.BlockStream, error) {
	c, err := n.Channel(ctx, channel)
	if err != nil {
		return nil, err
	}
	return &blocks{ctx, c, from}, nil
}

func (b *blocks) Recv() (*peer.FilteredBlock, error) {
	if err := b.channel.Wait(b.ctx, b.next); err != nil {
		return nil, err
	}
	block, err := b.channel.Block(b.ctx, b.next)
	if err != nil {
		return nil, err
	}
	b.next++
	return conformance.Filter(block)
}
