package chaincode_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// A contract is a chaincode made of functions by name.
type contract map[string]func(stub shim.ChaincodeStubInterface, args []string) *peer.Response

func (c contract) Init(stub shim.ChaincodeStubInterface) *peer.Response { return c.Invoke(stub) }

func (c contract) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	if c[name] == nil {
		return shim.Error("no function " + name)
	}
	return c[name](stub, args)
}

func fail(err error) *peer.Response { return shim.Error(err.Error()) }

// start runs a contract in process until the test ends.
func start(t testing.TB, c contract) chaincode.Host {
	t.Helper()
	host, err := chaincode.StartInProcess("test", c, chaincode.Config{})
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

var nonces struct {
	sync.Mutex
	n uint64
}

// invocation is a new transaction that calls a function of chaincode "test".
func invocation(t testing.TB, state *simtest.State, function string, args ...string) *chaincode.Invocation {
	t.Helper()
	raw := [][]byte{[]byte(function)}
	for _, arg := range args {
		raw = append(raw, []byte(arg))
	}
	nonces.Lock()
	nonces.n++
	nonce := fmt.Appendf(nil, "%024d", nonces.n)
	nonces.Unlock()
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: "alpha", Chaincode: "test", Args: raw, Creator: []byte("creator"), Nonce: nonce, Timestamp: time.Unix(1_700_000_000, 5),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &chaincode.Invocation{
		Channel: "alpha", Chaincode: "test", Proposal: proposal, Input: proposal.Input,
		Tx: simulate.New(state.View(t), proposal.TxID),
	}
}

func must(t testing.TB, host chaincode.Host, inv *chaincode.Invocation) *chaincode.Result {
	t.Helper()
	result, err := host.Execute(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

var counter = contract{
	"add": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
		value, err := stub.GetState(args[0])
		if err != nil {
			return fail(err)
		}
		n, _ := strconv.Atoi(string(value))
		next := []byte(strconv.Itoa(n + 1))
		if err := stub.PutState(args[0], next); err != nil {
			return fail(err)
		}
		if err := stub.SetEvent("added", next); err != nil {
			return fail(err)
		}
		return shim.Success(next)
	},
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	state := simtest.NewState()
	state.Put(t, "test", "n", "41")
	inv := invocation(t, state, "add", "n")
	result := must(t, start(t, counter), inv)
	want := &chaincode.Result{
		Response: &peer.Response{Status: 200, Payload: []byte("42")},
		Event:    &peer.ChaincodeEvent{ChaincodeId: "test", TxId: inv.Proposal.TxID, EventName: "added", Payload: []byte("42")},
	}
	if diff := cmp.Diff(result, want, protocmp.Transform()); diff != "" {
		t.Errorf("result (-got +want):\n%s", diff)
	}
	set, err := inv.Tx.Results()
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Namespaces[0].KV.Writes[0]; got.Key != "n" || string(got.Value) != "42" {
		t.Errorf("write: %v", got)
	}
}

func TestFailedContract(t *testing.T) {
	t.Parallel()
	result := must(t, start(t, counter), invocation(t, simtest.NewState(), "nosuch"))
	if diff := cmp.Diff(result.Response, &peer.Response{Status: 500, Message: "no function nosuch"}, protocmp.Transform()); diff != "" {
		t.Errorf("response (-got +want):\n%s", diff)
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	host := start(t, counter)
	inv := invocation(t, simtest.NewState(), "add", "n")
	inv.Init = true
	if got := must(t, host, inv).Response.Status; got != 200 {
		t.Errorf("status of Init: got %d, want 200", got)
	}
	inv = invocation(t, simtest.NewState(), "nosuch")
	inv.Init = true
	if _, err := host.Execute(t.Context(), inv); !errors.Is(err, chaincode.ErrFailed) {
		t.Errorf("failed Init: got %v, want ErrFailed", err)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	host := start(t, contract{
		"panic": func(shim.ChaincodeStubInterface, []string) *peer.Response { panic("oh no") },
		"add":   counter["add"],
	})
	state := simtest.NewState()
	for _, init := range []bool{false, true} {
		inv := invocation(t, state, "panic")
		inv.Init = init
		_, err := host.Execute(t.Context(), inv)
		if !errors.Is(err, chaincode.ErrCrashed) || err.Error() != "error sending: chaincode stream terminated" {
			t.Errorf("panic: got %v, want ErrCrashed in Fabric's words", err)
		}
	}
	if got := must(t, host, invocation(t, state, "add", "n")).Response.Status; got != 200 {
		t.Errorf("status after a panic: %d", got)
	}
}

func TestNilInit(t *testing.T) {
	t.Parallel()
	host := start(t, contract{"nil": func(shim.ChaincodeStubInterface, []string) *peer.Response { return nil }})
	inv := invocation(t, simtest.NewState(), "nil")
	inv.Init = true
	if _, err := host.Execute(t.Context(), inv); !errors.Is(err, chaincode.ErrCrashed) {
		t.Errorf("Init without a response: got %v, want ErrCrashed", err)
	}
}

// A manualDeadline passes when the test says so.
type manualDeadline struct {
	context.Context
	passed chan struct{}
}

func (d manualDeadline) Done() <-chan struct{} { return d.passed }

func (d manualDeadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A hung contract loses its own transaction at the deadline; others go on. Until it has come back, its transaction cannot
// run again, and what it asks for is refused.
func TestHungContract(t *testing.T) {
	t.Parallel()
	deadline := manualDeadline{t.Context(), make(chan struct{})}
	release, seen := make(chan struct{}), make(chan error, 1)
	host := start(t, contract{
		"hang": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
			close(deadline.passed)
			<-release
			_, err := stub.GetState("n")
			seen <- err
			return shim.Success(nil)
		},
		"add": counter["add"],
	})
	state := simtest.NewState()
	hung := invocation(t, state, "hang")
	_, err := host.Execute(deadline, hung)
	if !errors.Is(err, chaincode.ErrTimeout) || err.Error() != "error sending: timeout expired while executing transaction" {
		t.Errorf("hung contract: got %v, want ErrTimeout in Fabric's words", err)
	}
	must(t, host, invocation(t, state, "add", "n"))
	if _, err := host.Execute(t.Context(), hung); !errors.Is(err, chaincode.ErrDuplicate) {
		t.Errorf("hung transaction again: got %v, want ErrDuplicate", err)
	}
	close(release)
	want := "GET_STATE failed: transaction ID: " + hung.Proposal.TxID + ": no ledger context"
	if err := <-seen; err == nil || err.Error() != want {
		t.Errorf("read after the deadline: got %v, want %s", err, want)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	host := start(t, contract{"hang": func(shim.ChaincodeStubInterface, []string) *peer.Response {
		close(entered)
		<-release
		return shim.Success(nil)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	results := execute(ctx, host, invocation(t, simtest.NewState(), "hang"))
	<-entered
	cancel()
	if got := <-results; !errors.Is(got.err, context.Canceled) {
		t.Errorf("cancelled: got %v", got.err)
	}
	close(release)
}

func TestClose(t *testing.T) {
	t.Parallel()
	entered, release, seen := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	host := start(t, contract{"hang": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
		close(entered)
		<-release
		_, err := stub.GetState("n")
		seen <- err
		return shim.Success(nil)
	}})
	state := simtest.NewState()
	results := execute(t.Context(), host, invocation(t, state, "hang"))
	<-entered
	for range 2 {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := <-results; !errors.Is(got.err, chaincode.ErrCrashed) {
		t.Errorf("under way at Close: got %v, want ErrCrashed", got.err)
	}
	if _, err := host.Execute(t.Context(), invocation(t, state, "hang")); !errors.Is(err, chaincode.ErrCrashed) {
		t.Errorf("after Close: got %v, want ErrCrashed", err)
	}
	close(release)
	if err := <-seen; err == nil {
		t.Error("a contract could read after Close")
	}
}

// What a contract is given is its own: it can write into it.
func TestContractOwnsItsBytes(t *testing.T) {
	t.Parallel()
	scribble := func(b []byte) {
		for i := range b {
			b[i] = 'x'
		}
	}
	host := start(t, contract{"scribble": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
		value, err := stub.GetState("n")
		if err != nil {
			return fail(err)
		}
		many, err := stub.GetMultipleStates("n")
		if err != nil {
			return fail(err)
		}
		signed, err := stub.GetSignedProposal()
		if err != nil {
			return fail(err)
		}
		payload := []byte("put")
		if err := stub.PutState("m", payload); err != nil {
			return fail(err)
		}
		if err := stub.SetEvent("e", payload); err != nil {
			return fail(err)
		}
		for _, b := range [][]byte{value, many[0], signed.ProposalBytes, stub.GetArgs()[0]} {
			scribble(b)
		}
		return shim.Success(value)
	}})
	state := simtest.NewState()
	state.Put(t, "test", "n", "value")
	inv := invocation(t, state, "scribble")
	before := string(inv.Proposal.Signed.ProposalBytes)
	must(t, host, inv)
	if got, err := inv.Tx.GetState(t.Context(), "test", "n"); err != nil || string(got) != "value" {
		t.Errorf("state: %s, %v", got, err)
	}
	if string(inv.Proposal.Signed.ProposalBytes) != before || string(inv.Input.Args[0]) != "scribble" {
		t.Error("the contract changed the proposal")
	}
}

func TestConcurrentTransactions(t *testing.T) {
	t.Parallel()
	host := start(t, counter)
	state := simtest.NewState()
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for k := range 20 {
				key := fmt.Sprintf("k%d-%d", i, k)
				inv := invocation(t, state, "add", key)
				result, err := host.Execute(t.Context(), inv)
				if err != nil || string(result.Response.Payload) != "1" {
					t.Errorf("%s: %v, %v", key, result, err)
					return
				}
				set, err := inv.Tx.Results()
				if err != nil || len(set.Namespaces) != 1 || set.Namespaces[0].KV.Writes[0].Key != key {
					t.Errorf("%s: %v, %v", key, set, err)
				}
			}
		})
	}
	group.Wait()
}

// A chaincode that calls a chaincode shares its transaction; one that calls itself is refused as by Fabric.
func TestCalls(t *testing.T) {
	t.Parallel()
	caller := contract{"call": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
		return stub.InvokeChaincode(args[0], [][]byte{[]byte("add"), []byte("n")}, args[1])
	}}
	host, called := start(t, caller), start(t, counter)
	var calls []string
	call := func(outer *chaincode.Invocation) func(context.Context, string, string, *peer.ChaincodeInput) (*peer.Response, error) {
		return func(ctx context.Context, channel, name string, input *peer.ChaincodeInput) (*peer.Response, error) {
			calls = append(calls, channel+"/"+name)
			inner := *outer
			inner.Chaincode, inner.Input = name, input
			target := called
			if name == "test" {
				target = host
			}
			result, err := target.Execute(ctx, &inner)
			if err != nil {
				return nil, fmt.Errorf("execute failed: %w", err)
			}
			return result.Response, nil
		}
	}
	state := simtest.NewState()
	for _, c := range []struct{ name, channel, called string }{
		{"other", "", "/other"}, {"other", "alpha", "/other"}, {"other:1.0", "beta", "beta/other"},
	} {
		calls = nil
		inv := invocation(t, state, "call", c.name, c.channel)
		inv.Call = call(inv)
		result := must(t, host, inv)
		if diff := cmp.Diff(result, &chaincode.Result{Response: &peer.Response{Status: 200, Payload: []byte("1")}}, protocmp.Transform()); diff != "" {
			t.Errorf("call of %s on %q (-got +want):\n%s", c.name, c.channel, diff)
		}
		if diff := cmp.Diff(calls, []string{c.called}); diff != "" {
			t.Errorf("calls (-got +want):\n%s", diff)
		}
		set, err := inv.Tx.Results()
		if err != nil || len(set.Namespaces) != 1 || set.Namespaces[0].Namespace == "test" {
			t.Errorf("read-write set of a call: %v, %v", set, err)
		}
	}
	inv := invocation(t, state, "call", "test", "")
	inv.Call = call(inv)
	id := inv.Proposal.TxID
	want := "INVOKE_CHAINCODE failed: transaction ID: " + id + ": execute failed: error sending: txid: " + id + "(alpha) exists"
	if got := must(t, host, inv).Response; got.Status != 500 || string(got.Payload) != want {
		t.Errorf("call of itself: got %v, want %s", got, want)
	}
	inv = invocation(t, state, "call", "other", "")
	if got := must(t, host, inv).Response; got.Status != 500 {
		t.Errorf("call without calls: got %v", got)
	}
}

func TestMissingFeatures(t *testing.T) {
	t.Parallel()
	var inv *chaincode.Invocation
	ask := map[string]func(shim.ChaincodeStubInterface) error{
		"GET_STATE: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error { _, err := s.GetPrivateData("c", "k"); return err },
		"PUT_STATE: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error { return s.PutPrivateData("c", "k", []byte("v")) },
		"DEL_STATE: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error { return s.DelPrivateData("c", "k") },
		"PURGE_PRIVATE_DATA: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error {
			return s.PurgePrivateData("c", "k")
		},
		"GET_PRIVATE_DATA_HASH: collection [c] not defined in the collection config for chaincode [test]": func(s shim.ChaincodeStubInterface) error {
			_, err := s.GetPrivateDataHash("c", "k")
			return err
		},
		"GET_STATE_MULTIPLE: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error {
			_, err := s.GetMultiplePrivateData("c", "k")
			return err
		},
		"GET_STATE_BY_RANGE: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error {
			_, err := s.GetPrivateDataByRange("c", "a", "z")
			return err
		},
		"GET_STATE_METADATA: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error {
			_, err := s.GetPrivateDataValidationParameter("c", "k")
			return err
		},
		"PUT_STATE_METADATA: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error {
			return s.SetPrivateDataValidationParameter("c", "k", nil)
		},
		"GET_QUERY_RESULT: collection alpha/test/c could not be found": func(s shim.ChaincodeStubInterface) error {
			_, err := s.GetPrivateDataQueryResult("c", "{}")
			return err
		},
		"GET_QUERY_RESULT: ExecuteQuery not supported for leveldb": func(s shim.ChaincodeStubInterface) error { _, err := s.GetQueryResult("{}"); return err },
		"GET_QUERY_RESULT: ExecuteQueryWithMetadata not supported for leveldb": func(s shim.ChaincodeStubInterface) error {
			_, _, err := s.GetQueryResultWithPagination("{}", 5, "")
			return err
		},
	}
	got := map[string]string{}
	host := start(t, contract{"ask": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
		for name, call := range ask {
			if err := call(stub); err != nil {
				got[name] = err.Error()
			}
		}
		return shim.Success(nil)
	}})
	inv = invocation(t, simtest.NewState(), "ask")
	inv.LevelDB = true
	must(t, host, inv)
	want := map[string]string{}
	for name := range ask {
		for i := range name {
			if name[i] == ':' {
				want[name] = name[:i] + " failed: transaction ID: " + inv.Proposal.TxID + name[i:]
				break
			}
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("errors (-got +want):\n%s", diff)
	}
}

