package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/docstore"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/secret"
	"peerless/shared/store/mem"
	"peerless/shared/webhook"
)

// bell is a contract whose transactions set an event: ring NAME PAYLOAD.
type bell struct{}

func (bell) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (bell) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	_, args := stub.GetFunctionAndParameters()
	if err := stub.SetEvent(args[0], []byte(args[1])); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

// A platform is a ledger with the contract on the channel main, as "bell" and as "gong".
type platform struct {
	*node.Node
	registry *webhook.Registry
	sender   *webhook.Sender
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	n, err := node.Open(node.Config{Store: mem.New(mem.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.EnsureChannel(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bell", "gong"} {
		if _, err := n.DeployInProcess(t.Context(), "main", bell{}, gateway.Definition{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	r := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey(), AllowPrivate: true}
	return &platform{n, r, newSender(n, r, nil)}
}

func newSender(n *node.Node, r *webhook.Registry, endpoints webhook.Target) *webhook.Sender {
	if endpoints == nil {
		endpoints = webhook.NewEndpoints(r)
	}
	return webhook.NewSender(webhook.Config{Registry: r, Source: n.Gateway, Encode: api.EncodeEvent, Endpoints: endpoints, Pause: 5 * time.Millisecond})
}

// ring commits events of these payloads.
func (p *platform) ring(t *testing.T, chaincode, name string, payloads ...string) {
	t.Helper()
	user, err := p.User("", "ringer", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range payloads {
		_, err := p.Gateway.SubmitTransaction(t.Context(), gateway.Request{Channel: "main", Chaincode: chaincode, Function: "ring", Args: [][]byte{[]byte(name), []byte(payload)}, User: user})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (p *platform) height(t *testing.T) uint64 {
	t.Helper()
	channel, err := p.Gateway.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return height
}

// An endpoint checks and notes what is sent to it, and answers as the test says.
type endpoint struct {
	*httptest.Server
	subscription *webhook.Subscription

	mu     sync.Mutex
	secret string
	answer func(attempt int, payload string) int // nil: 200
	tries  map[string]int
	taken  []string // payloads, in order
	ids    []string
	wrong  []string
	more   chan struct{}
}

func (p *platform) subscribe(t *testing.T, s webhook.Subscription, answer func(attempt int, payload string) int) *endpoint {
	t.Helper()
	e := &endpoint{answer: answer, tries: make(map[string]int), more: make(chan struct{})}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	s.Channel, s.URL = "main", e.URL+"/events"
	var err error
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subscription, e.secret, err = p.registry.Add(t.Context(), s, ""); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = webhook.Verify(e.secret, r.Header, body, time.Now())
	}
	var event struct {
		Channel, ID, Chaincode, Name string
		Payload                      json.RawMessage
	}
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil || event.Channel != "main" || r.URL.Path != "/events" {
		e.wrong = append(e.wrong, fmt.Sprintf("%v %v %s", err, r.URL, body))
	}
	if id := r.Header.Get(webhook.HeaderID); id != "main:"+strings.Replace(event.ID, ".", "-", 1) {
		e.wrong = append(e.wrong, fmt.Sprintf("the id %s of %s", id, body))
	}
	payload := string(event.Payload)
	e.tries[payload]++
	status := 200
	if e.answer != nil {
		status = e.answer(e.tries[payload], payload)
	}
	if status == 302 {
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
	}
	w.WriteHeader(status)
	if status == 200 {
		e.taken, e.ids = append(e.taken, payload), append(e.ids, r.Header.Get(webhook.HeaderID))
	}
	close(e.more)
	e.more = make(chan struct{})
}

// await waits until n events were taken.
func (e *endpoint) await(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		e.mu.Lock()
		taken, more := len(e.taken), e.more
		e.mu.Unlock()
		if taken >= n {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("after a minute %d of %d events were taken", taken, n)
		}
	}
}

// check compares what was taken, each once.
func (e *endpoint) check(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.taken, want) {
		t.Errorf("taken: got %v, want %v", e.taken, want)
	}
	if len(e.wrong) > 0 {
		t.Errorf("wrong requests: %v", e.wrong)
	}
}

// run runs the sender until the returned function is called.
func (p *platform) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	p.registry.Changed = func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- p.sender.Run(ctx, changed) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the sender ended with %v", err)
		}
	})
}

// TestRun: in order, without a gap or a repeat, whatever the endpoint answers, over restarts; a failing one holds up nobody.
func TestRun(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	down := make(chan struct{})
	statuses := []int{500, 302, 404, 429, 503}
	shaky := p.subscribe(t, webhook.Subscription{}, func(attempt int, payload string) int {
		if payload == "2" && attempt <= len(statuses) {
			return statuses[attempt-1]
		}
		return 200
	})
	dead := p.subscribe(t, webhook.Subscription{}, func(int, string) int {
		select {
		case <-down:
			return 200
		default:
			return 500
		}
	})
	some := p.subscribe(t, webhook.Subscription{Chaincode: "bell", Events: []string{"loud"}}, nil)
	stop := p.run(t)
	defer func() { stop() }()
	p.ring(t, "bell", "loud", "1", "2")
	p.ring(t, "gong", "loud", "3")
	p.ring(t, "bell", "soft", "4")
	shaky.await(t, 4)
	some.await(t, 2)
	late := p.subscribe(t, webhook.Subscription{From: p.height(t)}, nil)
	p.ring(t, "bell", "loud", "5")
	late.await(t, 1)

	// What fails is shown.
	var progress *webhook.Progress
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		var err error
		if progress, err = p.registry.Progress(t.Context(), dead.subscription); err != nil {
			t.Fatal(err)
		}
		if progress.Failures > 2 || time.Now().After(deadline) {
			break
		}
	}
	if progress.Failures <= 2 || progress.FailingSince.IsZero() || !strings.Contains(progress.LastError, "500 Internal Server Error") || progress.Delivered != 0 {
		t.Errorf("the failing webhook shows %+v", progress)
	}

	stop()
	p.ring(t, "bell", "loud", "6")
	p.sender = newSender(p.Node, p.registry, nil)
	stop = p.run(t)
	close(down)
	dead.await(t, 6)
	shaky.await(t, 6)
	some.await(t, 4)
	if err := p.registry.Remove(t.Context(), "main", some.subscription.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.registry.Remove(t.Context(), "main", some.subscription.ID); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("removed twice: got %v", err)
	}
	p.ring(t, "bell", "loud", "7")
	shaky.await(t, 7)
	dead.await(t, 7)
	late.await(t, 3)
	shaky.check(t, "1", "2", "3", "4", "5", "6", "7")
	dead.check(t, "1", "2", "3", "4", "5", "6", "7")
	some.check(t, "1", "2", "5", "6")
	late.check(t, "5", "6", "7")
}

