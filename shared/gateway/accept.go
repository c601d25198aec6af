package gateway

import (
	"context"
	"errors"

	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// AcceptTransaction checks what can be checked of a request that is to be submitted later, and returns the id that its
// transaction will have. The errors are SubmitTransaction's; IdempotencyKey is required. committed says that the transaction is
// recorded and valid already: the request is a repeat.
func (s *Service) AcceptTransaction(ctx context.Context, r Request) (txID string, committed bool, err error) {
	if r.IdempotencyKey == "" {
		return "", false, invalidArgument("submit", "a request that is submitted later needs an idempotency key")
	}
	c, err := s.prepare(ctx, "submit", r, idempotentNonce(r))
	if err != nil {
		return "", false, err
	}
	if _, err := s.firstOutcome(ctx, c); !errors.Is(err, ledger.ErrNotFound) {
		return c.proposal.TxID, err == nil, err
	}
	_, err = s.Definition(ctx, r.Channel, r.Chaincode)
	return c.proposal.TxID, false, err
}

// IdempotentID returns the id of the transaction that a request with an idempotency key makes.
func IdempotentID(r Request) string { return wire.TxID(idempotentNonce(r), r.User.Serialized) }

// Recorded reports whether a channel has a transaction with this id.
func (s *Service) Recorded(ctx context.Context, channel, txID string) (bool, error) {
	c, err := s.Channel(ctx, channel)
	if err != nil {
		return false, err
	}
	if _, err := c.Entry(ctx, txID); err != nil {
		if ignoreNotFound(err) == nil {
			return false, nil
		}
		return false, storeError("", "transaction "+txID, err)
	}
	return true, nil
}
