// Command client calls the asset-transfer contract through the Fabric Gateway, as the user whose directory
// "peerless identity export alice" wrote.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	certificate := must(identity.CertificateFromPEM(must(os.ReadFile("alice/msp/signcerts/cert.pem"))))
	key := must(identity.PrivateKeyFromPEM(must(os.ReadFile("alice/msp/keystore/key.pem"))))
	connection := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials())))
	gateway := must(client.Connect(must(identity.NewX509Identity("PeerlessMSP", certificate)),
		client.WithSign(must(identity.NewPrivateKeySign(key))), client.WithClientConnection(connection)))
	defer gateway.Close()
	contract := gateway.GetNetwork("main").GetContract("assettransfer")
	must(contract.SubmitTransaction("CreateAsset", "a1", "blue", "5", "alice", "100"))
	fmt.Printf("%s\n", must(contract.EvaluateTransaction("ReadAsset", "a1")))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
