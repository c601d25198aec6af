package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"peerless/shared/docstore"
	"peerless/shared/gateway"
)

// A Wake says that there is something to send: a channel has new blocks, or a subscription's pause is over.
type Wake struct {
	Channel string `json:"channel"`
	Height  uint64 `json:"height,omitempty"`  // the channel has at least so many blocks; 0: as was said before
	Webhook string `json:"webhook,omitempty"` // the only subscription that is meant; empty: all of the channel
}

// A Later has a Wake come again after a pause of at most MaxPause, durably.
type Later func(ctx context.Context, w Wake, pause time.Duration) error

// atOnce is how many subscriptions of a channel are sent to at once.
const atOnce = 16

// Wake sends what there is to send, and returns when it is done or ctx ends. owner names the caller: the same one when it is tried
// again after it was killed, so that it need not wait for its own lease. A failing target is left for later, and is no error, unless
// later is nil; an error means that the same Wake has to come again.
//
// Several may be woken at once for one subscription. One of them sends, and takes along what the others were woken for.
func (s *Sender) Wake(ctx context.Context, w Wake, owner string, later Later) error {
	var subs []*Subscription
	var err error
	if w.Webhook == "" {
		subs, err = s.config.Registry.List(ctx, w.Channel)
	} else {
		var sub *Subscription
		if sub, err = s.config.Registry.Get(ctx, w.Channel, w.Webhook); err == nil {
			subs = append(subs, sub)
		} else if errors.Is(err, ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	errs := make([]error, len(subs))
	slots := make(chan struct{}, atOnce)
	var workers sync.WaitGroup
	for i, sub := range subs {
		workers.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := s.wake(ctx, sub, w, owner, later); err != nil && !errors.Is(err, errGone) {
				errs[i] = fmt.Errorf("webhook %s of channel %s: %w", sub.ID, sub.Channel, err)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// leaseTime is how long a lease lasts where the caller has no deadline.
const leaseTime = time.Minute

// wake sends one subscription's events up to the height that is wanted.
func (s *Sender) wake(ctx context.Context, sub *Subscription, w Wake, owner string, later Later) error {
	p, mine, err := s.claim(ctx, sub, w, owner, later != nil)
	if err != nil || !mine {
		return err
	}
	for {
		err := s.advance(ctx, ctx, sub, p, func(ctx context.Context, events *gateway.Events) (*gateway.Event, error) {
			return events.Before(ctx, p.Wanted)
		})
		target := errors.Is(err, errTarget)
		switch {
		case target && later == nil:
			// Nobody else would try again.
		case target:
			// First that it comes again, then that it may be left alone until then: killed in between, it comes twice.
			if err := later(ctx, Wake{Channel: sub.Channel, Webhook: sub.ID}, time.Until(p.RetryAt)); err != nil {
				return fmt.Errorf("have it tried again later: %w", err)
			}
			err = nil
		case err != nil:
			return err
		}
		wanted := p.Wanted
		p.Lease = Lease{Owner: owner}
		if saved := s.save(ctx, sub, p); saved != nil {
			return errors.Join(err, saved)
		}
		if err != nil || target || p.Wanted <= wanted {
			return err
		}
		// Somebody was woken for more meanwhile, and left it to the lease.
		if p, mine, err = s.claim(ctx, sub, w, owner, later != nil); err != nil || !mine {
			return err
		}
	}
}

// claim notes what is wanted, and takes the lease. It reports whether the caller is to send: nobody else does, there is something to send,
// and the target is not being left alone, if pauses says that somebody comes back to it.
func (s *Sender) claim(ctx context.Context, sub *Subscription, w Wake, owner string, pauses bool) (p *Progress, mine bool, err error) {
	for {
		if p, err = s.config.Registry.Progress(ctx, sub); err != nil {
			return nil, false, err
		}
		now := time.Now()
		changed := w.Height > p.Wanted
		p.Wanted = max(p.Wanted, w.Height)
		taken := p.Lease.Owner != owner && now.Before(p.Lease.Until)
		paused := pauses && w.Webhook == "" && now.Before(p.RetryAt)
		if mine = !taken && !paused && p.Block < p.Wanted; mine {
			until, ok := ctx.Deadline()
			if !ok {
				until = now.Add(leaseTime)
			}
			p.Lease, changed = Lease{Owner: owner, Until: until.UTC()}, true
		}
		if !changed {
			return p, false, nil
		}
		err := s.config.Registry.save(ctx, sub, p)
		if !errors.Is(err, docstore.ErrConflict) {
			return p, mine, err
		}
	}
}
