package queuetest_test

import (
	"testing"

	"peerless/shared/queue"
	"peerless/shared/queue/queuetest"
	"peerless/shared/secret"
	"peerless/shared/store/mem"
	"peerless/shared/store/pebble"
)

var (
	_ queue.Store = (*mem.Records)(nil)
	_ queue.Store = (*pebble.Records)(nil)
)

func TestMem(t *testing.T) {
	t.Parallel()
	queuetest.TestStore(t, func(*testing.T) queuetest.Backend {
		s := &mem.Records{}
		open := func() queue.Store { return s }
		return queuetest.Backend{Open: open, Reopen: open}
	})
}

func TestSealed(t *testing.T) {
	t.Parallel()
	queuetest.TestStore(t, func(*testing.T) queuetest.Backend {
		s, sealer := &mem.Records{}, secret.NewKey()
		open := func() queue.Store { return queue.Sealed(s, sealer) }
		return queuetest.Backend{Open: open, Reopen: open}
	})
}

func TestPebble(t *testing.T) {
	t.Parallel()
	queuetest.TestStore(t, func(t *testing.T) queuetest.Backend {
		dir := t.TempDir()
		var s *pebble.Store
		open := func() queue.Store {
			var err error
			// Small segments: several are begun, and removed again.
			if s, err = pebble.Open(dir, pebble.Config{SegmentBytes: 100 << 10}); err != nil {
				t.Fatal(err)
			}
			return s.Records()
		}
		closed := func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := pebble.Check(dir); err != nil {
				t.Errorf("after closing: %v", err)
			}
		}
		t.Cleanup(closed)
		return queuetest.Backend{Open: open, Reopen: func() queue.Store {
			closed()
			return open()
		}}
	})
}
