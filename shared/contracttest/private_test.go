package contracttest_test

import (
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/contracttest"
)

// keeper keeps what a transaction sends beside its arguments in a collection.
type keeper struct{}

func (keeper) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (keeper) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	var value []byte
	var err error
	switch function {
	case "keep":
		var transient map[string][]byte
		if transient, err = stub.GetTransient(); err == nil {
			err = stub.PutPrivateData("prices", args[0], transient["price"])
		}
	case "purge":
		err = stub.PurgePrivateData("prices", args[0])
	default:
		value, err = stub.GetPrivateData("prices", args[0])
	}
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(value)
}

func TestPrivateData(t *testing.T) {
	t.Parallel()
	l := contracttest.Options{
		Organizations: []string{"Org1MSP", "Org2MSP"},
		Policy:        "OR('Org1MSP.peer','Org2MSP.peer')",
		Collections:   `[{"name": "prices", "policy": "OR('Org1MSP.member')", "memberOnlyRead": true, "memberOnlyWrite": true}]`,
	}.New(t, keeper{})
	priced := l.WithTransient(map[string][]byte{"price": []byte("100")})
	priced.MustSubmit("keep", "a")
	if got := l.MustEvaluate("get", "a").String(); got != "100" {
		t.Errorf("got %q, want 100", got)
	}
	l.Of("Org2MSP").Evaluate("get", "a").MustFail("tx creator does not have read access permission")
	l.Of("Org2MSP").Submit("keep", "a").MustFail("tx creator does not have write access permission")
	first, second := priced.Endorse("keep", "b"), l.WithTransient(map[string][]byte{"price": []byte("7")}).Endorse("keep", "b")
	l.Commit(first, second)
	if got := l.MustEvaluate("get", "b").String(); got != "7" {
		t.Errorf("after two in a block: got %q, want 7", got)
	}
	l.MustSubmit("purge", "a")
	if got := l.MustEvaluate("get", "a").String(); got != "" {
		t.Errorf("after a purge: got %q", got)
	}
}
