package contracttest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/contracts/assettransfer/chaincode"
	"peerless/shared/contracttest"
	"peerless/shared/gateway"
)

// counter is a chaincode written for the shim alone.
type counter struct{}

func (counter) Init(stub shim.ChaincodeStubInterface) *peer.Response {
	_, args := stub.GetFunctionAndParameters()
	if err := stub.PutState(args[0], []byte(args[1])); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success([]byte("initialised"))
}

func (counter) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	switch function {
	case "add":
		old, err := stub.GetState(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		value := string(old) + "+" + args[1]
		if err := stub.PutState(args[0], []byte(value)); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success([]byte(value))
	case "twice": // does not see its own write
		if err := stub.PutState(args[0], []byte("new")); err != nil {
			return shim.Error(err.Error())
		}
		seen, err := stub.GetState(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(seen)
	case "ask":
		var query [][]byte
		for _, arg := range args[1:] {
			query = append(query, []byte(arg))
		}
		return stub.InvokeChaincode(args[0], query, "")
	case "teapot":
		return &peer.Response{Status: 418, Message: "short, and stout"}
	case "guard": // only this organisation's peer may endorse what writes the key from now on
		ep, err := statebased.NewStateEP(nil)
		if err == nil {
			err = ep.AddOrgs(statebased.RoleTypePeer, args[1])
		}
		var policy []byte
		if err == nil {
			policy, err = ep.Policy()
		}
		if err == nil {
			err = stub.SetStateValidationParameter(args[0], policy)
		}
		if err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(nil)
	}
	panic("no such function")
}

// desk is written for contractapi: it tells what it is told.
type desk struct{ contractapi.Contract }

type told struct {
	User, Role, MSPID, Secret string
	Time                      time.Time
	Count                     int
	Tags                      []string
}

func (*desk) Tell(ctx contractapi.TransactionContextInterface, count int, tags []string) (*told, error) {
	id, err := cid.New(ctx.GetStub())
	if err != nil {
		return nil, err
	}
	certificate, err := id.GetX509Certificate()
	if err != nil {
		return nil, err
	}
	t := &told{User: certificate.Subject.CommonName, Count: count, Tags: tags}
	t.Role, _, err = id.GetAttributeValue("role")
	if err != nil {
		return nil, err
	}
	if t.MSPID, err = id.GetMSPID(); err != nil {
		return nil, err
	}
	stamp, err := ctx.GetStub().GetTxTimestamp()
	if err != nil {
		return nil, err
	}
	t.Time = stamp.AsTime()
	transient, err := ctx.GetStub().GetTransient()
	t.Secret = string(transient["secret"])
	return t, err
}

func (*desk) Ring(ctx contractapi.TransactionContextInterface, bell string) error {
	return ctx.GetStub().SetEvent("rung", []byte(bell))
}

func TestContract(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, new(chaincode.SmartContract))
	l.MustSubmit("CreateAsset", "a1", "blue", 5, "Tom", 300)
	if r := l.MustSubmit("TransferAsset", "a1", "Anna"); r.String() != "Tom" || r.Block == 0 || r.Code != peer.TxValidationCode_VALID || len(r.TransactionID) != 64 {
		t.Errorf("transfer gave %q in block %d with code %s, transaction %s", r, r.Block, r.Code, r.TransactionID)
	}
	var read, kept chaincode.Asset
	l.MustEvaluate("ReadAsset", "a1").JSON(&read)
	l.StateJSON("a1", &kept)
	want := chaincode.Asset{ID: "a1", Color: "blue", Size: 5, Owner: "Anna", AppraisedValue: 300}
	if diff := cmp.Diff(read, want) + cmp.Diff(kept, want); diff != "" {
		t.Errorf("asset:\n%s", diff)
	}
	l.MustSubmit("InitLedger")
	if got, want := l.Keys(), []string{"a1", "asset1", "asset2", "asset3", "asset4", "asset5", "asset6"}; !slices.Equal(got, want) {
		t.Errorf("keys are %q, want %q", got, want)
	}
	l.MustSubmit("DeleteAsset", "a1")
	if got := l.State("a1"); got != nil {
		t.Errorf("deleted asset is %q", got)
	}
	history := l.History("a1")
	if len(history) != 3 || !history[0].Deleted || history[0].Value != nil || !strings.Contains(string(history[2].Value), "Tom") {
		t.Errorf("history is %+v", history)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, counter{})
	r := l.Submit("teapot").MustFail("short, and stout")
	var e *gateway.Error
	if !errors.As(r.Err, &e) || e.Kind != gateway.ChaincodeError || r.Status != 418 || r.Message != "short, and stout" || r.Block != 0 || r.Code != peer.TxValidationCode_NOT_VALIDATED {
		t.Errorf("got %+v with error %+v", r, e)
	}
	if r := l.Evaluate("teapot").MustFail("stout"); r.Status != 418 {
		t.Errorf("evaluating gave status %d, want 418", r.Status)
	}
	if r := l.Endorse("teapot"); r.Err == nil || r.Status != 418 || l.Commit(r)[0].Err == nil {
		t.Errorf("endorsing gave %+v", r.Result)
	}
	if r := l.Submit("panics"); !errors.As(r.Err, &e) || e.Kind != gateway.ChaincodeCrashed {
		t.Errorf("a panic gave %v, want ChaincodeCrashed", r.Err)
	}
	if r := l.Chaincode("nowhere").Submit("add"); !errors.As(r.Err, &e) || e.Kind != gateway.NotFound {
		t.Errorf("an unknown chaincode gave %v, want NotFound", r.Err)
	}
	l.MustSubmit("add", "k", 1) // the chaincode goes on after all that
}

