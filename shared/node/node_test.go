package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/api"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/node"
	"peerless/shared/store/mem"
)

func open(t *testing.T, store ledger.Store, data string) *node.Node {
	t.Helper()
	n, err := node.Open(node.Config{Store: store, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func closed(t *testing.T, n *node.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func serve(t *testing.T, n *node.Node) *httptest.Server {
	t.Helper()
	handler, err := n.Handler(&api.DevAuth{Organization: n.Organization, Signer: n.User}, 0)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		handler.Close()
		server.Close()
	})
	return server
}

// call sends a request and returns the status and the answer's fields.
func call(t *testing.T, method, url, contentType string, body []byte) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatalf("%s %s: %v: %s", method, url, err, raw)
		}
	}
	return response.StatusCode, fields
}

// TestPackage deploys an unmodified contract over HTTP, as a child process, replaces it, survives a restart and a package that
// does not compile, and is removed.
func TestPackage(t *testing.T) {
	t.Parallel()
	store, data := mem.New(mem.Config{}), t.TempDir()
	n := open(t, store, data)
	if err := n.EnsureChannel(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	pkg, err := deploy.Pack(t.Context(), "../../contracts/assettransfer", "assets", deploy.BuildConfig{})
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, n)
	chaincodes := server.URL + "/v1/channels/main/chaincodes"
	status, deployed := call(t, "POST", chaincodes, "application/gzip", pkg)
	if status != http.StatusCreated && status != http.StatusOK || deployed["name"] != "assets" || deployed["language"] != "golang" {
		t.Fatalf("deploy: %d %v", status, deployed)
	}
	create := func(server *httptest.Server, id string) (int, map[string]any) {
		return call(t, "POST", server.URL+"/v1/channels/main/chaincodes/assets/submit", "application/json",
			fmt.Appendf(nil, `{"function":"CreateAsset","args":[%q,"blue","5","tomoko","300"]}`, id))
	}
	if status, answer := create(server, "a1"); status != 200 || answer["code"] != "VALID" {
		t.Fatalf("submit: %d %v", status, answer)
	}

	broken, err := deploy.Pack(t.Context(), "testdata/broken", "assets", deploy.BuildConfig{})
	if err == nil {
		status, answer := call(t, "POST", chaincodes, "application/gzip", broken)
		if status != 400 || !strings.Contains(fmt.Sprint(answer["detail"]), "undefined: nothing") {
			t.Errorf("a package that does not compile: %d %v", status, answer)
		}
	} else if build := (*deploy.BuildError)(nil); !errors.As(err, &build) || !strings.Contains(build.Output, "undefined: nothing") {
		t.Errorf("pack a contract that does not compile: %v", err)
	}
	if status, answer := call(t, "POST", chaincodes, "application/gzip", []byte("no package")); status != 400 {
		t.Errorf("no package: %d %v", status, answer)
	}
	if status, answer := create(server, "a2"); status != 200 {
		t.Errorf("submit after a bad package: %d %v", status, answer)
	}
	closed(t, n)

	again := open(t, store, data)
	server = serve(t, again)
	if status, answer := create(server, "a3"); status != 200 {
		t.Errorf("submit after a restart: %d %v", status, answer)
	}
	if status, shown := call(t, "GET", server.URL+"/v1/channels/main/chaincodes/assets", "", nil); status != 200 || shown["language"] != "golang" {
		t.Errorf("show after a restart: %d %v", status, shown)
	}
	if status, answer := call(t, "DELETE", server.URL+"/v1/channels/main/chaincodes/assets", "", nil); status >= 300 {
		t.Errorf("remove: %d %v", status, answer)
	}
	if status, _ := create(server, "a4"); status != 404 {
		t.Errorf("submit after removal: %d, want 404", status)
	}
	closed(t, again)
	audit(t, store, "main")
}

// TestRefusedDefinition keeps what ran before when a new definition is refused.
func TestRefusedDefinition(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	n := open(t, store, "")
	if err := n.CreateChannel(t.Context(), "trade", []string{"Org1MSP", "Org2MSP"}); err != nil {
		t.Fatal(err)
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "trade", contract, gateway.Definition{Name: "assets", Policy: "OR("}); kind(err) != gateway.InvalidRequest {
		t.Errorf("a bad policy: %v, want InvalidRequest", err)
	}
	if _, err := n.Chaincodes.Host(t.Context(), "trade", "assets", "PeerlessMSP"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("after a refused definition a chaincode is bound: %v", err)
	}
	if _, err := n.DeployInProcess(t.Context(), "trade", contract, gateway.Definition{Name: "assets", Policy: "AND('Org1MSP.peer','Org2MSP.peer')"}); err != nil {
		t.Fatal(err)
	}
	if _, shown := call(t, "GET", serve(t, n).URL+"/v1/channels/trade/chaincodes/assets", "", nil); shown["language"] != "in-process" {
		t.Errorf("show: %v, want language in-process", shown)
	}
	user, err := n.User("Org2MSP", "alice", map[string]string{"role": "auditor"})
	if err != nil {
		t.Fatal(err)
	}
	request := gateway.Request{Channel: "trade", Chaincode: "assets", Function: "InitLedger", User: user}
	outcome, err := n.Gateway.SubmitTransaction(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	channel, err := n.Gateway.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	record, err := channel.Transaction(t.Context(), outcome.TransactionID)
	if err != nil || len(record.Tx.Endorsements) != 2 {
		t.Errorf("transaction %+v, %v, want two endorsements", record, err)
	}
	request.Organizations = []string{"Org1MSP"}
	request.Function, request.Args = "DeleteAsset", [][]byte{[]byte("asset1")}
	if _, err := n.Gateway.SubmitTransaction(t.Context(), request); kind(err) != gateway.EndorsementPolicyFailure {
		t.Errorf("endorsed by one of two: %v, want EndorsementPolicyFailure", err)
	}
	closed(t, n)
	audit(t, store, "trade")
}

// TestChannels refuses what cannot be a channel.
func TestChannels(t *testing.T) {
	t.Parallel()
	n := open(t, mem.New(mem.Config{}), "")
	defer closed(t, n)
	for name, organizations := range map[string][]string{
		"Main": nil, "a/b": nil, "twice": {"Org1MSP", "Org1MSP"}, "orderer": {"OrdererMSP"}, "odd": {"../x"},
	} {
		if err := n.CreateChannel(t.Context(), name, organizations); kind(err) != gateway.InvalidRequest {
			t.Errorf("channel %q of %v: %v, want InvalidRequest", name, organizations, err)
		}
	}
	if err := n.EnsureChannel(t.Context(), "main"); err != nil {
		t.Error(err)
	}
	if err := n.EnsureChannel(t.Context(), "main"); err != nil {
		t.Errorf("ensured again: %v", err)
	}
	if err := n.CreateChannel(t.Context(), "main", nil); kind(err) != gateway.AlreadyExists {
		t.Errorf("made again: %v, want AlreadyExists", err)
	}
}

func kind(err error) gateway.Kind {
	var e *gateway.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return -1
}

func audit(t *testing.T, store ledger.Store, channel string) {
	t.Helper()
	audit := ledger.Audit{Store: store, Channel: channel, Scratch: mem.New(mem.Config{})}
	if _, err := audit.Run(context.Background()); err != nil {
		t.Errorf("audit: %v", err)
	}
}
