package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"peerless/shared/docstore"
	"peerless/shared/gateway"
)

// Source reads channels' events. *gateway.Service is one.
type Source interface {
	Events(context.Context, gateway.EventsRequest) (*gateway.Events, error)
}

var _ Source = (*gateway.Service)(nil)

// Config is what a sender is made of. Registry, Source, Encode and Endpoints are required.
type Config struct {
	Registry *Registry
	Source   Source
	// Encode writes an event as JSON.
	Encode func(channel string, e *gateway.Event) ([]byte, error)
	// Endpoints takes what goes to URLs.
	Endpoints Target
	// Services take what goes to ARNs, by the service's name in them.
	Services map[string]Target
	// Pause is how long a target that failed is left alone at first; the pause doubles each time, up to MaxPause. Default 1 s.
	Pause  time.Duration
	Logger *slog.Logger // default: none
}

// MaxPause is the longest time between two tries: the longest that SQS delays a message.
const MaxPause = 15 * time.Minute

// shownAfter is how often a target fails before that is a warning in the log.
const shownAfter = 5

// A Sender sends events to subscriptions: in a server with Run, in a function with Wake.
type Sender struct {
	config Config
}

// NewSender returns a sender.
func NewSender(config Config) *Sender {
	if config.Pause == 0 {
		config.Pause = time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sender{config}
}

// EventID is the id that an event is sent with.
func EventID(channel string, e *gateway.Event) string {
	return fmt.Sprintf("%s:%d-%d", channel, e.Block, e.Tx)
}

// send sends one event to the subscription's target.
func (s *Sender) send(ctx context.Context, sub *Subscription, e *gateway.Event) error {
	body, err := s.config.Encode(sub.Channel, e)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", EventID(sub.Channel, e), err)
	}
	target := s.config.Endpoints
	if sub.isARN() {
		service := strings.SplitN(sub.URL, ":", 4)[2]
		if target = s.config.Services[service]; target == nil {
			return fmt.Errorf("this platform does not send to %s", service)
		}
	}
	return target.Send(ctx, sub, &Message{ID: EventID(sub.Channel, e), Body: body, Name: e.Name})
}

// A next returns the next event, or nil if there is none left for now.
type next func(ctx context.Context, events *gateway.Events) (*gateway.Event, error)

// errGone ends the work for a subscription that was removed.
var errGone = errors.New("the webhook was removed")

// errTarget is the error of a target, which the progress shows.
var errTarget = errors.New("the target did not take the event")

// advance sends events from the progress on, until there is none left, the target fails (errTarget), or ctx ends. sending ends what is
// being sent.
func (s *Sender) advance(ctx, sending context.Context, sub *Subscription, p *Progress, next next) error {
	events, err := s.config.Source.Events(ctx, gateway.EventsRequest{Channel: sub.Channel, Chaincode: sub.Chaincode, FromBlock: p.Block, AfterTx: p.After})
	if err != nil {
		return err
	}
	for {
		e, err := next(ctx, events)
		if e == nil {
			if at := events.Position(); at > p.Block {
				p.Block, p.After = at, nil
			}
			return err
		}
		tx := e.Tx
		if !sub.wants(e) {
			p.Block, p.After = e.Block, &tx
			continue
		}
		if err := s.send(sending, sub, e); err != nil {
			if sending.Err() != nil {
				return sending.Err()
			}
			s.failed(sub, p, err)
			return fmt.Errorf("%w: %w", errTarget, err)
		}
		p.Block, p.After, p.Delivered = e.Block, &tx, p.Delivered+1
		p.Failures, p.FailingSince, p.LastError, p.RetryAt = 0, time.Time{}, "", time.Time{}
		if err := s.save(ctx, sub, p); err != nil {
			return err
		}
	}
}

// failed notes a failure in the progress.
func (s *Sender) failed(sub *Subscription, p *Progress, err error) {
	if p.Failures == 0 {
		p.FailingSince = time.Now().UTC()
	}
	p.Failures++
	p.LastError = strings.ToValidUTF8(err.Error(), "\uFFFD")
	pause := min(s.config.Pause<<min(p.Failures-1, 20), MaxPause)
	pause = pause/2 + rand.N(pause/2+1)
	p.RetryAt = time.Now().Add(pause).UTC()
	level := slog.LevelInfo
	if p.Failures >= shownAfter {
		level = slog.LevelWarn
	}
	s.config.Logger.Log(context.Background(), level, "a webhook fails", "channel", sub.Channel, "webhook", sub.ID, "failures", p.Failures,
		"since", p.FailingSince, "retry", p.RetryAt, "error", p.LastError)
}

// save keeps the progress. Where another wrote it meanwhile, what that wants is taken over.
func (s *Sender) save(ctx context.Context, sub *Subscription, p *Progress) error {
	ctx = context.WithoutCancel(ctx) // what was sent is to be known
	for {
		err := s.config.Registry.save(ctx, sub, p)
		if errors.Is(err, ErrNotFound) {
			return errGone
		}
		if !errors.Is(err, docstore.ErrConflict) {
			return err
		}
		now, err := s.config.Registry.Progress(ctx, sub)
		if err != nil {
			return err
		}
		if now.version == "" {
			return errGone
		}
		if now.Lease.Owner != p.Lease.Owner {
			return fmt.Errorf("webhook %s is sent by another: %w", sub.ID, docstore.ErrConflict)
		}
		p.Wanted, p.version = max(p.Wanted, now.Wanted), now.version
	}
}

// Run sends every subscription's events as they are committed, until ctx ends. changed gets a value when subscriptions were added or
// removed. One process runs at a time for a registry.
func (s *Sender) Run(ctx context.Context, changed <-chan struct{}) error {
	running := make(map[string]context.CancelFunc)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer func() {
		for _, stop := range running {
			stop()
		}
	}()
	for {
		subs, err := s.config.Registry.List(ctx, "")
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			s.config.Logger.Warn("webhooks cannot be listed", "error", err)
		}
		present := make(map[string]bool)
		for _, sub := range subs {
			id := sub.document()
			present[id] = true
			if running[id] == nil {
				own, stop := context.WithCancel(ctx)
				running[id] = stop
				workers.Go(func() { s.follow(own, sub) })
			}
		}
		for id, stop := range running {
			if err == nil && !present[id] {
				stop()
				delete(running, id)
			}
		}
		var again <-chan time.Time
		if err != nil {
			again = time.After(s.config.Pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		}
	}
}

// follow sends one subscription's events until ctx ends.
func (s *Sender) follow(ctx context.Context, sub *Subscription) {
	for ctx.Err() == nil {
		p, err := s.config.Registry.Progress(ctx, sub)
		if err == nil {
			// What is being sent is sent to its end, which the endpoint's time bounds: a server that stops in good order repeats nothing.
			err = s.advance(ctx, context.WithoutCancel(ctx), sub, p, func(ctx context.Context, events *gateway.Events) (*gateway.Event, error) { return events.Next(ctx) })
			if errors.Is(err, errGone) {
				return
			}
			// Where it stopped, by a failure or by the end: so that what was looked at need not be looked at again.
			if saved := s.save(ctx, sub, p); saved != nil && !errors.Is(saved, errGone) {
				err = errors.Join(err, saved)
			}
		}
		if ctx.Err() != nil {
			return
		}
		pause := s.config.Pause
		if errors.Is(err, errTarget) {
			pause = time.Until(p.RetryAt)
		} else if err != nil {
			s.config.Logger.Warn("a webhook's events cannot be read", "channel", sub.Channel, "webhook", sub.ID, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
