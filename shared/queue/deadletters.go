package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

// DeadLetters returns a channel's dead letters, those accepted first first, at most limit.
func (q *Queue) DeadLetters(ctx context.Context, channel string, limit int) ([]DeadLetter, error) {
	q.mu.Lock()
	var entries []*entry
	for _, e := range q.entries {
		if e.channel == channel && e.state == dead {
			entries = append(entries, e)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	var letters []DeadLetter
	for _, e := range entries {
		if len(letters) == limit {
			break
		}
		letter, err := q.letter(ctx, e)
		if errors.Is(err, ErrNotFound) {
			continue // removed or redriven meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("dead letters of %s: %w", channel, err)
		}
		letters = append(letters, *letter)
	}
	return letters, nil
}

// DeadLetter returns that of a transaction, or ErrNotFound.
func (q *Queue) DeadLetter(ctx context.Context, channel, txID string) (*DeadLetter, error) {
	q.mu.Lock()
	e := q.entries[key(channel, txID)]
	q.mu.Unlock()
	if e == nil {
		return nil, ErrNotFound
	}
	return q.letter(ctx, e)
}

func (q *Queue) letter(ctx context.Context, e *entry) (*DeadLetter, error) {
	k, err := q.read(ctx, e)
	if err == nil && k.Death == nil {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &DeadLetter{
		Message: k.Message, Group: k.Group, Code: k.Death.Code, Reason: k.Death.Reason, Attempts: k.Death.Attempts,
		AcceptedAt: k.AcceptedAt, DiedAt: k.Death.At,
	}, nil
}

// Redrive has a dead letter run again, behind those of its group that wait now. It returns ErrNotFound if there is none of this transaction.
func (q *Queue) Redrive(ctx context.Context, channel, txID string) error {
	e, err := q.raise(channel, txID)
	if err != nil {
		return err
	}
	k, err := q.read(ctx, e)
	if err == nil {
		k.Death = nil
		err = q.replace(ctx, e, k)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		e.state = dead
		return fmt.Errorf("redrive transaction %s: %w", txID, err)
	}
	e.state, e.attempts, e.counted = waiting, 0, 0
	q.line(e)
	q.pump()
	return nil
}

// Remove drops a dead letter for good. It returns ErrNotFound if there is none of this transaction.
func (q *Queue) Remove(ctx context.Context, channel, txID string) error {
	e, err := q.raise(channel, txID)
	if err != nil {
		return err
	}
	err = q.config.Store.Delete(ctx, e.number)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		e.state = dead
		return fmt.Errorf("remove transaction %s: %w", txID, err)
	}
	q.forget(e)
	return nil
}

// raise takes a dead letter out of the dead ones, so that it is the caller's alone.
func (q *Queue) raise(channel, txID string) (*entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[key(channel, txID)]
	if e == nil || e.state != dead {
		return nil, ErrNotFound
	}
	e.state = arriving
	return e, nil
}

// Status counts a channel's messages.
func (q *Queue) Status(_ context.Context, channel string) (Status, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.statusLocked(func(e *entry) bool { return e.channel == channel }), nil
}

func (q *Queue) statusLocked(counts func(*entry) bool) (s Status) {
	for _, e := range q.entries {
		if !counts(e) {
			continue
		}
		switch e.state {
		case waiting:
			s.Waiting++
		case working:
			s.Working++
		case dead:
			s.DeadLetters++
		}
		if e.state != dead && (s.Oldest.IsZero() || e.accepted.Before(s.Oldest)) {
			s.Oldest = e.accepted
		}
	}
	return s
}

// notKept makes ErrNotFound of what a store says of a record that is not there.
func notKept(err error) error {
	if errors.Is(err, ledger.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// codeOf names a failure.
func codeOf(err error) string {
	var failure *gateway.Error
	if errors.As(err, &failure) {
		return failure.Kind.String()
	}
	return gateway.Internal.String()
}
