package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// errorThreshold is the status from which on a chaincode's response is a failure, the shim's ERRORTHRESHOLD.
const errorThreshold = 400

// A simulation is what a chaincode did with a proposal.
type simulation struct {
	response *peer.Response
	event    *peer.ChaincodeEvent
	version  string      // of the chaincode's definition
	rwset    *wire.RWSet // nil if the chaincode failed
	results  []byte      // the read-write set's bytes
	height   uint64      // blocks in the state it ran on

	mspID   string            // the organisation as whose endorser it was run
	ran     []execution       // by which hosts; none of a system chaincode, or if it ran elsewhere
	one     [1]execution      // holds most transactions' ran
	away    *peer.Endorsement // nil if it ran here
	payload []byte            // that endorsers sign; nil until it is made

	private     wire.PrivateSet          // what was written to collections
	collections []simulate.CollectionUse // those touched
	queries     *wire.RWSet              // what queries of private data saw, nil if there were none
}

// An execution is which host ran a chaincode.
type execution struct {
	channel, chaincode string
	host               chaincode.Host
}

// An endorserError is why an endorser did not endorse, as a peer would put it. Peers of other organisations are asked again
// only if one that stands elsewhere might do better; here it is one platform, and each organisation says the same.
type endorserError struct {
	kind    Kind
	code    codes.Code
	message string // a peer's words
	remote  string // put before message by peers of other organisations than the gateway's
	retry   bool   // evaluate asks the other organisations too
	status  int32  // the chaincode's, of a ChaincodeError
	said    string // the chaincode's message
	limit   int
	cause   error

	unreachable bool // it runs elsewhere, and gave no answer
}

func (e *endorserError) Error() string { return e.message }
func (e *endorserError) Unwrap() error { return e.cause }

// failed is the error of an execution that came to no response.
func failed(kind Kind, format string, args ...any) *endorserError {
	return &endorserError{kind: kind, code: codes.Aborted, message: fmt.Sprintf(format, args...), retry: true}
}

// simulate runs a proposal's chaincode over a view of its channel, as an organisation's endorser: with the private values that
// the organisation holds.
func (s *Service) simulate(ctx context.Context, channel *ledger.Channel, view ledger.View, p *wire.Proposal, mspID string) (*simulation, *endorserError) {
	if p.Chaincode == ledger.LifecycleNamespace {
		return s.simulateLifecycle(ctx, channel, view, p, mspID)
	}
	if isSystem(p.Chaincode) {
		return s.query(ctx, view, p), nil
	}
	tx := simulate.New(view, p.TxID)
	sim := &simulation{mspID: mspID, height: view.Savepoint()}
	sim.ran = sim.one[:0]
	run := &run{Service: s, proposal: p, mspID: mspID, channel: channel, view: view, tx: tx, sim: sim}
	definition, err := run.invocable(ctx, p.Chaincode)
	if errors.Is(err, ledger.ErrUnavailable) {
		return nil, executionError(p.TxID, err)
	}
	if err != nil {
		kind := Internal
		if errors.Is(err, ledger.ErrNotFound) {
			kind = NotFound
		}
		e := failed(kind, "make sure the chaincode %s has been successfully defined on channel %s and try again: %v", p.Chaincode, channel.Name(), err)
		e.cause = err
		return nil, e
	}
	if err := run.initialize(ctx, definition, p.Input.GetIsInit()); err != nil {
		return nil, executionError(p.TxID, err)
	}
	result, err := run.execute(ctx, p.Chaincode, p.Input, p.Input.GetIsInit())
	if err != nil {
		return nil, executionError(p.TxID, err)
	}
	if err := tx.Err(); err != nil {
		return nil, executionError(p.TxID, err) // whatever the contract made of what it could not read
	}
	sim.response, sim.version = result.Response, definition.Version
	if sim.response.Status >= errorThreshold {
		return sim, nil
	}
	if result.Event != nil {
		result.Event.ChaincodeId, result.Event.TxId = p.Chaincode, p.TxID
		sim.event = result.Event
	}
	if sim.rwset, err = tx.Results(); err == nil {
		sim.results, err = sim.rwset.Marshal()
	}
	sim.private, sim.collections = tx.Private(), tx.Collections()
	if err == nil {
		sim.queries, err = tx.Queries()
	}
	if err != nil {
		return nil, executionError(p.TxID, err)
	}
	if failure := tooLarge(sim); failure != nil {
		return sim, failure
	}
	return sim, run.distributed(ctx, sim)
}

