package lambda

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
)

// Defaults of a Config.
const (
	DefaultConcurrency = 4
	DefaultMaxBatch    = 32
)

// A Client invokes functions. *lambda.Client of the SDK is one.
type Client interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// A Config says which function runs which chaincode. All but the numbers and the Logger is required.
type Config struct {
	Client   Client
	Function string // its name or ARN, with an alias or version if one is meant

	Channel, Chaincode string // whose function it is: it must be configured for the same

	// Table holds the state, in Region; Endpoint is DynamoDB's address if it is not that of the region.
	Table, Region, Endpoint string

	// Credentials gives ones that may read a chaincode's namespace on a channel and nothing else (Scopes).
	Credentials func(ctx context.Context, channel, chaincode string) (invocation.Credentials, error)

	Concurrency int           // invocations at once. Default DefaultConcurrency
	MaxBatch    int           // proposals in one of them. Default DefaultMaxBatch
	BatchTime   time.Duration // that a proposal gets in a batch. Default 2 s
	Logger      *slog.Logger  // default: none
}

// A Host is a chaincode.Host over a function.
type Host struct {
	Config
	life   context.Context // ends with Close
	cancel context.CancelFunc

	mu       sync.Mutex
	underway map[string]bool // transactions, by id
	queue    []*job
	active   int       // invocations under way
	apart    time.Time // until then nothing is batched
	version  int       // of the invocation format
	indexed  indexed
}

var _ chaincode.Host = (*Host)(nil)

// New returns the host of a function. It makes no call.
func New(config Config) (*Host, error) {
	for _, required := range []struct{ name, value string }{
		{"Function", config.Function}, {"Channel", config.Channel}, {"Chaincode", config.Chaincode}, {"Table", config.Table},
	} {
		if required.value == "" {
			return nil, fmt.Errorf("chaincode function: no %s", required.name)
		}
	}
	switch {
	case config.Region == "":
		return nil, fmt.Errorf("chaincode function %s: no region: set AWS_REGION", config.Function)
	case config.Client == nil || config.Credentials == nil:
		return nil, fmt.Errorf("chaincode function %s: a client and credentials are required", config.Function)
	}
	config.Concurrency = cmp.Or(config.Concurrency, DefaultConcurrency)
	config.MaxBatch = min(cmp.Or(config.MaxBatch, DefaultMaxBatch), invocation.MaxBatch)
	config.BatchTime = cmp.Or(config.BatchTime, 2*time.Second)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.Logger = config.Logger.With("function", config.Function, "channel", config.Channel, "chaincode", config.Chaincode)
	life, cancel := context.WithCancel(context.Background())
	return &Host{Config: config, life: life, cancel: cancel, underway: make(map[string]bool), version: invocation.Version}, nil
}

// Close ends invocations under way. The function stays.
func (h *Host) Close() error {
	h.cancel()
	return nil
}

// Execute implements chaincode.Host. Errors beside the package's: simulate.ErrStale if the state changed between the runs of a
// contract that calls another or reads private data, invocation.ErrDiverged and invocation.ErrState, and what the view returns.
func (h *Host) Execute(ctx context.Context, inv *chaincode.Invocation) (*chaincode.Result, error) {
	if inv.Channel != h.Channel || inv.Chaincode != h.Chaincode {
		return nil, fmt.Errorf("%w: function %s is chaincode %s of channel %s, not %s of %s", chaincode.ErrUnavailable, h.Function, h.Chaincode, h.Channel, inv.Chaincode, inv.Channel)
	}
	leave, err := h.enter(inv)
	if err != nil {
		return nil, err
	}
	defer leave()
	proposal, err := h.proposal(ctx, inv)
	if err != nil {
		return nil, err
	}
	collections := chaincode.NewCollections(inv)
	defer collections.Close()
	for range invocation.MaxRuns {
		proposal.Time = invocation.MillisOf(chaincodeTime)
		if deadline, ok := ctx.Deadline(); ok {
			proposal.Time = invocation.MillisOf(time.Until(deadline))
		}
		result, err := h.submit(ctx, inv.Proposal.TxID, proposal)
		if err != nil {
			return nil, err
		}
		again, err := h.answer(ctx, inv, collections, proposal, asks(result))
		if err != nil {
			return nil, err
		}
		if !again {
			return h.accept(inv, result)
		}
	}
	return nil, fmt.Errorf("%w: the contract waits for other chaincodes and private data more than %d times: read several private keys with one call, or a range of them",
		chaincode.ErrProtocol, invocation.MaxRuns-1)
}

// chaincodeTime is what an execution gets whose context does not say: a contract's time anywhere.
const chaincodeTime = 25 * time.Second

// enter notes a transaction, which a chaincode executes once at a time: else a contract could call itself for ever.
func (h *Host) enter(inv *chaincode.Invocation) (leave func(), err error) {
	id := inv.Proposal.TxID
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.underway[id] {
		return nil, fmt.Errorf("error sending: txid: %s(%s) %w", id, inv.Channel, chaincode.ErrDuplicate)
	}
	h.underway[id] = true
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.underway, id)
	}, nil
}

// proposal makes of an invocation what goes to the function.
func (h *Host) proposal(ctx context.Context, inv *chaincode.Invocation) (*invocation.Proposal, error) {
	signed, err := inv.Proposal.SignedProposal()
	if err != nil {
		return nil, err
	}
	p := &invocation.Proposal{
		Init: inv.Init, Height: inv.Tx.Savepoint(), Layers: invocation.FormatLayers(h.Chaincode, ledger.Layers(inv.Tx.View(), h.Chaincode)),
		Access: invocation.Access(inv.Tx.Access()), LevelDB: inv.LevelDB,
	}
	indexes, err := h.indexes(ctx, inv.Tx)
	if err != nil {
		return nil, err
	}
	p.Indexes, p.IndexLayout = indexes.definitions, indexes.layout
	if p.Signed, err = proto.Marshal(signed); err != nil {
		return nil, fmt.Errorf("marshal signed proposal: %w", err)
	}
	if inv.Input != inv.Proposal.Input {
		if p.Input, err = proto.Marshal(inv.Input); err != nil {
			return nil, fmt.Errorf("marshal chaincode input: %w", err)
		}
	}
	return p, nil
}

// indexed are the definitions of the chaincode's indexes, as the definition of a sequence has them, and which documents they hold.
type indexed struct {
	sequence            ledger.Version
	definitions, layout []byte
}

// indexes returns the definitions of the chaincode's indexes. They change with the chaincode's definition, whose sequence the
// gateway has read, and until they hold every document: so they are read once for each definition after that.
func (h *Host) indexes(ctx context.Context, tx *simulate.Tx) (indexed, error) {
	sequence := tx.Seen(ledger.LifecycleNamespace, ledger.SequenceKey(h.Chaincode))
	h.mu.Lock()
	known := h.indexed
	h.mu.Unlock()
	if sequence != nil && known.sequence == sequence.Version && known.layout == nil {
		return known, nil
	}
	var now indexed
	var err error
	if now.definitions, now.layout, err = ledger.IndexState(ctx, tx.View(), h.Chaincode); err != nil {
		return now, err
	}
	if sequence != nil && sequence.Version.Block < tx.Savepoint() {
		now.sequence = sequence.Version
		h.mu.Lock()
		h.indexed = now
		h.mu.Unlock()
	}
	return now, nil
}
