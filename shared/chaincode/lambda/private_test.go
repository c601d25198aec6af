package lambda_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdklambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	contract "peerless/contracts/probe/chaincode"
	"peerless/shared/awstest"
	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/conformance/local"
	"peerless/shared/gateway"
	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/store/mem"
)

// putPrivate writes a block with keys of collection c of chaincode mine on channel ch. Nothing is sealed.
func (c *cloud) putPrivate(t testing.TB, pairs ...string) {
	t.Helper()
	height, err := c.store.Height(t.Context(), "ch")
	if err != nil {
		t.Fatal(err)
	}
	version := ledger.Version{Block: height}
	batch := &ledger.Batch{Block: height, Hash: fmt.Appendf(nil, "%032d", height)}
	for i := 0; i < len(pairs); i += 2 {
		key, hash := sha256.Sum256([]byte(pairs[i])), sha256.Sum256([]byte(pairs[i+1]))
		batch.Writes = append(batch.Writes, ledger.Write{Namespace: ledger.HashedNamespace("mine", "c"), Key: string(key[:]), Item: &ledger.Item{Value: hash[:], Version: version}})
		batch.Private = append(batch.Private, ledger.Write{Namespace: ledger.PrivateNamespace("mine", "c"), Key: pairs[i], Item: &ledger.Item{Value: []byte(pairs[i+1]), Version: version}})
	}
	if err := c.store.Append(t.Context(), "ch", fmt.Appendf(nil, "block %d", height), batch); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Apply(t.Context(), "ch", batch); err != nil {
		t.Fatal(err)
	}
}

// mayUse lets an invocation use collection c.
func mayUse(inv *chaincode.Invocation, read, write bool) {
	inv.Collection = func(_ context.Context, name string) (*chaincode.Collection, error) {
		if name != "c" {
			return nil, nil
		}
		return &chaincode.Collection{Collection: simulate.Collection{Name: name, Open: func(_ string, sealed []byte) ([]byte, error) { return sealed, nil }}, Read: read, Write: write}, nil
	}
}

// runs counts the invocations.
type runs struct {
	lambda.Client
	n atomic.Int64
}

func (r *runs) Invoke(ctx context.Context, in *sdklambda.InvokeInput, options ...func(*sdklambda.Options)) (*sdklambda.InvokeOutput, error) {
	r.n.Add(1)
	return r.Client.Invoke(ctx, in, options...)
}

