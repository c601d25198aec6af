package contracttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// Epoch is the time at which a ledger's clock stands when it is made.
var Epoch = time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)

// What a ledger is made of, unless Options say otherwise.
const (
	DefaultChannel      = "main"
	DefaultChaincode    = "contract"
	DefaultOrganization = "Org1MSP"
	DefaultUser         = "user"
)

// TB is what a Ledger needs of a test. A *testing.T, *testing.B and *testing.F is one.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Options say what is particular about a ledger. The zero value is what New makes.
type Options struct {
	// Channel is the channel's name. Default DefaultChannel.
	Channel string
	// Chaincode is the name under which the contract is deployed. Default DefaultChaincode.
	Chaincode string
	// Organizations are the channel's members, by MSP id. The first is that of the users, unless Of says otherwise.
	// Default: DefaultOrganization alone.
	Organizations []string
	// Policy says who must endorse, in Fabric's notation: AND('Org1MSP.peer','Org2MSP.peer'). Default: the majority of the
	// organisations.
	Policy string
	// Collections of private data that the contract has, in Fabric's JSON. Default: none but the implicit ones.
	Collections string
	// InitRequired: the contract answers nothing until Init was called.
	InitRequired bool
}

// A Ledger is a channel with a chaincode, and the user who calls it. It may be used by several goroutines; as with testing, only
// the test's own may call what ends the test.
type Ledger struct {
	*network
	t         TB
	chaincode string
	mspID     string
	user      string
	roles     map[string]string
	transient map[string][]byte
	endorsers []string
}

// New returns a channel on which a chaincode is deployed: one shim.Chaincode, or one or more contractapi.ContractInterface that
// make up a chaincode together. The test ends if there is something wrong with them. When it is over the ledger is audited.
func New(t TB, contract any, more ...any) *Ledger {
	t.Helper()
	return Options{}.New(t, contract, more...)
}

// New returns a ledger with these options.
func (o Options) New(t TB, contract any, more ...any) *Ledger {
	t.Helper()
	o.Channel = cmp.Or(o.Channel, DefaultChannel)
	o.Chaincode = cmp.Or(o.Chaincode, DefaultChaincode)
	if len(o.Organizations) == 0 {
		o.Organizations = []string{DefaultOrganization}
	}
	n, err := newNetwork(t, o)
	if err != nil {
		t.Fatalf("contracttest: %v", err)
	}
	l := &Ledger{network: n, t: t, mspID: o.Organizations[0], user: DefaultUser}
	if err := l.deploy(gateway.Definition{Name: o.Chaincode, Policy: o.Policy, InitRequired: o.InitRequired}, o.Collections, append([]any{contract}, more...)); err != nil {
		t.Fatalf("contracttest: deploy %s: %v", o.Chaincode, err)
	}
	return l.Chaincode(o.Chaincode)
}

// Deploy puts another chaincode on the channel, for calls from chaincode to chaincode, and returns a view that calls it. An empty
// policy is the majority of the organisations.
func (l *Ledger) Deploy(name, policy string, contracts ...any) *Ledger {
	l.t.Helper()
	if err := l.deploy(gateway.Definition{Name: name, Policy: policy}, "", contracts); err != nil {
		l.t.Fatalf("contracttest: deploy %s: %v", name, err)
	}
	return l.Chaincode(name)
}

// Chaincode returns a view that calls another chaincode of the channel.
func (l *Ledger) Chaincode(name string) *Ledger {
	other := *l
	other.chaincode = name
	return &other
}

// As returns a view whose transactions are another user's. Attributes, which may be nil, are in the user's certificate: the
// contract reads them with the client identity library.
func (l *Ledger) As(user string, attributes map[string]string) *Ledger {
	other := *l
	other.user, other.roles = user, maps.Clone(attributes)
	return &other
}

// Of returns a view whose user belongs to another of the channel's organisations.
func (l *Ledger) Of(mspID string) *Ledger {
	other := *l
	other.mspID = mspID
	return &other
}

// WithTransient returns a view whose transactions carry data that the contract sees and the ledger does not keep.
func (l *Ledger) WithTransient(data map[string][]byte) *Ledger {
	other := *l
	other.transient = maps.Clone(data)
	return &other
}

// EndorsedBy returns a view whose transactions these organisations endorse, whether or not they are those that the policy wants.
// With none, the policy decides.
func (l *Ledger) EndorsedBy(mspIDs ...string) *Ledger {
	other := *l
	other.endorsers = mspIDs
	return &other
}

// signer returns the view's user.
func (l *Ledger) signer() (*msp.Signer, error) {
	members, err := l.organizations.Organization(l.mspID)
	if err != nil {
		return nil, err
	}
	return members.User(l.user, l.roles)
}