// tooLarge checks what a contract may write.
func tooLarge(sim *simulation) *endorserError {
	for i := range sim.rwset.Namespaces {
		for _, w := range sim.rwset.Namespaces[i].KV.GetWrites() {
			if len(w.Value) > MaxValue {
				e := failed(TooLarge, "the value of key %q has %d bytes, the limit is %d", w.Key, len(w.Value), MaxValue)
				e.limit = MaxValue
				return e
			}
		}
	}
	size := len(sim.results) + len(sim.response.Payload) + len(sim.event.GetPayload())
	for _, part := range sim.private {
		size += len(part.Raw)
		if err := privateTooLarge(part); err != nil {
			return err
		}
	}
	if size > MaxTransaction {
		e := failed(TooLarge, "the transaction has %d bytes, the limit is %d", size, MaxTransaction)
		e.limit = MaxTransaction
		return e
	}
	return nil
}

// executionError says why a chaincode gave no response, in the words of Fabric's endorser.
func executionError(txID string, err error) *endorserError {
	e := failed(Internal, "error in simulation: %v", err)
	e.cause = err
	switch {
	case errors.Is(err, chaincode.ErrCrashed):
		e.kind = ChaincodeCrashed
		e.message = fmt.Sprintf("error in simulation: failed to execute transaction %s: error sending: %v", txID, chaincode.ErrCrashed)
	case errors.Is(err, errInvocation):
		e.kind = InvalidRequest
		e.message = fmt.Sprintf("error in simulation: failed to execute transaction %s: %v", txID, err)
	case errors.Is(err, chaincode.ErrTimeout):
		e.kind = ChaincodeTimeout
		e.message = fmt.Sprintf("error in simulation: failed to execute transaction %s: error sending: %v", txID, chaincode.ErrTimeout)
	case errors.Is(err, chaincode.ErrProtocol), errors.Is(err, chaincode.ErrFailed):
		e.kind = ChaincodeCrashed
	case errors.Is(err, chaincode.ErrTooLarge):
		e.kind, e.limit = TooLarge, MaxTransaction
	case errors.Is(err, simulate.ErrStale):
		e.kind = MVCCReadConflict
	case errors.Is(err, chaincode.ErrUnavailable), errors.Is(err, ledger.ErrNotFound):
		e.kind = ChaincodeUnavailable
	case errors.Is(err, ledger.ErrUnavailable):
		e.kind, e.code = Unavailable, codes.Unavailable
	case errors.Is(err, context.Canceled):
		e.kind, e.code = Unavailable, codes.Canceled
	}
	return e
}

// A run is one transaction's executions on one channel: the chaincode that was called, and those it calls.
type run struct {
	*Service
	proposal *wire.Proposal
	mspID    string // the organisation for which it is
	channel  *ledger.Channel
	view     ledger.View
	tx       *simulate.Tx
	sim      *simulation // what comes of it
}

// invocable reads the chaincode's definition: that read makes a transaction endorsed before a change of it invalid.
func (r *run) invocable(ctx context.Context, name string) (*ledger.Definition, error) {
	sequence, err := r.tx.GetItem(ctx, ledger.LifecycleNamespace, ledger.SequenceKey(name))
	if err != nil {
		return nil, err
	}
	definition, err := r.definitions.of(ctx, r.channel.Name(), r.view, name, sequence)
	if err != nil {
		return nil, err
	}
	if definition == nil {
		return nil, &undefinedError{name}
	}
	return definition, nil
}

// undefinedError is a ledger.ErrNotFound with Fabric's text.
type undefinedError struct{ name string }

func (e *undefinedError) Error() string { return fmt.Sprintf("chaincode %s not found", e.name) }
func (e *undefinedError) Unwrap() error { return ledger.ErrNotFound }

