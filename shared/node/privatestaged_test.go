package node_test

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewayproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"peerless/shared/ledger"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// endorseValue has a client's private write endorsed, and signs the transaction.
func (p *privateNode) endorseValue(key, value string) (string, *common.Envelope, error) {
	p.Helper()
	user := p.user("AMSP")
	nonce := make([]byte, 24)
	rand.Read(nonce)
	proposal, err := wire.NewProposal(wire.ProposalSpec{Channel: "main", Chaincode: "probe", Creator: user.Serialized, Nonce: nonce, Timestamp: time.Now(),
		Args: [][]byte{[]byte("run"), []byte(`[{"op":"PutPrivateData","collection":"own","key":"` + key + `","value":{"transient":"v"}}]`)}, Transient: map[string][]byte{"v": []byte(value)}})
	if err != nil {
		p.Fatal(err)
	}
	proposal.SignLater(user.Sign)
	signed, err := proposal.SignedProposal()
	if err != nil {
		p.Fatal(err)
	}
	endorsed, err := p.node.Gateway.At("AMSP").Endorse(p.Context(), &gatewayproto.EndorseRequest{TransactionId: proposal.TxID, ChannelId: "main", ProposedTransaction: signed})
	if err != nil {
		return "", nil, err
	}
	envelope := endorsed.PreparedTransaction
	if envelope.Signature, err = user.Sign(envelope.Payload); err != nil {
		p.Fatal(err)
	}
	return proposal.TxID, envelope, nil
}

func (p *privateNode) submitEnvelope(txID string, envelope *common.Envelope) {
	p.Helper()
	request := &gatewayproto.SubmitRequest{TransactionId: txID, ChannelId: "main", PreparedTransaction: envelope}
	if _, err := p.node.Gateway.At("AMSP").Submit(p.Context(), request); err != nil {
		p.Fatal(err)
	}
}

// stagedNode is a node whose store has room for two sets of endorsed transactions.
func stagedNode(t *testing.T, hook func(mem.Write) mem.Outcome) (*privateNode, *mem.Store) {
	t.Helper()
	store := mem.New(mem.Config{Hook: hook, Staged: ledger.StagedLimits{Channel: 250_000, Total: 250_000}})
	p := &privateNode{TB: t, node: open(t, store, "")}
	t.Cleanup(func() { closed(t, p.node) })
	if err := p.node.CreateChannel(t.Context(), "main", []string{"AMSP", "BMSP"}); err != nil {
		t.Fatal(err)
	}
	p.deploy("probe", nodeCollections)
	return p, store
}

// TestStagedLimits: more private data than there is room for is refused at its endorsement; what was endorsed is committed, and makes
// room.
func TestStagedLimits(t *testing.T) {
	t.Parallel()
	p, _ := stagedNode(t, nil)
	large := strings.Repeat("v", 100_000)
	type endorsed struct {
		id       string
		envelope *common.Envelope
	}
	var first []endorsed
	for _, key := range []string{"a", "b"} {
		id, envelope, err := p.endorseValue(key, large)
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, endorsed{id, envelope})
	}
	_, _, err := p.endorseValue("c", large)
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || st.Message() != "too much private data of endorsed transactions waits to be committed on channel main: submit what was endorsed, or try again later" {
		t.Errorf("the third: %v", err)
	}
	if _, _, err := p.endorseValue("d", "a small one"); err != nil {
		t.Errorf("a small one: %v", err)
	}
	p.submit("AMSP", `[{"op":"PutPrivateData","collection":"own","key":"e","value":{"repeat":"v","count":100000}}]`, nil) // the platform's own wait for nothing
	for _, tx := range first {
		p.submitEnvelope(tx.id, tx.envelope)
	}
	p.submit("AMSP", `[{"op":"PutState","key":"after","value":"1"}]`, nil) // behind them
	for _, key := range []string{"a", "b"} {
		if got, failure := p.evaluate("AMSP", "probe", `[{"op":"GetPrivateData","collection":"own","key":"`+key+`"}]`); failure != "" {
			t.Errorf("%s: %.20q, %s", key, got, failure)
		}
	}
	if _, _, err := p.endorseValue("c", large); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// TestStagedIsClaimed: what is submitted is not lost to others that need the room while it waits for its block.
func TestStagedIsClaimed(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	p, store := stagedNode(t, func(w mem.Write) mem.Outcome {
		if armed.CompareAndSwap(true, false) {
			close(reached)
			<-release
		}
		return mem.Proceed
	})
	value := "kept-" + hex.EncodeToString([]byte("for its block"))
	id, envelope, err := p.endorseValue("a", value)
	if err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	blocked := make(chan error, 1)
	go func() {
		_, err := p.node.Gateway.SubmitTransaction(t.Context(), p.request("AMSP", "probe", `[{"op":"PutState","key":"k","value":"1"}]`, nil))
		blocked <- err
	}()
	<-reached // the block before is being written
	p.submitEnvelope(id, envelope)
	if err := store.Unstage(t.Context(), "main", nil, ^uint64(0)); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-blocked; err != nil {
		t.Fatal(err)
	}
	p.submit("AMSP", `[{"op":"PutState","key":"after","value":"1"}]`, nil) // behind it
	got, failure := p.evaluate("AMSP", "probe", `[{"op":"GetPrivateData","collection":"own","key":"a"}]`)
	if got != value {
		t.Errorf("got %q, %s", got, failure)
	}
}
