package chaincode_test

import (
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	asset "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// contract is the asset-transfer contract over a state in memory.
type contract struct {
	*testing.T
	host  chaincode.Host
	state *simtest.State
}

func start(t *testing.T) *contract {
	t.Helper()
	chaincodes, err := asset.New()
	if err != nil {
		t.Fatal(err)
	}
	host, err := chaincode.StartInProcess("assettransfer", chaincodes, chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return &contract{t, host, simtest.NewState()}
}

// call runs a function and commits what it wrote if it succeeded.
func (c *contract) call(function string, args ...string) *peer.Response {
	c.Helper()
	raw := [][]byte{[]byte(function)}
	for _, arg := range args {
		raw = append(raw, []byte(arg))
	}
	nonce := make([]byte, 24)
	if _, err := rand.Read(nonce); err != nil {
		c.Fatal(err)
	}
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: "alpha", Chaincode: "assettransfer", Args: raw, Creator: []byte("creator"), Nonce: nonce, Timestamp: time.Now(),
	})
	if err != nil {
		c.Fatal(err)
	}
	tx := simulate.New(c.state.View(c), proposal.TxID)
	result, err := c.host.Execute(c.Context(), &chaincode.Invocation{
		Channel: "alpha", Chaincode: "assettransfer", Proposal: proposal, Input: proposal.Input, Tx: tx,
	})
	if err != nil {
		c.Fatal(err)
	}
	if result.Response.GetStatus() == 200 {
		set, err := tx.Results()
		if err != nil {
			c.Fatal(err)
		}
		c.state.Commit(c, simtest.Tx{ID: proposal.TxID, Timestamp: proposal.Timestamp, RWSet: set})
	}
	return result.Response
}

// want calls a function and expects its payload.
func (c *contract) want(payload, function string, args ...string) {
	c.Helper()
	response := c.call(function, args...)
	if response.GetStatus() != 200 {
		c.Fatalf("%s%q: status %d, %s", function, args, response.GetStatus(), response.GetMessage())
	}
	if diff := cmp.Diff(payload, string(response.GetPayload())); diff != "" {
		c.Errorf("%s%q (-want +got):\n%s", function, args, diff)
	}
}

// refuses calls a function and expects its error.
func (c *contract) refuses(message, function string, args ...string) {
	c.Helper()
	response := c.call(function, args...)
	if response.GetStatus() != 500 || response.GetMessage() != message {
		c.Errorf("%s%q: got %d, %q, want 500, %q", function, args, response.GetStatus(), response.GetMessage(), message)
	}
}

const initial = `[{"AppraisedValue":300,"Color":"blue","ID":"asset1","Owner":"Tomoko","Size":5},` +
	`{"AppraisedValue":400,"Color":"red","ID":"asset2","Owner":"Brad","Size":5},` +
	`{"AppraisedValue":500,"Color":"green","ID":"asset3","Owner":"Jin Soo","Size":10},` +
	`{"AppraisedValue":600,"Color":"yellow","ID":"asset4","Owner":"Max","Size":10},` +
	`{"AppraisedValue":700,"Color":"black","ID":"asset5","Owner":"Adriana","Size":15},` +
	`{"AppraisedValue":800,"Color":"white","ID":"asset6","Owner":"Michel","Size":15}]`

func TestAssets(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.want(`[]`, "GetAllAssets")
	c.want(``, "InitLedger")
	c.want(initial, "GetAllAssets")

	c.want(`false`, "AssetExists", "asset7")
	c.want(``, "CreateAsset", "asset7", "blue", "5", "Tom", "1300")
	c.want(`true`, "AssetExists", "asset7")
	c.want(`{"AppraisedValue":1300,"Color":"blue","ID":"asset7","Owner":"Tom","Size":5}`, "ReadAsset", "asset7")
	c.want(``, "UpdateAsset", "asset7", "grün", "-1", "Tom", "0")
	c.want(`{"AppraisedValue":0,"Color":"grün","ID":"asset7","Owner":"Tom","Size":-1}`, "ReadAsset", "asset7")
	c.want(`Tom`, "TransferAsset", "asset7", "Christopher")
	c.want(`{"AppraisedValue":0,"Color":"grün","ID":"asset7","Owner":"Christopher","Size":-1}`, "SmartContract:ReadAsset", "asset7")
	c.want(``, "DeleteAsset", "asset7")
	c.want(initial, "GetAllAssets")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.want(``, "CreateAsset", "a", "blue", "5", "Tom", "1")
	c.refuses("the asset a already exists", "CreateAsset", "a", "red", "6", "Tim", "2")
	c.want(`{"AppraisedValue":1,"Color":"blue","ID":"a","Owner":"Tom","Size":5}`, "ReadAsset", "a")
	c.refuses("the asset b does not exist", "ReadAsset", "b")
	c.refuses("the asset b does not exist", "UpdateAsset", "b", "red", "6", "Tim", "2")
	c.refuses("the asset b does not exist", "DeleteAsset", "b")
	c.refuses("the asset b does not exist", "TransferAsset", "b", "Tim")
	c.refuses("failed to put to world state. key must not be an empty string", "CreateAsset", "", "red", "6", "Tim", "2")
	if response := c.call("CreateAsset", "c", "red", "six", "Tim", "2"); response.GetStatus() != 500 {
		t.Errorf("a size that is no number: got %v", response)
	}
	if response := c.call("CreateAsset", "c"); response.GetStatus() != 500 {
		t.Errorf("too few arguments: got %v", response)
	}
	if response := c.call("Nothing"); response.GetStatus() != 500 {
		t.Errorf("no such function: got %v", response)
	}
	c.want(`false`, "AssetExists", "c")
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	response := start(t).call("org.hyperledger.fabric:GetMetadata")
	var metadata struct {
		Contracts map[string]struct {
			Transactions []struct {
				Name string
				Tag  []string
			}
		}
	}
	if err := json.Unmarshal(response.GetPayload(), &metadata); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, transaction := range metadata.Contracts["SmartContract"].Transactions {
		got[transaction.Name] = transaction.Tag[0]
	}
	want := map[string]string{
		"AssetExists": "evaluate", "GetAllAssets": "evaluate", "ReadAsset": "evaluate",
		"CreateAsset": "submit", "DeleteAsset": "submit", "InitLedger": "submit", "TransferAsset": "submit", "UpdateAsset": "submit",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("transactions (-want +got):\n%s", diff)
	}
}
