// Package apitest has a gateway and a deployer in memory, for tests of what stands before them. They obey the contracts of
// package api's interfaces, and answer as the test scripts them. They run no contract and order nothing.
package apitest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/api"
	"peerless/shared/channelconfig"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// Fake is an api.Gateway and an api.Deployer. Set its functions before it is used.
type Fake struct {
	// Submit and Evaluate answer the calls. nil: the payload is the first argument, block 7, height 8.
	Submit   func(context.Context, gateway.Request) (*gateway.Outcome, error)
	Evaluate func(context.Context, gateway.Request) (*gateway.Answer, error)
	// Accept answers AcceptTransaction. nil: TxID.
	Accept func(context.Context, gateway.Request) (string, bool, error)
	// Blocks are the channels' blocks, marshalled; Txs where the transactions of a channel stand.
	Blocks map[string][][]byte
	Txs    map[string]map[string]ledger.TxEntry
	// Changes are the histories, by "channel chaincode key".
	Changes map[string][]ledger.Change
	// NoCheckpoints makes it one that signs none.
	NoCheckpoints bool
	// DeployError is what Deploy returns after it has read the package.
	DeployError error

	mu         sync.Mutex
	chaincodes map[string][]api.Chaincode
	packages   map[string][]byte
	events     []gateway.Event
	height     uint64
	more       chan struct{} // closed when there is more
	open       int           // event readers
	opened     chan struct{} // closed when open changes
}

var (
	_ api.Gateway  = (*Fake)(nil)
	_ api.Deployer = (*Fake)(nil)
)

// TxID is the id of every transaction that the fake commits.
var TxID = strings.Repeat("6b1e", 16)

// NotFound is the gateway's error for what does not exist.
func NotFound(what string) error {
	return &gateway.Error{Kind: gateway.NotFound, Message: what + " does not exist"}
}

func payloadOf(r gateway.Request) *peer.Response {
	response := &peer.Response{Status: 200}
	if len(r.Args) > 0 {
		response.Payload = r.Args[0]
	}
	return response
}

func (f *Fake) SubmitTransaction(ctx context.Context, r gateway.Request) (*gateway.Outcome, error) {
	if f.Submit != nil {
		return f.Submit(ctx, r)
	}
	return &gateway.Outcome{TransactionID: TxID, Block: 7, Code: peer.TxValidationCode_VALID, Response: payloadOf(r)}, nil
}

func (f *Fake) EvaluateTransaction(ctx context.Context, r gateway.Request) (*gateway.Answer, error) {
	if f.Evaluate != nil {
		return f.Evaluate(ctx, r)
	}
	return &gateway.Answer{Response: payloadOf(r), Height: 8}, nil
}

func (f *Fake) AcceptTransaction(ctx context.Context, r gateway.Request) (string, bool, error) {
	if f.Accept != nil {
		return f.Accept(ctx, r)
	}
	return TxID, false, nil
}

func (f *Fake) CreateChannel(_ context.Context, name string, organizations []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.Blocks[name]; ok {
		return &gateway.Error{Kind: gateway.AlreadyExists, Message: fmt.Sprintf("the channel %q exists already", name)}
	}
	if slices.Contains(organizations, "NoMSP") {
		return NotFound("the organisation NoMSP")
	}
	if f.Blocks == nil {
		f.Blocks = make(map[string][][]byte)
	}
	f.Blocks[name] = nil
	return nil
}

