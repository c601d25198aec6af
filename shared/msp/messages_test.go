package msp_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
	"peerless/shared/wire"
)

func message[M proto.Message](t *testing.T, name string, into M) M {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(goldenDir, "messages", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
	return into
}

// The proposals that a real client signed. The one that the real peer denied has another user's signature.
func TestSignaturesOfProposals(t *testing.T) {
	t.Parallel()
	manager := network(t)
	for name, want := range map[string]error{
		"signed-proposal.pb": nil, "signed-proposal-transient.pb": nil, "signed-proposal-failed.pb": nil,
		"signed-proposal-denied.pb": msp.ErrSignature,
	} {
		p, err := wire.ParseProposal(message(t, name, &peer.SignedProposal{}))
		if err != nil {
			t.Fatal(err)
		}
		id, err := manager.Identify(p.Creator)
		if err != nil {
			t.Fatal(err)
		}
		if err := id.Verify(p.Signed.ProposalBytes, p.Signed.Signature); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

// The question that a real client signed for the outcome of its transaction.
func TestSignatureOfStatusRequest(t *testing.T) {
	t.Parallel()
	signed, request := message(t, "gateway-commit-status-request.pb", &gateway.SignedCommitStatusRequest{}), &gateway.CommitStatusRequest{}
	if err := proto.Unmarshal(signed.Request, request); err != nil {
		t.Fatal(err)
	}
	submitted := message(t, "gateway-submit-request.pb", &gateway.SubmitRequest{})
	if request.ChannelId != submitted.ChannelId || request.TransactionId != submitted.TransactionId {
		t.Errorf("it asks for %s on %s, and %s was submitted on %s", request.TransactionId, request.ChannelId, submitted.TransactionId, submitted.ChannelId)
	}
	id, err := network(t).Identify(request.Identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Verify(signed.Request, signed.Signature); err != nil {
		t.Errorf("its signature: %v", err)
	}
	if err := id.Verify(append(signed.Request, 0), signed.Signature); !errors.Is(err, msp.ErrSignature) {
		t.Errorf("the signature of a longer one: %v", err)
	}
}

func TestSignaturesOfResponses(t *testing.T) {
	t.Parallel()
	manager := network(t)
	for name, want := range map[string]string{
		"proposal-response-org1.pb": "Org1MSP", "proposal-response-org2.pb": "Org2MSP", "proposal-response-transient.pb": "Org1MSP",
	} {
		response := message(t, name, &peer.ProposalResponse{})
		id, err := manager.Identify(response.Endorsement.Endorser)
		if err != nil {
			t.Fatal(err)
		}
		if id.MSPID != want {
			t.Errorf("%s: endorsed by %s, want %s", name, id.MSPID, want)
		}
		if err := id.Verify(wire.EndorsedMessage(response.Payload, id.Serialized), response.Endorsement.Signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
