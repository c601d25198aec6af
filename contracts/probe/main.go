// Command probe runs the probe chaincode as a process: it dials the peer named by -peer.address, or serves on
// CHAINCODE_SERVER_ADDRESS if that is set, as CHAINCODE_ID or CORE_CHAINCODE_ID_NAME.
package main

import (
	"log"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"peerless/contracts/probe/chaincode"
)

func main() {
	if err := run(); err != nil {
		log.Fatalf("probe: %v", err)
	}
}

func run() error {
	address := os.Getenv("CHAINCODE_SERVER_ADDRESS")
	if address == "" {
		return shim.Start(chaincode.New())
	}
	id := os.Getenv("CHAINCODE_ID")
	if id == "" {
		id = os.Getenv("CORE_CHAINCODE_ID_NAME")
	}
	server := &shim.ChaincodeServer{CCID: id, Address: address, CC: chaincode.New(), TLSProps: shim.TLSProperties{Disabled: true}}
	return server.Start()
}
