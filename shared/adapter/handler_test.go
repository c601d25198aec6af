package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// makeGolden writes the payloads of a new version. Those of one that was released never change.
var makeGolden = flag.Bool("make-golden", false, "write the golden payloads of the newest version")

// contract does what its first argument says.
type contract struct {
	release chan struct{} // ends "hang"
	runs    int
}

func (c *contract) Init(shim.ChaincodeStubInterface) *peer.Response {
	return shim.Success([]byte("init"))
}

func (c *contract) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	switch function {
	case "move":
		value, err := stub.GetState(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		for _, err := range []error{stub.DelState(args[0]), stub.PutState(args[1], value), stub.SetEvent("moved", []byte(args[1]))} {
			if err != nil {
				return shim.Error(err.Error())
			}
		}
		return shim.Success(value)
	case "call":
		if _, err := stub.GetState("seen"); err != nil {
			return shim.Error(err.Error())
		}
		for _, callee := range args {
			response := stub.InvokeChaincode(callee, [][]byte{[]byte("run")}, "")
			if response.Status != shim.OK {
				return shim.Error(fmt.Sprintf("callee: %s%s", response.Message, response.Payload))
			}
			if err := stub.PutState("answer-"+callee, response.Payload); err != nil {
				return shim.Error(err.Error())
			}
		}
		return shim.Success(nil)
	case "random":
		c.runs++
		return stub.InvokeChaincode(fmt.Sprintf("callee%d", c.runs), [][]byte{[]byte("run")}, "")
	case "read":
		value, err := stub.GetState("seen")
		if err != nil {
			return shim.Error(err.Error())
		}
		return stub.InvokeChaincode("callee", [][]byte{value}, "")
	case "private":
		value, err := stub.GetPrivateData("c", args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		if err := stub.PutPrivateData("c", args[1], value); err != nil {
			return shim.Success([]byte("not written: " + err.Error()))
		}
		rows, err := stub.GetPrivateDataByRange("c", "", "")
		if err != nil {
			return shim.Error(err.Error())
		}
		var keys []byte
		for rows.HasNext() {
			row, err := rows.Next()
			if err != nil {
				return shim.Error(err.Error())
			}
			keys = append(keys, row.Key...)
		}
		return shim.Success(keys)
	case "secret":
		if err := stub.PutPrivateData("c", "k", []byte("secret")); err != nil {
			return shim.Error(err.Error())
		}
		if _, _, err := stub.GetStateByRangeWithPagination("", "", 1, ""); err == nil {
			return shim.Error("a page after a write")
		}
		return shim.Success(nil)
	case "large":
		return shim.Success(bytes.Repeat([]byte("x"), 4_000_000))
	case "larger":
		return shim.Success(bytes.Repeat([]byte("x"), 5_000_000))
	case "hang":
		<-c.release
	case "panic":
		panic("as told")
	}
	return shim.Success(nil)
}

// memory is the state of a test instead of a table.
type memory struct {
	t     *testing.T
	state *simtest.State
}

func (m memory) view(invocation.State, string, uint64) ledger.View { return m.state.View(m.t) }

// newHandler returns a handler of chaincode cc on channel ch over a state.
func newHandler(t *testing.T) (*handler, *simtest.State, *contract) {
	t.Helper()
	c := &contract{release: make(chan struct{})}
	host, err := chaincode.StartInProcess("cc", c, chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	state := simtest.NewState()
	config := Config{Channel: "ch", Chaincode: "cc", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	return &handler{Config: config, host: host, views: memory{t, state}}, state, c
}

// proposal makes one that is the same whenever it is made.
func proposal(t *testing.T, nonce byte, args ...string) invocation.Proposal {
	t.Helper()
	spec := wire.ProposalSpec{Channel: "ch", Chaincode: "cc", Creator: []byte("creator"), Nonce: bytes.Repeat([]byte{nonce}, 24), Timestamp: time.Unix(1_700_000_000, 0)}
	for _, a := range args {
		spec.Args = append(spec.Args, []byte(a))
	}
	p, err := wire.NewProposal(spec)
	if err != nil {
		t.Fatal(err)
	}
	p.Signed.Signature = []byte("signature")
	signed, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.Signed)
	if err != nil {
		t.Fatal(err)
	}
	return invocation.Proposal{Signed: signed, Time: 60_000, Height: 1}
}

func request(proposals ...invocation.Proposal) *invocation.Request {
	return &invocation.Request{Version: invocation.Version, Channel: "ch", Chaincode: "cc", Proposals: proposals}
}

func ask(t *testing.T, h *handler, r *invocation.Request) *invocation.Response {
	t.Helper()
	payload, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer) > invocation.MaxPayload {
		t.Fatalf("an answer of %d bytes", len(answer))
	}
	response, err := invocation.ParseResponse(answer, r.Version)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// TestGolden: this code answers what a gateway of each version asked when the version was released, with the bytes of then.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, version := range invocation.Versions {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			testGolden(t, version)
		})
	}
}

