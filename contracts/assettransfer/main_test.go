package main_test

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// The program reaches its peer both ways.
func TestModes(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "assettransfer")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, mode := range []chaincode.Mode{chaincode.Dial, chaincode.Serve} {
		host, err := chaincode.NewProcess(chaincode.ProcessConfig{Name: "assettransfer", Path: program, Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		proposal, err := wire.NewProposal(wire.ProposalSpec{
			Channel: "alpha", Chaincode: "assettransfer", Args: [][]byte{[]byte("AssetExists"), []byte("asset1")},
			Creator: []byte("creator"), Nonce: []byte("nonce"), Timestamp: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		result, err := host.Execute(t.Context(), &chaincode.Invocation{
			Channel: "alpha", Chaincode: "assettransfer", Proposal: proposal, Input: proposal.Input,
			Tx: simulate.New(simtest.NewState().View(t), proposal.TxID),
		})
		if err != nil {
			t.Errorf("%s: %v", mode, err)
		} else if got := string(result.Response.GetPayload()); got != "false" {
			t.Errorf("%s: got %q, want false", mode, got)
		}
		if err := host.Close(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
