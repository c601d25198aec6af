package gateway_test

import (
	"regexp"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/chaincode"
	service "peerless/shared/gateway"
	"peerless/shared/store/mem"
)

// initial is a contract that remembers what it was initialised with, and calls the chaincode that is its first argument.
type initial struct{}

func (initial) Init(stub shim.ChaincodeStubInterface) *peer.Response {
	if err := stub.PutState("initial", stub.GetArgs()[1]); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

func (initial) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	if function, args := stub.GetFunctionAndParameters(); function == "call" {
		response := stub.InvokeChaincode(args[0], [][]byte{[]byte("get")}, "")
		if response.Status != shim.OK {
			return shim.Error(string(response.Payload)) // where the shim puts what the peer said
		}
		return response
	}
	value, err := stub.GetState("initial")
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(value)
}

// TestInitRequired calls a chaincode before, at and after its initialisation, which each version wants once. The texts are those of
// Fabric's core/chaincode.
func TestInitRequired(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, mem.New(mem.Config{}), initial{}, service.Config{})
	strict, err := chaincode.StartInProcess("strict", initial{}, chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { strict.Close() })
	p.Chaincodes.(hosts)["main/strict"] = strict
	define := func(version string) {
		t.Helper()
		if _, err := p.Define(t.Context(), "main", p.user, service.Definition{Name: "strict", Version: version, InitRequired: true}); err != nil {
			t.Fatal(err)
		}
	}
	call := func(chaincode string, init bool, function string, args ...string) (string, error) {
		request := p.request(function, args...)
		request.Chaincode, request.Init = chaincode, init
		outcome, err := p.SubmitTransaction(t.Context(), request)
		if err != nil {
			return "", err
		}
		return string(outcome.Response.Payload), nil
	}
	refused := func(chaincode string, init bool, want, function string, args ...string) {
		t.Helper()
		if _, err := call(chaincode, init, function, args...); err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	const tooEarly = `chaincode 'strict' has not been initialized for this version, must call as init first$`
	define("1")
	refused("strict", false, `error in simulation: failed to execute transaction [0-9a-f]{64}: invalid invocation: `+tooEarly, "get")
	refused("cc", false, `execute failed: invalid invocation: `+tooEarly, "call", "strict")
	if _, err := call("strict", true, "with", "one"); err != nil {
		t.Fatal(err)
	}
	refused("strict", true, `invalid invocation: chaincode 'strict' is already initialized but called as init$`, "with", "two")
	for _, c := range [][]string{{"strict", "get"}, {"cc", "call", "strict"}} {
		if got, err := call(c[0], false, c[1], c[2:]...); err != nil || got != "one" {
			t.Errorf("%v: got %q %v", c, got, err)
		}
	}
	refused("cc", true, `invalid invocation: chaincode 'cc' does not require initialization but called as init$`, "with", "one")
	define("2")
	refused("strict", false, tooEarly, "get")
	if _, err := call("strict", true, "with", "two"); err != nil {
		t.Fatal(err)
	}
	if got, err := call("strict", false, "get"); err != nil || got != "two" {
		t.Errorf("after the upgrade: got %q %v", got, err)
	}
	p.audit(t)
}
