package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

func kindOf(err error) service.Kind {
	var e *service.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return -1
}

// TestHotKey has many clients add to one key: none of them sees a conflict, and blocks hold chains of updates.
func TestHotKey(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, mem.New(mem.Config{Hook: slowAppends(2 * time.Millisecond)}), &counters{}, service.Config{})
	const clients, calls = 16, 10
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for range calls {
				if _, err := p.submit(t.Context(), "add", "hot", "1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	if got, err := p.evaluate(t.Context(), "get", "hot"); err != nil || got != strconv.Itoa(clients*calls) {
		t.Errorf("the counter is %s (%v), want %d", got, err, clients*calls)
	}
	channel, err := p.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if height > clients*calls/2 {
		t.Errorf("%d updates of one key took %d blocks: no chains", clients*calls, height)
	}
	for n := range height {
		block, err := channel.Block(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		codes, err := wire.ValidationCodes(block)
		if err != nil {
			t.Fatal(err)
		}
		for i, code := range codes {
			if code != peer.TxValidationCode_VALID {
				t.Errorf("block %d records transaction %d as %s: the platform's losers are not recorded", n, i, code)
			}
		}
	}
	p.audit(t)
}

// slowAppends gives transactions time to gather while a block is written.
func slowAppends(d time.Duration) func(mem.Write) mem.Outcome {
	return func(w mem.Write) mem.Outcome {
		if w.Op == mem.OpAppend {
			<-time.After(d)
		}
		return mem.Proceed
	}
}

// TestPhantomsAreRunAgain has ranges and inserts race: all commit, each with the sum of what was there before it.
func TestPhantomsAreRunAgain(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, mem.New(mem.Config{Hook: slowAppends(time.Millisecond)}), &counters{}, service.Config{Attempts: 100})
	var work sync.WaitGroup
	for client := range 8 {
		work.Go(func() {
			for i := range 5 {
				if _, err := p.submit(t.Context(), "sum", fmt.Sprintf("s%d-%d", client, i)); err != nil {
					t.Error(err)
				}
				if _, err := p.submit(t.Context(), "add", fmt.Sprintf("a%d-%d", client, i), "1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	p.audit(t)
}

// TestIdempotencyKey repeats a request at once and later: it happens once, and each caller gets the one outcome.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	p := newPlatform(t, mem.New(mem.Config{}), &counters{runs: func(string) { runs.Add(1) }}, service.Config{})
	request := p.request("add", "k", "5")
	request.IdempotencyKey = "order-17"
	const repeats = 10
	outcomes := make([]*service.Outcome, repeats)
	var work sync.WaitGroup
	for i := range repeats {
		work.Go(func() {
			var err error
			if outcomes[i], err = p.SubmitTransaction(t.Context(), request); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	for _, o := range outcomes {
		if o == nil || o.TransactionID != outcomes[0].TransactionID || o.Block != outcomes[0].Block || string(o.Response.Payload) != "5" {
			t.Errorf("outcome %+v, want %+v", o, outcomes[0])
		}
	}
	if got, err := p.evaluate(t.Context(), "get", "k"); err != nil || got != "5" {
		t.Errorf("the counter is %s (%v), want 5", got, err)
	}

	other := p.request("add", "k", "6")
	other.IdempotencyKey = "order-17"
	if _, err := p.SubmitTransaction(t.Context(), other); kindOf(err) != service.IdempotencyKeyReused {
		t.Errorf("another request with the same key: %v, want IdempotencyKeyReused", err)
	}
	failing := p.request("nothing")
	failing.IdempotencyKey = "order-18"
	if _, err := p.SubmitTransaction(t.Context(), failing); kindOf(err) != service.ChaincodeError {
		t.Errorf("a function that fails: %v", err)
	}
	again := p.request("add", "k", "1")
	again.IdempotencyKey = "order-18"
	if o, err := p.SubmitTransaction(t.Context(), again); err != nil || string(o.Response.Payload) != "6" {
		t.Errorf("the key of a transaction that failed: %v, %v: it was not used up", o, err)
	}
	p.audit(t)
}

// TestIdempotencyAcrossFaults retries with one key until the store lets it through: it happens exactly once, whatever the store
// did to the tries before.
func TestIdempotencyAcrossFaults(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]mem.Outcome{"applied": mem.FailApplied, "not applied": mem.FailNotApplied} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			p := newPlatform(t, mem.New(mem.Config{SeparateApply: true, Hook: func(w mem.Write) mem.Outcome {
				if failing.Load() && w.Op == mem.OpAppend {
					return outcome
				}
				return mem.Proceed
			}}), &counters{}, service.Config{})
			for i := range 5 {
				request := p.request("add", "k", "1")
				request.IdempotencyKey = strconv.Itoa(i)
				failing.Store(true)
				_, err := p.SubmitTransaction(t.Context(), request)
				switch {
				case outcome == mem.FailNotApplied && (kindOf(err) != service.Unavailable || !errors.Is(err, ledger.ErrRefused)):
					t.Errorf("submit while no append is applied: %v, want Unavailable: nothing was committed", err)
				case outcome == mem.FailApplied && err != nil:
					t.Errorf("submit while every append is applied and its reply lost: %v: the block can be read back", err)
				}
				if health := p.Ledger.Healthy(t.Context()); (health == nil) != (outcome == mem.FailApplied) {
					t.Errorf("healthy while every append fails: %v", health)
				}
				failing.Store(false)
				if _, err := p.SubmitTransaction(t.Context(), request); err != nil {
					t.Error(err)
				}
			}
			if got, err := p.evaluate(t.Context(), "get", "k"); err != nil || got != "5" {
				t.Errorf("the counter is %s (%v), want 5", got, err)
			}
			p.audit(t)
		})
	}
}

// TestErrors gives each failure its kind, and leaves nothing behind.
func TestErrors(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	contract := &counters{runs: func(function string) {
		switch function {
		case "panic":
			panic("on demand")
		case "hang":
			<-hang
		}
	}}
	p := newPlatform(t, mem.New(mem.Config{}), contract, service.Config{ChaincodeTime: 200 * time.Millisecond, Attempts: 3})
	defer close(hang)
	big := p.request("add", strings.Repeat("k", service.MaxArgument+1))
	elsewhere, nothing := p.request("get", "k"), p.request("get", "k")
	elsewhere.Channel, nothing.Chaincode = "nosuch", "nosuch"
	foreign := p.request("add", "k", "1")
	foreign.Organizations = []string{"NoSuchMSP"}
	for name, c := range map[string]struct {
		request service.Request
		kind    service.Kind
		says    string
	}{
		"contract's error": {p.request("nothing"), service.ChaincodeError, "no function nothing"},
		"crash":            {p.request("panic"), service.ChaincodeCrashed, "chaincode stream terminated"},
		"hang":             {p.request("hang"), service.ChaincodeTimeout, "timeout expired"},
		"large argument":   {big, service.TooLarge, "the limit is 1048576"},
		"channel":          {elsewhere, service.NotFound, `channel "nosuch" does not exist`},
		"chaincode":        {nothing, service.NotFound, `chaincode "nosuch" does not exist`},
		"organisation":     {foreign, service.InvalidRequest, "NoSuchMSP"},
	} {
		_, err := p.SubmitTransaction(t.Context(), c.request)
		if kindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: submit: %v (kind %d), want kind %d and %q", name, err, kindOf(err), c.kind, c.says)
		}
		if name == "organisation" {
			continue // evaluate asks no organisation by name
		}
		if _, err := p.EvaluateTransaction(t.Context(), c.request); kindOf(err) != c.kind {
			t.Errorf("%s: evaluate: %v (kind %d), want kind %d", name, err, kindOf(err), c.kind)
		}
	}
	if got, err := p.evaluate(t.Context(), "sum"); err != nil || got != "0" {
		t.Errorf("the sum is %s (%v), want 0: something was left behind", got, err)
	}
	p.audit(t)
}

// TestCancelled withdraws a transaction whose caller goes away before its turn.
func TestCancelled(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}, 100), make(chan struct{})
	var block atomic.Bool
	p := newPlatform(t, mem.New(mem.Config{Hook: func(w mem.Write) mem.Outcome {
		if block.Load() && w.Op == mem.OpAppend {
			entered <- struct{}{}
			<-proceed
		}
		return mem.Proceed
	}}), &counters{}, service.Config{})
	block.Store(true)
	first := make(chan error, 1)
	go func() {
		_, err := p.submit(context.WithoutCancel(t.Context()), "add", "a", "1")
		first <- err
	}()
	<-entered // the first block is being appended: the next transaction waits
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.submit(ctx, "add", "b", "1"); kindOf(err) != service.Unavailable {
		t.Errorf("submit with a deadline: %v, want Unavailable", err)
	}
	block.Store(false)
	close(proceed)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got, err := p.evaluate(t.Context(), "sum"); err != nil || got != "1" {
		t.Errorf("the sum is %s (%v), want 1: the withdrawn transaction was committed", got, err)
	}
	p.audit(t)
}