// later keeps wake-ups, as a queue does.
type later struct {
	mu    sync.Mutex
	wakes []webhook.Wake
}

func (l *later) send(_ context.Context, w webhook.Wake, pause time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pause > webhook.MaxPause {
		return fmt.Errorf("a pause of %v", pause)
	}
	l.wakes = append(l.wakes, w)
	return nil
}

// TestWake: wake-ups that come twice, late and out of order send each event once; what fails is left for later, and holds up nobody.
func TestWake(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	failing := true
	good := p.subscribe(t, webhook.Subscription{}, nil)
	bad := p.subscribe(t, webhook.Subscription{}, func(int, string) int {
		if failing {
			return 500
		}
		return 200
	})
	var queue later
	wake := func(height uint64, owner string) {
		t.Helper()
		if err := p.sender.Wake(t.Context(), webhook.Wake{Channel: "main", Height: height}, owner, queue.send); err != nil {
			t.Errorf("wake at %d: %v", height, err)
		}
	}
	p.ring(t, "bell", "loud", "1", "2", "3")
	top := p.height(t)
	wake(top-1, "a")
	good.check(t, "1", "2")
	wake(top-2, "b")
	wake(top-1, "a")
	good.check(t, "1", "2")
	wake(top, "c")
	good.check(t, "1", "2", "3")
	bad.check(t)

	bad.mu.Lock()
	failing = false
	bad.mu.Unlock()
	if len(queue.wakes) == 0 || queue.wakes[0].Webhook != bad.subscription.ID {
		t.Fatalf("left for later: %+v", queue.wakes)
	}
	for _, w := range queue.wakes {
		if err := p.sender.Wake(t.Context(), w, "later", queue.send); err != nil {
			t.Error(err)
		}
	}
	bad.check(t, "1", "2", "3")
	if err := p.sender.Wake(t.Context(), webhook.Wake{Channel: "main", Webhook: "gone"}, "later", queue.send); err != nil {
		t.Errorf("one that was removed: %v", err)
	}

	// Without anywhere to leave it, the wake-up itself has to come again.
	bad.mu.Lock()
	failing = true
	bad.mu.Unlock()
	p.ring(t, "bell", "loud", "4")
	w := webhook.Wake{Channel: "main", Height: p.height(t)}
	if err := p.sender.Wake(t.Context(), w, "d", nil); err == nil {
		t.Error("a failing target was forgotten")
	}
	bad.mu.Lock()
	failing = false
	bad.mu.Unlock()
	if err := p.sender.Wake(t.Context(), w, "d", nil); err != nil {
		t.Error(err)
	}
	good.check(t, "1", "2", "3", "4")
	bad.check(t, "1", "2", "3", "4")
}

