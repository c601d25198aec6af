package pebble_test

import (
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/ledger/ledgertest"
	"peerless/shared/store/pebble"
)

func open(t *testing.T, dir string, c pebble.Config) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stagedLimits are small, and more than the largest set that the suite stages.
var stagedLimits = ledger.StagedLimits{Channel: 3 << 20, Total: 5 << 20}

func TestStore(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]pebble.Config{
		"default": {},
		"small":   {CacheBytes: 1 << 20, MemTableBytes: 256 << 10, SegmentBytes: 4 << 10}, // many segments, flushes and compactions
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config.Staged = stagedLimits
			ledgertest.TestStore(t, ledgertest.Capabilities{Persistent: true, FixedViews: true, AppendApplies: true, Ages: true, Staged: stagedLimits},
				func(t *testing.T, dir string) ledger.Store {
					return open(t, dir, config)
				})
		})
	}
}
