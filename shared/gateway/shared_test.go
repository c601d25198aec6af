package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"peerless/shared/awstest"
	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
	"peerless/shared/store/dynamodb/dynamodbtest"
)

// open returns a store of a process over a table that others use too.
func open(tb testing.TB, client dynamodb.Client, table string) *dynamodb.Store {
	tb.Helper()
	s, err := dynamodb.Open(dynamodb.Config{Client: client, Table: table})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestSharedLinearizable has several processes write to a few hot keys, while the table fails at random.
func TestSharedLinearizable(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	for name, oneIn := range map[string]int{"no faults": 0, "faults": 60} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			double := dynamodbtest.NewDouble()
			p := newPlatform(t, open(t, double, "table"), &counters{}, service.Config{Attempts: 200})
			var processes []*platform
			for i := range 4 {
				faults := &dynamodbtest.Faults{Latency: time.Millisecond}
				if oneIn > 0 {
					faults.Decide = dynamodbtest.Random(seed+uint64(i), oneIn)
				}
				processes = append(processes, p.process(t, open(t, faults.Client(double), "table")))
			}
			history := drive(t, processes, seed, 8, 25)
			for _, process := range processes {
				process.Ledger.Close()
			}
			p.audit(t)
			checkLinearizable(t, history)
		})
	}
}

// TestSharedOverSDK is a short TestSharedLinearizable over dynalite and the SDK, whose retries meet the faults.
func TestSharedOverSDK(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	config := awstest.DynamoDB(t)
	client := sdk.NewFromConfig(config)
	if err := dynamodb.CreateTable(t.Context(), client, "table"); err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t, open(t, client, "table"), &counters{}, service.Config{Attempts: 200})
	var processes []*platform
	for i := range 3 {
		faults := &dynamodbtest.Faults{Decide: dynamodbtest.Random(seed+uint64(i), 20)}
		processes = append(processes, p.process(t, open(t, sdk.NewFromConfig(config, faults.Option), "table")))
	}
	history := drive(t, processes, seed, 6, 8)
	for _, process := range processes {
		process.Ledger.Close()
	}
	p.audit(t)
	checkLinearizable(t, history)
}

// TestKilledAnywhere kills a process at each of its calls, made or not, while it submits, and looks at what others find: what it
// had acknowledged is there once, and nothing is there by halves.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		for name, size := range map[string]int{"small": 0, "large": 600 << 10} {
			for _, others := range []int{0, 2} {
				if size > 0 && others > 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s, %d others, arrives %v", name, others, arrives), func(t *testing.T) {
					t.Parallel()
					for n := 0; ; n++ {
						if done := killAt(t, n, arrives, size, others); done {
							t.Logf("%d calls", n)
							return
						}
						if t.Failed() {
							t.Fatalf("killed at call %d", n)
						}
					}
				})
			}
		}
	}
}

// killAt kills a process at its n-th call and reports whether it ended before that.
func killAt(t *testing.T, n int, arrives bool, size, others int) bool {
	double := dynamodbtest.NewDouble()
	contract := &counters{}
	p := newPlatform(t, open(t, double, "table"), contract, service.Config{})
	faults := &dynamodbtest.Faults{Decide: dynamodbtest.Kill(n, arrives)}
	victim := p.process(t, open(t, faults.Client(double), "table"))
	var work sync.WaitGroup
	expected := 0
	for range others {
		other := p.process(t, open(t, (&dynamodbtest.Faults{Latency: time.Millisecond}).Client(double), "table"))
		const calls = 2
		expected += calls
		work.Go(func() {
			for range calls {
				if _, err := other.submit(t.Context(), "add", "k", "1"); err != nil {
					t.Errorf("another process: %v", err)
				}
			}
		})
	}
	acknowledged, unknown := 0, 0
	for range 2 {
		var err error
		if size > 0 {
			_, err = victim.submit(t.Context(), "fill", "large", strconv.Itoa(size))
			if err == nil {
				acknowledged = size
			} else {
				unknown = size
			}
		} else if _, err = victim.submit(t.Context(), "add", "k", "100"); err == nil {
			acknowledged += 100
		} else {
			unknown += 100
		}
		if err != nil && !errors.Is(err, dynamodbtest.ErrKilled) && !errors.Is(err, context.Canceled) {
			t.Errorf("killed process: %v", err)
		}
	}
	work.Wait()
	finder := p.process(t, open(t, double, "table"))
	if size > 0 {
		got, err := finder.evaluate(t.Context(), "get", "large")
		if err != nil || len(got) != size && (acknowledged > 0 || got != "0") {
			t.Errorf("found a value of %d bytes, %v; %d were acknowledged", len(got), err, acknowledged)
		}
	} else {
		text, err := finder.evaluate(t.Context(), "get", "k")
		got, _ := strconv.Atoi(text)
		if err != nil || got < acknowledged+expected || got > acknowledged+unknown+expected || (got-expected)%100 != 0 {
			t.Errorf("found %s, %v; %d and %d were acknowledged, %d were not", text, err, acknowledged, expected, unknown)
		}
	}
	if _, err := finder.submit(t.Context(), "add", "k", "1"); err != nil {
		t.Errorf("submit after the kill: %v", err)
	}
	finder.audit(t)
	return faults.Made() <= n
}

