package chaincode_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// The recorded scenarios show that the probe answers as the one that was recorded did. What they do not ask is here.

func start(t *testing.T) chaincode.Host {
	t.Helper()
	host, err := chaincode.StartInProcess("probe", probe.New(), chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host
}

func invocation(t *testing.T, state *simtest.State, args ...string) *chaincode.Invocation {
	t.Helper()
	raw := make([][]byte, len(args))
	for i, arg := range args {
		raw[i] = []byte(arg)
	}
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: "alpha", Chaincode: "probe", Args: raw, Creator: []byte("creator"), Nonce: []byte(t.Name() + args[len(args)-1]),
		Timestamp: time.Now(), Transient: map[string][]byte{"field": []byte("secret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &chaincode.Invocation{
		Channel: "alpha", Chaincode: "probe", Proposal: proposal, Input: proposal.Input,
		Tx: simulate.New(state.View(t), proposal.TxID),
	}
}

func run(t *testing.T, host chaincode.Host, state *simtest.State, args ...string) *peer.Response {
	t.Helper()
	result, err := host.Execute(t.Context(), invocation(t, state, args...))
	if err != nil {
		t.Fatal(err)
	}
	return result.Response
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	host, state := start(t), simtest.NewState()
	const want = `probe: want the function "run" and a JSON array of operations`
	for _, c := range []struct {
		args    []string
		message string
	}{
		{[]string{"run"}, want},
		{[]string{"walk", "[]"}, want},
		{[]string{""}, want},
		{[]string{"run", ""}, "probe: operations: unexpected end of JSON input"},
		{[]string{"run", "{}"}, "probe: operations: json: cannot unmarshal object into Go value of type []json.RawMessage"},
		{[]string{"run", `[{"op":"Nothing"}]`}, `probe: operation 0: there is no operation "Nothing"`},
		{[]string{"run", `[{"op":"GetState","key":"a"},{}]`}, `probe: operation 1: there is no operation ""`},
		{[]string{"run", `[{"op":"GetState","colour":"red"}]`}, `probe: operation 0: json: unknown field "colour"`},
		{[]string{"run", `[{"op":"GetState","key":{"colour":"red"}}]`}, `probe: operation 0: json: unknown field "colour"`},
		{[]string{"run", `[{"op":"GetState","key":{}}]`}, "probe: operation 0: a text is a string, or an object with base64, repeat, composite or transient"},
		{[]string{"run", `[{"op":"GetState","key":{"repeat":"ab","count":1000000000000}}]`}, "probe: operation 0: count 1000000000000: the text may have up to 134217728 bytes"},
		{[]string{"run", `[{"op":"GetState","key":{"composite":[]}}]`}, "probe: operation 0: a composite key needs a type"},
		{[]string{"run", `[{"op":"GetState","key":{"composite":["\u0000"]}}]`}, "probe: GetState: input contains unicode U+0000 starting at position [0]. U+0000 and U+10FFFF are not allowed in the input attribute of a composite key"},
		{[]string{"run", `[{"op":"SetStateValidationParameter","key":"a","policy":{"role":"KING","orgs":["A"]}}]`}, "probe: SetStateValidationParameter: role type KING does not exist"},
		{[]string{"run", `[{"op":"InvokeChaincode","chaincode":"a","ops":[],"args":["x"]}]`}, "probe: InvokeChaincode: give ops or args, not both"},
	} {
		response := run(t, host, state, c.args...)
		if response.GetStatus() != 500 || response.GetMessage() != c.message || response.GetPayload() != nil {
			t.Errorf("%q: got %d, %q, want 500, %q", c.args, response.GetStatus(), response.GetMessage(), c.message)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	host, state := start(t), simtest.NewState()
	state.Put(t, "probe", "a", "1", "b", "2", "c", "3", "secret", "found")
	for _, c := range []struct{ operations, payload string }{
		{`[]`, `[]`},
		{`[{"op":"GetState","key":"a"},{"op":"GetState"}]`, `[{"op":"GetState","value":"1"},{"op":"GetState","value":null}]`},
		{`[{"op":"GetState","key":{"base64":"YQ=="}},{"op":"GetState","key":{"repeat":"a","count":1}}]`,
			`[{"op":"GetState","value":"1"},{"op":"GetState","value":"1"}]`},
		{`[{"op":"GetState","key":{"transient":"field"}},{"op":"GetState","key":{"transient":"none"}}]`,
			`[{"op":"GetState","value":"found"},{"op":"GetState","value":null}]`},
		{`[{"op":"GetStateByRange","start":"a","end":"d","take":1,"leaveOpen":true}]`,
			`[{"op":"GetStateByRange","value":{"namespace":"probe","rows":[{"key":"a","value":"1"}]}}]`},
		{`[{"op":"GetStateByRange","start":"a","end":"d","take":0}]`, `[{"op":"GetStateByRange","value":{"rows":[]}}]`},
		{`[{"op":"sleep","ms":1},{"op":"CreateCompositeKey","type":"t","attributes":[{"base64":"eA=="}]}]`,
			`[{"op":"sleep","value":null},{"op":"CreateCompositeKey","value":"\u0000t\u0000x\u0000"}]`},
		{`[{"op":"SetStateValidationParameter","key":"a","policy":{"raw":"not a policy"}}]`, `[{"op":"SetStateValidationParameter","value":null}]`},
		{`[{"op":"PutState","value":"x"}]`, `[{"op":"PutState","value":null,"error":"key must not be an empty string"}]`},
	} {
		response := run(t, host, state, "run", c.operations, "ignored")
		if response.GetStatus() != 200 || response.GetMessage() != "" {
			t.Errorf("%s: got %d, %s", c.operations, response.GetStatus(), response.GetMessage())
		}
		if diff := cmp.Diff(c.payload, string(response.GetPayload())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.operations, diff)
		}
	}
}

func TestCrash(t *testing.T) {
	t.Parallel()
	host, state := start(t), simtest.NewState()
	_, err := host.Execute(t.Context(), invocation(t, state, "run", `[{"op":"panic","message":"x"}]`))
	if !errors.Is(err, chaincode.ErrCrashed) {
		t.Errorf("got %v, want ErrCrashed", err)
	}
}
