package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// notes is a contract: put KEY VALUE, get KEY, fail TEXT, crash, who.
type notes struct{}

func (notes) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (notes) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	switch {
	case function == "put" && len(args) == 2:
		if err := stub.PutState(args[0], []byte(args[1])); err != nil {
			return shim.Error(err.Error())
		}
		if err := stub.SetEvent("put", []byte(args[1])); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success([]byte(stub.GetTxID()))
	case function == "get" && len(args) == 1:
		value, err := stub.GetState(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(value)
	case function == "crash":
		panic("crash")
	}
	return shim.Error(strings.Join(args, " "))
}

type oneHost struct{ host chaincode.Host }

func (h oneHost) Host(_ context.Context, _, name, _ string) (chaincode.Host, error) {
	if name != "notes" {
		return nil, fmt.Errorf("chaincode %s: %w", name, ledger.ErrNotFound)
	}
	return h.host, nil
}

// newPlatform serves a real gateway over a ledger in memory.
func newPlatform(t *testing.T) (*api.Handler, *gateway.Service, api.SignerFunc) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	organizations, err := organization.Open(context.Background(), organization.Config{})
	must(err)
	orderer, err := organizations.Orderer()
	must(err)
	l, err := ledger.Open(ledger.Config{Store: mem.New(mem.Config{}), Signer: orderer.Orderer()})
	must(err)
	t.Cleanup(func() { l.Close() })
	host, err := chaincode.StartInProcess("notes", notes{}, chaincode.Config{})
	must(err)
	t.Cleanup(func() { host.Close() })
	service, err := gateway.New(gateway.Config{Ledger: l, Chaincodes: oneHost{host}, Organizations: organizations})
	must(err)
	sign := func(mspID, user string, attributes map[string]string) (*msp.Signer, error) {
		o, err := organizations.Organization(mspID)
		if err != nil {
			return nil, err
		}
		return o.User(user, attributes)
	}
	genesis := func(_ context.Context, channel string, members []string) (*common.Block, error) {
		spec := channelconfig.Spec{Channel: channel, Orderer: channelconfig.Organization{MSPID: orderer.MSPID(), MSP: orderer.MSPConfig()}}
		for _, id := range members {
			o, err := organizations.Organization(id)
			if err != nil {
				return nil, err
			}
			spec.Organizations = append(spec.Organizations, channelconfig.Organization{MSPID: id, MSP: o.MSPConfig()})
		}
		return channelconfig.Genesis(spec, time.Now())
	}
	h := newHandler(t, &apitest.Fake{}, func(c *api.Config) {
		c.Gateway = api.Over(service, genesis)
		c.Auth = &api.DevAuth{Organization: "Org1MSP", Signer: sign}
	})
	return h, service, sign
}

