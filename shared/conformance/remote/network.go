// Package remote drives a server as Fabric's own clients do: over gRPC, through the unmodified Fabric Gateway client for Go. What
// that client would not send, a request without a signature, goes out as a plain gRPC call.
package remote

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"peerless/shared/conformance"
	"peerless/shared/msp"
)

// A Network is a server's gateways behind the interface of the conformance runner.
type Network struct {
	gateways map[string]*endpoint // by MSP id
	options  []client.ConnectOption
	close    []func() error
}

var _ conformance.Network = (*Network)(nil)

// endpoint is one organisation's gateway.
type endpoint struct {
	tap tap
	raw gateway.GatewayClient
	any *client.Gateway // sends what others signed
}

// maxMessage is the largest answer taken, in bytes: a block may have many transactions.
const maxMessage = 64 << 20

// Dial connects to the gateways at addresses, by MSP id. anyone is an identity for the client to have: requests come signed. A nil
// config is plain text.
func Dial(addresses map[string]string, anyone *msp.Signer, config *tls.Config) (*Network, error) {
	var options []client.ConnectOption
	transport := insecure.NewCredentials()
	if config != nil {
		transport = credentials.NewTLS(config)
		for _, own := range config.Certificates {
			hash := sha256.Sum256(own.Certificate[0])
			options = append(options, client.WithTLSClientCertificateHash(hash[:]))
		}
	}
	connections, closing := map[string]grpc.ClientConnInterface{}, []func() error{}
	for mspID, address := range addresses {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
		if err != nil {
			return nil, errors.Join(err, (&Network{close: closing}).Close())
		}
		connections[mspID], closing = conn, append(closing, conn.Close)
	}
	n, err := Over(connections, anyone, options...)
	if err != nil {
		return nil, errors.Join(err, (&Network{close: closing}).Close())
	}
	n.close = closing
	return n, nil
}

// Over is Dial where there are connections already. The caller closes them.
func Over(connections map[string]grpc.ClientConnInterface, anyone *msp.Signer, options ...client.ConnectOption) (*Network, error) {
	n := &Network{gateways: map[string]*endpoint{}, options: options}
	for mspID, conn := range connections {
		e := &endpoint{tap: tap{conn}, raw: gateway.NewGatewayClient(conn)}
		var err error
		if e.any, err = Connect(anyone, e.tap, options...); err != nil {
			return nil, err
		}
		n.gateways[mspID] = e
	}
	return n, nil
}

// Close ends the connections that Dial made.
func (n *Network) Close() error {
	var errs []error
	for _, close := range n.close {
		errs = append(errs, close())
	}
	return errors.Join(errs...)
}

// identity is a signer as the Fabric Gateway client wants one.
type identity struct{ *msp.Signer }

func (i identity) MspID() string { return i.MSPID }
func (i identity) Credentials() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Cert.Raw})
}

// Connect makes a Fabric Gateway client of a user over a connection.
func Connect(user *msp.Signer, conn grpc.ClientConnInterface, options ...client.ConnectOption) (*client.Gateway, error) {
	return client.Connect(identity{user}, append(options, client.WithClientConnection(conn), client.WithHash(hash.NONE), client.WithSign(user.Sign))...)
}

func (n *Network) at(mspID string) (*endpoint, error) {
	if e := n.gateways[mspID]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("there is no gateway of %q", mspID)
}

// proposal makes the client's proposal of a request that is signed.
func (e *endpoint) proposal(txID string, signed *peer.SignedProposal, organizations []string) (*client.Proposal, error) {
	encoded, err := proto.Marshal(&gateway.ProposedTransaction{TransactionId: txID, Proposal: signed, EndorsingOrganizations: organizations})
	if err != nil {
		return nil, err
	}
	return e.any.NewSignedProposal(encoded, signed.GetSignature())
}

// Evaluate implements conformance.Network.
func (n *Network) Evaluate(ctx context.Context, mspID string, request *gateway.EvaluateRequest) (*gateway.EvaluateResponse, error) {
	e, err := n.at(mspID)
	if err != nil {
		return nil, err
	}
	if len(request.GetProposedTransaction().GetSignature()) == 0 {
		return e.raw.Evaluate(ctx, request)
	}
	proposal, err := e.proposal(request.GetTransactionId(), request.GetProposedTransaction(), request.GetTargetOrganizations())
	if err != nil {
		return nil, err
	}
	heard := &reply{}
	if _, err := proposal.EvaluateWithContext(heard.in(ctx)); err != nil {
		return nil, err
	}
	response, ok := heard.message.(*gateway.EvaluateResponse)
	if !ok {
		return nil, fmt.Errorf("evaluate was answered with %T", heard.message)
	}
	return response, nil
}