// TestPrivateRuns: a contract runs again for each answer that it waits for, and for a write only if that is refused. What it
// leaves is what it would here.
func TestPrivateRuns(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	var pairs, keys []string
	for i := range 1_200 {
		pairs = append(pairs, fmt.Sprintf("k%04d", i), fmt.Sprint("value ", i))
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	c.putPrivate(t, pairs...)
	client := &runs{}
	host := c.deploy("probe", "ch", "mine", func(_ *awstest.Function, config *lambda.Config) {
		client.Client = config.Client
		config.Client = client
	})
	many, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, ops string
		refused   bool // writes are
		runs      int64
		want      string // a part of the payload
	}{
		{"no private data", `[{"op":"PutState","key":"a","value":"x"}]`, false, 1, `"PutState"`},
		{"writes", `[{"op":"PutPrivateData","collection":"c","key":"a","value":"x"},{"op":"DelPrivateData","collection":"c","key":"k0001"},{"op":"PutState","key":"a","value":"x"}]`, false, 1, `"DelPrivateData","value":null`},
		{"a refused write", `[{"op":"PutPrivateData","collection":"c","key":"a","value":"x"},{"op":"PutState","key":"a","value":"x"}]`, true, 2, "tx creator does not have write access permission"},
		{"no such collection", `[{"op":"PurgePrivateData","collection":"d","key":"a"}]`, false, 2, "collection ch/mine/d could not be found"},
		{"a read between writes", `[{"op":"PutPrivateData","collection":"c","key":"a","value":"x"},{"op":"GetPrivateData","collection":"c","key":"k0007"},{"op":"PutPrivateData","collection":"c","key":"b","value":"x"}]`, false, 2, `"value 7"`},
		{"reads", `[{"op":"GetPrivateData","collection":"c","key":"k0001"},{"op":"GetPrivateDataHash","collection":"c","key":"k0001"},{"op":"GetPrivateData","collection":"c","key":"none"}]`, false, 4, `"value 1"`},
		{"many keys", `[{"op":"GetMultiplePrivateData","collection":"c","keys":` + string(many) + `}]`, false, 3, `"value 1199"`},
		{"a range, and a write behind it", `[{"op":"GetPrivateDataByRange","collection":"c","start":"k0003","end":"k1100"},{"op":"PutState","key":"a","value":"x"}]`, false, 2, simulate.ErrQueried.Error()},
		{"a range behind a write", `[{"op":"PutState","key":"a","value":"x"},{"op":"GetPrivateDataByRange","collection":"c","start":"","end":""}]`, false, 2, simulate.ErrNoQuery.Error()},
		{"a rich query", `[{"op":"GetPrivateDataQueryResult","collection":"c","query":"{\"selector\":{\"_id\":\"none\"}}"}]`, false, 2, `"rows":[]`},
		{"a page behind a private write", `[{"op":"PutPrivateData","collection":"c","key":"a","value":"x"},{"op":"GetStateByRangeWithPagination","pageSize":1}]`, false, 1, simulate.ErrHasWritten.Error()},
	} {
		before := client.n.Load()
		inv := c.invocationOf(t, "run", test.ops)
		mayUse(inv, true, !test.refused)
		result, err := execute(t, host, inv)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := client.n.Load() - before; got != test.runs || !strings.Contains(string(result.Response.Payload), test.want) {
			t.Errorf("%s: %d runs, want %d; payload %.300s", test.name, got, test.runs, result.Response.Payload)
		}
		here := c.invocationOf(t, "run", test.ops)
		here.Proposal = inv.Proposal
		here.Tx = simulate.New(here.Tx.View(), inv.Proposal.TxID)
		mayUse(here, true, !test.refused)
		want, err := probeHere().Execute(t.Context(), here)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(result.Response.Payload), string(want.Response.Payload)); diff != "" {
			t.Errorf("%s: payload (-function +here):\n%s", test.name, diff)
		}
		for _, tx := range []struct {
			name string
			of   func(*simulate.Tx) any
		}{
			{"access", func(tx *simulate.Tx) any { return tx.Access() }},
			{"collections", func(tx *simulate.Tx) any { return tx.Collections() }},
			{"read-write set", func(tx *simulate.Tx) any { set, err := tx.Results(); return []any{set, err} }},
			{"private set", func(tx *simulate.Tx) any { return tx.Private() }},
			{"queries", func(tx *simulate.Tx) any { set, err := tx.Queries(); return []any{set, err} }},
		} {
			got, err := json.Marshal(tx.of(inv.Tx))
			if err != nil {
				t.Fatal(err)
			}
			want, err := json.Marshal(tx.of(here.Tx))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(got), string(want)); diff != "" {
				t.Errorf("%s: %s (-function +here):\n%s", test.name, tx.name, diff)
			}
		}
	}
}

// aged is a client of a function that speaks only version 1 of the format, whose contract asks for private data: it finds no collection.
type aged struct {
	t        *testing.T
	requests []int // versions
}

func (a *aged) Invoke(_ context.Context, in *sdklambda.InvokeInput, _ ...func(*sdklambda.Options)) (*sdklambda.InvokeOutput, error) {
	request, err := invocation.ParseRequest(in.Payload)
	if err != nil {
		a.t.Error(err)
		return nil, err
	}
	a.requests = append(a.requests, request.Version)
	if request.Version != 1 {
		return &sdklambda.InvokeOutput{Payload: []byte(`{"version":1,"error":{"code":"UNSUPPORTED","message":"build and deploy the chaincode with a newer Peerless","versions":[1]}}`)}, nil
	}
	response := &invocation.Response{Version: 1}
	for range request.Proposals {
		raw, err := proto.Marshal(&peer.Response{Status: 500, Message: "GET_STATE failed: collection ch/mine/c could not be found"})
		if err != nil {
			a.t.Error(err)
		}
		response.Results = append(response.Results, invocation.Result{Response: raw})
	}
	payload, err := response.Marshal()
	return &sdklambda.InvokeOutput{Payload: payload}, err
}