func TestUsers(t *testing.T) {
	t.Parallel()
	l := contracttest.Options{Organizations: []string{"Org1MSP", "Org2MSP"}}.New(t, new(desk))
	l.Advance(90 * time.Minute)
	alice := l.As("alice", map[string]string{"role": "auditor"}).Of("Org2MSP").WithTransient(map[string][]byte{"secret": []byte("s")})
	var got [2]told
	alice.MustEvaluate("Tell", 7, []string{"x", "y"}).JSON(&got[0])
	l.MustEvaluate("Tell", 0, []string{}).JSON(&got[1])
	at := contracttest.Epoch.Add(90 * time.Minute)
	want := [2]told{
		{User: "alice", Role: "auditor", MSPID: "Org2MSP", Secret: "s", Time: at, Count: 7, Tags: []string{"x", "y"}},
		{User: contracttest.DefaultUser, MSPID: "Org1MSP", Time: at, Tags: []string{}},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	if !l.Now().Equal(at) {
		t.Errorf("it is %s, want %s", l.Now(), at)
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, new(chaincode.SmartContract))
	l.MustSubmit("CreateAsset", "a1", "blue", 5, "Tom", 300)
	first, second := l.Endorse("TransferAsset", "a1", "Anna"), l.Endorse("TransferAsset", "a1", "Ben")
	if first.String() != "Tom" || second.String() != "Tom" {
		t.Errorf("endorsed with old owners %q and %q, want Tom twice", first, second)
	}
	results := l.Commit(first, second)
	results[0].MustSucceed()
	var e *gateway.Error
	if r := results[1]; r.Code != peer.TxValidationCode_MVCC_READ_CONFLICT || !errors.As(r.Err, &e) || e.Kind != gateway.MVCCReadConflict || r.Block != results[0].Block {
		t.Errorf("the second gave %s in block %d, %v; want MVCC_READ_CONFLICT in block %d", r.Code, r.Block, r.Err, results[0].Block)
	}
	// Apart, the later one loses too.
	first, second = l.Endorse("TransferAsset", "a1", "Carl"), l.Endorse("TransferAsset", "a1", "Dora")
	l.Commit(second)[0].MustSucceed()
	l.Commit(first)[0].MustFail("MVCC_READ_CONFLICT")
	if got := l.Commit(second)[0].Code; got != peer.TxValidationCode_VALID {
		t.Errorf("committing again gave %s, want the first verdict VALID", got)
	}
	// A range that changed.
	query := l.Endorse("GetAllAssets")
	l.MustSubmit("CreateAsset", "a2", "red", 5, "Tom", 300)
	if got := l.Commit(query)[0].Code; got != peer.TxValidationCode_PHANTOM_READ_CONFLICT {
		t.Errorf("a changed range gave %s, want PHANTOM_READ_CONFLICT", got)
	}
	var asset chaincode.Asset
	l.StateJSON("a1", &asset)
	if asset.Owner != "Dora" {
		t.Errorf("owner is %s, want Dora", asset.Owner)
	}
}

func TestSubmitRepeatsWhatLosesItsRace(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, counter{})
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			if r := l.Submit("add", "k", i); r.Err != nil {
				t.Errorf("add %d: %v", i, r.Err)
			}
		})
	}
	callers.Wait()
	if got := len(l.History("k")); got != 8 {
		t.Errorf("%d changes, want 8", got)
	}
	for i := range 8 {
		if n := strings.Count(string(l.State("k")), fmt.Sprint(i)); n != 1 {
			t.Errorf("%d was added %d times: %s", i, n, l.State("k"))
		}
	}
}

