// Command client-go is a client of the Fabric Gateway, written as for Fabric, which says what it was answered.
//
//	client-go before|after ADDRESS CHANNEL IDENTITY TLS CHECKPOINT
//
// IDENTITY is an MSP directory of a user of Org1MSP; TLS a directory with tls-ca.pem, client.pem and client.key; CHECKPOINT a
// file. "before" calls the contract asset in every way, and reads three of the six events it causes, until the server ends. "after" goes
// on from the checkpoint.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

func main() {
	phase, address, channel, identityDir, tlsDir, checkpoint := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]
	certificate := must(identity.CertificateFromPEM(must(os.ReadFile(filepath.Join(identityDir, "signcerts", "cert.pem")))))
	key := must(identity.PrivateKeyFromPEM(must(os.ReadFile(filepath.Join(identityDir, "keystore", "key.pem")))))
	id := must(identity.NewX509Identity("Org1MSP", certificate))
	sign := must(identity.NewPrivateKeySign(key))
	pair := must(tls.LoadX509KeyPair(filepath.Join(tlsDir, "client.pem"), filepath.Join(tlsDir, "client.key")))
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(must(os.ReadFile(filepath.Join(tlsDir, "tls-ca.pem"))))
	connection := must(grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: authorities, Certificates: []tls.Certificate{pair},
	}))))
	defer connection.Close()
	tlsHash := sha256.Sum256(pair.Certificate[0])
	const timeout = 30 * time.Second
	options := []client.ConnectOption{
		client.WithClientConnection(connection), client.WithTLSClientCertificateHash(tlsHash[:]), client.WithHash(hash.SHA256),
		client.WithEvaluateTimeout(timeout), client.WithEndorseTimeout(timeout), client.WithSubmitTimeout(timeout), client.WithCommitStatusTimeout(timeout),
	}
	offline := must(client.Connect(id, options...))
	defer offline.Close()
	gateway := must(client.Connect(id, append(options, client.WithSign(sign))...))
	defer gateway.Close()

	network := gateway.GetNetwork(channel)
	if phase == "before" {
		contract := network.GetContract("asset")
		transactions(contract)
		signedElsewhere(offline, channel, sign)
		blocks(network)
		failures(gateway, contract)
		causeEvents(network, "e1", "e2", "e3", "e4", "e5", "e6")
		eventsUntilTheEnd(network, checkpoint)
		return
	}
	causeEvents(network, "e7", "e8", "e9")
	checkpointer := must(client.NewFileCheckpointer(checkpoint))
	defer checkpointer.Close()
	events("event", network, 6, client.WithCheckpoint(checkpointer))
	events("ledger", network, 9, client.WithStartBlock(0))
}

func transactions(contract *client.Contract) {
	fmt.Printf("submit: %s\n", must(contract.SubmitTransaction("CreateAsset", "a1", "blue", "5", "tomoko", "300")))
	fmt.Printf("evaluate: %s\n", must(contract.EvaluateTransaction("ReadAsset", "a1")))

	proposal := must(contract.NewProposal("TransferAsset", client.WithArguments("a1", "maria")))
	transaction := must(proposal.Endorse())
	fmt.Printf("endorse: %s\n", transaction.Result())
	outcome := must(must(transaction.Submit()).Status())
	fmt.Printf("status: %t %s, of the transaction %t\n", outcome.Successful, outcome.Code, outcome.TransactionID == proposal.TransactionID())
}

// signedElsewhere makes transactions where the key is not.
func signedElsewhere(gateway *client.Gateway, channel string, sign identity.Sign) {
	contract := gateway.GetNetwork(channel).GetContract("asset")
	query := must(contract.NewProposal("AssetExists", client.WithArguments("a1")))
	signedQuery := must(gateway.NewSignedProposal(must(query.Bytes()), must(sign(query.Digest()))))
	fmt.Printf("off-line evaluate: %s\n", must(signedQuery.Evaluate()))

	proposal := must(contract.NewProposal("TransferAsset", client.WithArguments("a1", "jin")))
	signedProposal := must(gateway.NewSignedProposal(must(proposal.Bytes()), must(sign(proposal.Digest()))))
	transaction := must(signedProposal.Endorse())
	signedTransaction := must(gateway.NewSignedTransaction(must(transaction.Bytes()), must(sign(transaction.Digest()))))
	commit := must(signedTransaction.Submit())
	outcome := must(must(gateway.NewSignedCommit(must(commit.Bytes()), must(sign(commit.Digest())))).Status())
	fmt.Printf("off-line submit: %s, %s\n", signedTransaction.Result(), outcome.Code)
}