// TestRealGateway goes from an empty server to a committed transaction and all that can be read about it.
func TestRealGateway(t *testing.T) {
	t.Parallel()
	h, service, sign := newPlatform(t)
	if a := do(t, h, "POST", "/v1/channels", `{"name":"main","organizations":["Org1MSP"]}`); a.status != 201 {
		t.Fatalf("create channel: got %d %s", a.status, a.body)
	}
	if p := do(t, h, "POST", "/v1/channels", `{"name":"main"}`).problem(t); p.Code != api.CodeAlreadyExists {
		t.Errorf("again: got %+v", p)
	}
	admin, err := sign("Org1MSP", "dev", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Define(t.Context(), "main", admin, gateway.Definition{Name: "notes", Version: "1", Policy: "OR('Org1MSP.peer')"}); err != nil {
		t.Fatal(err)
	}
	const notes = "/v1/channels/main/chaincodes/notes"
	type outcome struct {
		TransactionID, Code string
		BlockNumber, Height uint64
		Result              json.RawMessage
	}
	call := func(route, body string, headers ...string) (out outcome) {
		t.Helper()
		a := do(t, h, "POST", notes+route, body, headers...)
		if err := json.Unmarshal(a.body, &out); a.status != 200 || err != nil {
			t.Fatalf("%s %s: got %d %s", route, body, a.status, a.body)
		}
		return out
	}
	first := call("/submit", `{"function":"put","args":["a/b","{\"n\":1.0}"]}`, "Idempotency-Key: 1")
	again := call("/submit", `{"function":"put","args":["a/b","{\"n\":1.0}"]}`, "Idempotency-Key: 1")
	if first.Code != "VALID" || string(first.Result) != `"`+first.TransactionID+`"` || again.TransactionID != first.TransactionID || again.BlockNumber != first.BlockNumber {
		t.Errorf("got %+v, again %+v", first, again)
	}
	if p := do(t, h, "POST", notes+"/submit", `{"function":"put","args":["other","1"]}`, "Idempotency-Key: 1").problem(t); p.Code != api.CodeIdempotencyReused {
		t.Errorf("the key for another request: got %+v", p)
	}
	second := call("/submit", `{"function":"put","args":["a/b","plain"]}`)
	if got := call("/evaluate", `{"function":"get","args":["a/b"]}`); string(got.Result) != `"plain"` || got.Height != second.BlockNumber+1 {
		t.Errorf("evaluate: got %+v", got)
	}
	for body, want := range map[string]problem{
		`{"function":"fail","args":["the","reason"]}`: {Status: 422, Code: api.CodeChaincodeError, Detail: "the reason", ChaincodeStatus: 500},
		`{"function":"get"}`:                          {Status: 422, Code: api.CodeChaincodeError, ChaincodeStatus: 500},
	} {
		for _, route := range []string{"/submit", "/evaluate"} {
			got := do(t, h, "POST", notes+route, body).problem(t)
			got.TransactionID = ""
			if got != want {
				t.Errorf("%s %s: got %+v, want %+v", route, body, got, want)
			}
		}
	}
	for path, want := range map[string]int{
		"POST /v1/channels/nope/chaincodes/notes/submit": 404, "POST /v1/channels/main/chaincodes/nope/submit": 404, "POST /v1/channels/main/chaincodes/nope/evaluate": 404,
		"GET /v1/channels/nope/blocks": 404, "GET /v1/channels/main/blocks/99": 404, "GET /v1/channels/main/chaincodes/nope/history/k": 404, "GET /v1/channels/nope/events?wait=0s&from=0": 404,
	} {
		method, path, _ := strings.Cut(path, " ")
		if p := do(t, h, method, path, `{"function":"get","args":["x"]}`).problem(t); p.Status != want {
			t.Errorf("%s: got %+v", path, p)
		}
	}
	if a := do(t, h, "GET", "/v1/channels/main/transactions/"+first.TransactionID, nil); !strings.Contains(string(a.body), `"writes":[{"key":"a/b","value":"{\"n\":1.0}","isDelete":false}]`) {
		t.Errorf("transaction: got %d %s", a.status, a.body)
	}
	var history struct {
		History []struct {
			TransactionID string
			Value         json.RawMessage
		}
	}
	if err := json.Unmarshal(do(t, h, "GET", notes+"/history/a/b", nil).body, &history); err != nil || len(history.History) != 2 ||
		history.History[0].TransactionID != second.TransactionID || string(history.History[1].Value) != `{"n":1.0}` {
		t.Errorf("history: got %+v %v", history, err)
	}
	var page eventPage
	if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/main/events?from=0&wait=1s&chaincode=notes", nil).body, &page); err != nil || len(page.Events) != 2 ||
		page.Events[1].Payload != "plain" || page.Cursor != fmt.Sprint(second.BlockNumber+1) {
		t.Errorf("events: got %+v %v", page, err)
	}
	var blocks struct{ Blocks []blockJSON }
	if err := json.Unmarshal(do(t, h, "GET", "/v1/channels/main/blocks", nil).body, &blocks); err != nil || len(blocks.Blocks) != int(second.BlockNumber)+1 {
		t.Fatalf("blocks: got %+v %v", blocks, err)
	}
	for i, b := range blocks.Blocks[1:] {
		if b.PreviousHash != blocks.Blocks[i].Hash {
			t.Errorf("block %d does not follow the one before", b.Number)
		}
	}
}