// TestDefinitions makes, repeats, changes and removes a definition. What was endorsed before a change is simulated again.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, mem.New(mem.Config{}), &counters{}, service.Config{})
	ctx := t.Context()
	first, err := p.Definition(ctx, "main", "cc")
	if err != nil || first.Sequence != 1 {
		t.Fatalf("definition %+v, %v", first, err)
	}
	if same, err := p.Define(ctx, "main", p.user, service.Definition{Name: "cc", Version: "1"}); err != nil || same.Sequence != 1 {
		t.Errorf("defined again: %+v, %v, want sequence 1", same, err)
	}
	changed, err := p.Define(ctx, "main", p.user, service.Definition{Name: "cc", Version: "2", Policy: "OR('PeerlessMSP.peer')"})
	if err != nil || changed.Sequence != 2 {
		t.Errorf("changed: %+v, %v, want sequence 2", changed, err)
	}
	if _, err := p.Define(ctx, "main", p.user, service.Definition{Name: "cc", Version: "3", Sequence: 7}); kindOf(err) != service.InvalidRequest {
		t.Errorf("sequence 7: %v, want InvalidRequest", err)
	}
	for _, bad := range []service.Definition{{Name: "a b", Version: "1"}, {Name: "cc", Version: ""}, {Name: "cc", Version: "4", Policy: "OR("}} {
		if _, err := p.Define(ctx, "main", p.user, bad); kindOf(err) != service.InvalidRequest {
			t.Errorf("%+v: %v, want InvalidRequest", bad, err)
		}
	}
	if all, err := p.Definitions(ctx, "main"); err != nil || len(all) != 1 || all[0].Policy != "OR('PeerlessMSP.peer')" {
		t.Errorf("definitions %+v, %v", all, err)
	}
	if _, err := p.submit(ctx, "add", "k", "1"); err != nil {
		t.Error(err)
	}
	if err := p.Undefine(ctx, "main", p.user, "cc"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.submit(ctx, "add", "k", "1"); kindOf(err) != service.NotFound {
		t.Errorf("submit to a chaincode that was removed: %v, want NotFound", err)
	}
	if err := p.Undefine(ctx, "main", p.user, "cc"); kindOf(err) != service.NotFound {
		t.Errorf("removed again: %v, want NotFound", err)
	}
	p.audit(t)
}