func TestNoReadOfOwnWrites(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, counter{})
	if r := l.MustSubmit("twice", "k"); r.Payload != nil {
		t.Errorf("it saw %q, want nothing", r)
	}
	if r := l.MustSubmit("twice", "k"); r.String() != "new" {
		t.Errorf("it saw %q, want what the first call wrote", r)
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	l := contracttest.Options{InitRequired: true}.New(t, counter{})
	if r := l.Submit("twice", "k"); r.Err == nil || !strings.Contains(r.Err.Error(), "must call as init first") {
		t.Errorf("before Init: %v", r.Err)
	}
	if r := l.Init("", "k", "begun"); r.Err != nil || r.String() != "initialised" || string(l.State("k")) != "begun" {
		t.Errorf("init gave %q, %v, and left %q", r, r.Err, l.State("k"))
	}
	if r := l.MustSubmit("twice", "k"); r.String() != "begun" {
		t.Errorf("it saw %q, want what Init wrote", r)
	}
}

func TestChaincodes(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, counter{})
	assets := l.Deploy("assets", "", new(chaincode.SmartContract))
	assets.MustSubmit("CreateAsset", "a1", "blue", 5, "Tom", 300)
	if r := l.MustSubmit("ask", "assets", "TransferAsset", "a1", "Anna"); r.String() != "Tom" {
		t.Errorf("got %q, want Tom", r)
	}
	l.Submit("ask", "assets", "ReadAsset", "a9").MustFail("a9 does not exist")
	var asset chaincode.Asset
	assets.StateJSON("a1", &asset)
	if asset.Owner != "Anna" || l.Keys() != nil {
		t.Errorf("owner is %s, want Anna; the caller has the keys %q, want none", asset.Owner, l.Keys())
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, new(desk))
	r := l.MustSubmit("Ring", "one")
	l.MustEvaluate("Ring", "unheard")
	l.MustSubmit("Ring", "two")
	got := l.Events()
	if len(got) != 2 {
		t.Fatalf("%d events, want 2: %+v", len(got), got)
	}
	want := contracttest.Event{Name: "rung", Payload: []byte("one"), TransactionID: r.TransactionID, Block: r.Block}
	if diff := cmp.Diff(got[0], want); diff != "" {
		t.Error(diff)
	}
	if others := l.Deploy("other", "", counter{}).Events(); others != nil {
		t.Errorf("another chaincode's events are %+v, want none", others)
	}
}

func TestEndorsement(t *testing.T) {
	t.Parallel()
	l := contracttest.Options{
		Organizations: []string{"Org1MSP", "Org2MSP"}, Policy: "OR('Org1MSP.peer','Org2MSP.peer')",
	}.New(t, counter{})
	l.EndorsedBy("Org2MSP").MustSubmit("add", "k", 1)
	l.MustSubmit("guard", "k", "Org1MSP")
	l.EndorsedBy("Org2MSP").Submit("add", "k", 2).MustFail("ENDORSEMENT_POLICY_FAILURE")
	l.EndorsedBy("Org1MSP").MustSubmit("add", "k", 3)
	l.Of("Org2MSP").MustSubmit("add", "k", 4)
	if got := string(l.State("k")); got != "+1+3+4" {
		t.Errorf("k is %q, want +1+3+4", got)
	}
}

