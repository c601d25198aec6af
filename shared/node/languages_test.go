package node_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/store/mem"
	"peerless/shared/toolbox"
)

// A call of the asset-transfer contract.
type assetCall struct {
	evaluate bool
	function string
	args     []string
}

// assetCalls change assets, read them, and fail.
var assetCalls = []assetCall{
	{function: "InitLedger"},
	{function: "CreateAsset", args: []string{"a7", "blue", "5", "Zoë \"Z\"", "300"}},
	{function: "CreateAsset", args: []string{"a7", "blue", "5", "tomoko", "300"}},
	{function: "TransferAsset", args: []string{"a7", "maria"}},
	{function: "UpdateAsset", args: []string{"asset1", "grey", "6", "Tomoko", "301"}},
	{function: "UpdateAsset", args: []string{"none", "grey", "6", "Tomoko", "301"}},
	{function: "DeleteAsset", args: []string{"asset2"}},
	{function: "DeleteAsset", args: []string{"none"}},
	{evaluate: true, function: "ReadAsset", args: []string{"a7"}},
	{evaluate: true, function: "ReadAsset", args: []string{"asset2"}},
	{evaluate: true, function: "AssetExists", args: []string{"asset2"}},
	{evaluate: true, function: "AssetExists", args: []string{"asset3"}},
	{evaluate: true, function: "GetAllAssets"},
}

// transcript makes the calls and says what each answered, and what it read and wrote.
func transcript(t *testing.T, n *node.Node, chaincode string) []string {
	t.Helper()
	user, err := n.User("", "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	channel, err := n.Gateway.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range assetCalls {
		request := gateway.Request{Channel: "main", Chaincode: chaincode, Function: c.function, User: user}
		for _, arg := range c.args {
			request.Args = append(request.Args, []byte(arg))
		}
		line := fmt.Sprintf("%s %v: ", c.function, c.args)
		if c.evaluate {
			answer, err := n.Gateway.EvaluateTransaction(t.Context(), request)
			if err != nil {
				line += "error " + message(err)
			} else {
				line += string(answer.Response.Payload)
			}
			lines = append(lines, line)
			continue
		}
		outcome, err := n.Gateway.SubmitTransaction(t.Context(), request)
		if err != nil {
			lines = append(lines, line+"error "+message(err))
			continue
		}
		record, err := channel.Transaction(t.Context(), outcome.TransactionID)
		if err != nil {
			t.Fatal(err)
		}
		line += string(outcome.Response.Payload)
		for _, ns := range record.Tx.RWSet.Namespaces {
			if ns.Namespace != chaincode {
				continue
			}
			for _, read := range ns.KV.Reads {
				line += fmt.Sprintf("\n  read %s, there %v", read.Key, read.Version != nil)
			}
			for _, write := range ns.KV.Writes {
				line += fmt.Sprintf("\n  write %s %s, delete %v", write.Key, write.Value, write.IsDelete)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// message is what the contract says of a failure: each contract API puts something of its own around it.
func message(err error) string {
	text := err.Error()
	if i := strings.Index(text, "the asset "); i >= 0 {
		return strings.TrimRight(text[i:], `"`)
	}
	return text
}

// TestLanguages runs one contract in Go, TypeScript and Java: the same answers, the same read-write sets.
func TestLanguages(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	n := open(t, store, t.TempDir())
	if err := n.EnsureChannel(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "main", contract, gateway.Definition{Name: "go"}); err != nil {
		t.Fatal(err)
	}
	want := transcript(t, n, "go")
	t.Cleanup(func() {
		closed(t, n)
		audit(t, store, "main")
	})
	for _, language := range []struct {
		name  string
		kind  deploy.Type
		tools []string
	}{{"typescript", deploy.Node, []string{"npm", "node"}}, {"java", deploy.Java, []string{"mvn", "java"}}} {
		t.Run(language.name, func(t *testing.T) {
			for _, tool := range language.tools {
				toolbox.Need(t, tool)
			}
			source, err := deploy.Detect(filepath.Join(toolbox.Root(), "testdata", "contracts", "asset-"+language.name))
			if err != nil {
				t.Fatal(err)
			}
			if source.Type != language.kind {
				t.Fatalf("it is found to be of type %s, want %s", source.Type, language.kind)
			}
			prepared, err := source.Prepare(t.Context(), deploy.BuildConfig{})
			if err != nil {
				t.Fatal(err)
			}
			pkg, err := prepared.Pack(language.name)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := prepared.Pack(language.name); err != nil || string(again) != string(pkg) {
				t.Errorf("packed again it is another package (%v)", err)
			}
			if _, err := n.Deploy(t.Context(), "main", pkg, gateway.Definition{Name: language.name}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(transcript(t, n, language.name), want); diff != "" {
				t.Errorf("it does not do what the Go contract does (-got +want):\n%s", diff)
			}
		})
	}
}
