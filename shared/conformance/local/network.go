// Package local is a Peerless network within this process, set up as the recorded Fabric network was: two channels of two
// organisations, and the probe under all its names. Tests choose the store and where the chaincodes run.
package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/conformance"
	peerlessgateway "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/wire"
)

// chaincodeTime is how long a chaincode may take on the recorded network.
const chaincodeTime = 4 * time.Second

// A Config says what a network runs on.
type Config struct {
	Store ledger.Store // the caller closes it, after the network
	// Shared says that other processes may write to the store too.
	Shared bool
	// Host starts a chaincode's process, once for each name. The network closes it.
	Host func(name string) (chaincode.Host, error)
}

// A Network is Peerless behind the interface of the conformance runner.
type Network struct {
	gateway *peerlessgateway.Service
	ledger  *ledger.Ledger
	hosts   hosts
}

var _ conformance.Network = (*Network)(nil)

// Start makes the channels, defines the chaincodes and issues the users' certificates.
func Start(ctx context.Context, config Config) (*Network, conformance.Identities, error) {
	registry, err := organization.Open(context.Background(), organization.Config{})
	if err != nil {
		return nil, nil, fmt.Errorf("start network: %w", err)
	}
	orderer, err := registry.Orderer()
	if err != nil {
		return nil, nil, fmt.Errorf("start network: %w", err)
	}
	channels, err := ledger.Open(ledger.Config{Store: config.Store, Signer: orderer.Orderer(), Shared: config.Shared, Keys: registry})
	if err != nil {
		return nil, nil, fmt.Errorf("start network: %w", err)
	}
	n := &Network{ledger: channels, hosts: hosts{start: config.Host}}
	n.gateway, err = peerlessgateway.New(peerlessgateway.Config{
		Ledger: channels, Chaincodes: &n.hosts, Organizations: registry, ChaincodeTime: chaincodeTime,
		StateDatabase: peerlessgateway.LevelDB, // the recorded network's
	})
	if err == nil {
		err = n.setUp(ctx, registry, orderer)
	}
	var identities conformance.Identities
	if err == nil {
		identities, err = conformance.Issue(func(user conformance.User) (*msp.Signer, error) { return issue(registry, user) })
	}
	if err != nil {
		return nil, nil, fmt.Errorf("start network: %w", errors.Join(err, n.Close()))
	}
	return n, identities, nil
}

// Close stops the chaincodes and the ledger. The store stays open.
func (n *Network) Close() error { return errors.Join(n.hosts.close(), n.ledger.Close()) }

// Service returns what answers.
func (n *Network) Service() *peerlessgateway.Service { return n.gateway }

// Ledger returns what the scenarios wrote to.
func (n *Network) Ledger() *ledger.Ledger { return n.ledger }

func (n *Network) setUp(ctx context.Context, registry *organization.Registry, orderer *organization.Organization) error {
	spec := channelconfig.Spec{Orderer: channelconfig.Organization{MSPID: orderer.MSPID(), MSP: orderer.MSPConfig()}}
	for _, mspID := range conformance.Organizations {
		member, err := registry.Organization(mspID)
		if err != nil {
			return err
		}
		spec.Organizations = append(spec.Organizations, channelconfig.Organization{MSPID: mspID, MSP: member.MSPConfig()})
	}
	first, err := registry.Organization(conformance.Organizations[0])
	if err != nil {
		return err
	}
	admin, err := first.Admin("Admin@org1.test")
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for _, defined := range conformance.Chaincodes {
		if !made[defined.Channel] {
			made[defined.Channel] = true
			spec.Channel = defined.Channel
			genesis, err := channelconfig.Genesis(spec, time.Now())
			if err != nil {
				return err
			}
			if err := n.gateway.CreateChannel(ctx, genesis); err != nil {
				return err
			}
		}
		collections, err := collection.Parse([]byte(defined.Collections))
		if err != nil {
			return err
		}
		definition := peerlessgateway.Definition{Name: defined.Name, Version: "1", Policy: defined.Policy, Collections: collections}
		if _, err := n.gateway.Define(ctx, defined.Channel, admin, definition); err != nil {
			return err
		}
	}
	return nil
}

