package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// ErrAudit: the chain or the state is not what it should be. The error says which block, transaction or key, and how.
var ErrAudit = errors.New("audit failed")

// A Chain is the part of Log that reads a channel's blocks.
type Chain interface {
	Block(ctx context.Context, channel string, number uint64) ([]byte, error)
	Height(ctx context.Context, channel string) (uint64, error)
}

// An Audit replays a channel from nothing and compares what it finds with what is stored.
type Audit struct {
	Store   Store
	Channel string
	// Chain is audited in place of Store if it is set: blocks alone, with no state to compare.
	Chain Chain
	// Scratch is an empty store in which the state is rebuilt.
	Scratch Store
	// Keys opens private values, to compare them with their hashes. What it has no key for stays sealed; nil: all of it does.
	Keys collection.Keys
	// Progress, if set, is called after each block.
	Progress func(done, total uint64)
}

// An AuditReport says what an audit has seen.
type AuditReport struct {
	Channel      string `json:"channel"`
	Blocks       uint64 `json:"blocks"`
	Transactions uint64 `json:"transactions"`
	Invalid      uint64 `json:"invalid"` // recorded with a code other than VALID
	Keys         uint64 `json:"keys"`    // in the state, 0 if only the chain was audited
	Hash         []byte `json:"hash"`    // of the last block's header

	Private *PrivateReport `json:"private,omitempty"` // nil if the channel has no private data, or only the chain was audited
}

// Run checks that each block is numbered, chained and signed as it should be, that its data is what its header says, that every
// transaction's verdict is the one that it gets when judged again, signatures included, that state, history and look-ups
// say exactly what follows, and that every private value here is what its hash says. It returns an error wrapping ErrAudit at the
// first thing that does not hold.
func (a *Audit) Run(ctx context.Context) (*AuditReport, error) {
	chain := a.Chain
	if chain == nil {
		chain = a.Store
	}
	height, err := chain.Height(ctx, a.Channel)
	if err != nil {
		return nil, fmt.Errorf("audit channel %s: %w", a.Channel, err)
	}
	if height == 0 {
		return nil, fmt.Errorf("audit channel %s: %w", a.Channel, ErrNotFound)
	}
	r := &replayer{Audit: a, chain: chain, place: "scratch store", report: &AuditReport{Channel: a.Channel}, keys: make(map[stateKey]fate), definitions: make(map[string]*Definition)}
	for number := range height {
		if err := r.block(ctx, number); err != nil {
			return nil, fmt.Errorf("audit channel %s: block %d: %w", a.Channel, number, err)
		}
		if a.Progress != nil {
			a.Progress(number+1, height)
		}
	}
	r.report.Hash = r.hash
	if a.Chain != nil {
		return r.report, nil
	}
	if err := r.compare(ctx, height); err != nil {
		return nil, fmt.Errorf("audit channel %s: %w", a.Channel, err)
	}
	return r.report, nil
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAudit, fmt.Sprintf(format, args...))
}

type replayer struct {
	*Audit
	chain       Chain
	place       string // what Scratch is, for errors
	report      *AuditReport
	config      *channelconfig.Config
	definitions map[string]*Definition
	keys        map[stateKey]fate // every key that the chain ever wrote publicly
	hash        []byte            // of the last header
	commitHash  []byte            // of the last block
}

// block judges one block again and applies it to the scratch store.
func (r *replayer) block(ctx context.Context, number uint64) error {
	raw, err := r.chain.Block(ctx, r.Channel, number)
	if err != nil {
		return err
	}
	batch, valid, err := r.take(ctx, number, raw)
	if err != nil {
		return err
	}
	r.note(batch, valid)
	if r.Chain != nil {
		return nil
	}
	return r.index(ctx, number, batch)
}

