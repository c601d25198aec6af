package chaincode

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveContract runs the test contract as a service at an address and returns what stops it.
func serveContract(t *testing.T, address, name string) (stop func()) {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "contract"))
	cmd.Env = []string{"CHAINCODE_SERVER_ADDRESS=" + address, "CHAINCODE_ID=" + name, "CHAINCODE_TLS_DISABLED=true"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		}
	}
	t.Cleanup(stop)
	return stop
}

func startService(t *testing.T, address string, config ServiceConfig) *Service {
	t.Helper()
	service, err := DialService(address, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	return service
}

func mustPort(t *testing.T) string {
	t.Helper()
	address, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestServiceReconnects(t *testing.T) {
	t.Parallel()
	address := mustPort(t)
	service := startService(t, address, ServiceConfig{Name: "basic:1"})
	stop := serveContract(t, address, "basic:1")
	before := mustCall(t, service, "pid")

	hanging := make(chan error, 1)
	go func() { hanging <- call(t, service, time.Minute, "hang") }()
	mustCall(t, service, "pid")
	stop()
	if err := <-hanging; !errors.Is(err, ErrCrashed) && !errors.Is(err, ErrUnavailable) {
		t.Errorf("in flight: %v, want %v", err, ErrCrashed)
	}
	if err := call(t, service, 200*time.Millisecond, "pid"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while it is down: %v, want %v", err, ErrUnavailable)
	}
	serveContract(t, address, "basic:1")
	if after := mustCall(t, service, "pid"); after == before {
		t.Errorf("still process %s", after)
	}
	if status := service.Status(); status.State != Running || status.Restarts == 0 {
		t.Errorf("status %+v", status)
	}
}

func TestServiceUnreachable(t *testing.T) {
	t.Parallel()
	address := mustPort(t)
	service := startService(t, address, ServiceConfig{DialTimeout: 300 * time.Millisecond})
	err := service.Start(t.Context())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no answer from "+address) {
		t.Errorf("got %v", err)
	}
}

func TestServiceOfAnotherName(t *testing.T) {
	t.Parallel()
	address := mustPort(t)
	serveContract(t, address, "basic:2")
	service := startService(t, address, ServiceConfig{Name: "basic:1"})
	err := service.Start(t.Context())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "register chaincode basic:2: want the name basic:1") {
		t.Errorf("got %v", err)
	}
}

func TestServiceGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	service := startService(t, mustPort(t), ServiceConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := service.Start(ctx); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
