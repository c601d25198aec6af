package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewayproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/store/mem"
	"peerless/shared/store/pebble"
	"peerless/shared/wire"
)

// privateNode is a node on a disk with the probe and its collections, and what an attacker looks at.
type privateNode struct {
	testing.TB
	dir   string
	log   lockedBuffer
	store *pebble.Store
	node  *node.Node

	config ledger.Config
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (p *privateNode) open() {
	p.Helper()
	var err error
	if p.store, err = pebble.Open(filepath.Join(p.dir, "ledger"), pebble.Config{}); err != nil {
		p.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if p.node, err = node.Open(node.Config{Store: p.store, Data: p.dir, Logger: logger, LedgerConfig: p.config}); err != nil {
		p.Fatal(err)
	}
}

func (p *privateNode) close() {
	p.Helper()
	if err := p.node.Close(); err != nil {
		p.Error(err)
	}
	if err := p.store.Close(); err != nil {
		p.Error(err)
	}
}

func (p *privateNode) deploy(name, collections string) {
	p.Helper()
	all, err := collection.Parse([]byte(collections))
	if err != nil {
		p.Fatal(err)
	}
	definition := gateway.Definition{Name: name, Policy: "OR('AMSP.peer','BMSP.peer')", Collections: all}
	if _, err := p.node.DeployInProcess(p.Context(), "main", probe.New(), definition); err != nil {
		p.Fatal(err)
	}
}

func (p *privateNode) user(mspID string) *msp.Signer {
	p.Helper()
	user, err := p.node.User(mspID, "user", nil)
	if err != nil {
		p.Fatal(err)
	}
	return user
}

func (p *privateNode) request(mspID, chaincode, ops string, transient map[string][]byte) gateway.Request {
	return gateway.Request{Channel: "main", Chaincode: chaincode, Function: "run", Args: [][]byte{[]byte(ops)}, Transient: transient, User: p.user(mspID)}
}

func (p *privateNode) submit(mspID, ops string, transient map[string][]byte) {
	p.Helper()
	if _, err := p.node.Gateway.SubmitTransaction(p.Context(), p.request(mspID, "probe", ops, transient)); err != nil {
		p.Fatal(err)
	}
}

// evaluate returns the value and the error of the first operation.
func (p *privateNode) evaluate(mspID, chaincode, ops string) (value, failure string) {
	p.Helper()
	answer, err := p.node.Gateway.EvaluateTransaction(p.Context(), p.request(mspID, chaincode, ops, nil))
	if err != nil {
		p.Fatal(err)
	}
	var results []struct{ Value, Error any }
	if err := json.Unmarshal(answer.Response.Payload, &results); err != nil {
		p.Fatal(err)
	}
	value, _ = results[0].Value.(string)
	failure, _ = results[0].Error.(string)
	return value, failure
}

// found returns the files that hold the bytes.
func (p *privateNode) found(what []byte) []string {
	p.Helper()
	var files []string
	err := filepath.WalkDir(p.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, what) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return files
}

// sealed returns a part of a value as it is stored, nil if there is none.
func (p *privateNode) sealed(collection, key string) []byte {
	p.Helper()
	view, err := p.store.View(p.Context(), "main")
	if err != nil {
		p.Fatal(err)
	}
	defer view.Close()
	items, err := view.Get(p.Context(), ledger.PrivateNamespace("probe", collection), []string{key})
	if err != nil {
		p.Fatal(err)
	}
	if items[0] == nil {
		return nil
	}
	value := items[0].Value
	return value[len(value)-24:]
}

// compact takes off the disk what is gone, and says in how many files the bytes still are.
func (p *privateNode) compact(what []byte) int {
	p.Helper()
	if err := p.store.Compact(p.Context()); err != nil {
		p.Fatal(err)
	}
	return len(p.found(what))
}

const nodeCollections = `[
	{"name": "own", "policy": "OR('AMSP.member')", "memberOnlyRead": true, "memberOnlyWrite": true},
	{"name": "brief", "policy": "OR('AMSP.member','BMSP.member')", "blockToLive": 1}]`

const (
	secretValue   = "the-launch-code-7391-is-nobodys-business"
	transientOnly = "seen-by-the-contract-and-by-nobody-else-5521"
)

// TestPrivateDataIsPrivate looks for private values where they must not be: as a client and a contract of others, in blocks, in logs
// and in every file, while the node runs, after it was closed, and after values were purged or expired.
func TestPrivateDataIsPrivate(t *testing.T) {
	t.Parallel()
	p := &privateNode{TB: t, dir: t.TempDir()}
	p.open()
	if err := p.node.CreateChannel(t.Context(), "main", []string{"AMSP", "BMSP"}); err != nil {
		t.Fatal(err)
	}
	p.deploy("probe", nodeCollections)
	p.deploy("other", "")

	put := `[{"op":"PutPrivateData","collection":"own","key":"k","value":{"transient":"v"}}]`
	transient := map[string][]byte{"v": []byte(secretValue), "more": []byte(transientOnly)}
	p.submit("AMSP", put, transient)
	get := `[{"op":"GetPrivateData","collection":"own","key":"k"}]`
	if got, failure := p.evaluate("AMSP", "probe", get); got != secretValue {
		t.Fatalf("a member reads %q, %s", got, failure)
	}
	for _, outsider := range []struct{ msp, chaincode, ops, want string }{
		{"BMSP", "probe", get, "tx creator does not have read access permission on privatedata in chaincodeName:probe collectionName: own"},
		{"BMSP", "probe", strings.Replace(get, "GetPrivateData", "GetPrivateDataByRange", 1), "does not have read access permission"},
		{"AMSP", "other", get, "collection main/other/own could not be found"},
	} {
		if got, failure := p.evaluate(outsider.msp, outsider.chaincode, outsider.ops); strings.Contains(got, secretValue) || !strings.Contains(failure, outsider.want) {
			t.Errorf("%s at %s: got %q, %q, want %q", outsider.msp, outsider.chaincode, got, failure, outsider.want)
		}
	}
	p.endorseOnly(put, transient)

	channel, err := p.node.Ledger.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range height {
		raw, err := channel.RawBlock(t.Context(), n)
		if err != nil || bytes.Contains(raw, []byte(secretValue)) || bytes.Contains(raw, []byte(transientOnly)) {
			t.Errorf("block %d: %v", n, err)
		}
	}
	nowhere := func(when string) {
		t.Helper()
		for _, secret := range []string{secretValue, transientOnly} {
			if files := p.found([]byte(secret)); len(files) > 0 {
				t.Errorf("%s, %q is in %v", when, secret, files)
			}
		}
		p.log.mu.Lock()
		defer p.log.mu.Unlock()
		if log := p.log.String(); strings.Contains(log, secretValue) || strings.Contains(log, transientOnly) {
			t.Errorf("%s, it is in the log", when)
		}
	}
	nowhere("while it runs")
	p.close()
	nowhere("when it is closed")
	p.open()
	p.deploy("probe", nodeCollections)
	if got, failure := p.evaluate("AMSP", "probe", get); got != secretValue {
		t.Fatalf("after a restart a member reads %q, %s", got, failure)
	}

	sealed := p.sealed("own", "k")
	if p.compact(sealed) == 0 {
		t.Fatal("the sealed value is in no file: this test cannot see")
	}
	p.submit("AMSP", `[{"op":"PurgePrivateData","collection":"own","key":"k"}]`, nil)
	if n := p.compact(sealed); n > 0 {
		t.Errorf("a purged value is still in %d files", n)
	}
	p.submit("AMSP", `[{"op":"PutPrivateData","collection":"brief","key":"b","value":"short-lived"}]`, nil)
	sealed = p.sealed("brief", "b")
	if p.compact(sealed) == 0 {
		t.Fatal("the sealed value is in no file: this test cannot see")
	}
	for _, key := range []string{"x", "y"} {
		p.submit("AMSP", `[{"op":"PutState","key":"`+key+`","value":"1"}]`, nil)
	}
	if left := p.sealed("brief", "b"); left != nil {
		t.Error("an expired value is still in the state")
	}
	if n := p.compact(sealed); n > 0 {
		t.Errorf("an expired value is still in %d files", n)
	}
	if _, err := (&ledger.Audit{Store: p.store, Channel: "main", Scratch: mem.New(mem.Config{}), Keys: p.node.Organizations}).Run(context.Background()); err != nil {
		t.Error(err)
	}
	p.close()
	nowhere("at the end")
}

// TestPrivateDataOfClients has a client's transaction endorsed, starts the node again, and submits it: the private set is found.
func TestPrivateDataOfClients(t *testing.T) {
	t.Parallel()
	p := &privateNode{TB: t, dir: t.TempDir()}
	p.open()
	if err := p.node.CreateChannel(t.Context(), "main", []string{"AMSP", "BMSP"}); err != nil {
		t.Fatal(err)
	}
	p.deploy("probe", nodeCollections)
	txID, envelope := p.endorseOnly(`[{"op":"PutPrivateData","collection":"own","key":"k","value":"kept"}]`, nil)
	p.close()
	p.open()
	p.deploy("probe", nodeCollections)
	var err error
	if envelope.Signature, err = p.user("AMSP").Sign(envelope.Payload); err != nil {
		t.Fatal(err)
	}
	request := &gatewayproto.SubmitRequest{TransactionId: txID, ChannelId: "main", PreparedTransaction: envelope}
	if _, err := p.node.Gateway.At("AMSP").Submit(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	p.submit("AMSP", `[{"op":"PutState","key":"after","value":"1"}]`, nil) // behind it
	if got, failure := p.evaluate("AMSP", "probe", `[{"op":"GetPrivateData","collection":"own","key":"k"}]`); got != "kept" {
		t.Errorf("got %q, %s", got, failure)
	}
	p.close()
}

// endorseOnly has a client's proposal endorsed and does not submit it: its private set stays staged.
func (p *privateNode) endorseOnly(ops string, transient map[string][]byte) (txID string, unsigned *common.Envelope) {
	p.Helper()
	user := p.user("AMSP")
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: "main", Chaincode: "probe", Args: [][]byte{[]byte("run"), []byte(ops)}, Transient: transient, Creator: user.Serialized,
		Nonce: []byte("a nonce of twenty-four b"), Timestamp: time.Now(),
	})
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
		p.Fatal(err)
	}
	return proposal.TxID, endorsed.PreparedTransaction
}
