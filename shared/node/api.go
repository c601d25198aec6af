package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"peerless/shared/api"
	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/msp"
)

// Handler returns the node's HTTP API behind an authenticator. heartbeat is the API's; 0 is its default.
func (n *Node) Handler(auth api.Authenticator, heartbeat time.Duration) (*api.Handler, error) {
	return n.Serve(api.Config{Auth: auth, Heartbeat: heartbeat})
}

// Serve is Handler for who configures more of it. What is not given is the node's: Gateway, Fabric, Deployer, Healthy and Logger.
func (n *Node) Serve(config api.Config) (*api.Handler, error) {
	if config.Gateway == nil {
		config.Gateway = n.API()
	}
	if config.Fabric == nil {
		config.Fabric = func(mspID string) api.FabricGateway { return n.Gateway.At(mspID) }
	}
	if config.Deployer == nil {
		config.Deployer = deployer{n}
	}
	if config.Platform == nil && n.Chaincodes != nil {
		config.Platform = platform{n}
	}
	if config.Healthy == nil {
		config.Healthy = n.Ledger.Healthy
	}
	if config.Logger == nil {
		config.Logger = n.Logger
	}
	return api.New(config)
}

// DevAuth believes what requests say about who sends them: for a server that only a developer's own machine reaches.
func (n *Node) DevAuth() *api.DevAuth {
	return &api.DevAuth{Organization: n.Organization, Signer: n.User, Known: func(mspID string) bool {
		has, err := n.Organizations.Has(mspID)
		return err == nil && has
	}}
}

// API is what the HTTP API calls.
func (n *Node) API() api.Gateway {
	return api.Over(n.Gateway, func(_ context.Context, channel string, organizations []string) (*common.Block, error) {
		return n.genesis(channel, organizations)
	})
}

// deployer deploys packages that come over HTTP.
type deployer struct{ *Node }

var _ api.Deployer = deployer{}

func (d deployer) Deploy(ctx context.Context, by *api.Principal, channel string, spec api.DeploySpec, pkg io.Reader) (*api.Chaincode, error) {
	if _, err := d.Gateway.Channel(ctx, channel); err != nil {
		return nil, err
	}
	if spec.Function.Name != "" {
		return nil, invalid(errors.New("this server runs packages, not Lambda functions: send the package itself"))
	}
	raw, err := io.ReadAll(io.LimitReader(pkg, deploy.MaxPackage+1))
	if err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	collections, err := collection.Parse([]byte(spec.Collections))
	if err != nil {
		return nil, &api.Problem{Code: api.CodeInvalidRequest, Field: "collections", Detail: err.Error()}
	}
	if deploy.IsFunction(raw) {
		if spec.Name == "" {
			return nil, invalid(errors.New("a function zip has no label: give the chaincode's name, ?name="))
		}
		if raw, err = deploy.FromFunction(spec.Name, raw); err != nil {
			return nil, installError(err)
		}
	}
	organizations, err := by.Approves(spec.Organization)
	if err != nil {
		return nil, err
	}
	creator, err := d.creator(ctx, by, channel)
	if err != nil {
		return nil, err
	}
	definition := gateway.Definition{Name: spec.Name, Version: spec.Version, Policy: spec.Policy, Sequence: spec.Sequence, InitRequired: spec.InitRequired, Collections: collections}
	defined, err := d.deploy(ctx, creator, channel, raw, gateway.Agreement{Definition: definition, Organizations: organizations})
	if err != nil {
		return nil, err
	}
	return d.Chaincode(ctx, channel, defined.Name)
}

func (d deployer) Approve(ctx context.Context, by *api.Principal, channel string, spec api.DeploySpec) error {
	organizations, err := by.Approves(spec.Organization)
	if err != nil {
		return err
	}
	agreement, err := spec.Approval(organizations)
	if err != nil {
		return err
	}
	creator, err := d.creator(ctx, by, channel)
	if err != nil {
		return err
	}
	_, err = d.Gateway.Agree(ctx, channel, creator, agreement)
	return err
}

// creator signs the definitions that a principal asks for.
func (d deployer) creator(ctx context.Context, by *api.Principal, channel string) (*msp.Signer, error) {
	if by.Operator {
		return d.Operator(ctx, channel)
	}
	return by.Signer()
}

func (d deployer) Remove(ctx context.Context, by *api.Principal, channel, name string) error {
	creator, err := d.creator(ctx, by, channel)
	if err != nil {
		return err
	}
	return d.remove(ctx, creator, channel, name)
}

func (d deployer) Chaincodes(ctx context.Context, channel string) ([]api.Chaincode, error) {
	return api.DescribeAll(ctx, d.Gateway, channel, func(definition gateway.Definition) (*api.Chaincode, error) { return d.chaincode(channel, definition) })
}

func (d deployer) Chaincode(ctx context.Context, channel, name string) (*api.Chaincode, error) {
	return api.Describe(ctx, d.Gateway, channel, name, func(definition gateway.Definition) (*api.Chaincode, error) { return d.chaincode(channel, definition) })
}

// chaincode joins what a channel defines with what is installed for it here.
func (d deployer) chaincode(channel string, definition gateway.Definition) (*api.Chaincode, error) {
	c := &api.Chaincode{Name: definition.Name, Version: definition.Version, Sequence: definition.Sequence, Policy: definition.Policy, InitRequired: definition.InitRequired}
	var err error
	if c.Collections, err = collection.Format(definition.Collections); err != nil {
		return nil, err
	}
	installed, err := d.Node.Chaincodes.Binding(channel, definition.Name)
	if errors.Is(err, deploy.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.PackageID, c.Language = installed.Package, string(installed.Type)
	return c, nil
}
