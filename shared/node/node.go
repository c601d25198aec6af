// Package node is one process's worth of Peerless: a ledger on a store, the gateway, the organisations whose keys the platform
// holds, and the chaincodes that are deployed, put together once for the server, the benchmarks and contract tests.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	"peerless/shared/deploy"
	"peerless/shared/docstore"
	"peerless/shared/endorser"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/secret"
	"peerless/shared/wire"
)

// DefaultOrganization is the MSP id of the platform's own organisation.
const DefaultOrganization = "PeerlessMSP"

// A Config says what a node is made of. Store is required.
type Config struct {
	// Store keeps the ledger. It is opened and closed by the caller.
	Store ledger.Store
	// Data is the directory of identities and packages. Empty: they last as long as the node.
	Data string
	// Documents keeps what the control plane has, identities among it. nil: Data/control, or memory.
	Documents docstore.Store
	// Sealer seals private keys. nil: the key in Data/seal.key, which is made if need be.
	Sealer secret.Sealer
	// Authorities has the keys of authorities that are made from now on, which never leave it. nil: they are made here, and sealed.
	Authorities organization.Authorities
	// Organization is the MSP id of the platform's own organisation. Default DefaultOrganization.
	Organization string
	// Registry holds the organisations. nil: it is opened over Documents.
	Registry *organization.Registry
	// Hosts says where chaincodes run. nil: packages are installed below Data, and run here. With it the node has no Chaincodes, and
	// what deploys on it is the caller's.
	Hosts gateway.Chaincodes

	LedgerConfig  ledger.Config  // Store, Signer, Keys and Logger are filled in, and CheckpointKey if there is none
	GatewayConfig gateway.Config // Ledger, Chaincodes, Organizations and Logger are filled in, and Remote if there is none
	DeployConfig  deploy.Config  // Logger is filled in
	Logger        *slog.Logger   // default: none
}

// A Node is a running platform. Safe for concurrent use.
type Node struct {
	Config
	Gateway       *gateway.Service
	Ledger        *ledger.Ledger
	Chaincodes    *deploy.Manager // nil if the configuration has Hosts
	Organizations *organization.Registry

	endorsers endorser.Client // those that run elsewhere
	temporary string          // removed by Close
}