func blocks(network *client.Network) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	whole := <-must(network.BlockEvents(ctx, client.WithStartBlock(0)))
	filtered := <-must(network.FilteredBlockEvents(ctx, client.WithStartBlock(1)))
	fmt.Printf("blocks: %d %d\n", whole.GetHeader().GetNumber(), filtered.GetNumber())
}

func failures(gateway *client.Gateway, contract *client.Contract) {
	_, err := contract.EvaluateTransaction("ReadAsset", "nothing")
	fmt.Printf("evaluate error: %s\n", told(err))

	proposal := must(contract.NewProposal("ReadAsset", client.WithArguments("nothing")))
	_, err = proposal.Endorse()
	endorse := as[*client.EndorseError](err)
	fmt.Printf("endorse error: %s, of the transaction %t\n", told(err), endorse.TransactionID == proposal.TransactionID())

	first := must(must(contract.NewProposal("TransferAsset", client.WithArguments("a1", "first"))).Endorse())
	late := must(must(contract.NewProposal("TransferAsset", client.WithArguments("a1", "second"))).Endorse())
	forge := must(identity.NewPrivateKeySign(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	_, err = must(gateway.NewSignedTransaction(must(first.Bytes()), must(forge(first.Digest())))).Submit()
	submit := as[*client.SubmitError](err)
	fmt.Printf("submit error: %s, of the transaction %t\n", told(err), submit.TransactionID == first.TransactionID())

	commit := must(first.Submit())
	_, err = must(gateway.NewSignedCommit(must(commit.Bytes()), must(forge(commit.Digest())))).Status()
	commitStatus := as[*client.CommitStatusError](err)
	fmt.Printf("commit status error: %s, of the transaction %t\n", told(err), commitStatus.TransactionID == first.TransactionID())

	// What the late one read has changed.
	must(commit.Status())
	outcome := must(must(late.Submit()).Status())
	fmt.Printf("late: %t %s\n", outcome.Successful, outcome.Code)

	// One organisation alone does not satisfy the policy.
	_, err = contract.Submit("TransferAsset", client.WithArguments("a1", "third"), client.WithEndorsingOrganizations("Org1MSP"))
	fmt.Printf("commit error: %s\n", as[*client.CommitError](err).Code)
}

// told returns what an error tells.
func told(err error) string {
	s := status.Convert(err)
	var details []string
	for _, d := range s.Details() {
		detail := d.(*gatewaypb.ErrorDetail)
		details = append(details, detail.GetMspId()+": "+detail.GetMessage())
	}
	return fmt.Sprintf("%d %s [%s]", s.Code(), s.Message(), strings.Join(details, "; "))
}

// causeEvents submits transactions at the same time, so that some are in one block.
func causeEvents(network *client.Network, names ...string) {
	contract := network.GetContract("probe")
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			must(contract.SubmitTransaction("run", fmt.Sprintf(`[{"op":"SetEvent","name":%q,"payload":"payload of %s"}]`, name, name)))
		})
	}
	all.Wait()
}

// eventsUntilTheEnd takes three events, and leaves the others.
func eventsUntilTheEnd(network *client.Network, checkpoint string) {
	checkpointer := must(client.NewFileCheckpointer(checkpoint))
	defer checkpointer.Close()
	taken := 0
	for event := range must(network.ChaincodeEvents(context.Background(), "probe", client.WithStartBlock(0), client.WithCheckpoint(checkpointer))) {
		if taken++; taken <= 3 {
			show("event", event)
			if err := checkpointer.CheckpointChaincodeEvent(event); err != nil {
				log.Fatal(err)
			}
		}
	}
	fmt.Println("the server ended")
}

func events(label string, network *client.Network, count int, options ...client.ChaincodeEventsOption) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for event := range must(network.ChaincodeEvents(ctx, "probe", options...)) {
		show(label, event)
		if count--; count == 0 {
			return
		}
	}
	log.Fatalf("%d events are missing", count)
}

func show(label string, event *client.ChaincodeEvent) {
	fmt.Printf("%s: %d %s %s %s\n", label, event.BlockNumber, event.TransactionID, event.EventName, event.Payload)
}

func as[T error](err error) T {
	var target T
	if !errors.As(err, &target) {
		log.Fatalf("got %v, want %T", err, target)
	}
	return target
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
