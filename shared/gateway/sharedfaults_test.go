package gateway_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	service "peerless/shared/gateway"
	"peerless/shared/store/dynamodb/dynamodbtest"
)

// TestSharedFaults fails a process's calls for good from some point on, and looks at what its caller is told: that nothing was
// committed, or that this is not known, and never one for the other.
func TestSharedFaults(t *testing.T) {
	t.Parallel()
	const appends = "PutItem"
	for name, test := range map[string]struct {
		from    string // the first operation that fails; empty: the first of all
		outcome dynamodbtest.Outcome
		submit  service.Kind
		value   string // what another process may find
	}{
		"throttled":                          {"", dynamodbtest.Throttled, service.Unavailable, "1"},
		"out of reach":                       {"", dynamodbtest.Lost, service.Unavailable, "1"},
		"throttled when it appends":          {appends, dynamodbtest.Throttled, service.OutcomeUnknown, "1"},
		"out of reach when it appends":       {appends, dynamodbtest.Lost, service.OutcomeUnknown, "1"},
		"every reply lost after it appended": {appends, dynamodbtest.LostReply, service.OutcomeUnknown, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			double := dynamodbtest.NewDouble()
			p := newPlatform(t, open(t, double, "table"), &counters{}, service.Config{})
			var failing, on atomic.Bool
			faults := &dynamodbtest.Faults{Decide: func(_ int, operation string) dynamodbtest.Outcome {
				if on.Load() && (test.from == "" || operation == test.from) {
					failing.Store(true)
				}
				if failing.Load() {
					return test.outcome
				}
				return dynamodbtest.Proceed
			}}
			process := p.process(t, open(t, faults.Client(double), "table"))
			if _, err := process.submit(t.Context(), "add", "k", "1"); err != nil {
				t.Fatal(err)
			}
			on.Store(true)
			_, err := process.submit(t.Context(), "add", "k", "1")
			var said *service.Error
			if !errors.As(err, &said) || said.Kind != test.submit || said.Kind == service.OutcomeUnknown && said.TransactionID == "" {
				t.Errorf("submit: got %v, want kind %d", err, test.submit)
			}
			failing.Store(true)
			if _, err := process.evaluate(t.Context(), "get", "k"); !errors.As(err, &said) || said.Kind != service.Unavailable {
				t.Errorf("evaluate: got %v, want unavailable", err)
			}
			found, err := p.process(t, open(t, double, "table")).evaluate(t.Context(), "get", "k")
			if err != nil || found != test.value {
				t.Errorf("another process finds %q, %v, want %q", found, err, test.value)
			}
			p.audit(t)
		})
	}
}

// TestSharedEvents waits in one process for what another commits.
func TestSharedEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		double := dynamodbtest.NewDouble()
		p := newPlatform(t, open(t, double, "table"), &announcer{}, service.Config{})
		faults := &dynamodbtest.Faults{Latency: callLatency}
		waiting, writing := p.process(t, open(t, faults.Client(double), "table")), p.process(t, open(t, double, "table"))
		events, err := waiting.Events(t.Context(), service.EventsRequest{Channel: "main"})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() {
			if _, err := writing.submit(context.Background(), "announce", "hello"); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		event, err := events.Next(t.Context())
		if err != nil || string(event.Payload) != "hello" {
			t.Fatalf("got %v, %v", event, err)
		}
		if late := time.Since(start) - time.Minute; late > 1100*time.Millisecond {
			t.Errorf("the event came %v late", late)
		}
		if looks := faults.Made(); looks > 120 {
			t.Errorf("waiting a minute took %d calls", looks)
		}
	})
}