// TestEvents reads events from a position on, across blocks without any, and waits for those to come.
func TestEvents(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, mem.New(mem.Config{}), &announcer{}, service.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i := range 3 {
		if _, err := p.submit(ctx, "announce", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(request service.EventsRequest, n int) []service.Event {
		t.Helper()
		request.Channel = "main"
		events, err := p.Events(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		var got []service.Event
		for range n {
			event, err := events.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, *event)
		}
		return got
	}
	all := read(service.EventsRequest{}, 3)
	for i, event := range all {
		if event.Name != "announced" || string(event.Payload) != fmt.Sprint(i) || event.Chaincode != "cc" {
			t.Errorf("event %d is %+v", i, event)
		}
	}
	after := all[1].Tx
	if rest := read(service.EventsRequest{FromBlock: all[1].Block, AfterTx: &after}, 1); rest[0].TransactionID != all[2].TransactionID {
		t.Errorf("after the second event comes %+v, want the third", rest[0])
	}
	waited := make(chan service.Event, 1)
	go func() { waited <- read(service.EventsRequest{FromBlock: all[2].Block + 1, Chaincode: "cc"}, 1)[0] }()
	if _, err := p.submit(ctx, "announce", "late"); err != nil {
		t.Fatal(err)
	}
	if event := <-waited; string(event.Payload) != "late" {
		t.Errorf("waited for %+v", event)
	}
	if _, err := p.Events(ctx, service.EventsRequest{Channel: "nosuch"}); kindOf(err) != service.NotFound {
		t.Errorf("events of no channel: %v", err)
	}
	p.audit(t)
}
