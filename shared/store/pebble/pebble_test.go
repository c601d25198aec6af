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

func TestStore(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]pebble.Config{
		"default": {},
		"small":   {CacheBytes: 1 << 20, MemTableBytes: 256 << 10, SegmentBytes: 4 << 10}, // many segments, flushes and compactions
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledgertest.TestStore(t, ledgertest.Capabilities{Persistent: true, FixedViews: true, AppendApplies: true, Ages: true},
				func(t *testing.T, dir string) ledger.Store { return open(t, dir, config) })
		})
	}
}