// Endorse implements conformance.Network.
func (n *Network) Endorse(ctx context.Context, mspID string, request *gateway.EndorseRequest) (*gateway.EndorseResponse, error) {
	e, err := n.at(mspID)
	if err != nil {
		return nil, err
	}
	if len(request.GetProposedTransaction().GetSignature()) == 0 {
		return e.raw.Endorse(ctx, request)
	}
	proposal, err := e.proposal(request.GetTransactionId(), request.GetProposedTransaction(), request.GetEndorsingOrganizations())
	if err != nil {
		return nil, err
	}
	transaction, err := proposal.EndorseWithContext(ctx)
	if err != nil {
		return nil, err
	}
	encoded, err := transaction.Bytes()
	if err != nil {
		return nil, err
	}
	var prepared gateway.PreparedTransaction
	if err := proto.Unmarshal(encoded, &prepared); err != nil {
		return nil, err
	}
	return &gateway.EndorseResponse{PreparedTransaction: prepared.GetEnvelope()}, nil
}

// Submit implements conformance.Network: one call after the other, which is how a client keeps an order.
func (n *Network) Submit(ctx context.Context, mspID string, requests []*gateway.SubmitRequest) []error {
	errs := make([]error, len(requests))
	for i, request := range requests {
		errs[i] = n.submit(ctx, mspID, request)
	}
	return errs
}

func (n *Network) submit(ctx context.Context, mspID string, request *gateway.SubmitRequest) error {
	e, err := n.at(mspID)
	if err != nil {
		return err
	}
	envelope := request.GetPreparedTransaction()
	encoded, err := proto.Marshal(&gateway.PreparedTransaction{TransactionId: request.GetTransactionId(), Envelope: envelope})
	if err != nil {
		return err
	}
	transaction, err := e.any.NewSignedTransaction(encoded, envelope.GetSignature())
	if err != nil {
		return err
	}
	_, err = transaction.SubmitWithContext(ctx)
	return err
}

// CommitStatus implements conformance.Network.
func (n *Network) CommitStatus(ctx context.Context, mspID string, request *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error) {
	e, err := n.at(mspID)
	if err != nil {
		return nil, err
	}
	if len(request.GetSignature()) == 0 {
		return e.raw.CommitStatus(ctx, request)
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	commit, err := e.any.NewSignedCommit(encoded, request.GetSignature())
	if err != nil {
		return nil, err
	}
	status, err := commit.StatusWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return &gateway.CommitStatusResponse{Result: status.Code, BlockNumber: status.BlockNumber}, nil
}

// ChaincodeEvents implements conformance.Network.
func (n *Network) ChaincodeEvents(ctx context.Context, mspID string, request *gateway.SignedChaincodeEventsRequest) (conformance.EventStream, error) {
	e, err := n.at(mspID)
	if err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	signed, err := e.any.NewSignedChaincodeEventsRequest(encoded, request.GetSignature())
	if err != nil {
		return nil, err
	}
	s := &events{}
	if s.events, err = signed.Events(s.end.in(ctx)); err != nil {
		return nil, err
	}
	return s, nil
}

// events are what the client makes of a stream: one event after the other, and no word of why it ended.
type events struct {
	events <-chan *client.ChaincodeEvent
	end    reply
}

func (s *events) Recv() (*gateway.ChaincodeEventsResponse, error) {
	event, ok := <-s.events
	if !ok {
		return nil, s.end.reason()
	}
	return &gateway.ChaincodeEventsResponse{BlockNumber: event.BlockNumber, Events: []*peer.ChaincodeEvent{{
		ChaincodeId: event.ChaincodeName, TxId: event.TransactionID, EventName: event.EventName, Payload: event.Payload,
	}}}, nil
}

// FilteredBlocks implements conformance.Network.
func (n *Network) FilteredBlocks(ctx context.Context, mspID string, user *msp.Signer, channel string, from uint64) (conformance.BlockStream, error) {
	if mspID == "" {
		mspID = user.MSPID
	}
	e, err := n.at(mspID)
	if err != nil {
		return nil, err
	}
	own, err := Connect(user, e.tap, n.options...)
	if err != nil {
		return nil, err
	}
	s := &blocks{}
	if s.blocks, err = own.GetNetwork(channel).FilteredBlockEvents(s.end.in(ctx), client.WithStartBlock(from)); err != nil {
		return nil, err
	}
	return s, nil
}

type blocks struct {
	blocks <-chan *peer.FilteredBlock
	end    reply
}

func (s *blocks) Recv() (*peer.FilteredBlock, error) {
	block, ok := <-s.blocks
	if !ok {
		return nil, s.end.reason()
	}
	return block, nil
}