func (f *Fake) Channels(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.Blocks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (f *Fake) Channel(_ context.Context, name string) (api.Channel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	blocks, ok := f.Blocks[name]
	if !ok {
		return nil, NotFound("the channel " + name)
	}
	return &channel{f, name, blocks, f.Txs[name]}, nil
}

func (f *Fake) History(ctx context.Context, channel, chaincode, key string, before ledger.Version, limit int) ([]ledger.Change, error) {
	if _, err := f.Channel(ctx, channel); err != nil {
		return nil, err
	}
	var changes []ledger.Change
	for _, c := range f.Changes[channel+" "+chaincode+" "+key] {
		older := before == ledger.Version{} || c.Version.Block < before.Block || c.Version.Block == before.Block && c.Version.Tx < before.Tx
		if older && len(changes) < limit {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

type channel struct {
	fake   *Fake
	name   string
	blocks [][]byte
	txs    map[string]ledger.TxEntry
}

func (c *channel) Height(context.Context) (uint64, error) {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return max(uint64(len(c.blocks)), c.fake.height), nil
}

func (c *channel) RawBlock(_ context.Context, n uint64) ([]byte, error) {
	if n >= uint64(len(c.blocks)) {
		return nil, ledger.ErrNotFound
	}
	return c.blocks[n], nil
}

func (c *channel) Entry(_ context.Context, txID string) (ledger.TxEntry, error) {
	if entry, ok := c.txs[txID]; ok {
		return entry, nil
	}
	return ledger.TxEntry{}, ledger.ErrNotFound
}

func (c *channel) Config() *channelconfig.Config {
	return &channelconfig.Config{Organizations: []channelconfig.Organization{{MSPID: "Org1MSP"}, {MSPID: "Org2MSP"}}}
}

func (c *channel) Receipt(ctx context.Context, txID string) (*receipt.Receipt, error) {
	entry, err := c.Entry(ctx, txID)
	if err != nil {
		return nil, err
	}
	log, signer, err := c.log()
	if err != nil {
		return nil, err
	}
	block, err := wire.ParseBlock(c.blocks[entry.Version.Block])
	if err != nil {
		return nil, err
	}
	return receipt.New(c.name, block, entry.Version.Tx, log.Size(), log, signer)
}

func (c *channel) Checkpoint(context.Context) (string, error) {
	log, signer, err := c.log()
	if err != nil {
		return "", err
	}
	root, err := log.Root()
	if err != nil {
		return "", err
	}
	return signer.Checkpoint(log.Size(), root)
}

func (c *channel) VerifierKey(context.Context) (string, error) {
	signer, err := c.signer()
	if err != nil {
		return "", err
	}
	return signer.VerifierKey(), nil
}

// signer has a key that everybody knows.
func (c *channel) signer() (*receipt.Signer, error) {
	if c.fake.NoCheckpoints {
		return nil, ledger.ErrNoCheckpoints
	}
	first := &common.Block{}
	if len(c.blocks) > 0 {
		if err := proto.Unmarshal(c.blocks[0], first); err != nil {
			return nil, err
		}
	}
	return receipt.NewSigner(receipt.Origin(c.name, wire.HeaderHash(first.Header)), ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
}

// log is that of the fake's blocks.
func (c *channel) log() (*receipt.Tree, *receipt.Signer, error) {
	signer, err := c.signer()
	if err != nil {
		return nil, nil, err
	}
	log := &receipt.Tree{}
	for _, raw := range c.blocks {
		block := &common.Block{}
		if err := proto.Unmarshal(raw, block); err != nil {
			return nil, nil, err
		}
		tree, err := receipt.TreeOf(block)
		if err != nil {
			return nil, nil, err
		}
		root, err := tree.Root()
		if err != nil {
			return nil, nil, err
		}
		if err := log.Add(receipt.BlockHash(block.Header, tree.Size(), root)); err != nil {
			return nil, nil, err
		}
	}
	return log, signer, nil
}

// Commit adds events, in the order of the chain, and sets the height to behind the last.
func (f *Fake) Commit(events ...gateway.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, events...)
	f.grow(events[len(events)-1].Block + 1)
}

// Grow sets the height, as blocks without events do.
func (f *Fake) Grow(height uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grow(height)
}

func (f *Fake) grow(height uint64) {
	f.height = height
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// AwaitReaders waits until n event readers are open: those whose context has not ended.
func (f *Fake) AwaitReaders(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		open := f.open
		if f.opened == nil {
			f.opened = make(chan struct{})
		}
		opened := f.opened
		f.mu.Unlock()
		if open == n {
			return nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return fmt.Errorf("%d event readers are open, not %d: %w", open, n, ctx.Err())
		}
	}
}

func (f *Fake) countLocked(change int) {
	f.open += change
	if f.opened != nil {
		close(f.opened)
		f.opened = nil
	}
}

func (f *Fake) Events(ctx context.Context, r gateway.EventsRequest) (api.Events, error) {
	if _, err := f.Channel(ctx, r.Channel); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countLocked(1)
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.countLocked(-1)
	})
	return &reader{fake: f, request: r, position: r.FromBlock}, nil
}

// reader reads the fake's events one by one.
type reader struct {
	fake     *Fake
	request  gateway.EventsRequest
	next     int
	position uint64
}

func (r *reader) Next(ctx context.Context) (*gateway.Event, error) {
	for {
		r.fake.mu.Lock()
		for r.next < len(r.fake.events) {
			e := r.fake.events[r.next]
			r.next++
			behind := e.Block > r.request.FromBlock || e.Block == r.request.FromBlock && (r.request.AfterTx == nil || e.Tx > *r.request.AfterTx)
			if behind && (r.request.Chaincode == "" || r.request.Chaincode == e.Chaincode) {
				r.position = e.Block
				r.fake.mu.Unlock()
				return &e, nil
			}
		}
		r.position = max(r.position, r.fake.height)
		if r.fake.more == nil {
			r.fake.more = make(chan struct{})
		}
		more := r.fake.more
		r.fake.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("next event: %w", ctx.Err())
		}
	}
}

func (r *reader) Position() uint64 { return r.position }

func (f *Fake) Deploy(ctx context.Context, _ *api.Principal, channel string, spec api.DeploySpec, pkg io.Reader) (*api.Chaincode, error) {
	if _, err := f.Channel(ctx, channel); err != nil {
		return nil, err
	}
	content := []byte(spec.Function.Name + ":" + spec.Function.Qualifier)
	if pkg != nil {
		var err error
		if content, err = io.ReadAll(pkg); err != nil {
			return nil, fmt.Errorf("read package: %w", err)
		}
	}
	if f.DeployError != nil {
		return nil, f.DeployError
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.chaincodes == nil {
		f.chaincodes, f.packages = make(map[string][]api.Chaincode), make(map[string][]byte)
	}
	c := api.Chaincode{Name: spec.Name, Version: spec.Version, Sequence: max(spec.Sequence, 1), Policy: spec.Policy, Language: "golang"}
	if spec.Collections != "" {
		c.Collections = json.RawMessage(spec.Collections)
	}
	if pkg == nil {
		c.Language, c.PackageID = "function", spec.Function.PackageID
	}
	if c.Name == "" {
		c.Name = "labelled"
	}
	f.chaincodes[channel] = append(f.chaincodes[channel], c)
	f.packages[channel+" "+c.Name] = content
	return &c, nil
}

// Approve makes a definition the next of a chaincode, approved by the organisation that the spec names.
func (f *Fake) Approve(ctx context.Context, by *api.Principal, channel string, spec api.DeploySpec) error {
	organizations, err := by.Approves(spec.Organization)
	if err != nil {
		return err
	}
	if _, err := f.Chaincode(ctx, channel, spec.Name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.chaincodes[channel] {
		if c := &f.chaincodes[channel][i]; c.Name == spec.Name {
			c.Next = &api.Next{Version: spec.Version, Sequence: c.Sequence + 1, Policy: spec.Policy, InitRequired: spec.InitRequired, Approvals: []api.Approval{}}
			for _, mspID := range organizations {
				c.Next.Approvals = append(c.Next.Approvals, api.Approval{Organization: mspID, Approved: true})
			}
		}
	}
	return nil
}

// Package returns what was deployed; of a function, its name and qualifier with a colon between them.
func (f *Fake) Package(channel, name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.packages[channel+" "+name]
}

func (f *Fake) Chaincodes(ctx context.Context, channel string) ([]api.Chaincode, error) {
	if _, err := f.Channel(ctx, channel); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.chaincodes[channel]), nil
}

func (f *Fake) Chaincode(ctx context.Context, channel, name string) (*api.Chaincode, error) {
	all, err := f.Chaincodes(ctx, channel)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.Name == name {
			return &c, nil
		}
	}
	return nil, NotFound("the chaincode " + name)
}

func (f *Fake) Remove(ctx context.Context, _ *api.Principal, channel, name string) error {
	if _, err := f.Chaincode(ctx, channel, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chaincodes[channel] = slices.DeleteFunc(f.chaincodes[channel], func(c api.Chaincode) bool { return c.Name == name })
	return nil
}