// Iterators left open end with their transaction; too many at once are refused.
func TestOpenIterators(t *testing.T) {
	t.Parallel()
	var opened int
	var refused error
	host := start(t, contract{"open": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
		for opened = 0; opened < 2000; opened++ {
			if _, refused = stub.GetStateByRange("a", ""); refused != nil {
				break
			}
		}
		return shim.Success(nil)
	}})
	state := simtest.NewState()
	var pairs []string
	for i := range 150 {
		pairs = append(pairs, fmt.Sprintf("k%d", i), "v")
	}
	state.Put(t, "test", pairs...)
	inv := invocation(t, state, "open")
	must(t, host, inv)
	want := "GET_STATE_BY_RANGE failed: transaction ID: " + inv.Proposal.TxID + ": transaction has 1000 open iterators: close some"
	if opened != 1000 || refused == nil || refused.Error() != want {
		t.Errorf("opened %d iterators, then %v", opened, refused)
	}
	set, err := inv.Tx.Results()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(set.Namespaces[0].KV.RangeQueriesInfo); got != 1 {
		t.Errorf("one range was recorded %d times", got)
	}
}

func TestRefusedRegistration(t *testing.T) {
	t.Parallel()
	if _, err := chaincode.StartInProcess("", counter, chaincode.Config{}); !errors.Is(err, chaincode.ErrUnavailable) || !errors.Is(err, chaincode.ErrProtocol) {
		t.Errorf("chaincode without a name: got %v", err)
	}
}

