package chaincode_test

import (
	"testing"

	"go.uber.org/goleak"

	"peerless/shared/chaincode"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.Cleanup(chaincode.RemovePrograms),
		// The shim reports each message it sends to a loop that is gone when its stream has ended (shim/handler.go).
		goleak.IgnoreAnyFunction("github.com/hyperledger/fabric-chaincode-go/v2/shim.(*Handler).serialSendAsync.func1"),
	)
}
