package node_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	deployment "peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/manifest"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// elsewhere is an organisation that keeps its keys to itself until it lends the platform its endorser.
func elsewhere(t *testing.T, mspID string) (member organization.Member, endorser organization.KeyPair) {
	t.Helper()
	authority, err := msp.NewCA(mspID)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := authority.Issue(msp.IssueRequest{CommonName: "peer0", Role: msp.RolePeer})
	if err != nil {
		t.Fatal(err)
	}
	return organization.Member{Config: authority.Config()}, organization.KeyPair{Certificate: certificate, Key: key}
}

// serveContract runs a contract as a service, and returns its address.
func serveContract(t *testing.T) string {
	t.Helper()
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	server := &shim.ChaincodeServer{CCID: "served", Address: address, CC: contract, TLSProps: shim.TLSProperties{Disabled: true}}
	go server.Start() // until the tests end
	return address
}

// lifecycleOf returns the transactions of _lifecycle on a channel: what each does, and who endorsed it.
func lifecycleOf(t *testing.T, n *node.Node, name string) []string {
	t.Helper()
	channel, err := n.Ledger.Channel(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for number := range height {
		block, err := channel.Block(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		for _, envelope := range block.Data.Data {
			tx, _ := wire.ParseEnvelope(envelope)
			if tx == nil || tx.Chaincode != ledger.LifecycleNamespace {
				continue
			}
			text := string(tx.Args[0])
			for _, e := range tx.Endorsements {
				var id mspproto.SerializedIdentity
				if err := proto.Unmarshal(e.Endorser, &id); err != nil {
					t.Fatal(err)
				}
				text += " " + id.Mspid
			}
			all = append(all, text)
		}
	}
	return all
}

// TestAgreement deploys on channels whose organisations endorse here, or not.
func TestAgreement(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	n, err := node.Open(node.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		for _, channel := range []string{"one", "three"} {
			audit := ledger.Audit{Store: store, Channel: channel, Scratch: mem.New(mem.Config{})}
			if _, err := audit.Run(context.Background()); err != nil {
				t.Errorf("audit of %s: %v", channel, err)
			}
		}
	})
	// An index is the same however it is written.
	indexes := []string{`{ "index": {"fields": ["Owner"]}, "ddoc": "byOwner", "name": "byOwner", "type": "json" }`}
	deploy := func(channel, version string) (gateway.Definition, error) {
		t.Helper()
		contract, err := assettransfer.New()
		if err != nil {
			t.Fatal(err)
		}
		return n.DeployInProcess(t.Context(), channel, contract, gateway.Definition{Name: "assets", Version: version, Indexes: indexes})
	}

	if err := n.CreateChannel(t.Context(), "one", nil); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "1", "2"} {
		if _, err := deploy("one", version); err != nil {
			t.Fatal(err)
		}
	}
	const commit = "CommitChaincodeDefinition"
	if diff := cmp.Diff(lifecycleOf(t, n, "one"), []string{commit + " PeerlessMSP", commit + " PeerlessMSP"}); diff != "" {
		t.Errorf("one organisation: one transaction for each definition (-got +want):\n%s", diff)
	}

	org2, endorser := elsewhere(t, "Org2MSP")
	org3, _ := elsewhere(t, "Org3MSP")
	for mspID, member := range map[string]organization.Member{"Org2MSP": org2, "Org3MSP": org3} {
		if _, err := n.Organizations.Add(mspID, member); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.CreateChannel(t.Context(), "three", []string{"Org1MSP", "Org2MSP", "Org3MSP"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again, which records nothing more
		_, err = deploy("three", "1")
		var pending *gateway.PendingError
		if !errors.As(err, &pending) {
			t.Fatalf("deploy: %v, want a PendingError", err)
		}
		want := &gateway.PendingError{Definition: gateway.Definition{Name: "assets", Version: "1", Sequence: 1}, Approved: []string{"Org1MSP"}, Awaited: []string{"Org2MSP", "Org3MSP"}}
		pending.Definition.Indexes = nil
		if diff := cmp.Diff(pending, want); diff != "" {
			t.Error(diff)
		}
	}
	// A manifest that waits for others is applied as far as it goes.
	served := &manifest.Deployment{Name: "served", Version: "1", Artifacts: map[string]*manifest.Artifact{"": {Service: deployment.Connection{Address: serveContract(t)}}}}
	for range 2 {
		change, err := n.PutChaincode(t.Context(), "three", served)
		if err != nil || change.Action != manifest.Pending || !strings.Contains(change.Detail, "awaits Org2MSP, Org3MSP") {
			t.Errorf("put what awaits approvals: %+v, %v", change, err)
		}
	}
	if bound := n.Chaincodes.Targets("three", "served"); len(bound) != 1 {
		t.Errorf("it is not kept for the definition that is to come: %v", bound)
	}
	const approve = "ApproveChaincodeDefinitionForMyOrg"
	if diff := cmp.Diff(lifecycleOf(t, n, "three"), []string{approve + " Org1MSP", approve + " Org1MSP"}); diff != "" {
		t.Error(diff)
	}
	if _, err := n.Gateway.Definition(t.Context(), "three", "assets"); err == nil {
		t.Error("it is defined before enough have approved")
	}
	// With an endorser of the second organisation it goes on from there: two of three are the majority.
	org2.Endorser = &endorser
	if _, err := n.Organizations.Add("Org2MSP", org2); err != nil {
		t.Fatal(err)
	}
	defined, err := deploy("three", "1")
	if err != nil || defined.Sequence != 1 {
		t.Fatalf("deploy: %+v, %v", defined, err)
	}
	if diff := cmp.Diff(lifecycleOf(t, n, "three"), []string{approve + " Org1MSP", approve + " Org1MSP", approve + " Org2MSP", commit + " Org1MSP Org2MSP"}); diff != "" {
		t.Error(diff)
	}
	// What is removed and defined anew takes new approvals.
	if err := n.Remove(t.Context(), "three", "assets"); err != nil {
		t.Fatal(err)
	}
	if defined, err = deploy("three", "1"); err != nil || defined.Sequence != 3 {
		t.Fatalf("deploy what was removed: %+v, %v", defined, err)
	}
	if got := lifecycleOf(t, n, "three"); len(got) != 8 || got[7] != commit+" Org1MSP Org2MSP" {
		t.Errorf("after the removal: %v", got)
	}
}