func testGolden(t *testing.T, version int) {
	h, state, _ := newHandler(t)
	state.Put(t, "cc", "a", "value", "b", "hidden")
	moved := proposal(t, 1, "move", "a", "b")
	moved.Layers = []invocation.Layer{{
		Block:   1,
		Writes:  []invocation.Write{{Key: "a", Value: []byte("laid over"), Tx: 2}, {Key: "b"}},
		History: []invocation.Change{{Key: "a", Value: []byte("laid over"), TxID: "other", Tx: 2, Timestamp: time.Unix(1_600_000_000, 0).UTC()}},
	}}
	called := proposal(t, 2, "call", "other")
	answered := proposal(t, 3, "call", "other")
	input, err := proto.Marshal(&peer.ChaincodeInput{Args: [][]byte{[]byte("run")}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := proto.Marshal(shim.Success([]byte("answer")))
	if err != nil {
		t.Fatal(err)
	}
	answered.Calls = []invocation.Call{{Chaincode: "other", Input: input, Seen: []byte("whatever"), Response: response, Access: invocation.Access{Wrote: true}}}
	initialised := proposal(t, 4, "init")
	initialised.Init = true
	r := request(moved, called, answered, initialised)
	if version >= 2 {
		waiting, over := proposal(t, 5, "private", "a", "b"), proposal(t, 6, "secret")
		again := proposal(t, 7, "private", "a", "b")
		again.Calls = []invocation.Call{
			{Message: "GET_STATE", Input: message(t, &peer.GetState{Collection: "c", Key: "a"}), Seen: []byte("whatever"), Response: []byte("private value")},
			{Message: "PUT_STATE", Input: message(t, &peer.PutState{Collection: "c", Key: "b", Value: []byte("private value")}), Seen: []byte("whatever"), Error: "not permitted"},
		}
		r.Proposals = append(r.Proposals, waiting, over, again)
	}
	r.Version = version
	r.State = invocation.State{Table: "t", Region: "r", Endpoint: "e", Credentials: invocation.Credentials{AccessKeyID: "A", SecretAccessKey: "S", SessionToken: "T"}}

	sent, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	frozen := golden(t, version, "request", sent)
	got, err := h.Invoke(t.Context(), frozen)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, version, "response", got)

	// What is added within a version is ignored by who does not know it.
	first := fmt.Appendf(nil, `{"version":%d,`, version)
	more := bytes.Replace(frozen, first, append(first, `"later":{"x":[1]},`...), 1)
	more = bytes.ReplaceAll(more, []byte(`"timeMs":`), []byte(`"later":1,"timeMs":`))
	if again, err := h.Invoke(t.Context(), more); err != nil || !bytes.Equal(again, got) {
		t.Errorf("a request with more in it: %s, %v", again, err)
	}
	if _, err := invocation.ParseResponse(bytes.Replace(got, first, append(first, `"later":1,`...), 1), version); err != nil {
		t.Errorf("a response with more in it: %v", err)
	}
}

// golden compares a payload with that of the released version, and returns the latter.
func golden(t *testing.T, version int, name string, got []byte) []byte {
	t.Helper()
	path := fmt.Sprintf("../invocation/testdata/v%d-%s.json", version, name)
	if *makeGolden && version == invocation.Version {
		if _, err := os.Stat(path); err == nil {
			t.Fatalf("%s is there: what was released does not change", path)
		}
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.TrimSpace(want)
	if diff := cmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("%s (-got +want):\n%s", path, diff)
	}
	return want
}

// TestVersions: a version that this code does not speak is refused, and who has to do something is told.
func TestVersions(t *testing.T) {
	t.Parallel()
	h, _, _ := newHandler(t)
	for version, want := range map[int]string{3: "build and deploy the chaincode with a newer Peerless", -1: "upgrade the gateway", 0: "it has no version"} {
		r := request()
		r.Version = version
		payload, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := h.Invoke(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(answer), want) {
			t.Errorf("version %d: %s", version, answer)
		}
		_, err = invocation.ParseResponse(answer, version)
		var e *invocation.VersionError
		if version != 0 && (!errors.As(err, &e) || invocation.Common(e.Spoken) != 2) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	answer, err := json.Marshal(invocation.Response{Version: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := invocation.ParseResponse(answer, 1); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("an answer of another version: %v", err)
	}
}

func TestOnlyItsOwnContract(t *testing.T) {
	t.Parallel()
	h, _, _ := newHandler(t)
	for _, other := range [][2]string{{"ch", "other"}, {"other", "cc"}} {
		r := request(proposal(t, 1, "x"))
		r.Channel, r.Chaincode = other[0], other[1]
		if response := ask(t, h, r); response.Error == nil || response.Error.Code != invocation.WrongContract || response.Results != nil {
			t.Errorf("%v: %+v", other, response)
		}
	}
}

// TestBatch: each proposal has its own outcome.
func TestBatch(t *testing.T) {
	t.Parallel()
	h, state, _ := newHandler(t)
	state.Put(t, "cc", "a", "1")
	malformed := proposal(t, 1)
	malformed.Signed = []byte("x")
	response := ask(t, h, request(proposal(t, 2, "move", "a", "b"), proposal(t, 3, "panic"), malformed, proposal(t, 4, "larger"), proposal(t, 5, "large"), proposal(t, 6, "large")))
	var got []string
	for _, r := range response.Results {
		if r.Error != nil {
			got = append(got, string(r.Error.Code))
		} else {
			got = append(got, "OK")
		}
	}
	want := []string{"OK", "CRASHED", "INVALID", "TOO_LARGE", "OK", "TOO_LARGE"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
}

// TestStuck: a contract that does not end takes its process with it.
func TestStuck(t *testing.T) {
	t.Parallel()
	h, _, c := newHandler(t)
	defer close(c.release)
	stuck := proposal(t, 1, "hang")
	stuck.Time = 50
	payload, err := request(stuck, proposal(t, 2, "x")).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Invoke(context.Background(), payload)
	var failure messages.InvokeResponse_Error
	if !errors.As(err, &failure) || failure.Type != invocation.StuckType || !failure.ShouldExit {
		t.Errorf("error %v", err)
	}
}

// TestCalls: a contract that calls others is run again with their answers.
func TestCalls(t *testing.T) {
	t.Parallel()
	h, state, _ := newHandler(t)
	p := proposal(t, 1, "call", "x", "y")
	one := func() invocation.Result {
		t.Helper()
		return ask(t, h, request(p)).Results[0]
	}
	answer := func(call *invocation.Call, response *peer.Response, text string) {
		t.Helper()
		answered := *call
		answered.Error = text
		var err error
		if answered.Response, err = proto.Marshal(response); err != nil {
			t.Fatal(err)
		}
		p.Calls = append(p.Calls, answered)
	}
	first := one()
	if len(first.Calls) != 1 || first.Calls[0].Chaincode != "x" || first.Set != nil || first.Response != nil || first.Calls[0].Wrote {
		t.Fatalf("first run: %+v", first)
	}
	answer(&first.Calls[0], shim.Success([]byte("from x")), "")
	second := one()
	if len(second.Calls) != 1 || second.Calls[0].Chaincode != "y" || !second.Calls[0].Wrote {
		t.Fatalf("second run: %+v", second)
	}
	answer(&second.Calls[0], shim.Success([]byte("from y")), "")
	last := one()
	set, err := wire.ParseRWSet(last.Set)
	if err != nil || last.Calls != nil || last.Error != nil {
		t.Fatalf("last run: %+v, %v", last, err)
	}
	var writes []string
	for _, w := range set.Namespaces[0].KV.Writes {
		writes = append(writes, w.Key+"="+string(w.Value))
	}
	if diff := cmp.Diff(writes, []string{"answer-x=from x", "answer-y=from y"}); diff != "" {
		t.Errorf("writes (-got +want):\n%s", diff)
	}

	// The error of a call reaches the contract.
	p.Calls = p.Calls[:1]
	answer(&second.Calls[0], nil, "no such chaincode")
	refused := &peer.Response{}
	if err := proto.Unmarshal(one().Response, refused); err != nil || !strings.Contains(refused.Message, "no such chaincode") {
		t.Errorf("response %v, %v", refused, err)
	}

	// The same contract, which always makes another call.
	p = proposal(t, 2, "random")
	answer(&one().Calls[0], shim.Success(nil), "")
	if diverged := one(); diverged.Error == nil || diverged.Error.Code != invocation.Diverged || !strings.Contains(diverged.Error.Message, "call 1 was callee1") {
		t.Errorf("a call at random: %+v", diverged)
	}

	// One that makes another call because the state has changed.
	p = proposal(t, 3, "read")
	answer(&one().Calls[0], shim.Success(nil), "")
	state.Put(t, "cc", "seen", "something")
	if stale := one(); stale.Error == nil || stale.Error.Code != invocation.Stale {
		t.Errorf("a call after a change of the state: %+v", stale)
	}
}

func message(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestPrivateData: what a contract asks of its collections is the platform's to answer: the contract waits for what it reads, and for
// a write only where that does not go well.
func TestPrivateData(t *testing.T) {
	t.Parallel()
	h, _, _ := newHandler(t)
	p := proposal(t, 1, "private", "a", "b")
	one := func() *invocation.Result {
		t.Helper()
		return &ask(t, h, request(p)).Results[0]
	}
	// steps answers what was asked, the last of it with an error if there is a text, and returns the kinds of messages.
	steps := func(r *invocation.Result, response []byte, text string) (kinds []string) {
		t.Helper()
		for i, call := range r.Calls {
			kinds = append(kinds, call.Message)
			if i == len(r.Calls)-1 {
				call.Response, call.Error = response, text
			}
			p.Calls = append(p.Calls, call)
		}
		return kinds
	}
	row := func(key string) *peer.QueryResultBytes {
		return &peer.QueryResultBytes{ResultBytes: message(t, &queryresult.KV{Namespace: "cc", Key: key, Value: []byte("x")})}
	}
	if diff := cmp.Diff(steps(one(), []byte("value"), ""), []string{"GET_STATE"}); diff != "" {
		t.Errorf("first run (-got +want):\n%s", diff)
	}
	second := one()
	read := p.Calls
	if kinds := steps(second, message(t, &peer.QueryResponse{Id: "c1", HasMore: true, Results: []*peer.QueryResultBytes{row("a")}}), ""); second.Response != nil || !slices.Equal(kinds, []string{"PUT_STATE", "GET_STATE_BY_RANGE"}) {
		t.Errorf("second run: asks for %v, response %x", kinds, second.Response)
	}
	write := &peer.PutState{}
	if err := proto.Unmarshal(second.Calls[0].Input, write); err != nil || write.Collection != "c" || write.Key != "b" || string(write.Value) != "value" {
		t.Errorf("it writes %v, %v", write, err)
	}
	if second.Calls[0].Wrote || !second.Calls[1].Wrote {
		t.Errorf("access before a write %+v, and after it %+v", second.Calls[0].Access, second.Calls[1].Access)
	}
	if diff := cmp.Diff(steps(one(), message(t, &peer.QueryResponse{Id: "c1", Results: []*peer.QueryResultBytes{row("b")}}), ""), []string{"QUERY_STATE_NEXT"}); diff != "" {
		t.Errorf("third run (-got +want):\n%s", diff)
	}
	last := one()
	response := &peer.Response{}
	if err := proto.Unmarshal(last.Response, response); err != nil || string(response.Payload) != "ab" || last.Calls != nil || last.Set != nil {
		t.Errorf("last run: %+v, %v, %v", last, response, err)
	}

	// The write was refused: the contract runs again, and is told.
	p.Calls = slices.Clone(read)
	refused := second.Calls[0]
	refused.Error = "no access"
	p.Calls = append(p.Calls, refused)
	if err := proto.Unmarshal(one().Response, response); err != nil || !strings.HasSuffix(string(response.Payload), ": no access") {
		t.Errorf("a refused write: %v, %v", response, err)
	}

	// Writes alone are not waited for, and count for what follows.
	p = proposal(t, 2, "secret")
	over := one()
	if err := proto.Unmarshal(over.Response, response); err != nil || response.Status != shim.OK || len(over.Calls) != 1 || over.Calls[0].Message != "PUT_STATE" || !over.Wrote {
		t.Errorf("a write: %+v, %v, %v", over, response, err)
	}

	// A gateway that does not know private data is told, whatever the contract makes of it.
	r := request(p, proposal(t, 3, "x"))
	r.Version = 1
	old := ask(t, h, r)
	if e := old.Results[0].Error; e == nil || !strings.Contains(e.Message, "private data needs version 2 of the invocation format, the gateway speaks version 1: upgrade the gateway") {
		t.Errorf("in version 1: %+v", old.Results[0])
	}
	if old.Results[1].Error != nil {
		t.Errorf("in version 1, without private data: %+v", old.Results[1])
	}

	// Another request than the one that was answered.
	p = proposal(t, 4, "private", "a", "b")
	p.Calls = invocation.Calls{{Message: "GET_STATE", Input: message(t, &peer.GetState{Collection: "c", Key: "hidden"}), Seen: one().Calls[0].Seen}}
	if e := one().Error; e == nil || e.Code != invocation.Diverged || strings.Contains(e.Message, "hidden") {
		t.Errorf("another request: %+v", e)
	}
}
