package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// A Submission is a transaction to be ordered.
type Submission struct {
	Envelope []byte // a signed common.Envelope

	// Trusted says that this process made every signature in the envelope. Tx is then the transaction taken apart, and what
	// is judged invalid is not recorded. A transaction that a client signed is recorded whatever its verdict.
	Trusted bool
	Tx      *wire.Transaction

	// Fresh says that the id of a trusted transaction is made of a nonce that was drawn at random for this submission: no
	// other transaction has it, and it is not looked up.
	Fresh bool

	// Rerun simulates a trusted transaction again, over the state as it will stand at this point of the block being cut. It
	// is called for one that would otherwise lose its race. It must return by ctx's deadline.
	Rerun func(ctx context.Context, view View) (*Submission, error)

	// Private is what a trusted transaction wrote to collections. That of a client's was staged when it was endorsed.
	Private wire.PrivateSet
}

// A Verdict is what became of a submission.
type Verdict struct {
	Code     peer.TxValidationCode
	Version  Version     // block and position; of the first occurrence if Code is DUPLICATE_TXID of a trusted transaction
	Recorded bool        // whether it stands in a block
	Rerun    *Submission // the submission that was recorded, if it was simulated again
}

// pending is a submission in the queue.
type pending struct {
	*Submission
	checked *checked
	taken   atomic.Bool // by the committer, or by a submitter who gave up
	left    *uint64     // the block in whose inbox it was left, until it is known not to be in that block
	done    chan struct{}
	verdict Verdict
	err     error
}

func (p *pending) settle(v Verdict, err error) {
	p.verdict, p.err = v, err
	close(p.done)
}

// Submit orders a transaction and returns its verdict when its block is durable. If ctx ends before the transaction's turn it
// is withdrawn, and ctx's error returned. ErrOutcomeUnknown: the store failed at the wrong moment.
func (c *Channel) Submit(ctx context.Context, s *Submission) (Verdict, error) {
	p, err := c.enqueue(s)
	if err != nil {
		return Verdict{}, err
	}
	select {
	case <-p[0].done:
	case <-ctx.Done():
		if p[0].taken.CompareAndSwap(false, true) {
			return Verdict{}, ctx.Err()
		}
		<-p[0].done
	}
	return p[0].verdict, p[0].err
}

// Enqueue accepts transactions for ordering, in this order and all or none, without waiting for their verdicts.
func (c *Channel) Enqueue(s ...*Submission) error {
	_, err := c.enqueue(s...)
	return err
}

// Record is Enqueue that returns when the transactions are in a block. If ctx ends before, some may be in one or get into one.
func (c *Channel) Record(ctx context.Context, s ...*Submission) error {
	all, err := c.enqueue(s...)
	for _, p := range all {
		select {
		case <-p.done:
			err = errors.Join(err, p.err)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
		}
	}
	return err
}

func (c *Channel) enqueue(submissions ...*Submission) ([]*pending, error) {
	config := c.config.Load()
	all := make([]*pending, len(submissions))
	for i, s := range submissions {
		all[i] = &pending{Submission: s, done: make(chan struct{})}
		if s.Trusted {
			all[i].checked = checkTrusted(config, s)
			all[i].checked.fresh = s.Fresh
		} else {
			all[i].checked = check(config, s.Envelope)
			c.claim(all[i].checked)
		}
		if all[i].checked.isConfig() {
			return nil, fmt.Errorf("submit to channel %s: a configuration is not accepted as a transaction", c.name)
		}
	}
	l := c.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue)+len(all) > l.MaxQueue {
		return nil, fmt.Errorf("submit to channel %s: %w", c.name, ErrBusy)
	}
	c.queue = append(c.queue, all...)
	if !c.cutting {
		c.cutting = true
		l.work.Go(c.cut)
	}
	select {
	case c.arrived <- struct{}{}:
	default:
	}
	return all, nil
}

// Join tells the channel that a transaction is on its way to Submit, and leave that it has its verdict or will not come: a block
// that is about to be cut waits a little for company if much is on its way.
func (c *Channel) Join() (leave func()) {
	c.underway.Add(1)
	return func() { c.underway.Add(-1) }
}

