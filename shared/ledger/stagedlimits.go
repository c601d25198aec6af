package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrStagedFull: so much private data waits for its transactions that no more is taken. Nothing that waits was forgotten for it: submit
// what was endorsed, or try again later.
var ErrStagedFull = errors.New("too much private data of endorsed transactions waits to be committed")

// StagedLimits bound the private sets that a store on one machine keeps for transactions to come, in bytes as it keeps them. What is
// submitted here is not among them.
type StagedLimits struct {
	Channel int64 // of one channel; default 64 MiB
	Total   int64 // of all channels; default 256 MiB
}

// StagedTime is how long a set that was staged waits for certain. When room is needed, what has waited longer makes it.
const StagedTime = time.Hour

// WithDefaults returns the limits with what is not set.
func (l StagedLimits) WithDefaults() StagedLimits {
	return StagedLimits{cmp.Or(l.Channel, 64<<20), cmp.Or(l.Total, 256<<20)}
}

// Fit reports whether so many bytes of a channel, and in all, are within the limits.
func (l StagedLimits) Fit(channel, total int64) bool { return channel <= l.Channel && total <= l.Total }

// A StagedSize is a set that waits.
type StagedSize struct {
	Channel, ID string
	Bytes       int64
	At          time.Time // when it was staged; zero: long ago
}

// MakeRoom returns the sets that a store forgets so that so many bytes more of a channel fit: such as have waited longer than
// StagedTime, the oldest first, and no more than it takes. If that is not enough none is forgotten: ErrStagedFull.
func (l StagedLimits) MakeRoom(channel string, more int64, now time.Time, waiting []StagedSize) ([]StagedSize, error) {
	own, total := more, more
	var old []StagedSize
	for _, set := range waiting {
		total += set.Bytes
		if set.Channel == channel {
			own += set.Bytes
		}
		if now.Sub(set.At) > StagedTime {
			old = append(old, set)
		}
	}
	slices.SortFunc(old, func(a, b StagedSize) int { return a.At.Compare(b.At) })
	var forgotten []StagedSize
	for _, set := range old {
		if l.Fit(own, total) {
			break
		}
		if set.Channel != channel && total <= l.Total {
			continue // it would not help
		}
		total -= set.Bytes
		if set.Channel == channel {
			own -= set.Bytes
		}
		forgotten = append(forgotten, set)
	}
	if !l.Fit(own, total) {
		return nil, fmt.Errorf("%w: with %d bytes more the channel has %d of %d, and all have %d of %d", ErrStagedFull, more, own, l.Channel, total, l.Total)
	}
	return forgotten, nil
}