func issue(registry *organization.Registry, user conformance.User) (*msp.Signer, error) {
	member, err := registry.Organization(user.MSPID)
	if err != nil {
		return nil, err
	}
	switch user.Role {
	case msp.RoleAdmin:
		return member.Admin(user.CommonName)
	case msp.RolePeer:
		return member.Endorser().Signer, nil
	}
	return member.User(user.CommonName, nil)
}

// hosts runs one process for each name of the probe, whatever channels call it.
type hosts struct {
	start   func(name string) (chaincode.Host, error)
	mu      sync.Mutex
	started map[string]chaincode.Host
}

// Host returns the process of a chaincode, which it starts at the first call.
func (h *hosts) Host(_ context.Context, channel, name, _ string) (chaincode.Host, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if host := h.started[name]; host != nil {
		return host, nil
	}
	for _, defined := range conformance.Chaincodes {
		if defined.Name != name {
			continue
		}
		host, err := h.start(name)
		if err != nil {
			return nil, err
		}
		if h.started == nil {
			h.started = map[string]chaincode.Host{}
		}
		h.started[name] = host
		return host, nil
	}
	return nil, fmt.Errorf("chaincode %s on channel %s: %w", name, channel, ledger.ErrNotFound)
}

func (h *hosts) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, host := range h.started {
		errs = append(errs, host.Close())
	}
	return errors.Join(errs...)
}

// Evaluate implements conformance.Network.
func (n *Network) Evaluate(ctx context.Context, mspID string, request *gateway.EvaluateRequest) (*gateway.EvaluateResponse, error) {
	return n.gateway.At(mspID).Evaluate(ctx, request)
}

// Endorse implements conformance.Network.
func (n *Network) Endorse(ctx context.Context, mspID string, request *gateway.EndorseRequest) (*gateway.EndorseResponse, error) {
	return n.gateway.At(mspID).Endorse(ctx, request)
}

// Submit implements conformance.Network.
func (n *Network) Submit(ctx context.Context, mspID string, requests []*gateway.SubmitRequest) []error {
	return n.gateway.At(mspID).SubmitAll(ctx, requests)
}

// CommitStatus implements conformance.Network.
func (n *Network) CommitStatus(ctx context.Context, mspID string, request *gateway.SignedCommitStatusRequest) (*gateway.CommitStatusResponse, error) {
	return n.gateway.At(mspID).CommitStatus(ctx, request)
}

// ChaincodeEvents implements conformance.Network.
func (n *Network) ChaincodeEvents(ctx context.Context, mspID string, request *gateway.SignedChaincodeEventsRequest) (conformance.EventStream, error) {
	s := &eventStream{ctx: ctx, responses: make(chan *gateway.ChaincodeEventsResponse), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = n.gateway.At(mspID).ChaincodeEvents(ctx, request, s.send)
	}()
	return s, nil
}

// eventStream turns a method that sends into one to receive from.
type eventStream struct {
	ctx       context.Context
	responses chan *gateway.ChaincodeEventsResponse
	ended     chan struct{} // closed when err is set
	err       error
}

func (s *eventStream) send(response *gateway.ChaincodeEventsResponse) error {
	select {
	case s.responses <- response:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *eventStream) Recv() (*gateway.ChaincodeEventsResponse, error) {
	select {
	case response := <-s.responses:
		return response, nil
	case <-s.ended:
		return nil, s.err
	}
}

// FilteredBlocks implements conformance.Network. Whoever is in this process may read every block.
func (n *Network) FilteredBlocks(ctx context.Context, _ string, _ *msp.Signer, channel string, from uint64) (conformance.BlockStream, error) {
	blocks, err := n.ledger.Channel(ctx, channel)
	if err != nil {
		return nil, err
	}
	return &blockStream{ctx, blocks, from}, nil
}

type blockStream struct {
	ctx     context.Context
	channel *ledger.Channel
	next    uint64
}

func (s *blockStream) Recv() (*peer.FilteredBlock, error) {
	if err := s.channel.Wait(s.ctx, s.next); err != nil {
		return nil, err
	}
	block, err := s.channel.Block(s.ctx, s.next)
	if err != nil {
		return nil, err
	}
	s.next++
	return wire.FilterBlock(block)
}