// execute runs one chaincode in the transaction.
func (r *run) execute(ctx context.Context, name string, input *peer.ChaincodeInput, isInit bool) (*chaincode.Result, error) {
	host, err := r.Chaincodes.Host(ctx, r.channel.Name(), name, r.mspID)
	if err != nil {
		return nil, err
	}
	r.sim.ran = append(r.sim.ran, execution{r.channel.Name(), name, host})
	ctx, cancel := context.WithTimeout(ctx, r.ChaincodeTime)
	defer cancel()
	return host.Execute(ctx, &chaincode.Invocation{
		Channel: r.channel.Name(), Chaincode: name, Proposal: r.proposal, Input: input, Init: isInit, Tx: r.tx, Call: r.call,
		LevelDB: r.StateDatabase == LevelDB,
		Collection: func(ctx context.Context, collection string) (*chaincode.Collection, error) {
			return r.collection(ctx, name, collection)
		},
	})
}

// call runs another chaincode for one that is being executed, core/chaincode's HandleInvokeChaincode. On another channel it
// reads that channel's state as it is, and nothing of what it does is recorded.
func (r *run) call(ctx context.Context, channel, name string, input *peer.ChaincodeInput) (*peer.Response, error) {
	callee := r
	if channel != "" && channel != r.channel.Name() {
		other, err := r.Ledger.Channel(ctx, channel)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil, fmt.Errorf("Failed to get policy manager for channel [%s]", channel) //lint:ignore ST1005 Fabric's text
		}
		if err != nil {
			return nil, err
		}
		if err := r.mayWrite(other, r.proposal); err != nil {
			return nil, err
		}
		view, err := other.View(ctx)
		if err != nil {
			return nil, err
		}
		defer view.Close()
		callee = &run{Service: r.Service, proposal: r.proposal, mspID: r.mspID, channel: other, view: view, tx: simulate.New(view, r.proposal.TxID), sim: r.sim}
	}
	definition, err := callee.invocable(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("execute failed: %w: [channel %s] failed to get chaincode container info for %s: %w", errInvocation, callee.channel.Name(), name, err)
	}
	if err := callee.initialize(ctx, definition, input.GetIsInit()); err != nil {
		return nil, fmt.Errorf("execute failed: %w", err)
	}
	result, err := callee.execute(ctx, name, input, input.GetIsInit())
	if err == nil {
		err = callee.tx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("execute failed: %w", err)
	}
	return result.Response, nil
}

// definitionCache keeps definitions as long as their sequence's version is the same.
type definitionCache struct {
	mu      sync.RWMutex
	entries map[[2]string]definitionEntry
}

type definitionEntry struct {
	version    ledger.Version
	definition *ledger.Definition
}

// get returns a chaincode's definition in a view, nil if there is none.
func (c *definitionCache) get(ctx context.Context, channel string, view ledger.View, name string) (*ledger.Definition, error) {
	items, err := view.Get(ctx, ledger.LifecycleNamespace, []string{ledger.SequenceKey(name)})
	if err != nil {
		return nil, err
	}
	return c.of(ctx, channel, view, name, items[0])
}

// of is get where the sequence's item is known. Every definition writes it anew, so its version stands for the whole.
func (c *definitionCache) of(ctx context.Context, channel string, view ledger.View, name string, sequence *ledger.Item) (*ledger.Definition, error) {
	if sequence == nil {
		return nil, nil
	}
	key := [2]string{channel, name}
	c.mu.RLock()
	entry, ok := c.entries[key]
	c.mu.RUnlock()
	if ok && entry.version == sequence.Version {
		return entry.definition, nil
	}
	definition, err := ledger.ReadDefinition(ctx, view, name)
	if err != nil || definition == nil {
		return nil, err
	}
	c.mu.Lock()
	if c.entries == nil || len(c.entries) > 10_000 {
		c.entries = make(map[[2]string]definitionEntry)
	}
	c.entries[key] = definitionEntry{sequence.Version, definition}
	c.mu.Unlock()
	return definition, nil
}
