package endorser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
)

// A Config says what an endorser is made of. All but Deploy, StateDatabase and Logger is required.
type Config struct {
	Signer   *msp.Signer // of the organisation, in the role of a peer
	Channels []string
	From     organization.Connection // to the platform's gRPC
	Store    ledger.Store            // is opened and closed by the caller
	Packages string                  // a directory for packages of contracts

	Deploy        deploy.Config // Logger is filled in
	StateDatabase string        // as gateway.Config has it
	Logger        *slog.Logger  // default: none
}

// An Endorser endorses for one organisation. Safe for concurrent use.
type Endorser struct {
	Gateway    *gateway.Service
	Chaincodes *deploy.Manager

	config    Config
	ledger    *ledger.Ledger
	feed      *feed
	followers map[string]*ledger.Follower
}

// Open opens an endorser. It follows nothing until Run.
func Open(ctx context.Context, config Config) (*Endorser, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Endorser{config: config, followers: make(map[string]*ledger.Follower)}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open endorser of %s: %w", config.Signer.MSPID, err), e.Close())
	}
	return e, nil
}

func (e *Endorser) open(ctx context.Context) (err error) {
	// Its signer orders nothing: a ledger that follows cuts no blocks.
	if e.ledger, err = ledger.Open(ledger.Config{Store: e.config.Store, Signer: e.config.Signer, Logger: e.config.Logger}); err != nil {
		return err
	}
	for _, channel := range e.config.Channels {
		if e.followers[channel], err = e.ledger.Follow(ctx, channel); err != nil {
			return err
		}
	}
	deployConfig := e.config.Deploy
	deployConfig.Logger = e.config.Logger
	if e.Chaincodes, err = deploy.Open(e.config.Packages, deployConfig); err != nil {
		return err
	}
	if e.feed, err = newFeed(e.config.From, e.config.Signer, e.config.Logger); err != nil {
		return err
	}
	e.Gateway, err = gateway.New(gateway.Config{
		Ledger: e.ledger, Chaincodes: e.Chaincodes, Logger: e.config.Logger, StateDatabase: e.config.StateDatabase,
		Organizations: own{&organization.Endorser{Identity: e.config.Signer.Identity, Signer: e.config.Signer}},
	})
	return err
}

// own knows one organisation's endorser.
type own struct{ endorser *organization.Endorser }

func (o own) Endorser(mspID string) (*organization.Endorser, error) {
	if mspID != o.endorser.MSPID {
		return nil, fmt.Errorf("endorser of %q: %w", mspID, organization.ErrNotFound)
	}
	return o.endorser, nil
}

// Run follows the channels until ctx ends, which is no error, or a chain does not hold: ledger.ErrAudit.
func (e *Endorser) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(e.followers))
	for channel, follower := range e.followers {
		go func() {
			defer stop()
			ended <- e.feed.follow(ctx, channel, follower)
		}()
	}
	var refused error
	for range e.followers {
		if err := <-ended; errors.Is(err, ledger.ErrAudit) {
			refused = errors.Join(refused, err)
		}
	}
	return refused
}

// Ready returns when every channel has its first block, or with the error of ctx.
func (e *Endorser) Ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for channel, follower := range e.followers {
		for follower.Height() == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("channel %s: no block has come from %s: %w", channel, e.config.From.Address, ctx.Err())
			}
		}
	}
	return nil
}

// Height returns how many blocks of a channel it has.
func (e *Endorser) Height(channel string) uint64 {
	if f := e.followers[channel]; f != nil {
		return f.Height()
	}
	return 0
}

// Close ends the contracts. The store stays open.
func (e *Endorser) Close() error {
	var errs []error
	if e.feed != nil && e.feed.from != nil {
		errs = append(errs, e.feed.from.Close())
	}
	if e.ledger != nil {
		errs = append(errs, e.ledger.Close())
	}
	if e.Chaincodes != nil {
		errs = append(errs, e.Chaincodes.Close())
	}
	return errors.Join(errs...)
}
