// Command assettransfer runs the asset-transfer contract as a chaincode process: it dials the peer named by -peer.address,
// or serves on CHAINCODE_SERVER_ADDRESS if that is set. Its identity is CORE_CHAINCODE_ID_NAME, or CHAINCODE_ID.
package main

import (
	"log"
	"os"

	"peerless/contracts/assettransfer/chaincode"
)

func main() {
	if err := run(); err != nil {
		log.Fatalf("assettransfer: %v", err)
	}
}

func run() error {
	if id := os.Getenv("CHAINCODE_ID"); id != "" && os.Getenv("CORE_CHAINCODE_ID_NAME") == "" {
		if err := os.Setenv("CORE_CHAINCODE_ID_NAME", id); err != nil {
			return err
		}
	}
	contract, err := chaincode.New()
	if err != nil {
		return err
	}
	return contract.Start()
}
