package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"peerless/shared/channelconfig"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/receipt"
)

// The API calls what follows. Every method returns a *gateway.Error, or a *Problem, for a failure that a caller can be
// told about, wrapped or not; ledger.ErrNotFound is understood too. Any other error is logged and answered as INTERNAL.

// Gateway runs transactions, and knows the channels and what happened in them.
type Gateway interface {
	SubmitTransaction(context.Context, gateway.Request) (*gateway.Outcome, error)
	EvaluateTransaction(context.Context, gateway.Request) (*gateway.Answer, error)
	// AcceptTransaction checks a request, which has an idempotency key, without running it, and returns its transaction's id.
	// committed says that it is a repeat of one that is committed.
	AcceptTransaction(context.Context, gateway.Request) (txID string, committed bool, err error)
	CreateChannel(ctx context.Context, name string, organizations []string) error
	// Channels returns the names, sorted.
	Channels(context.Context) ([]string, error)
	Channel(ctx context.Context, name string) (Channel, error)
	// History returns a key's changes older than before, newest first, at most limit; the zero before means from the newest.
	History(ctx context.Context, channel, chaincode, key string, before ledger.Version, limit int) ([]ledger.Change, error)
	// Events begins to read a channel's events. They may be read until ctx ends.
	Events(context.Context, gateway.EventsRequest) (Events, error)
}

// Channel reads one channel's chain.
type Channel interface {
	// Height is the number of blocks.
	Height(context.Context) (uint64, error)
	// RawBlock returns a block as Fabric's common.Block, marshalled; ledger.ErrNotFound at the height and above.
	RawBlock(ctx context.Context, number uint64) ([]byte, error)
	// Entry says where a transaction stands; ledger.ErrNotFound if it is not in the chain.
	Entry(ctx context.Context, txID string) (ledger.TxEntry, error)
	Config() *channelconfig.Config

	// Receipt proves where a transaction stands; ledger.ErrNotFound if it is not in the chain. This and what follows return
	// ledger.ErrNoCheckpoints if the platform signs none.
	Receipt(ctx context.Context, txID string) (*receipt.Receipt, error)
	// Checkpoint is a signed note of the channel's log as it is.
	Checkpoint(context.Context) (string, error)
	// VerifierKey is the public key of the checkpoints, in the form of signed notes.
	VerifierKey(context.Context) (string, error)
}

var _ Channel = (*ledger.Channel)(nil)

// Events are a channel's chaincode events in the order of the chain.
type Events interface {
	// Next waits for the next event. It returns ctx's error, wrapped or not, when ctx ends first; no event is lost by
	// that, and Next may be called again.
	Next(ctx context.Context) (*gateway.Event, error)
	// Position is, after Next returned an error, a block such that all events of the blocks before it have been returned.
	// It moves on also where there are no events, so that a reader who resumes need not look at these blocks again.
	Position() uint64
}

var _ Events = (*gateway.Events)(nil)

// Deployer keeps the packages that run, and what the channels define.
type Deployer interface {
	// Deploy reads a package (a Fabric .tar.gz, or a function zip), installs it, defines it on the channel, and returns
	// when the chaincode answers. If the spec names a function there is no package, and pkg is nil: then that is what runs. The
	// error for a package or a function that cannot run here is InvalidRequest and says why. by asked for it. It is a
	// *gateway.PendingError where organisations have to approve for which by does not: see Principal.Approves.
	Deploy(ctx context.Context, by *Principal, channel string, spec DeploySpec, pkg io.Reader) (*Chaincode, error)
	// Approve records that organisations agree to a definition, which others have to approve too and somebody commits.
	Approve(ctx context.Context, by *Principal, channel string, spec DeploySpec) error
	// Chaincodes returns what the channel defines, and what awaits approvals, sorted by name.
	Chaincodes(ctx context.Context, channel string) ([]Chaincode, error)
	Chaincode(ctx context.Context, channel, name string) (*Chaincode, error)
	// Remove stops the chaincode and takes it off the channel. Its state and history stay.
	Remove(ctx context.Context, by *Principal, channel, name string) error
}

