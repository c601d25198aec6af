// Command probe runs the probe chaincode as a process: it dials the peer named by -peer.address, or serves on
// CHAINCODE_SERVER_ADDRESS if that is set, as CHAINCODE_ID or CORE_CHAINCODE_ID_NAME: over TLS if CHAINCODE_TLS_CERT and
// CHAINCODE_TLS_KEY name files, to the peers whose certificates CHAINCODE_CLIENT_CA_CERT signed if that names one.
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
	properties, err := tlsProperties()
	if err != nil {
		return err
	}
	server := &shim.ChaincodeServer{CCID: id, Address: address, CC: chaincode.New(), TLSProps: properties}
	return server.Start()
}

func tlsProperties() (shim.TLSProperties, error) {
	properties := shim.TLSProperties{Disabled: os.Getenv("CHAINCODE_TLS_CERT") == ""}
	for name, into := range map[string]*[]byte{
		"CHAINCODE_TLS_CERT": &properties.Cert, "CHAINCODE_TLS_KEY": &properties.Key, "CHAINCODE_CLIENT_CA_CERT": &properties.ClientCACerts,
	} {
		file := os.Getenv(name)
		if file == "" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return properties, err
		}
		*into = content
	}
	return properties, nil
}
