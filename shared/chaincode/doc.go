// Package chaincode is the peer's end of Fabric's chaincode stream, and the hosts that run a contract behind it.
//
// A Session speaks protos.ChaincodeMessage with one running chaincode and executes many transactions at once, each over
// its own simulate.Tx. A Host is whatever keeps such a chaincode at hand: a contract linked into this process, a child
// process, a service elsewhere.
//
// Messages, answers and error texts are those of Fabric 3.1 (core/chaincode/handler.go); the recorded streams in
// testdata/conformance/wire/streams prove it. A chaincode is not trusted: whatever it sends can fail its own transaction
// and nothing else.
//
// Left out: private data and rich queries. A contract that asks for them gets an error, never a wrong value.
package chaincode