// TestWakeAtOnce wakes many at once, as many shards do: one sends at a time, and nobody's wake-up is lost.
func TestWakeAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	e := p.subscribe(t, webhook.Subscription{}, nil)
	var want []string
	var wakers sync.WaitGroup
	for i := range 12 {
		payload := fmt.Sprint(i)
		p.ring(t, "bell", "loud", payload)
		want = append(want, payload)
		height := p.height(t)
		for _, owner := range []string{"x", "y"} {
			wakers.Go(func() {
				if err := p.sender.Wake(t.Context(), webhook.Wake{Channel: "main", Height: height}, fmt.Sprint(owner, i), nil); err != nil {
					t.Errorf("wake: %v", err)
				}
			})
		}
	}
	wakers.Wait()
	e.check(t, want...)
}

// TestKilled stops the sender at each write of its progress and at each request. What comes after has no gap, and repeats only what
// had not been noted.
func TestKilled(t *testing.T) {
	t.Parallel()
	for point := 1; ; point++ {
		p := newPlatform(t)
		e := p.subscribe(t, webhook.Subscription{}, nil)
		p.ring(t, "bell", "loud", "1", "2", "3")
		w := webhook.Wake{Channel: "main", Height: p.height(t)}
		k := &killer{Store: p.registry.Documents, at: point}
		killed := *p.registry
		killed.Documents = k
		sender := newSender(p.Node, &killed, nil)
		err := sender.Wake(t.Context(), w, "the batch", nil)
		if (err != nil) != k.killed {
			t.Fatalf("point %d: got %v", point, err)
		}
		if err := p.sender.Wake(t.Context(), w, "the batch", nil); err != nil {
			t.Fatalf("point %d, again: %v", point, err)
		}
		e.mu.Lock()
		taken, ids := slices.Compact(slices.Clone(e.taken)), slices.Compact(slices.Clone(e.ids))
		repeats := len(e.taken) - len(taken)
		e.mu.Unlock()
		if !slices.Equal(taken, []string{"1", "2", "3"}) || len(ids) != 3 || repeats > 1 {
			t.Errorf("killed at point %d: %v was taken, with the ids %v", point, e.taken, e.ids)
		}
		if !k.killed {
			if point < 5 {
				t.Errorf("there were only %d points", point-1)
			}
			return
		}
	}
}

