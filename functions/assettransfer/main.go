// Command assettransfer is the asset-transfer contract as a function.
package main

import (
	"log"

	"peerless/contracts/assettransfer/chaincode"
	"peerless/shared/adapter"
)

func main() {
	contract, err := chaincode.New()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(adapter.Start(contract))
}
