package gateway

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// TestLifecycleAsRecorded runs every approval and commit of a real Fabric network's channel again, as each organisation whose peer
// endorsed it, on the state that the peer had, and compares the read-write set with the peer's, byte for byte.
func TestLifecycleAsRecorded(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/conformance/wire/blocks/alpha-*.pb")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d blocks: %v", len(files), err)
	}
	ctx, store := t.Context(), mem.New(mem.Config{})
	organizations, err := organization.Open(ctx, organization.Config{})
	if err != nil {
		t.Fatal(err)
	}
	orderer, err := organizations.Orderer() // blocks are not made here
	if err != nil {
		t.Fatal(err)
	}
	var channel *ledger.Channel
	service := &Service{}
	compared := map[string]int{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		view, err := store.View(ctx, "alpha")
		if err != nil {
			t.Fatal(err)
		}
		for _, envelope := range block.GetData().GetData() {
			tx, _ := wire.ParseEnvelope(envelope)
			if tx == nil || tx.Chaincode != ledger.LifecycleNamespace {
				continue
			}
			proposal := &wire.Proposal{Channel: tx.Channel, TxID: tx.TxID, Chaincode: tx.Chaincode, Creator: tx.Creator, Input: &peer.ChaincodeInput{Args: tx.Args}}
			for _, e := range tx.Endorsements {
				var endorser mspproto.SerializedIdentity
				if err := proto.Unmarshal(e.Endorser, &endorser); err != nil {
					t.Fatal(err)
				}
				sim, failure := service.simulate(ctx, channel, view, proposal, endorser.Mspid)
				if failure != nil || sim.response.Status != 200 {
					t.Fatalf("%s: %s %v, %v", filepath.Base(file), tx.Args[0], sim.response, failure)
				}
				if !bytes.Equal(sim.results, tx.Results) {
					t.Errorf("%s: read-write set of %s (-got +want):\n%s", filepath.Base(file), tx.Args[0], cmp.Diff(sim.rwset, tx.RWSet, protocmp.Transform()))
				}
				compared[string(tx.Args[0])]++
			}
		}
		batch, err := ledger.BatchOf(ctx, view, block)
		if err := errors.Join(err, view.Close()); err != nil {
			t.Fatal(err)
		}
		if err := store.Append(ctx, "alpha", raw, batch); err != nil {
			t.Fatal(err)
		}
		if channel != nil {
			continue
		}
		service.Ledger, err = ledger.Open(ledger.Config{Store: store, Signer: orderer.Orderer()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { service.Ledger.Close() })
		if channel, err = service.Ledger.Channel(ctx, "alpha"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(compared, map[string]int{approveFunction: 16, commitFunction: 16}); diff != "" {
		t.Errorf("what the recording holds (-got +want):\n%s", diff)
	}
}
