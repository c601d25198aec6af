// Command assettransfer is the asset-transfer contract as a function.
package main

import (
	"log"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"peerless/contracts/assettransfer/chaincode"
	"peerless/shared/adapter"
)

func main() {
	log.Fatal(adapter.StartFunc(func() (shim.Chaincode, error) { return chaincode.New() }))
}