// take judges the block of a number again and applies it to the scratch store. It also returns the valid transactions that have a
// read-write set.
func (r *replayer) take(ctx context.Context, number uint64, raw []byte) (*Batch, []*wire.Transaction, error) {
	fail := func(format string, args ...any) (*Batch, []*wire.Transaction, error) {
		return nil, nil, broken(format, args...)
	}
	block, err := wire.ParseBlock(raw)
	if err != nil {
		return fail("%v", err)
	}
	switch {
	case block.Header.Number != number:
		return fail("it says it is block %d", block.Header.Number)
	case !bytes.Equal(block.Header.PreviousHash, r.hash):
		return fail("previous hash is %x, the block before has %x", block.Header.PreviousHash, r.hash)
	}
	recorded, err := wire.ValidationCodes(block)
	if err != nil || len(recorded) != len(block.Data.Data) {
		return fail("%d verdicts for %d transactions", len(recorded), len(block.Data.Data))
	}
	if number == 0 {
		if r.config, err = channelconfig.Parse(block); err != nil {
			return fail("genesis configuration: %v", err)
		}
		if r.config.Channel != r.Channel {
			return fail("genesis configuration is of channel %q", r.config.Channel)
		}
	} else if err := r.signed(block); err != nil {
		return nil, nil, err
	}
	r.hash = wire.HeaderHash(block.Header)
	j, valid, err := r.judge(ctx, block, recorded)
	if err != nil {
		return nil, nil, err
	}
	batch := j.batch(r.hash)
	if err := r.Scratch.Append(ctx, r.Channel, raw, batch); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.place, err)
	}
	if err := r.Scratch.Apply(ctx, r.Channel, batch); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.place, err)
	}
	if slices.ContainsFunc(batch.Writes, func(w Write) bool { return w.Namespace == LifecycleNamespace }) {
		r.definitions = make(map[string]*Definition)
	}
	if j.next != nil {
		r.config = j.next
	}
	return batch, valid, nil
}

// signed checks the block's signatures against the channel's policy for blocks.
func (r *replayer) signed(block *common.Block) error {
	signatures, _, err := wire.BlockSignatures(block)
	if err != nil {
		return broken("signatures: %v", err)
	}
	var signers []*msp.Identity
	for _, s := range signatures {
		if id := identifyOnce(r.config, signers, s.Creator); id != nil && id.Verify(s.Message, s.Signature) == nil {
			signers = append(signers, id)
		}
	}
	if !r.config.Satisfied(channelconfig.PathBlockValidation, signers) {
		return broken("it is not signed as the channel's policy for blocks demands")
	}
	return nil
}

// judge gives the block's transactions their verdicts again, and compares what it does to the state. It also returns the valid
// ones that have a read-write set.
func (r *replayer) judge(ctx context.Context, block *common.Block, recorded []peer.TxValidationCode) (j *judge, valid []*wire.Transaction, err error) {
	view, err := r.Scratch.View(ctx, r.Channel)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.place, err)
	}
	defer view.Close()
	j = newJudge(r.Channel, r.config, view, block.Header.Number, r.definitions)
	txs := checkAll(r.config, block.Data.Data)
	if err := j.prefetch(ctx, txs); err != nil {
		return nil, nil, err
	}
	for i, c := range txs {
		if c.isConfig() && (len(txs) == 1 || c.code == peer.TxValidationCode_VALID) {
			// A configuration is alone in its block, and answered for by the block's signature.
			if len(txs) != 1 {
				return nil, nil, broken("transaction %d is a configuration and not alone", i)
			}
			if j.next, err = channelconfig.Parse(block); err != nil {
				return nil, nil, broken("configuration: %v", err)
			}
			c.code = peer.TxValidationCode_VALID
		}
		code, err := j.verdict(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		if code != recorded[i] {
			return nil, nil, broken("transaction %d (%s) is recorded as %s and is %s", i, c.tx.TxID, recorded[i], code)
		}
		if err := j.accept(ctx, c, code); err != nil {
			return nil, nil, err
		}
		r.report.Transactions++
		switch {
		case code != peer.TxValidationCode_VALID:
			r.report.Invalid++
		case c.tx.RWSet != nil:
			valid = append(valid, c.tx)
		}
	}
	if block.Header.Number > 0 {
		r.commitHash = j.updates.commitHash(r.commitHash, j.codes)
		if !bytes.Equal(wire.CommitHash(block), r.commitHash) {
			return nil, nil, broken("commit hash is %x, the state's updates give %x", wire.CommitHash(block), r.commitHash)
		}
	}
	if err := j.finish(ctx, block.Header); err != nil {
		return nil, nil, err
	}
	r.report.Blocks++
	return j, valid, nil
}

// checkAll checks forms and signatures on all cores.
func checkAll(config *channelconfig.Config, raw [][]byte) []*checked {
	txs := make([]*checked, len(raw))
	var work sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(raw))
	for w := range workers {
		work.Go(func() {
			for i := w; i < len(raw); i += workers {
				txs[i] = check(config, raw[i])
			}
		})
	}
	work.Wait()
	return txs
}