// gather waits until a quarter of the transactions under way on the channel are in the queue, for GroupPause at most. A block
// costs a signature and a sync whatever is in it: under load, fewer and larger ones leave more of the machine to the
// transactions. One that is alone never waits.
func (c *Channel) gather() {
	var timeout <-chan time.Time
	for {
		c.mu.Lock()
		queued := len(c.queue)
		c.mu.Unlock()
		if queued == 0 || int64(4*queued) >= c.underway.Load() {
			return
		}
		if timeout == nil {
			timer := time.NewTimer(c.ledger.GroupPause)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-c.arrived:
		case <-timeout:
			return
		}
	}
}

// cut makes blocks of what is queued until nothing is. It is the channel's only writer while it runs.
func (c *Channel) cut() {
	for {
		c.gather()
		c.mu.Lock()
		batch := c.takeLocked()
		if len(batch) == 0 {
			c.cutting = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.commit(c.ledger.ctx, batch)
	}
}

// takeLocked takes the next block's transactions from the queue. c.mu is held.
func (c *Channel) takeLocked() []*pending {
	var batch []*pending
	bytes := 0
	for len(c.queue) > 0 {
		p := c.queue[0]
		if len(batch) > 0 && (len(batch) == c.ledger.MaxTransactions || bytes+len(p.Envelope) > c.ledger.MaxBytes) {
			break
		}
		c.queue[0] = nil
		c.queue = c.queue[1:]
		if p.taken.CompareAndSwap(false, true) {
			batch = append(batch, p)
			bytes += len(p.Envelope)
		}
	}
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return batch
}

// commit makes one block of the transactions and settles each. If another writer took the block's number, it judges them again
// over that one's block.
func (c *Channel) commit(ctx context.Context, batch []*pending) {
	for len(batch) > 0 {
		if c.ledger.shared != nil && time.Now().Before(c.contended) {
			if batch = c.takeTurn(ctx, batch); len(batch) == 0 {
				return
			}
		}
		number, err := c.commitOnce(ctx, batch)
		if !errors.Is(err, ErrConflict) {
			return
		}
		c.stale = true
		if c.ledger.shared != nil {
			c.contend()
			batch = c.learn(ctx, batch, number)
		}
	}
}

// commitOnce settles every transaction, unless it returns ErrConflict and the number of the block that another writer has.
func (c *Channel) commitOnce(ctx context.Context, batch []*pending) (uint64, error) {
	fail := func(err error) (uint64, error) {
		for _, p := range batch {
			if p.left != nil {
				p.settle(Verdict{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)) // another may take it along yet
			} else {
				p.settle(Verdict{}, err)
			}
		}
		return 0, nil
	}
	shared := c.ledger.shared
	inbox := c.openInbox(ctx)
	defer inbox.close()
	c.meet(ctx, batch)
	if c.stale || c.tip.height < c.height.Load() || c.ledger.Shared && shared == nil {
		if err := c.readTip(ctx); err != nil {
			return fail(err)
		}
		c.stale = false
	}
	if n, ok := outstanding(batch, c.tip.height); ok {
		return n, ErrConflict
	}
	if shared == nil {
		if err := c.catchUp(ctx, c.tip.height); err != nil {
			c.ledger.Logger.Warn("blocks are not applied yet", "channel", c.name, "error", err)
		}
	}
	view, err := c.tipView(ctx)
	if err != nil {
		return fail(err)
	}
	defer view.Close()

	letters, err := inbox.letters(ctx, c.tip.height, batch)
	if err != nil {
		return fail(err)
	}
	number := c.tip.height
	j := newJudge(c.name, c.config.Load(), view, number, c.definitions)
	j.keys = c.ledger.Keys
	b, err := c.fill(ctx, j, append(batch[:len(batch):len(batch)], letters...))
	if err != nil {
		return fail(err)
	}
	if len(b.envelopes) == 0 {
		if shared != nil {
			// Nobody has checked yet that this is the channel's end.
			if p, err := c.position(ctx); err != nil {
				return fail(err)
			} else if p.Height != number {
				return number, ErrConflict
			}
		}
		b.settle(nil)
		return 0, nil
	}
	block, raw, err := c.seal(j, b.envelopes)
	if err != nil {
		return fail(err)
	}
	if err := j.finish(ctx, block.Header); err != nil {
		return fail(err)
	}
	hash := wire.HeaderHash(block.Header)
	stateBatch := j.batch(hash)
	stateBatch.Outcomes = b.outcomes(len(batch))
	peek := inbox.peek(ctx, number)
	if err := c.append(ctx, raw, stateBatch); errors.Is(err, ErrConflict) {
		return number, err
	} else if err != nil {
		c.stale = true
		c.ledger.failure.Store(&err)
		if !errors.Is(err, ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		b.settle(fmt.Errorf("append block %d of channel %s: %w", number, c.name, err))
		return 0, nil
	}
	// The block is durable: from here on nothing can undo it.
	c.ledger.failure.Store(nil)
	c.tip = tip{height: number + 1, hash: hash, commitHash: wire.CommitHash(block), lastConfig: c.tip.lastConfig}
	c.forgetDefinitions(j)
	// The height is told before the first write of Apply: a reader whose height has not changed has seen no part of it.
	if shared != nil {
		c.recall.follow(j.updates)
	}
	c.saw(Position{Height: c.tip.height})
	if err := c.applyOwn(ctx, stateBatch); err != nil {
		c.ledger.Logger.Warn("block is not applied yet", "channel", c.name, "block", stateBatch.Block, "error", err)
	} else {
		c.unstage(ctx, b.staged)
	}
	if j.missing > 0 {
		c.ledger.Logger.Warn("private values are not here: they were endorsed elsewhere, or too long ago", "channel", c.name, "block", stateBatch.Block, "values", j.missing)
	}
	if peek() {
		c.contend()
	}
	b.settle(nil)
	return 0, nil
}

// tipView returns a view of the state as of the committer's tip.
func (c *Channel) tipView(ctx context.Context) (View, error) {
	if shared := c.ledger.shared; shared != nil {
		if c.applied.Load() < c.tip.height {
			if _, err := c.position(ctx); err != nil {
				return nil, err
			}
		}
		return c.viewOf(ctx, shared, c.tip.height, min(c.tip.height, c.applied.Load()))
	}
	return c.View(ctx)
}

// applyOwn applies a block just appended, after those before it.
func (c *Channel) applyOwn(ctx context.Context, batch *Batch) error {
	if c.applied.Load() < batch.Block {
		if err := c.awaitApplied(ctx, batch.Block); err != nil {
			return err
		}
	}
	if err := c.ledger.Store.Apply(ctx, c.name, batch); err != nil {
		return err
	}
	c.applied.Store(batch.Block + 1)
	return nil
}

// forgetDefinitions drops what is remembered of definitions that the block changed.
func (c *Channel) forgetDefinitions(j *judge) {
	j.updates.keys.Ascend(update{stateKey: stateKey{namespace: LifecycleNamespace}}, func(up update) bool {
		if up.namespace == LifecycleNamespace {
			c.definitions = make(map[string]*Definition)
		}
		return false
	})
}

// A filling is a block being put together: what goes into it, and what becomes of each transaction.
type filling struct {
	envelopes [][]byte
	judged    []*pending
	verdicts  []Verdict // of those
	staged    []string  // ids of the private sets that transactions bring
}

// settle tells every transaction its verdict once the block's fate is known; the error is of the append.
func (f *filling) settle(err error) {
	for i, p := range f.judged {
		if err != nil {
			p.settle(Verdict{}, err)
		} else {
			p.settle(f.verdicts[i], nil)
		}
	}
}

func (f *filling) judge(p *pending, v Verdict) {
	f.judged, f.verdicts = append(f.judged, p), append(f.verdicts, v)
}

// outcomes returns what becomes of the transactions from a position on: of the letters among them.
func (f *filling) outcomes(from int) []Outcome {
	var outcomes []Outcome
	for i, p := range f.judged[from:] {
		v := f.verdicts[from+i]
		outcomes = append(outcomes, Outcome{Digest: p.checked.digest, Code: v.Code, Tx: v.Version.Tx, Recorded: v.Recorded})
	}
	return outcomes
}

// fill judges the transactions in order. A trusted one that is invalid stays out of the block, after a last try over the block
// as it stands; all others go in.
func (c *Channel) fill(ctx context.Context, j *judge, batch []*pending) (*filling, error) {
	txs := make([]*checked, len(batch))
	for i, p := range batch {
		txs[i] = p.checked
	}
	if err := j.prefetch(ctx, txs); err != nil {
		return nil, err
	}
	staged, err := c.loadPrivate(ctx, batch)
	if err != nil {
		return nil, err
	}
	f := &filling{staged: staged}
	reruns := rerunner{limit: c.ledger.RerunBudget}
	for _, p := range batch {
		tx := p.checked
		code, err := j.verdict(ctx, tx)
		if err != nil {
			return nil, err
		}
		var again *Submission
		if lostRace(code) && p.Trusted && p.Rerun != nil {
			if again = reruns.try(ctx, j, p.Submission); again != nil {
				tx = checkTrusted(j.config, again)
				if code, err = j.verdict(ctx, tx); err != nil {
					return nil, err
				}
			}
		}
		v := Verdict{Code: code, Version: Version{j.updates.number, j.position}, Rerun: again}
		if p.Trusted && code != peer.TxValidationCode_VALID {
			v.Version = Version{}
			if first := j.first(tx.tx.TxID); first != nil {
				v.Version = first.Version
			}
			// What the verdict rests on may be this block itself: it is told when the block is there.
			f.judge(p, v)
			continue
		}
		if err := j.accept(ctx, tx, code); err != nil {
			return nil, err
		}
		v.Recorded = true
		f.envelopes = append(f.envelopes, tx.raw)
		f.judge(p, v)
	}
	return f, nil
}

// first returns the transaction of the chain or of this block that holds an id.
func (j *judge) first(id string) *TxEntry {
	if entry := j.indexed[id]; entry != nil {
		return entry
	}
	for i := range j.entries {
		if j.entries[i].TxID == id {
			return &j.entries[i]
		}
	}
	return nil
}

func lostRace(code peer.TxValidationCode) bool {
	return code == peer.TxValidationCode_MVCC_READ_CONFLICT || code == peer.TxValidationCode_PHANTOM_READ_CONFLICT
}

// rerunner repeats simulations over the block being cut, one after the other. None begins when the time is used up; one that
// has begun may take as long as all together.
type rerunner struct {
	limit, used time.Duration
}

// try returns the transaction simulated again, or nil if that failed or there is no time left: then its submitter repeats it.
// A simulation that overruns is left behind with a view that stays as it is.
func (r *rerunner) try(ctx context.Context, j *judge, s *Submission) *Submission {
	if r.used >= r.limit {
		return nil
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	view := &overlay{View: j.view, updates: j.updates.snapshot(), txs: j.entries[:len(j.entries):len(j.entries)]}
	again, err := s.Rerun(ctx, view)
	r.used += time.Since(start)
	if err != nil {
		return nil
	}
	return again
}

// seal makes the block: header, verdicts, and the signature over both its data and its place in the chain.
func (c *Channel) seal(j *judge, envelopes [][]byte) (*common.Block, []byte, error) {
	block := wire.NewBlock(c.tip.height, c.tip.hash, envelopes)
	nonce := make([]byte, 24)
	if _, err := rand.Read(nonce); err != nil {
		return nil, nil, fmt.Errorf("seal block %d: %w", c.tip.height, err)
	}
	signer := c.ledger.Signer
	if err := wire.SignBlock(block, c.tip.lastConfig, signer.Sign, signer.Serialized, nonce); err != nil {
		return nil, nil, fmt.Errorf("seal block %d: %w", c.tip.height, err)
	}
	wire.SetValidationCodes(block, j.codes)
	wire.SetCommitHash(block, j.updates.commitHash(c.tip.commitHash, j.codes))
	raw, err := proto.Marshal(block)
	if err != nil {
		return nil, nil, fmt.Errorf("seal block %d: %w", c.tip.height, err)
	}
	return block, raw, nil
}

// append appends a block, and makes sure of the outcome: after an error that leaves it open the block is read back, and the same
// bytes are appended again if it is not there. ErrConflict means that another writer's block holds the number, ErrRefused that
// the block is not there and will not be: this process alone appends, and it has stopped trying. Any other error leaves it open.
func (c *Channel) append(ctx context.Context, raw []byte, batch *Batch) error {
	wait := c.ledger.RetryPause
	for attempt := 0; ; attempt++ {
		err := c.ledger.Store.Append(ctx, c.name, raw, batch)
		if err == nil {
			return nil
		}
		// A conflict may be with our own block, if it was there after all when a try before, or inside the store, failed.
		there, readErr := c.ledger.Store.Block(ctx, c.name, batch.Block)
		switch {
		case readErr == nil && bytes.Equal(there, raw):
			return nil
		case readErr == nil:
			return fmt.Errorf("block %d of channel %s: %w", batch.Block, c.name, ErrConflict)
		case errors.Is(err, ErrConflict):
			return err
		case attempt == c.ledger.AppendRetries && errors.Is(readErr, ErrNotFound) && !c.ledger.Shared:
			return fmt.Errorf("%w: %w", ErrRefused, err)
		case attempt == c.ledger.AppendRetries:
			return err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return err
		}
	}
}