// TestRoundTrips counts the calls that a request makes one after the other, at the SDK.
func TestRoundTrips(t *testing.T) { // not beside others: what takes a second is a call more
	config := awstest.DynamoDB(t)
	client := sdk.NewFromConfig(config)
	if err := dynamodb.CreateTable(t.Context(), client, "table"); err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t, open(t, client, "table"), &counters{}, service.Config{})
	faults := &dynamodbtest.Faults{Latency: 30 * time.Millisecond}
	one := p.process(t, open(t, sdk.NewFromConfig(config, faults.Option), "table"))
	other := p.process(t, open(t, client, "table"))
	count := func(what string, limit int, f func() error) {
		t.Helper()
		faults.Record()
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		calls := faults.Calls()
		n := dynamodbtest.Sequential(calls)
		t.Logf("%s: %d calls, %d one after the other", what, len(calls), n)
		if n > limit || n == 0 {
			for _, c := range calls {
				t.Logf("%s %v +%v", c.Operation, c.Start.Sub(calls[0].Start), c.End.Sub(c.Start))
			}
			t.Errorf("%s: got %d calls one after the other, want at most %d", what, n, limit)
		}
	}
	submit := func(p *platform, key string) func() error {
		return func() error { _, err := p.submit(t.Context(), "add", key, "1"); return err }
	}
	evaluate := func(p *platform, key string) func() error {
		return func() error { _, err := p.evaluate(t.Context(), "get", key); return err }
	}
	for _, f := range []func() error{submit(one, "a"), submit(other, "b")} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	idle := func() { time.Sleep(1100 * time.Millisecond) } // the process does not rely on where the end was any more
	idle()
	count("submit after another process's", 5, submit(one, "b"))
	count("submit of a new key", 5, submit(one, "c"))
	count("submit of a key written lately", 5, submit(one, "b"))
	count("evaluate of a key", 3, evaluate(one, "d"))
	count("evaluate of a key written lately", 3, evaluate(one, "b"))
	idle()
	count("submit after a pause", 5, submit(one, "e"))
	if err := submit(other, "f")(); err != nil {
		t.Fatal(err)
	}
	count("evaluate after another process's submit", 3, evaluate(one, "f"))
	for _, process := range []*platform{one, other} {
		process.Ledger.Close()
	}
	p.audit(t)
}

// TestNotApplied kills a process between appending and applying: others see the block, and can say what it lays over the state.
func TestNotApplied(t *testing.T) {
	t.Parallel()
	double := dynamodbtest.NewDouble()
	p := newPlatform(t, open(t, double, "table"), &counters{}, service.Config{})
	appended := false
	var mu sync.Mutex
	faults := &dynamodbtest.Faults{Decide: func(_ int, operation string) dynamodbtest.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if appended && operation != "Query" {
			return dynamodbtest.Killed
		}
		appended = appended || operation == "PutItem"
		return dynamodbtest.Proceed
	}}
	victim := p.process(t, open(t, faults.Client(double), "table"))
	if _, err := victim.submit(t.Context(), "add", "k", "7"); err != nil {
		t.Fatalf("a block that is there is a commit, applied or not: %v", err)
	}
	reader := open(t, double, "table")
	other, err := ledger.Open(ledger.Config{Store: unapplied{reader}, Signer: p.Ledger.Signer, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	channel, err := other.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	view, err := channel.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	layers := ledger.Layers(view, "cc")
	if len(layers) != 1 || len(layers[0].Writes) != 1 || string(layers[0].Writes[0].Item.Value) != "7" {
		t.Errorf("layers: got %v, want the one write", layers)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	finder := p.process(t, reader)
	if got, err := finder.evaluate(t.Context(), "get", "k"); err != nil || got != "7" {
		t.Errorf("evaluate: got %q, %v", got, err)
	}
	finder.audit(t)
}

// unapplied is a store that may not apply.
type unapplied struct{ *dynamodb.Store }

func (unapplied) Apply(context.Context, string, *ledger.Batch) error {
	return errors.New("not allowed")
}