// recorder is a test that can be looked at: what ends it is a panic.
type recorder struct {
	mu       sync.Mutex
	cleanups []func()
	log      []string
}

type ended struct{ message string }

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}
func (r *recorder) Errorf(format string, args ...any) { r.Logf("error: "+format, args...) }
func (r *recorder) Fatalf(format string, args ...any) { panic(ended{fmt.Sprintf(format, args...)}) }
func (r *recorder) done() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

// fate calls f and returns the message with which it ended its test.
func fate(f func()) (message string) {
	defer func() {
		if e, ok := recover().(ended); ok {
			message = e.message
		}
	}()
	f()
	return ""
}

func TestMessages(t *testing.T) {
	t.Parallel()
	r := new(recorder)
	l := contracttest.New(r, new(chaincode.SmartContract))
	for _, test := range []struct {
		name string
		call func()
		want string
	}{
		{"must submit", func() { l.MustSubmit("ReadAsset", "a9") }, `contract.ReadAsset("a9") failed: the asset a9 does not exist`},
		{"must evaluate", func() { l.MustEvaluate("ReadAsset", "a9") }, `contract.ReadAsset("a9") failed: the asset a9 does not exist`},
		{"must fail, and does not", func() { l.Submit("AssetExists", "a9").MustFail("nowhere") }, `contract.AssetExists("a9") succeeded and returned "false", want a failure that says "nowhere"`},
		{"must fail otherwise", func() { l.Submit("ReadAsset", "a9").MustFail("nowhere") }, `contract.ReadAsset("a9") failed: the asset a9 does not exist; want a failure that says "nowhere"`},
		{"not JSON", func() { l.MustEvaluate("AssetExists", "a9").JSON(new(chaincode.Asset)) }, `contract.AssetExists("a9") returned "false": json:`},
		{"no state", func() { l.StateJSON("a9", new(chaincode.Asset)) }, `contract keeps nothing under "a9"`},
		{"bad argument", func() { l.Submit("ReadAsset", func() {}) }, `argument 1: json: unsupported type: func()`},
		{"bad user", func() { l.As("", nil).Submit("ReadAsset", "a") }, `not a valid name`},
		{"deployed twice", func() { l.Deploy(contracttest.DefaultChaincode, "", counter{}) }, `there is a chaincode contract already`},
		{"no contract", func() { l.Deploy("other", "", chaincode.Asset{}) }, `chaincode.Asset is neither a shim.Chaincode nor a contractapi.ContractInterface`},
		{"bad policy", func() { l.Deploy("other2", "NEITHER('x')", counter{}) }, `policy of chaincode other2`},
		{"bad channel", func() { contracttest.Options{Channel: "Not A Channel"}.New(r, counter{}) }, `Not A Channel`},
	} {
		if got := fate(test.call); !strings.Contains(got, test.want) {
			t.Errorf("%s: the test ended with %q, want %q", test.name, got, test.want)
		}
	}
	r.done()
	if len(r.log) > 0 {
		t.Errorf("the test's log has %q, want nothing", r.log)
	}
}

func TestPanicIsLogged(t *testing.T) {
	t.Parallel()
	r := new(recorder)
	l := contracttest.New(r, counter{})
	l.Submit("oops")
	r.done()
	if len(r.log) != 1 || !strings.Contains(r.log[0], "no such function") {
		t.Errorf("the test's log has %q, want the panic", r.log)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	l := contracttest.New(t, counter{})
	for arg, want := range map[any]string{"text": "text", 1.5: "1.5", true: "true", [2]int{1, 2}: "[1,2]"} {
		if r := l.MustEvaluate("add", "k", arg); r.String() != "+"+want {
			t.Errorf("%v reached the contract as %q, want %q", arg, r, want)
		}
	}
	if r := l.MustEvaluate("add", "k", json.RawMessage(`{"a":1}`)); r.String() != `+{"a":1}` {
		t.Errorf("JSON reached the contract as %q", r)
	}
}
