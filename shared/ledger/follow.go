package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A Follower takes the blocks of a channel that is ordered elsewhere into the ledger's store. It believes nothing: every block is
// judged again as an audit does, and one that does not hold is not taken, nor any after it. Nobody else may write to the channel.
// Private values are not in blocks: of them the state has hashes alone.
type Follower struct {
	ledger *Ledger

	mu       sync.Mutex
	replayer *replayer
	height   uint64
	refused  error // of a block that did not hold
}

// Follow returns a channel's follower, which goes on where the store ends. A channel that is not there yet begins with the first
// block that Add is given.
func (l *Ledger) Follow(ctx context.Context, channel string) (*Follower, error) {
	f := &Follower{ledger: l, replayer: &replayer{
		Audit: &Audit{Channel: channel, Scratch: l.Store}, place: "store", report: &AuditReport{}, definitions: make(map[string]*Definition),
	}}
	c, err := l.Channel(ctx, channel)
	if errors.Is(err, ErrNotFound) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("follow channel %s: %w", channel, err)
	}
	if err := c.catchUp(ctx, c.tip.height); err != nil {
		return nil, fmt.Errorf("follow channel %s: %w", channel, err)
	}
	f.height, f.replayer.config, f.replayer.hash, f.replayer.commitHash = c.tip.height, c.Config(), c.tip.hash, c.tip.commitHash
	return f, nil
}

// Height returns the number of blocks taken, which is the number of the block that Add wants next.
func (f *Follower) Height() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.height
}

// Add judges the next block and takes it in. When it returns nil the block is durable and applied. ErrAudit: the block is not what it
// should be; the same is returned ever after, until the channel is followed anew.
func (f *Follower) Add(ctx context.Context, raw []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.replayer
	if f.refused != nil {
		return f.refused
	}
	before := *r
	if _, _, err := r.take(ctx, f.height, raw); err != nil {
		*r = before
		err = fmt.Errorf("channel %s: block %d: %w", r.Channel, f.height, err)
		if errors.Is(err, ErrAudit) {
			f.refused = err
		}
		return err
	}
	f.height++
	c, err := f.ledger.Channel(ctx, r.Channel)
	if err != nil {
		return err
	}
	c.config.Store(r.config)
	c.applied.Store(f.height)
	c.saw(Position{Height: f.height})
	return nil
}
