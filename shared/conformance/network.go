package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/msp"
)

// A Network is what a Fabric client can reach: gateways, each an organisation's, named by MSP id, and blocks.
//
// An error may carry a gRPC status (a method GRPCStatus() *status.Status somewhere in its chain) with gateway.ErrorDetail
// details: its code, message and details are compared. The context ends with the step's deadline.
type Network interface {
	Evaluate(ctx context.Context, gatewayMSP string, request *gateway.EvaluateRequest) (*gateway.EvaluateResponse, error)
	Endorse(ctx context.Context, gatewayMSP string, request *gateway.EndorseRequest) (*gateway.EndorseResponse, error)

	// Submit orders the transactions, in this order and, if the network can, in one block. It returns one error for each,
	// nil where it was accepted; it need not wait for the commit.
	Submit(ctx context.Context, gatewayMSP string, requests []*gateway.SubmitRequest) []error

	CommitStatus(ctx context.Context, gatewayMSP string, request *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error)

	// ChaincodeEvents begins a stream, which ends with ctx. An error may come at once or from the first Recv.
	ChaincodeEvents(ctx context.Context, gatewayMSP string, request *gateway.SignedChaincodeEventsRequest) (EventStream, error)

	// FilteredBlocks begins a stream of a channel's blocks, from a number on, as the user may see them; it waits for blocks
	// that are still to come, and ends with ctx.
	FilteredBlocks(ctx context.Context, gatewayMSP string, user *msp.Signer, channel string, from uint64) (BlockStream, error)
}

// An EventStream gives the chaincode events of one block after the other. Recv blocks until there are some.
type EventStream interface {
	Recv() (*gateway.ChaincodeEventsResponse, error)
}

// A BlockStream gives one block after the other. Recv blocks until there is one.
type BlockStream interface {
	Recv() (*peer.FilteredBlock, error)
}

// A User is one of those that steps name.
type User struct {
	Name       string // in steps
	MSPID      string
	CommonName string // of the certificate: what GetCreator reports
	Role       string // client, admin or peer
}

// Users are all users that scenarios name. OrdererMSP is an organisation without peers; the others have one each.
var Users = []User{
	{"org1user", "Org1MSP", "User1@org1.test", "client"},
	{"org1user2", "Org1MSP", "User2@org1.test", "client"},
	{"org1admin", "Org1MSP", "Admin@org1.test", "admin"},
	{"org2user", "Org2MSP", "User1@org2.test", "client"},
	{"org2admin", "Org2MSP", "Admin@org2.test", "admin"},
	{"org1peer", "Org1MSP", "peer0.org1.test", "peer"},
	{"ordereradmin", "OrdererMSP", "Admin@orderer.test", "admin"},
}

// Organizations are the members of both channels, alpha and beta.
var Organizations = []string{"Org1MSP", "Org2MSP"}

// A Chaincode is the probe as defined on a channel. The contract's code is the same under every name, but "other" is a
// process of its own.
type Chaincode struct {
	Channel, Name string
	Policy        string // empty: the channel's default, the majority of its organisations
	Collections   string // of private data, as Fabric's file has them; empty: none
}

// Chaincodes are all that scenarios call.
var Chaincodes = []Chaincode{
	{"alpha", "probe", "OR('Org1MSP.peer','Org2MSP.peer')", collections},
	{"beta", "probe", "OR('Org1MSP.peer','Org2MSP.peer')", ""},
	{"alpha", "other", "OR('Org1MSP.peer','Org2MSP.peer')", ""},
	{"beta", "other", "OR('Org1MSP.peer','Org2MSP.peer')", ""},
	{"alpha", "blank", "OR('Org1MSP.peer','Org2MSP.peer')", ""},
	{"alpha", "probeand", "AND('Org1MSP.peer','Org2MSP.peer')", ""},
	{"alpha", "probeoutof", "OutOf(2,'Org1MSP.peer','Org1MSP.member','Org2MSP.peer')", ""},
	{"alpha", "probeorg2", "OR('Org2MSP.peer')", ""},
	{"alpha", "probedefault", "", ""},
}

// collections are those of the probe on alpha.
const collections = `[
	{"name": "shared", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 1, "memberOnlyRead": true, "memberOnlyWrite": true},
	{"name": "org1only", "policy": "OR('Org1MSP.member')", "memberOnlyRead": true, "memberOnlyWrite": true},
	{"name": "org1open", "policy": "OR('Org1MSP.member')"},
	{"name": "brief", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 1, "blockToLive": 2, "memberOnlyRead": true, "memberOnlyWrite": true},
	{"name": "both", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 1, "memberOnlyRead": true, "memberOnlyWrite": true,
	 "endorsementPolicy": {"signaturePolicy": "AND('Org1MSP.peer','Org2MSP.peer')"}}]`

// Identities are who the steps' users are, by the names in Users.
type Identities map[string]*msp.Signer

// Issue makes identities of all users.
func Issue(issue func(User) (*msp.Signer, error)) (Identities, error) {
	identities := make(Identities, len(Users))
	for _, user := range Users {
		signer, err := issue(user)
		if err != nil {
			return nil, fmt.Errorf("issue %s: %w", user.Name, err)
		}
		identities[user.Name] = signer
	}
	return identities, nil
}

// user returns one of the identities, or an error that names it.
func (i Identities) user(name string) (*msp.Signer, error) {
	if signer := i[name]; signer != nil {
		return signer, nil
	}
	return nil, fmt.Errorf("there is no user %q", name)
}

// Foreign makes an identity that claims membership of an organisation with a certificate that it signed itself.
func Foreign(mspID string) (*msp.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make foreign identity: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "User1@org1.test", OrganizationalUnit: []string{"client"}},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make foreign identity: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make foreign identity: %w", err)
	}
	return msp.NewSigner(mspID,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