// A DeploySpec says how a package is to be defined on a channel.
type DeploySpec struct {
	Name     string // empty: the package's label without its version
	Version  string // empty: the package decides
	Policy   string // in Fabric's notation; empty: the channel's majority
	Sequence int64  // 0: the next one
	// Collections of private data, in Fabric's JSON; empty: none.
	Collections  string
	InitRequired bool // the chaincode's Init must be called first
	Function     Function
	// Indexes of rich queries, of a Function: a package has its own.
	Indexes []string
	// Organization to approve for, by MSP id; empty: see Principal.Approves.
	Organization string
}

// A Function is a Lambda function that runs a chaincode. The zero Function is none.
type Function struct {
	Name      string // in the platform's account and region
	Qualifier string // an alias or a version number
	PackageID string // label:sha256 of what it was made of, for people; may be empty
}

// A Chaincode is one that a channel defines.
type Chaincode struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Sequence  int64  `json:"sequence"`
	Policy    string `json:"policy,omitempty"`    // empty: the channel's majority
	PackageID string `json:"packageId,omitempty"` // label:hash of the package installed; empty if it runs elsewhere
	Language  string `json:"language,omitempty"`  // the package's type: golang, binary, ccaas; or in-process, or function
	// InitRequired: the chaincode's Init must be called, once for each version, before anything else.
	InitRequired bool `json:"initRequired,omitempty"`
	// Collections of private data, as Fabric's file has them.
	Collections json.RawMessage `json:"collections,omitempty"`

	Approvals []Approval `json:"approvals,omitempty"` // of this definition, by each organisation of the channel
	Next      *Next      `json:"next,omitempty"`      // the definition that awaits approvals; nil if none does
}

// An Approval is what an organisation did at a definition's sequence.
type Approval struct {
	Organization string `json:"organization"`        // MSP id
	Approved     bool   `json:"approved"`            // exactly this definition
	PackageID    string `json:"packageId,omitempty"` // that it says it runs
	// The newest approval at this sequence, of this definition or of another; empty if there is none.
	TransactionID string `json:"transactionId,omitempty"`
	BlockNumber   uint64 `json:"blockNumber,omitempty"`
}

// Next is a definition that organisations have approved, and that is not committed.
type Next struct {
	Version      string          `json:"version"`
	Sequence     int64           `json:"sequence"`
	Policy       string          `json:"policy,omitempty"` // empty: the channel's majority
	InitRequired bool            `json:"initRequired,omitempty"`
	Collections  json.RawMessage `json:"collections,omitempty"`
	Approvals    []Approval      `json:"approvals"`
}

// Over returns the Gateway that is a gateway.Service. genesis makes the first block of a channel of these organisations.
func Over(service *gateway.Service, genesis func(ctx context.Context, channel string, organizations []string) (*common.Block, error)) Gateway {
	return &over{service, genesis}
}

type over struct {
	*gateway.Service
	genesis func(ctx context.Context, channel string, organizations []string) (*common.Block, error)
}

func (o *over) CreateChannel(ctx context.Context, name string, organizations []string) error {
	block, err := o.genesis(ctx, name, organizations)
	if err != nil {
		return fmt.Errorf("make the first block of channel %s: %w", name, err)
	}
	return o.Service.CreateChannel(ctx, block)
}

func (o *over) Channel(ctx context.Context, name string) (Channel, error) {
	channel, err := o.Service.Channel(ctx, name)
	if err != nil {
		return nil, err
	}
	return channel, nil
}

func (o *over) Events(ctx context.Context, request gateway.EventsRequest) (Events, error) {
	events, err := o.Service.Events(ctx, request)
	if err != nil {
		return nil, err
	}
	return events, nil
}

// A decodedBlock is a block with the bytes that it came in.
type decodedBlock struct {
	raw   []byte
	block *common.Block
}
