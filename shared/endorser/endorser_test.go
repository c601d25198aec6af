package endorser_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/endorser"
	"peerless/shared/gateway"
	"peerless/shared/grpcapi"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// A platform with a channel of two organisations, and transactions on it.
type platform struct {
	*node.Node
	user *msp.Signer
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	n, err := node.Open(node.Config{Store: mem.New(mem.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.CreateChannel(t.Context(), "trade", []string{"Org1MSP", "Org2MSP"}); err != nil {
		t.Fatal(err)
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "trade", contract, gateway.Definition{Name: "asset"}); err != nil {
		t.Fatal(err)
	}
	p := &platform{Node: n}
	if p.user, err = n.User("Org1MSP", "alice", nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a1", "a2", "a3"} {
		p.create(t, id)
	}
	return p
}

func (p *platform) create(t *testing.T, id string) {
	t.Helper()
	args := [][]byte{[]byte(id), []byte("blue"), []byte("5"), []byte("tom"), []byte("100")}
	if _, err := p.Gateway.SubmitTransaction(t.Context(), gateway.Request{Channel: "trade", Chaincode: "asset", Function: "CreateAsset", Args: args, User: p.user}); err != nil {
		t.Fatal(err)
	}
}

// endorser opens the second organisation's endorser over a store.
func (p *platform) endorser(t *testing.T, store ledger.Store, from string) *endorser.Endorser {
	t.Helper()
	org2, err := p.Organizations.Organization("Org2MSP")
	if err != nil {
		t.Fatal(err)
	}
	e, err := endorser.Open(t.Context(), endorser.Config{
		Signer: org2.Endorser().Signer, Channels: []string{"trade"}, From: organization.Connection{Address: from}, Store: store, Packages: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestFollow: an endorser has the platform's blocks soon after they are there, over a restart of either, and its state is what an audit
// says.
func TestFollow(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	channel, err := p.Ledger.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	store := mem.New(mem.Config{})
	address := ""
	for round := range 2 {
		l := listen(t)
		if address == "" {
			address = l.Addr().String()
		}
		server := grpcapi.New(p.Gateway, grpcapi.Config{})
		go server.Serve(l)
		e := p.endorser(t, store, l.Addr().String())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		p.create(t, []string{"b1", "b2"}[round])
		want, err := channel.Height(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); e.Height("trade") < want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %d blocks of %d", round, e.Height("trade"), want)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		server.Shutdown(t.Context())
	}
	audit := ledger.Audit{Store: store, Channel: "trade", Scratch: mem.New(mem.Config{})}
	if _, err := audit.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// A liar is a platform's block events that change one block.
type liar struct {
	peer.UnimplementedDeliverServer
	channel *ledger.Channel
	number  uint64
	lie     func(*common.Block)
}

func (l *liar) Deliver(stream peer.Deliver_DeliverServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	height, err := l.channel.Height(stream.Context())
	if err != nil {
		return err
	}
	for n := range height {
		block, err := l.channel.Block(stream.Context(), n)
		if err != nil {
			return err
		}
		if n == l.number {
			l.lie(block)
		}
		if err := stream.Send(&peer.DeliverResponse{Type: &peer.DeliverResponse_Block{Block: block}}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// TestLyingPlatform: an endorser ends at the first block that is not what it should be, and takes nothing of it.
func TestLyingPlatform(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	channel, err := p.Ledger.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := node.Open(node.Config{Store: mem.New(mem.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := stranger.CreateChannel(t.Context(), "trade", []string{"Org1MSP", "Org2MSP"}); err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Ledger.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := height - 1
	for name, test := range map[string]struct {
		liar liar
		want string
	}{
		"a verdict": {liar{channel: channel, number: last, lie: func(b *common.Block) {
			wire.SetValidationCodes(b, []peer.TxValidationCode{peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE})
		}}, "is recorded as ENDORSEMENT_POLICY_FAILURE and is VALID"},
		"a past":                   {liar{channel: channel, number: last, lie: func(b *common.Block) { b.Header.PreviousHash[3] ^= 1 }}, "previous hash"},
		"other organisations' own": {liar{channel: foreign, number: 99}, "the first block does not know this endorser"},
	} {
		l := listen(t)
		server := grpc.NewServer()
		peer.RegisterDeliverServer(server, &test.liar)
		go server.Serve(l)
		e := p.endorser(t, mem.New(mem.Config{}), l.Addr().String())
		ctx, stop := context.WithTimeout(t.Context(), patience)
		err := e.Run(ctx)
		if !errors.Is(err, ledger.ErrAudit) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if h := e.Height("trade"); test.liar.number == last && h != last || test.liar.number != last && h != 0 {
			t.Errorf("%s: %d blocks were taken", name, h)
		}
		stop()
		server.Stop()
	}
}

// TestProcessProposal: the server of an organisation endorses for those whom the channel admits, as Fabric's peers do, and for nobody else.
func TestProcessProposal(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	l := listen(t)
	server := grpcapi.New(p.Gateway, grpcapi.Config{MSPID: "Org2MSP"})
	go server.Serve(l)
	defer server.Shutdown(t.Context())
	conn, err := endorser.Dial(organization.Connection{Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	channel, err := p.Ledger.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := p.User("StrangerMSP", "mallory", nil)
	if err != nil {
		t.Fatal(err)
	}
	propose := func(by *msp.Signer, function string, args ...string) *peer.SignedProposal {
		t.Helper()
		spec := wire.ProposalSpec{Channel: "trade", Chaincode: "asset", Args: [][]byte{[]byte(function)}, Creator: by.Serialized, Nonce: []byte(t.Name() + function + args[0]), Timestamp: time.Now()}
		for _, arg := range args {
			spec.Args = append(spec.Args, []byte(arg))
		}
		proposal, err := wire.NewProposal(spec)
		if err != nil {
			t.Fatal(err)
		}
		proposal.Signed.Signature, err = by.Sign(proposal.Signed.ProposalBytes)
		if err != nil {
			t.Fatal(err)
		}
		return proposal.Signed
	}
	client := peer.NewEndorserClient(conn)
	response, err := client.ProcessProposal(t.Context(), propose(p.user, "ReadAsset", "a1"))
	if err != nil || response.Response.Status != 200 || !strings.Contains(string(response.Response.Payload), `"ID":"a1"`) {
		t.Fatalf("%v, %v", response, err)
	}
	signer, err := channel.Config().MSPs.Identify(response.Endorsement.Endorser)
	if err != nil || signer.MSPID != "Org2MSP" {
		t.Fatalf("signed by %v, %v", signer, err)
	}
	if err := signer.Verify(wire.EndorsedMessage(response.Payload, response.Endorsement.Endorser), response.Endorsement.Signature); err != nil {
		t.Error(err)
	}
	if response, err := client.ProcessProposal(t.Context(), propose(p.user, "ReadAsset", "none")); err != nil || response.Endorsement != nil ||
		response.Response.Status != 500 || response.Response.Message != "the asset none does not exist" {
		t.Errorf("a failure: %v, %v", response, err)
	}
	if _, err := client.ProcessProposal(t.Context(), propose(stranger, "ReadAsset", "a1")); err == nil || !strings.Contains(err.Error(), "access denied: channel [trade] creator org unknown") {
		t.Errorf("a stranger: %v", err)
	}
	// Over the platform's own client: not before the state is there.
	_, _, err = new(endorser.Client).ProcessProposal(t.Context(), &organization.Endorser{Connection: organization.Connection{Address: l.Addr().String()}},
		propose(p.user, "ReadAsset", "a2"), 1_000)
	height, heightErr := channel.Height(t.Context())
	if want := fmt.Sprintf("this endorser has %d blocks of channel trade, and is to endorse on a state of 1000", height); heightErr != nil || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a height that is not there: %v", err)
	}
}