// index compares the look-ups that lead to a block.
func (r *replayer) index(ctx context.Context, number uint64, batch *Batch) error {
	view, err := r.Store.View(ctx, r.Channel)
	if err != nil {
		return err
	}
	defer view.Close()
	if view.Savepoint() <= number {
		return nil // in the log, not applied yet: whoever opens the channel next does it
	}
	if found, err := view.BlockByHash(ctx, batch.Hash); err != nil || found != number {
		return broken("the look-up by hash leads to block %d (%v)", found, err)
	}
	ids := make([]string, len(batch.Txs))
	for i, tx := range batch.Txs {
		ids[i] = tx.TxID
	}
	entries, err := view.Transactions(ctx, ids)
	if err != nil {
		return err
	}
	for i, want := range batch.Txs {
		if entries[i] == nil || *entries[i] != want {
			return broken("the look-up of transaction %s gives %v, want %v", want.TxID, entries[i], want)
		}
	}
	return nil
}

// compare compares the rebuilt state and history with the stored ones. Blocks that are not applied yet are laid over.
func (r *replayer) compare(ctx context.Context, height uint64) error {
	want, err := r.Scratch.View(ctx, r.Channel)
	if err != nil {
		return fmt.Errorf("scratch store: %w", err)
	}
	defer want.Close()
	c := &Channel{ledger: &Ledger{Config: Config{Store: r.Store}}, name: r.Channel}
	c.height.Store(height)
	c.config.Store(r.config)
	got, err := c.View(ctx)
	if err != nil {
		return err
	}
	defer got.Close()
	if got.Savepoint() != height {
		return broken("the state is that of %d blocks, the log has %d", got.Savepoint(), height)
	}
	namespaces := make(map[string]bool)
	for k := range r.keys {
		namespaces[k.namespace] = true
	}
	for namespace := range namespaces {
		if err := r.compareNamespace(ctx, namespace, got, want); err != nil {
			return err
		}
	}
	for k := range r.keys {
		if err := compareHistory(ctx, k, got, want); err != nil {
			return err
		}
	}
	return r.comparePrivate(ctx, namespaces, got)
}

func (r *replayer) compareNamespace(ctx context.Context, namespace string, got, want View) error {
	for start := ""; ; {
		a, err := got.Range(ctx, namespace, start, "", rangePage)
		if err != nil {
			return err
		}
		b, err := want.Range(ctx, namespace, start, "", rangePage)
		if err != nil {
			return fmt.Errorf("scratch store: %w", err)
		}
		for i := range max(len(a), len(b)) {
			switch {
			case i >= len(a) || i < len(b) && b[i].Key < a[i].Key:
				return broken("key %q of %s is missing in the state", b[i].Key, namespace)
			case i >= len(b) || a[i].Key < b[i].Key:
				return broken("key %q of %s is in the state, and no transaction wrote it", a[i].Key, namespace)
			case !sameItem(a[i].Item, b[i].Item):
				return broken("key %q of %s is not as transaction %d of block %d left it", a[i].Key, namespace, b[i].Item.Version.Tx, b[i].Item.Version.Block)
			}
		}
		if namespace != TreeNamespace && !IsIndex(namespace) {
			r.report.Keys += uint64(len(b))
		}
		if len(b) < rangePage {
			return nil
		}
		start = b[len(b)-1].Key + "\x00"
	}
}

func sameItem(a, b *Item) bool {
	return a.Version == b.Version && bytes.Equal(a.Value, b.Value) && bytes.Equal(a.Metadata, b.Metadata)
}

func compareHistory(ctx context.Context, k stateKey, got, want View) error {
	for before := (Version{}); ; {
		a, err := got.History(ctx, k.namespace, k.key, before, rangePage)
		if err != nil {
			return err
		}
		b, err := want.History(ctx, k.namespace, k.key, before, rangePage)
		if err != nil {
			return fmt.Errorf("scratch store: %w", err)
		}
		same := func(x, y Change) bool {
			return x.Version == y.Version && x.TxID == y.TxID && x.IsDelete == y.IsDelete && bytes.Equal(x.Value, y.Value) && x.Timestamp.Equal(y.Timestamp)
		}
		if !slices.EqualFunc(a, b, same) {
			return broken("the history of key %q of %s is not what the chain says", k.key, k.namespace)
		}
		if len(b) < rangePage {
			return nil
		}
		before = b[len(b)-1].Version
	}
}
