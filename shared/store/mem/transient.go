package mem

import (
	"context"
	"fmt"
	"slices"
	"time"

	"peerless/shared/ledger"
)

// Stage implements ledger.Transient.
func (s *Store) Stage(ctx context.Context, channel string, sets []ledger.StagedSet) error {
	return s.transient(ctx, "stage", func() error {
		if channel == "" {
			return fmt.Errorf("no channel: %w", ErrMisuse)
		}
		for _, set := range sets {
			if set.ID == "" || len(set.Set) == 0 {
				return fmt.Errorf("a set has no id, or nothing in it: %w", ErrMisuse)
			}
		}
		if err := s.makeRoom(channel, sets); err != nil {
			return err
		}
		staged := s.staged[channel]
		if staged == nil {
			staged = make(map[string]ledger.StagedSet)
			s.staged[channel] = staged
		}
		for _, set := range sets {
			set.Set = cloneBytes(set.Set)
			staged[set.ID] = set
		}
		return nil
	})
}

// makeRoom forgets what waited too long if these sets do not fit. s.mu is held.
func (s *Store) makeRoom(channel string, sets []ledger.StagedSet) error {
	var waiting []ledger.StagedSize
	for name, staged := range s.staged {
		for id, set := range staged {
			waiting = append(waiting, ledger.StagedSize{Channel: name, ID: id, Bytes: int64(len(set.Set)), At: set.At})
		}
	}
	more, now := int64(0), time.Time{}
	for _, set := range sets {
		more += int64(len(set.Set)) - int64(len(s.staged[channel][set.ID].Set))
		now = set.At
	}
	forgotten, err := s.config.Staged.MakeRoom(channel, more, now, waiting)
	for _, set := range forgotten {
		delete(s.staged[set.Channel], set.ID)
	}
	return err
}

// Staged implements ledger.Transient.
func (s *Store) Staged(ctx context.Context, channel string, ids []string) ([][]byte, error) {
	sets := make([][]byte, len(ids))
	err := s.transient(ctx, "staged", func() error {
		for i, id := range ids {
			if set, ok := s.staged[channel][id]; ok {
				sets[i] = cloneBytes(set.Set)
			}
		}
		return nil
	})
	return sets, err
}

// Unstage implements ledger.Transient.
func (s *Store) Unstage(ctx context.Context, channel string, ids []string, below uint64) error {
	return s.transient(ctx, "unstage", func() error {
		staged := s.staged[channel]
		for _, id := range ids {
			delete(staged, id)
		}
		for id, set := range staged {
			if set.Height < below {
				delete(staged, id)
			}
		}
		return nil
	})
}

// Unapplied implements ledger.Transient.
func (s *Store) Unapplied(ctx context.Context, channel string, block uint64, _ []byte) (writes []ledger.Write, err error) {
	err = s.transient(ctx, "unapplied", func() error {
		if c := s.channels[channel]; c != nil {
			writes = cloneWrites(c.unapplied[block])
		}
		return nil
	})
	return writes, err
}

// transient runs f with the store locked.
func (s *Store) transient(ctx context.Context, op string, f func() error) error {
	err := ctx.Err()
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err = ErrClosed; !s.closed {
			err = f()
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func cloneWrites(writes []ledger.Write) []ledger.Write {
	cloned := slices.Clone(writes)
	for i := range cloned {
		cloned[i].Item = cloneItem(cloned[i].Item)
	}
	return cloned
}
