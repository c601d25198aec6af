package contracttest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"peerless/shared/chaincode"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

// hosts are the chaincodes of a ledger, by name.
type hosts struct {
	mu      sync.Mutex
	running map[string]chaincode.Host
}

var _ gateway.Chaincodes = (*hosts)(nil)

func (h *hosts) Host(_ context.Context, _, name, _ string) (chaincode.Host, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host, ok := h.running[name]
	if !ok {
		return nil, fmt.Errorf("chaincode %s: %w", name, ledger.ErrNotFound)
	}
	return host, nil
}

func (h *hosts) add(name string, host chaincode.Host) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[name] != nil {
		return fmt.Errorf("there is a chaincode %s already", name)
	}
	h.running[name] = host
	return nil
}

func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, host := range h.running {
		host.Close()
	}
}

// testLog writes what chaincodes are reported for, their panics above all, to the test's log for as long as the test runs.
type testLog struct {
	mu   sync.Mutex
	t    TB
	over bool
}

func (l *testLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Write takes one record.
func (l *testLog) Write(record []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Logf("%s", record)
	}
	return len(record), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