// TestScanIsLogged tells of a query that has no index, if it had to look at much.
func TestScanIsLogged(t *testing.T) {
	t.Parallel()
	for documents, want := range map[int]bool{1200: true, 20: false} {
		state := simtest.NewState()
		var pairs []string
		for i := range documents {
			pairs = append(pairs, fmt.Sprintf("k%04d", i), fmt.Sprintf(`{"n":%d}`, i))
		}
		state.Put(t, "test", pairs...)
		var log bytes.Buffer
		host, err := chaincode.StartInProcess("test", contract{"query": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
			it, err := stub.GetQueryResult(`{"selector":{"n":5}}`)
			if err != nil {
				return fail(err)
			}
			defer it.Close()
			for it.HasNext() {
				if _, err := it.Next(); err != nil {
					return fail(err)
				}
			}
			return shim.Success(nil)
		}}, chaincode.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		must(t, host, invocation(t, state, "query"))
		host.Close()
		if got := strings.Contains(log.String(), "looked at every document"); got != want {
			t.Errorf("%d documents: told %v, want %v: %s", documents, got, want, &log)
		}
	}
}

// TestRichQuery reads documents through the stub: in more than one message, and by pages.
func TestRichQuery(t *testing.T) {
	t.Parallel()
	state := simtest.NewState()
	var pairs []string
	for i := range 250 {
		pairs = append(pairs, fmt.Sprintf("k%03d", i), fmt.Sprintf(`{"n":%d}`, i))
	}
	state.Put(t, "test", pairs...)
	host := start(t, contract{"query": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
		rows := func(it shim.StateQueryIteratorInterface) (keys []string) {
			defer it.Close()
			for it.HasNext() {
				row, err := it.Next()
				if err != nil {
					return append(keys, err.Error())
				}
				keys = append(keys, row.Key)
			}
			return keys
		}
		it, err := stub.GetQueryResult(`{"selector":{"n":{"$lt":240}}}`)
		if err != nil {
			return fail(err)
		}
		whole := rows(it)
		var paged []string
		for bookmark := ""; ; {
			it, metadata, err := stub.GetQueryResultWithPagination(`{"selector":{"n":{"$lt":240}}}`, 100, bookmark)
			if err != nil {
				return fail(err)
			}
			page := rows(it)
			if int(metadata.FetchedRecordsCount) != len(page) {
				return shim.Error(fmt.Sprintf("%d records are said to be fetched, there are %d", metadata.FetchedRecordsCount, len(page)))
			}
			if paged, bookmark = append(paged, page...), metadata.Bookmark; len(page) == 0 {
				break
			}
		}
		if len(whole) != 240 || !slices.Equal(whole, paged) {
			return shim.Error(fmt.Sprintf("the whole: %v, by pages: %v", whole, paged))
		}
		_, err = stub.GetQueryResult(`{"selector":{"n":{"$foo":1}}}`)
		return shim.Success([]byte(err.Error()))
	}})
	inv := invocation(t, state, "query")
	result := must(t, host, inv)
	want := "GET_QUERY_RESULT failed: transaction ID: " + inv.Proposal.TxID +
		": error handling CouchDB request. Error:invalid_operator,  Status Code:400,  Reason:Invalid operator: $foo"
	if got := result.Response.Message + string(result.Response.Payload); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
