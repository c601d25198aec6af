package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	apiclient "peerless/shared/api/client"
	"peerless/shared/collection"
	"peerless/shared/endorser"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/msp/mspdir"
	"peerless/shared/organization"
)

// platformConfig is the way to a platform's gRPC listener.
type platformConfig struct{ from, fromCA, fromCert, fromKey string }

func (c *platformConfig) addTo(f *pflag.FlagSet, purpose string) {
	f.StringVar(&c.from, "from", defaultGRPC, "the platform's gRPC listener, "+purpose)
	f.StringVar(&c.fromCA, "from-ca", "", "a PEM file with the authority of the platform's TLS certificate; left out: plain text")
	f.StringVar(&c.fromCert, "from-cert", "", "a PEM file with a TLS certificate to show to the platform")
	f.StringVar(&c.fromKey, "from-key", "", "a PEM file with its key")
}

func (c *platformConfig) check() error {
	switch {
	case (c.fromCert == "") != (c.fromKey == ""):
		return errors.New("--from-cert and --from-key go together")
	case c.fromCert != "" && c.fromCA == "":
		return errors.New("--from-cert needs --from-ca")
	}
	return nil
}

func (c *platformConfig) connection() (organization.Connection, error) {
	to := organization.Connection{Address: c.from}
	for _, part := range []struct {
		file string
		into *[]byte
	}{{c.fromCA, &to.RootCert}, {c.fromCert, &to.ClientCert}, {c.fromKey, &to.ClientKey}} {
		if part.file == "" {
			continue
		}
		var err error
		if *part.into, err = os.ReadFile(part.file); err != nil {
			return to, fmt.Errorf("the way to the platform: %w", err)
		}
	}
	return to, nil
}

// A signedApproval is one that an organisation's administrator signs, whose key the platform does not have: a transaction through the
// Fabric Gateway, endorsed by the organisation's own endorser.
type signedApproval struct {
	platformConfig
	msp string // the administrator's MSP directory
}

// approveTime is how long an approval may take: its endorser may have to catch up first.
const approveTime = time.Minute

// approve records the approval and returns its transaction's id, and the sequence approved.
func (s *signedApproval) approve(ctx context.Context, spec apiclient.DeploySpec) (txID string, sequence int64, err error) {
	certificate, key, err := mspdir.Signer(s.msp)
	if err == nil && certificate == nil {
		err = fmt.Errorf("%s has no certificate in signcerts", s.msp)
	}
	if err != nil {
		return "", 0, err
	}
	administrator, err := msp.NewSigner(spec.Organization, certificate, key)
	if err != nil {
		return "", 0, err
	}
	args, err := approvalOf(spec)
	if err != nil {
		return "", 0, err
	}
	to, err := s.connection()
	if err != nil {
		return "", 0, err
	}
	connection, err := endorser.Dial(to)
	if err != nil {
		return "", 0, err
	}
	defer connection.Close()
	// The signer hashes by itself.
	connected, err := client.Connect(asIdentity{administrator}, client.WithSign(administrator.Sign), client.WithHash(hash.NONE), client.WithClientConnection(connection))
	if err != nil {
		return "", 0, err
	}
	defer connected.Close()
	ctx, cancel := context.WithTimeout(ctx, approveTime)
	defer cancel()
	contract := connected.GetNetwork(spec.Channel).GetContract(ledger.LifecycleNamespace)
	if args.Sequence == 0 {
		if args.Sequence, err = nextSequence(ctx, contract, spec.Name); err != nil {
			return "", 0, gatewayError(err)
		}
	}
	encoded, err := proto.Marshal(args)
	if err != nil {
		return "", 0, err
	}
	proposal, err := contract.NewProposal("ApproveChaincodeDefinitionForMyOrg", client.WithBytesArguments(encoded), client.WithEndorsingOrganizations(spec.Organization))
	if err != nil {
		return "", 0, err
	}
	transaction, err := proposal.EndorseWithContext(ctx)
	if err != nil {
		return "", 0, gatewayError(err)
	}
	commit, err := transaction.SubmitWithContext(ctx)
	if err != nil {
		return "", 0, gatewayError(err)
	}
	committed, err := commit.StatusWithContext(ctx)
	if err != nil {
		return "", 0, gatewayError(err)
	}
	if !committed.Successful {
		return "", 0, fmt.Errorf("transaction %s is invalid: %s", committed.TransactionID, committed.Code)
	}
	return committed.TransactionID, args.Sequence, nil
}

// asIdentity is a signer as the Fabric Gateway's client wants an identity.
type asIdentity struct{ *msp.Signer }

func (id asIdentity) MspID() string { return id.MSPID }
func (id asIdentity) Credentials() []byte {
	certificate, _, _ := id.PEM() // the key is in this process
	return certificate
}

func approvalOf(spec apiclient.DeploySpec) (*lifecycle.ApproveChaincodeDefinitionForMyOrgArgs, error) {
	policy, err := gateway.ApplicationPolicy(spec.Policy)
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	parameter, err := proto.Marshal(policy)
	if err != nil {
		return nil, err
	}
	collections, err := collection.Parse([]byte(spec.Collections))
	if err != nil {
		return nil, fmt.Errorf("--collections: %w", err)
	}
	return &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{Name: spec.Name, Version: spec.Version, Sequence: spec.Sequence, InitRequired: spec.InitRequired,
		ValidationParameter: parameter, Collections: collections,
		Source: &lifecycle.ChaincodeSource{Type: &lifecycle.ChaincodeSource_Unavailable_{Unavailable: &lifecycle.ChaincodeSource_Unavailable{}}}}, nil
}

// nextSequence is the one after that of the chaincode's present definition.
func nextSequence(ctx context.Context, contract *client.Contract, name string) (int64, error) {
	query, err := proto.Marshal(&lifecycle.QueryChaincodeDefinitionsArgs{})
	if err != nil {
		return 0, err
	}
	answer, err := contract.EvaluateWithContext(ctx, "QueryChaincodeDefinitions", client.WithBytesArguments(query))
	if err != nil {
		return 0, err
	}
	defined := &lifecycle.QueryChaincodeDefinitionsResult{}
	if err := proto.Unmarshal(answer, defined); err != nil {
		return 0, err
	}
	for _, d := range defined.ChaincodeDefinitions {
		if d.Name == name {
			return d.Sequence + 1, nil
		}
	}
	return 1, nil
}

// gatewayError is what a gateway said, with what its endorsers did.
func gatewayError(err error) error {
	said, ok := status.FromError(err) // a client's error is wrapped around the status, an evaluation's is none
	if inner := errors.Unwrap(err); inner != nil {
		said, ok = status.FromError(inner)
	}
	if !ok {
		return err
	}
	text := said.Message()
	for _, detail := range said.Details() {
		if d, ok := detail.(*gatewaypb.ErrorDetail); ok {
			text += "; " + strings.TrimSpace(d.GetAddress()+" "+d.GetMspId()+": "+d.GetMessage())
		}
	}
	return errors.New(text)
}