// Now returns the time of the ledger's clock, which is the timestamp of the next transaction.
func (l *Ledger) Now() time.Time { return l.clock.now() }

// Advance sets the ledger's clock forward.
func (l *Ledger) Advance(d time.Duration) { l.clock.advance(d) }

type clock struct {
	mu   sync.Mutex
	time time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

// network is what all views of a ledger share.
type network struct {
	channel       string
	store         *mem.Store
	ledger        *ledger.Ledger
	gateway       *gateway.Service
	organizations *organization.Registry
	hosts         *hosts
	clock         *clock
	log           *testLog
}

func newNetwork(t TB, o Options) (*network, error) {
	organizations, err := organization.Open(context.Background(), organization.Config{})
	if err != nil {
		return nil, err
	}
	orderer, err := organizations.Orderer()
	if err != nil {
		return nil, err
	}
	spec := channelconfig.Spec{
		Channel: o.Channel,
		Orderer: channelconfig.Organization{MSPID: orderer.MSPID(), MSP: orderer.MSPConfig()},
	}
	for _, id := range o.Organizations {
		member, err := organizations.Organization(id)
		if err != nil {
			return nil, err
		}
		spec.Organizations = append(spec.Organizations, channelconfig.Organization{MSPID: id, MSP: member.MSPConfig()})
	}
	n := &network{
		channel: o.Channel, store: mem.New(mem.Config{}), organizations: organizations,
		hosts: &hosts{running: make(map[string]chaincode.Host)}, clock: &clock{time: Epoch}, log: &testLog{t: t},
	}
	if n.ledger, err = ledger.Open(ledger.Config{Store: n.store, Signer: orderer.Orderer(), Keys: organizations}); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		t.Helper()
		n.close(t)
	})
	n.gateway, err = gateway.New(gateway.Config{
		Ledger: n.ledger, Chaincodes: n.hosts, Organizations: organizations, Clock: n.clock.now,
	})
	if err != nil {
		return nil, err
	}
	genesis, err := channelconfig.Genesis(spec, Epoch)
	if err != nil {
		return nil, err
	}
	return n, n.gateway.CreateChannel(context.Background(), genesis)
}

// close ends the chaincodes and audits the chain.
func (n *network) close(t TB) {
	t.Helper()
	ctx := context.Background()
	n.hosts.close()
	n.log.close()
	if err := n.ledger.Close(); err != nil {
		t.Errorf("contracttest: %v", err)
	}
	audit := ledger.Audit{Store: n.store, Channel: n.channel, Scratch: mem.New(mem.Config{}), Keys: n.ledger.Keys}
	if _, err := audit.Run(ctx); err != nil && !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("contracttest: the ledger does not hold what its chain says: %v", err)
	}
}

// deploy starts a chaincode in this process and defines it on the channel.
func (n *network) deploy(d gateway.Definition, collections string, contracts []any) (err error) {
	d.Version = "1.0"
	if d.Collections, err = collection.Parse([]byte(collections)); err != nil {
		return err
	}
	contract, err := chaincodeOf(contracts)
	if err != nil {
		return err
	}
	admin, err := n.administrator()
	if err != nil {
		return err
	}
	host, err := chaincode.StartInProcess(d.Name, contract, chaincode.Config{Logger: n.log.logger()})
	if err != nil {
		return err
	}
	if err := n.hosts.add(d.Name, host); err != nil {
		return errors.Join(err, host.Close())
	}
	_, err = n.gateway.Define(context.Background(), n.channel, admin, d)
	return err
}

// administrator returns one of the channel's first organisation.
func (n *network) administrator() (*msp.Signer, error) {
	channel, err := n.ledger.Channel(context.Background(), n.channel)
	if err != nil {
		return nil, err
	}
	first, err := n.organizations.Organization(channel.Config().Organizations[0].MSPID)
	if err != nil {
		return nil, err
	}
	return first.Admin("admin")
}

// chaincodeOf makes a chaincode of what a test was given.
func chaincodeOf(contracts []any) (shim.Chaincode, error) {
	if len(contracts) == 0 {
		return nil, errors.New("a chaincode has at least one contract")
	}
	if cc, ok := contracts[0].(shim.Chaincode); ok && len(contracts) == 1 {
		return cc, nil
	}
	parts := make([]contractapi.ContractInterface, len(contracts))
	for i, contract := range contracts {
		part, ok := contract.(contractapi.ContractInterface)
		if !ok {
			return nil, fmt.Errorf("%T is neither a shim.Chaincode nor a contractapi.ContractInterface; a pointer to it may be", contract)
		}
		parts[i] = part
	}
	return contractapi.NewChaincode(parts...)
}