// TestOldFunction: a function that does not know private data is spoken to in its version, and who has to do something is told.
func TestOldFunction(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.putPrivate(t, "k", "value")
	client := &aged{t: t}
	host, err := lambda.New(lambda.Config{
		Client: client, Function: "f", Channel: "ch", Chaincode: "mine", Table: table, Region: awstest.Region, Credentials: c.scopes.Credentials,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for range 2 {
		inv := c.invocationOf(t, "f")
		mayUse(inv, true, true)
		result, err := execute(t, host, inv)
		if err != nil || !strings.Contains(result.Response.Message, "function f speaks version 1 of the invocation format, private data needs version 2: build and deploy the chaincode with this Peerless") {
			t.Errorf("response %v, %v", result, err)
		}
	}
	if diff := cmp.Diff(client.requests, []int{2, 1, 1}); diff != "" {
		t.Errorf("versions (-got +want):\n%s", diff)
	}
}

// changing is a host that can be replaced by another.
type changing struct{ atomic.Pointer[lambda.Host] }

func (c *changing) Execute(ctx context.Context, inv *chaincode.Invocation) (*chaincode.Result, error) {
	return c.Load().Execute(ctx, inv)
}
func (c *changing) Close() error { return c.Load().Close() }

// TestPrivateAttackers: what a function may try, whose tenant wrote it from nothing, to come by private data: of another
// organisation, of what the transaction's creator may not read, of another chaincode; and to write what nobody may.
func TestPrivateAttackers(t *testing.T) {
	t.Parallel()
	functionCode(t, "attacker")
	c := newCloud(t)
	var probe changing
	network, identities, err := local.Start(t.Context(), local.Config{Store: c.store, Host: func(name string) (chaincode.Host, error) {
		if name == "probe" {
			probe.Store(c.deploy("probe", "alpha", "probe"))
			return &probe, nil
		}
		return c.deploy("attacker", "alpha", name), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
		if _, err := (&ledger.Audit{Store: c.store, Channel: "alpha", Scratch: mem.New(mem.Config{})}).Run(context.Background()); err != nil {
			t.Errorf("audit: %v", err)
		}
	})
	request := func(user, name, function string, args ...string) gateway.Request {
		r := gateway.Request{Channel: "alpha", Chaincode: name, Function: function, User: identities[user]}
		for _, a := range args {
			r.Args = append(r.Args, []byte(a))
		}
		return r
	}
	const seed = `[{"op":"PutPrivateData","collection":"org1only","key":"k","value":"secret of org1","must":true},
		{"op":"PutPrivateData","collection":"org1open","key":"k","value":"open secret","must":true},
		{"op":"PutPrivateData","collection":"shared","key":"k","value":"shared secret","must":true}]`
	if _, err := network.Service().SubmitTransaction(t.Context(), request("org1user", "probe", "run", seed)); err != nil {
		t.Fatal(err)
	}
	honest := probe.Swap(c.deploy("attacker", "alpha", "probe"))

	question := func(kind peer.ChaincodeMessage_Type, m proto.Message) []string {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return []string{kind.String(), string(raw)}
	}
	get := func(collection string) []string {
		return question(peer.ChaincodeMessage_GET_STATE, &peer.GetState{Collection: collection, Key: "k"})
	}
	scan := func(collection string) []string {
		return question(peer.ChaincodeMessage_GET_STATE_BY_RANGE, &peer.GetStateByRange{Collection: collection})
	}
	put := func(collection, value string) []string {
		return question(peer.ChaincodeMessage_PUT_STATE, &peer.PutState{Collection: collection, Key: "k", Value: []byte(value)})
	}
	query := question(peer.ChaincodeMessage_GET_QUERY_RESULT, &peer.GetQueryResult{Collection: "org1only", Query: `{"selector":{}}`})
	const (
		noRead  = "tx creator does not have read access permission on privatedata in chaincodeName:probe collectionName: org1only"
		noWrite = "tx creator does not have write access permission on privatedata in chaincodeName:probe collectionName: org1only"
		absent  = "private data matching public hash version is not available"
	)
	for _, test := range []struct {
		name, user, chaincode string
		asks                  []string
		want                  []string // a part of each answer: an error behind "!"
	}{
		{"what the creator may read", "org1user", "probe", slices.Concat(get("shared"), get("org1only")), []string{"shared secret", "secret of org1"}},
		{"a collection of another organisation", "org2user", "probe", slices.Concat(get("org1only"), scan("org1only")), []string{"!" + noRead, "!" + noRead}},
		{"a query of one", "org2user", "probe", query, []string{"!"}},
		{"values that the endorser does not hold", "org2user", "probe", slices.Concat(get("org1open"), scan("org1open")), []string{"!" + absent, ""}},
		{"what stands beside the values", "org1user", "probe", slices.Concat(get("probe$$porg1only"), get("_lifecycle"), get("../probe"), get("_implicit_org_OrdererMSP")), []string{"!could not be found", "!could not be found", "!could not be found", "!could not be found"}},
		{"collections of another chaincode", "org1user", "other", slices.Concat(get("shared"), get("probe/shared"), get("probe$$pshared"), scan("org1only"), put("shared", "forged")), []string{"!could not be found", "!could not be found", "!could not be found", "!could not be found", "!could not be found"}},
		{"to write where the creator may not", "org2user", "probe", slices.Concat(put("org1only", "forged"), question(peer.ChaincodeMessage_PURGE_PRIVATE_DATA, &peer.DelState{Collection: "org1only", Key: "k"})), []string{"!" + noWrite, "!" + noWrite}},
		{"a query that nobody began", "org2user", "probe", question(peer.ChaincodeMessage_QUERY_STATE_NEXT, &peer.QueryStateNext{Id: "c1"}), []string{"!query iterator not found"}},
	} {
		answer, err := network.Service().EvaluateTransaction(t.Context(), request(test.user, test.chaincode, "ask", test.asks...))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []struct{ Message, Response, Error string }
		if err := json.Unmarshal(answer.Response.Payload, &got); err != nil || len(got) != len(test.want) {
			t.Errorf("%s: %s, %v", test.name, answer.Response.Payload, err)
			continue
		}
		for i, want := range test.want {
			text, refused := strings.CutPrefix(want, "!")
			switch {
			case refused && (got[i].Error == "" || !strings.Contains(got[i].Error, text) || got[i].Response != ""):
				t.Errorf("%s, question %d: %q, error %q, want %q", test.name, i, got[i].Response, got[i].Error, text)
			case !refused && (got[i].Error != "" || !strings.Contains(got[i].Response, text)):
				t.Errorf("%s, question %d: %q, error %q", test.name, i, got[i].Response, got[i].Error)
			}
			if test.user != "org1user" && strings.Contains(got[i].Response, "secret") {
				t.Errorf("%s, question %d: it learned %q", test.name, i, got[i].Response)
			}
		}
	}

	// It asks with messages that are not about a collection.
	for _, asks := range [][]string{
		question(peer.ChaincodeMessage_GET_STATE, &peer.GetState{Key: "k"}),
		question(peer.ChaincodeMessage_INVOKE_CHAINCODE, &peer.ChaincodeSpec{ChaincodeId: &peer.ChaincodeID{Name: "other"}}),
		{"NONSENSE", ""},
	} {
		if _, err := network.Service().EvaluateTransaction(t.Context(), request("org1user", "probe", "ask", asks...)); err == nil || !strings.Contains(err.Error(), chaincode.ErrProtocol.Error()) {
			t.Errorf("%s: %v", asks[0], err)
		}
	}

	// What it writes as another does not get into the ledger, nor does what is too large.
	if _, err := network.Service().SubmitTransaction(t.Context(), request("org2user", "probe", "ask", put("org1only", "forged")...)); err != nil {
		t.Error(err)
	}
	var large *gateway.Error
	if _, err := network.Service().SubmitTransaction(t.Context(), request("org1user", "probe", "ask", put("org1only", strings.Repeat("x", gateway.MaxValue+1))...)); !errors.As(err, &large) || large.Kind != gateway.TooLarge || large.Limit != gateway.MaxValue {
		t.Errorf("a value over the limit: %v", err)
	}
	probe.Store(honest)
	answer, err := network.Service().EvaluateTransaction(t.Context(), request("org1user", "probe", "run", `[{"op":"GetPrivateData","collection":"org1only","key":"k"},{"op":"GetPrivateDataByRange","collection":"org1only","start":"","end":""}]`))
	if err != nil || strings.Contains(string(answer.Response.Payload), "forged") || strings.Count(string(answer.Response.Payload), "secret of org1") != 2 {
		t.Errorf("after all: %s, %v", answer.Response.Payload, err)
	}
}

// probeHere is the probe in this process.
var probeHere = sync.OnceValue(func() chaincode.Host {
	host, err := chaincode.StartInProcess("mine", contract.New(), chaincode.Config{})
	if err != nil {
		panic(err) // it is started from nothing
	}
	return host
})
