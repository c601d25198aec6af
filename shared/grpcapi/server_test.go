package grpcapi_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/gateway"
	"peerless/shared/grpcapi"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/store/mem"
)

// identity is a signer as the Fabric Gateway client wants one.
type identity struct{ *msp.Signer }

func (i identity) MspID() string { return i.MSPID }
func (i identity) Credentials() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Cert.Raw})
}

// A served platform, and a client of it.
type served struct {
	node       *node.Node
	user       *msp.Signer
	address    string
	connection *grpc.ClientConn
	network    *client.Network
	stop       func() // ends the server
}

// start starts a platform with a channel of two organisations, and connects a user of the second. options change the server's
// configuration.
func start(t *testing.T, options ...func(*grpcapi.Config)) *served {
	t.Helper()
	store := mem.New(mem.Config{})
	n, err := node.Open(node.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		audit := ledger.Audit{Store: store, Channel: "trade", Scratch: mem.New(mem.Config{}), Keys: n.Organizations}
		if _, err := audit.Run(context.Background()); err != nil {
			t.Errorf("audit: %v", err)
		}
	})
	if err := n.CreateChannel(t.Context(), "trade", []string{"Org1MSP", "Org2MSP"}); err != nil {
		t.Fatal(err)
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "trade", contract, gateway.Definition{Name: "basic"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "trade", probe.New(), gateway.Definition{Name: "probe"}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := grpcapi.Config{Organizations: n.Organizations.Organizations}
	for _, option := range options {
		option(&config)
	}
	server := grpcapi.New(n.Gateway, config)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	s := &served{node: n, address: l.Addr().String(), stop: sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})}
	t.Cleanup(s.stop)
	if s.user, err = n.User("Org2MSP", "alice", nil); err != nil {
		t.Fatal(err)
	}
	s.network = s.dial(t)
	return s
}

// dial connects the user with an unmodified Fabric Gateway client.
func (s *served) dial(t *testing.T, options ...grpc.DialOption) *client.Network {
	t.Helper()
	connection, err := grpc.NewClient(s.address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	s.connection = connection
	gw, err := client.Connect(identity{s.user}, client.WithClientConnection(connection), client.WithHash(hash.NONE), client.WithSign(s.user.Sign))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gw.Close() })
	return gw.GetNetwork("trade")
}

// height is the number of blocks of the channel.
func (s *served) height(t *testing.T) uint64 {
	t.Helper()
	channel, err := s.node.Ledger.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return height
}

// connect returns the client's contract, and its network.
func connect(t *testing.T) (*client.Network, *client.Contract) {
	t.Helper()
	network := start(t).network
	return network, network.GetContract("basic")
}

// TestClient drives the service with the Fabric Gateway's own client.
func TestClient(t *testing.T) {
	t.Parallel()
	_, contract := connect(t)
	if _, err := contract.SubmitTransaction("InitLedger"); err != nil {
		t.Fatal(err)
	}
	asset, err := contract.EvaluateTransaction("ReadAsset", "asset1")
	if err != nil || !strings.Contains(string(asset), `"ID":"asset1"`) {
		t.Errorf("ReadAsset: %s, %v", asset, err)
	}
	proposal, err := contract.NewProposal("TransferAsset", client.WithArguments("asset1", "maria"))
	if err != nil {
		t.Fatal(err)
	}
	transaction, err := proposal.Endorse()
	if err != nil {
		t.Fatal(err)
	}
	commit, err := transaction.Submit()
	if err != nil {
		t.Fatal(err)
	}
	if outcome, err := commit.Status(); err != nil || !outcome.Successful {
		t.Errorf("status: %+v, %v", outcome, err)
	}
}

// TestClientErrors compares what the client is told with what Fabric tells it.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	_, contract := connect(t)
	_, err := contract.SubmitTransaction("ReadAsset", "nothing")
	var endorse *client.EndorseError
	if !errors.As(err, &endorse) || status.Code(err) != codes.Aborted {
		t.Fatalf("submit: %v, want an EndorseError, Aborted", err)
	}
	details := status.Convert(endorse).Details()
	if len(details) != 1 {
		t.Fatalf("%d details, want 1", len(details))
	}
	detail := details[0].(*pb.ErrorDetail)
	if detail.MspId != "Org2MSP" || detail.Message != "chaincode response 500, the asset nothing does not exist" {
		t.Errorf("detail: %v", detail)
	}
	if _, err := contract.EvaluateTransaction("ReadAsset", "nothing"); status.Code(err) != codes.Unknown {
		t.Errorf("evaluate: %v, want Unknown", err)
	}
}

// TestClientEvents reads events by checkpoint: each once, also across a broken connection.
func TestClientEvents(t *testing.T) {
	t.Parallel()
	network, _ := connect(t)
	contract := network.GetContract("probe")
	for _, name := range []string{"first", "second"} {
		if _, err := contract.SubmitTransaction("run", `[{"op":"SetEvent","name":"`+name+`","payload":"x"}]`); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint := new(client.InMemoryCheckpointer)
	for _, want := range []string{"first", "second"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		events, err := network.ChaincodeEvents(ctx, "probe", client.WithStartBlock(0), client.WithCheckpoint(checkpoint))
		if err != nil {
			t.Fatal(err)
		}
		event, ok := <-events
		if !ok || event.EventName != want || string(event.Payload) != "x" {
			t.Fatalf("event %+v, want %s", event, want)
		}
		checkpoint.CheckpointChaincodeEvent(event)
		cancel()
	}
}