// killer is a store whose writes all fail from one on: whoever uses it has been killed. The first that fails is written half of the time.
type killer struct {
	docstore.Store
	at, writes int
	killed     bool
}

func (k *killer) Put(ctx context.Context, doc docstore.Document) (docstore.Document, error) {
	if k.writes++; k.writes >= k.at {
		first := !k.killed
		k.killed = true
		if first && k.at%2 == 0 {
			k.Store.Put(ctx, doc)
		}
		return doc, errors.New("killed")
	}
	return k.Store.Put(ctx, doc)
}

func TestAdd(t *testing.T) {
	t.Parallel()
	strict := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey(), Services: []string{"sns"}}
	for _, url := range []string{"", "example.com", "http://example.com/", "ftp://example.com", "https://", "https://user:pass@example.com", "https://example.com/#x",
		"arn:aws:events:eu-central-1:1:event-bus/b", "arn:aws:sns"} {
		if _, _, err := strict.Add(t.Context(), webhook.Subscription{Channel: "main", URL: url}, ""); !errors.Is(err, webhook.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", url, err)
		}
	}
	if _, _, err := strict.Add(t.Context(), webhook.Subscription{Channel: "main", URL: "https://example.com"}, "short"); !errors.Is(err, webhook.ErrSecret) {
		t.Errorf("a bad secret: got %v", err)
	}
	topic, secretText, err := strict.Add(t.Context(), webhook.Subscription{Channel: "main", URL: "arn:aws:sns:eu-central-1:123456789012:orders"}, "")
	if err != nil || secretText != "" || topic.ID == "" {
		t.Errorf("a topic: got %+v, %q, %v", topic, secretText, err)
	}
	own := webhook.NewSecret()
	s, secretText, err := strict.Add(t.Context(), webhook.Subscription{Channel: "main", URL: "https://example.com/e"}, own)
	if err != nil || secretText != own || strings.Contains(string(s.Sealed), own) {
		t.Errorf("an own secret: got %+v, %q, %v", s, secretText, err)
	}
	for i := range webhook.MaxPerChannel - 1 {
		_, _, err = strict.Add(t.Context(), webhook.Subscription{Channel: "main", URL: "https://example.com"}, "")
		if (err != nil) != (i == webhook.MaxPerChannel-2) {
			t.Errorf("webhook %d: %v", i+3, err)
		}
	}
	if !errors.Is(err, webhook.ErrTooMany) {
		t.Errorf("the last: got %v, want ErrTooMany", err)
	}
	if other, err := strict.List(t.Context(), "mai"); err != nil || len(other) != 0 {
		t.Errorf("another channel has %d webhooks, %v", len(other), err)
	}
}

// TestPrivateAddresses: an endpoint on this machine is not connected to, whatever it is called.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 10)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	r := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey()}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0x7f.1", "2130706433", "0"} {
		s, _, err := r.Add(t.Context(), webhook.Subscription{Channel: "main", URL: "https://" + host + port}, "")
		if err != nil {
			continue // no URL: as good
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err = webhook.NewEndpoints(r).Send(ctx, s, &webhook.Message{ID: "1"})
		cancel()
		if err == nil || len(reached) > 0 {
			t.Errorf("%s was reached: %v", host, err)
		}
		if host == "127.0.0.1" && !errors.Is(err, webhook.ErrPrivate) {
			t.Errorf("%s: got %v, want ErrPrivate", host, err)
		}
	}
}

// TestSlowEndpoint: one that does not answer is given up.
func TestSlowEndpoint(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-ended }))
	defer server.Close()
	defer close(ended)
	r := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey(), AllowPrivate: true}
	s, _, err := r.Add(t.Context(), webhook.Subscription{Channel: "main", URL: server.URL}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := webhook.NewEndpoints(r).Send(t.Context(), s, &webhook.Message{ID: "1"}); err == nil {
		t.Error("an endpoint that never answers took the event")
	}
}
