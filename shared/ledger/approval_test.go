package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// TestApprovalsAsRecorded makes the approvals of the recorded network again from what their transactions asked for, and compares the
// hashes that Fabric's peers wrote.
func TestApprovalsAsRecorded(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/conformance/wire/blocks/alpha-*.pb")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, envelope := range block.GetData().GetData() {
			tx, _ := wire.ParseEnvelope(envelope)
			if tx == nil || tx.Chaincode != ledger.LifecycleNamespace || string(tx.Args[0]) != "ApproveChaincodeDefinitionForMyOrg" {
				continue
			}
			compareApproval(t, tx)
			compared++
		}
	}
	if compared < 4 {
		t.Errorf("%d approvals compared, want at least 4", compared)
	}
}

func compareApproval(t *testing.T, tx *wire.Transaction) {
	t.Helper()
	var args lifecycle.ApproveChaincodeDefinitionForMyOrgArgs
	if err := proto.Unmarshal(tx.Args[1], &args); err != nil {
		t.Fatal(err)
	}
	d := &ledger.Definition{Name: args.Name, Version: args.Version, Sequence: args.Sequence, InitRequired: args.InitRequired,
		Policy: &peer.ApplicationPolicy{}, Collections: args.Collections}
	if len(args.ValidationParameter) == 0 {
		d.Policy.Type = &peer.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: channelconfig.PathEndorsement}
	} else if err := proto.Unmarshal(args.ValidationParameter, d.Policy); err != nil {
		t.Fatal(err)
	}
	values, err := ledger.FormatApproval(d, args.GetSource().GetLocalPackage().GetPackageId())
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range tx.RWSet.Namespaces {
		for _, recorded := range ns.Collections {
			made, err := ledger.ApprovalWrites(recorded.Name[len(ledger.ApprovalCollection("")):], values)
			if err != nil {
				t.Fatal(err)
			}
			writes := &recorded.Hashed.HashedWrites
			if len(*writes) != len(made.Hashed.HashedWrites) {
				t.Fatalf("%s: %d hashed writes, want %d", args.Name, len(made.Hashed.HashedWrites), len(*writes))
			}
			for i, want := range *writes {
				if got := made.Hashed.HashedWrites[i]; !bytes.Equal(got.KeyHash, want.KeyHash) || !bytes.Equal(got.ValueHash, want.ValueHash) {
					t.Errorf("%s: hashed write %d is not the recorded one", args.Name, i)
				}
			}
			if !bytes.Equal(made.PrivateHash, recorded.PrivateHash) {
				t.Errorf("%s: the private set's hash is not the recorded one", args.Name)
			}
		}
	}
}
