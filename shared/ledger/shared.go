package ledger

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// recentTime is how long a channel's end is taken to be where it was when it was last looked at. That is never relied on: it saves
// a call where one process writes to a channel, and costs some where several do.
const recentTime = time.Second

// Recent returns a view of the state as this process knows it, without asking anyone if it can. Other processes may have written
// since then: an answer made of what was read is true if Unchanged says so. Where this process is alone it is View.
func (c *Channel) Recent(ctx context.Context) (View, error) {
	shared, height := c.ledger.shared, c.height.Load()
	if shared == nil || c.applied.Load() < height {
		return c.View(ctx)
	}
	return &recalling{View: shared.ViewAt(c.name, height), recall: &c.recall, height: height}, nil
}

// Draft returns a view for a simulation that is going to be submitted, and asks nobody for it: Submit judges what was read. It is
// Recent if the channel's end was looked at lately. Else, or while others' blocks are being applied, it may show blocks in part,
// and a chaincode's definition from before: a transaction that lost its race says again, and gets the definition as it is. Where
// the end is, and what else the next block takes, is read meanwhile.
func (c *Channel) Draft(ctx context.Context, again bool) (View, error) {
	shared := c.ledger.shared
	if shared == nil {
		return c.View(ctx)
	}
	height, applied, look := c.height.Load(), c.applied.Load(), !c.lookedLately()
	c.anticipate(ctx, shared, look)
	if !look && applied >= height {
		return c.Recent(ctx)
	}
	view := shared.ViewAt(c.name, applied)
	if again {
		return view, nil
	}
	return &drafting{View: view, recall: &c.recall}, nil
}

// An anticipation is what is being read for the next block.
type anticipation struct {
	number  uint64         // of the block, as it was known at the beginning
	looking sync.WaitGroup // where the end of the chain is
	reading sync.WaitGroup // the block before, and hashes of the log
}

// anticipate reads ahead what cutting the next block takes, first of all its number if look is set. What fails the committer does.
func (c *Channel) anticipate(ctx context.Context, shared SharedStore, look bool) {
	before, now := c.ahead.Load(), &anticipation{number: c.height.Load()}
	if before != nil && before.number == now.number && !look {
		return
	}
	now.looking.Add(1)
	now.reading.Add(1)
	if !c.ahead.CompareAndSwap(before, now) {
		return
	}
	ctx = context.WithoutCancel(ctx) // others than the caller gain by it
	go func() {
		defer now.reading.Done()
		if look {
			c.position(ctx)
		}
		now.looking.Done()
		number := c.height.Load()
		now.reading.Go(func() { c.lastBlock(ctx, number-1) })
		if c.applied.Load() >= number {
			view := &recalling{View: shared.ViewAt(c.name, number), recall: &c.recall, height: number}
			now.reading.Go(func() { view.Get(ctx, TreeNamespace, hashesBefore(number)) })
			now.reading.Go(func() { view.Get(ctx, ExpiryNamespace, expiries(number)) })
		}
	}()
}

// meet waits for what is anticipated, and meanwhile reads what judging the transactions takes.
func (c *Channel) meet(ctx context.Context, batch []*pending) {
	shared, ahead := c.ledger.shared, c.ahead.Load()
	if shared == nil || ahead == nil {
		return
	}
	ahead.looking.Wait()
	if number := c.height.Load(); c.applied.Load() >= number {
		txs := make([]*checked, len(batch))
		for i, p := range batch {
			txs[i] = p.checked
		}
		view := &recalling{View: shared.ViewAt(c.name, number), recall: &c.recall, height: number}
		newReader(view).prefetch(ctx, number, txs) // if it fails it is done again
	}
	ahead.reading.Wait()
}

func (c *Channel) lookedLately() bool { return time.Since(time.Unix(0, c.looked.Load())) < recentTime }

// position asks where the channel's end is.
func (c *Channel) position(ctx context.Context) (Position, error) {
	var p Position
	var err error
	if shared := c.ledger.shared; shared != nil {
		p, err = shared.Position(ctx, c.name)
	} else {
		p.Height, err = c.ledger.Store.Height(ctx, c.name)
	}
	if err != nil {
		return Position{}, fmt.Errorf("height of channel %s: %w", c.name, err)
	}
	c.saw(p)
	if c.ledger.shared != nil {
		c.end.Store(&p)
		c.recall.at(p.Height, func(since uint64) bool { return p.Savepoint >= p.Height && p.Defined <= since })
	}
	return p, nil
}

// saw notes what was seen of the channel's end just now, and wakes those who wait for a block.
func (c *Channel) saw(p Position) {
	if c.ledger.shared != nil {
		c.looked.Store(time.Now().UnixNano())
		for old := c.applied.Load(); old < p.Savepoint && !c.applied.CompareAndSwap(old, p.Savepoint); old = c.applied.Load() {
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.height.Load() < p.Height {
		c.height.Store(p.Height)
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// Pauses between looks at a channel's end, of those who wait for a block of another process.
const (
	firstLook = 8 * time.Millisecond
	lastLook  = time.Second
)

// Wait returns when the channel has more than height blocks, or with ctx's error. A block of another process is noticed within a
// tenth of the time waited for it, or a second.
func (c *Channel) Wait(ctx context.Context, height uint64) error {
	pause := firstLook
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if c.height.Load() > height {
			return nil
		}
		var look <-chan time.Time
		if c.ledger.Shared {
			timer := time.NewTimer(pause)
			defer timer.Stop()
			look = timer.C
		}
		select {
		case <-changed:
		case <-look:
			// A store that does not answer now may do so later.
			if now, err := c.position(ctx); err == nil && now.Height > height {
				return nil
			}
			pause = min(pause+pause/10, lastLook)
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ledger.ctx.Done():
			return ErrClosed
		}
	}
}

// awaitApplied returns when the blocks below height are in the state: those that other processes appended are theirs to apply.
// What is late is applied here.
func (c *Channel) awaitApplied(ctx context.Context, height uint64) error {
	pause := firstLook
	for waited := time.Duration(0); c.applied.Load() < height && waited < c.ledger.ApplyPatience; waited += pause {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if _, err := c.position(ctx); err != nil {
			return err
		}
	}
	return c.catchUp(ctx, height)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