// Open opens a node. Chaincodes that were deployed start when they are first called.
func Open(config Config) (*Node, error) {
	if config.Store == nil {
		return nil, errors.New("open node: a store is required")
	}
	if config.Organization == "" {
		config.Organization = DefaultOrganization
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{Config: config}
	if err := n.open(); err != nil {
		n.Close()
		return nil, fmt.Errorf("open node: %w", err)
	}
	return n, nil
}

// What lies where in Data.
const (
	DocumentsDir  = "control"
	SealKeyFile   = "seal.key"
	chaincodesDir = "chaincodes"
)

// Where identities lay before they were documents.
const (
	legacyOrganizations = "organizations"
	legacyCheckpoints   = "checkpoints"
)

// memoryLimit is how many documents a node without a directory keeps: users, mostly, of about a kilobyte each.
const memoryLimit = 100_000

func (n *Node) open() error {
	deployments := filepath.Join(n.Data, chaincodesDir)
	if n.Data == "" && n.Hosts == nil {
		var err error
		if n.temporary, err = os.MkdirTemp("", "peerless-"); err != nil {
			return err
		}
		deployments = n.temporary
	}
	if err := n.openIdentities(); err != nil {
		return err
	}
	if _, err := n.Organizations.Organization(n.Organization); err != nil {
		return err
	}
	orderer, err := n.Organizations.Orderer()
	if err != nil {
		return err
	}
	ledgerConfig := n.LedgerConfig
	if ledgerConfig.CheckpointKey == nil {
		if ledgerConfig.CheckpointKey, err = n.Organizations.CheckpointKey(); err != nil {
			return err
		}
	}
	ledgerConfig.Store, ledgerConfig.Signer, ledgerConfig.Keys, ledgerConfig.Logger = n.Store, orderer.Orderer(), n.Organizations, n.Logger
	if n.Ledger, err = ledger.Open(ledgerConfig); err != nil {
		return err
	}
	hosts := n.Hosts
	if hosts == nil {
		deployConfig := n.DeployConfig
		deployConfig.Logger = n.Logger
		if n.Chaincodes, err = deploy.Open(deployments, deployConfig); err != nil {
			return err
		}
		hosts = n.Chaincodes
	}
	gatewayConfig := n.GatewayConfig
	if gatewayConfig.Remote == nil {
		gatewayConfig.Remote = &n.endorsers
	}
	gatewayConfig.Ledger, gatewayConfig.Chaincodes, gatewayConfig.Organizations, gatewayConfig.Logger = n.Ledger, hosts, n.Organizations, n.Logger
	n.Gateway, err = gateway.New(gatewayConfig)
	return err
}

// openIdentities opens the documents, and takes identities over from an older data directory.
func (n *Node) openIdentities() (err error) {
	switch {
	case n.Documents == nil && n.Data == "":
		n.Documents = docstore.NewMem(memoryLimit)
	case n.Documents == nil:
		if n.Documents, err = docstore.OpenDir(filepath.Join(n.Data, DocumentsDir)); err != nil {
			return err
		}
	}
	if n.Organizations = n.Registry; n.Organizations != nil {
		return nil
	}
	switch {
	case n.Sealer == nil && n.Data == "":
		n.Sealer = secret.NewKey()
	case n.Sealer == nil:
		if n.Sealer, err = SealKey(n.Data, ""); err != nil {
			return err
		}
	}
	ctx := context.Background()
	n.Organizations, err = organization.Open(ctx, organization.Config{Store: n.Documents, Sealer: n.Sealer, Authorities: n.Authorities})
	if err != nil || n.Data == "" {
		return err
	}
	return n.Organizations.Import(ctx, filepath.Join(n.Data, legacyOrganizations), filepath.Join(n.Data, legacyCheckpoints))
}

// Close waits until what was accepted is committed, and ends the chaincodes. The store stays open.
func (n *Node) Close() error {
	var errs []error
	if n.Ledger != nil {
		errs = append(errs, n.Ledger.Close())
	}
	if n.Chaincodes != nil {
		errs = append(errs, n.Chaincodes.Close())
	}
	errs = append(errs, n.endorsers.Close())
	if n.temporary != "" {
		errs = append(errs, os.RemoveAll(n.temporary))
	}
	return errors.Join(errs...)
}

// CreateChannel makes a channel of the organisations with these MSP ids, which the platform makes where it does not know them;
// of its own, if none are named.
func (n *Node) CreateChannel(ctx context.Context, name string, organizations []string) error {
	genesis, err := n.genesis(name, organizations)
	if err != nil {
		return err
	}
	return n.Gateway.CreateChannel(ctx, genesis)
}

func (n *Node) genesis(name string, organizations []string) (*common.Block, error) {
	if len(organizations) == 0 {
		organizations = []string{n.Organization}
	}
	spec := channelconfig.Spec{Channel: name}
	for _, id := range organizations {
		if id == organization.OrdererMSP {
			return nil, invalid(fmt.Errorf("%s signs blocks and cannot be a member of a channel", id))
		}
		o, err := n.Organizations.Organization(id)
		if errors.Is(err, organization.ErrName) {
			return nil, invalid(err)
		}
		if err != nil {
			return nil, fmt.Errorf("create channel %s: %w", name, err)
		}
		spec.Organizations = append(spec.Organizations, channelconfig.Organization{MSPID: id, MSP: o.MSPConfig()})
	}
	orderer, err := n.Organizations.Orderer()
	if err != nil {
		return nil, fmt.Errorf("create channel %s: %w", name, err)
	}
	spec.Orderer = channelconfig.Organization{MSPID: organization.OrdererMSP, MSP: orderer.MSPConfig()}
	genesis, err := channelconfig.Genesis(spec, time.Now())
	if errors.Is(err, channelconfig.ErrSpec) {
		return nil, invalid(err)
	}
	return genesis, err
}

// EnsureChannel makes a channel of the platform's own organisation unless there is one by that name.
func (n *Node) EnsureChannel(ctx context.Context, name string) error {
	_, err := n.Ledger.Channel(ctx, name)
	if !errors.Is(err, ledger.ErrNotFound) {
		return err
	}
	err = n.CreateChannel(ctx, name, nil)
	if errors.Is(err, ledger.ErrExists) {
		return nil
	}
	return err
}

// User returns a user's signer, the same at each call with the same attributes. An empty mspID is the platform's own organisation.
func (n *Node) User(mspID, name string, attributes map[string]string) (*msp.Signer, error) {
	if mspID == "" {
		mspID = n.Organization
	}
	o, err := n.Organizations.Organization(mspID)
	if err != nil {
		return nil, err
	}
	return o.User(name, attributes)
}

// Operator signs definitions: for an organisation of the channel that the platform holds the authority of, its own before
// others; for the ordering organisation if there is none.
func (n *Node) Operator(ctx context.Context, channel string) (*msp.Signer, error) {
	c, err := n.Gateway.Channel(ctx, channel)
	if err != nil {
		return nil, err
	}
	ids := c.Config().Members()
	if i := slices.Index(ids, n.Organization); i > 0 {
		ids[0], ids[i] = ids[i], ids[0]
	}
	for _, id := range append(ids, organization.OrdererMSP) {
		o, err := n.Organizations.Organization(id)
		if err != nil {
			return nil, err
		}
		signer, err := o.Admin("operator")
		if !errors.Is(err, organization.ErrNoAuthority) {
			return signer, err
		}
	}
	return nil, fmt.Errorf("sign for channel %s: %w", channel, organization.ErrNoAuthority)
}

// Deploy installs a package, binds it to a name on a channel, and defines it there. It returns when the chaincode answers. The
// name keeps what it had if the package cannot be built or started. An empty name is the package's label, an empty version the
// beginning of the package's hash.
func (n *Node) Deploy(ctx context.Context, channel string, pkg []byte, d gateway.Definition) (gateway.Definition, error) {
	creator, err := n.Operator(ctx, channel)
	if err != nil {
		return d, err
	}
	return n.deploy(ctx, creator, channel, pkg, gateway.Agreement{Definition: d})
}

// deploy is Deploy with the definition signed by creator, and approved for certain organisations.
func (n *Node) deploy(ctx context.Context, creator *msp.Signer, channel string, pkg []byte, a gateway.Agreement) (gateway.Definition, error) {
	d := &a.Definition
	id, err := n.Chaincodes.Install(ctx, pkg)
	if err != nil {
		return *d, installError(err)
	}
	label, hash, _ := strings.Cut(id, ":")
	if d.Name == "" {
		d.Name = label
	}
	if d.Version == "" {
		d.Version = hash[:min(12, len(hash))]
	}
	parsed, err := deploy.ParsePackage(pkg)
	if err != nil {
		return *d, installError(err)
	}
	d.Indexes = parsed.Indexes
	return n.bind(ctx, creator, channel, a, func() error { return n.Chaincodes.Bind(ctx, channel, d.Name, id) })
}

// DeployInProcess deploys a contract that is linked into this program. It has to be deployed again after a restart.
func (n *Node) DeployInProcess(ctx context.Context, channel string, contract shim.Chaincode, d gateway.Definition) (gateway.Definition, error) {
	if d.Version == "" {
		d.Version = "1"
	}
	creator, err := n.Operator(ctx, channel)
	if err != nil {
		return d, err
	}
	host, err := chaincode.StartInProcess(d.Name, contract, chaincode.Config{Logger: n.Logger})
	if err != nil {
		return d, fmt.Errorf("start chaincode %s: %w", d.Name, err)
	}
	return n.bind(ctx, creator, channel, gateway.Agreement{Definition: d}, func() error { return n.Chaincodes.BindHost(channel, d.Name, host, d.Name) })
}

// bind binds and defines a chaincode, and takes the binding back if the definition is refused, or awaits approvals: what is defined
// goes on as it was. A first binding stays for the definition that is to come.
func (n *Node) bind(ctx context.Context, creator *msp.Signer, channel string, a gateway.Agreement, bind func() error) (gateway.Definition, error) {
	d := a.Definition
	before := n.Chaincodes.Targets(channel, d.Name)
	if err := bind(); err != nil {
		return d, installError(err)
	}
	defined, err := n.Gateway.Agree(ctx, channel, creator, a)
	if err == nil {
		return defined, nil
	}
	undo := context.WithoutCancel(ctx)
	switch {
	case len(before) == 0 && errors.As(err, new(*gateway.PendingError)):
	case len(before) == 0:
		err = errors.Join(err, n.Chaincodes.Unbind(undo, channel, d.Name))
	case before[""] != deploy.Target{}: // a linked contract is bound anew by who linked it
		err = errors.Join(err, n.Chaincodes.BindEach(undo, channel, d.Name, before))
	}
	return d, err
}

// Remove takes a chaincode's definition back and stops it. Its state and history stay.
func (n *Node) Remove(ctx context.Context, channel, name string) error {
	creator, err := n.Operator(ctx, channel)
	if err != nil {
		return err
	}
	return n.remove(ctx, creator, channel, name)
}

func (n *Node) remove(ctx context.Context, creator *msp.Signer, channel, name string) error {
	if err := n.Gateway.Undefine(ctx, channel, creator, name); err != nil {
		return err
	}
	if err := n.Chaincodes.Unbind(ctx, channel, name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		return err
	}
	return nil
}

func invalid(err error) error {
	return &gateway.Error{Kind: gateway.InvalidRequest, Message: err.Error(), Cause: err}
}

// installError says what is wrong with a package. The compiler's own words are in it.
func installError(err error) error {
	var build *deploy.BuildError
	switch {
	case errors.As(err, &build), errors.Is(err, deploy.ErrInvalidPackage), errors.Is(err, deploy.ErrUnsupportedPackage), errors.Is(err, wire.ErrName), errors.Is(err, deploy.ErrPackageTooLarge):
		return invalid(err)
	case errors.Is(err, chaincode.ErrUnavailable):
		return &gateway.Error{Kind: gateway.ChaincodeUnavailable, Message: err.Error(), Cause: err}
	}
	return err
}
