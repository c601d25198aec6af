package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/gateway"
)

// streamServer serves a fake with an empty channel "live".
func streamServer(t *testing.T, heartbeat time.Duration) (*apitest.Fake, *httptest.Server, *api.Handler) {
	t.Helper()
	fake := &apitest.Fake{Blocks: map[string][][]byte{"live": nil}}
	h := newHandler(t, fake, func(c *api.Config) { c.Heartbeat = heartbeat })
	server := httptest.NewUnstartedServer(nil)
	server.Config = api.NewServer(h, h)
	server.Start()
	t.Cleanup(func() {
		h.Close()
		server.Close()
		awaitReaders(t, fake, 0)
	})
	return fake, server, h
}

func awaitReaders(t *testing.T, fake *apitest.Fake, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := fake.AwaitReaders(ctx, n); err != nil {
		t.Error(err)
	}
}

// sse reads server-sent events: one line at a time, as "field: value"; blank lines are left out.
type sse struct {
	t      *testing.T
	cancel context.CancelFunc
	body   io.ReadCloser
	lines  *bufio.Reader
}

func open(t *testing.T, url string, headers ...string) *sse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("got %d %s %s", response.StatusCode, response.Header.Get("Content-Type"), body)
	}
	s := &sse{t, cancel, response.Body, bufio.NewReader(response.Body)}
	t.Cleanup(s.close)
	return s
}

func (s *sse) close() {
	s.cancel()
	s.body.Close()
}

func (s *sse) line() string {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "end"
		}
		if line != "\n" {
			return strings.TrimSuffix(line, "\n")
		}
	}
}

func (s *sse) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		if got := s.line(); got != w {
			s.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func event(block, tx uint64, name string) gateway.Event {
	return gateway.Event{Block: block, Tx: tx, TransactionID: fmt.Sprintf("t%d.%d", block, tx), Chaincode: "probe", Name: name, Payload: []byte(name)}
}

func data(block, tx uint64, name string) string {
	return fmt.Sprintf(`data: {"id":"%[1]d.%[2]d","blockNumber":%[1]d,"transactionIndex":%[2]d,"transactionId":"t%[1]d.%[2]d","chaincode":"probe","name":%[3]q,"payload":%[3]q}`, block, tx, name)
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	fake, server, _ := streamServer(t, time.Minute)
	url := server.URL + "/v1/channels/live/events"
	fake.Commit(event(3, 0, "a"), event(3, 2, "b"), event(5, 1, "c"))

	s := open(t, url+"?from=0")
	s.expect("retry: 1000", "id: 0", "id: 3.0", data(3, 0, "a"), "id: 3.2", data(3, 2, "b"), "id: 5.1", data(5, 1, "c"))
	fake.Commit(event(6, 0, "d"))
	s.expect("id: 6.0", data(6, 0, "d"))

	for header, want := range map[string][]string{
		"Last-Event-ID: 3.0": {"id: 3.2", "id: 5.1", "id: 6.0"},
		"Last-Event-ID: 3.1": {"id: 3.2", "id: 5.1", "id: 6.0"},
		"Last-Event-ID: 3.2": {"id: 5.1", "id: 6.0"},
		"Last-Event-ID: 5":   {"id: 5.1", "id: 6.0"},
		"Last-Event-ID: 5.1": {"id: 6.0"},
		"Accept: */*":        {"id: 3.0"},
	} {
		resumed := open(t, url+"?from=0", header)
		resumed.expect("retry: 1000")
		resumed.line()
		for _, id := range want {
			if got := resumed.line(); got != id {
				t.Errorf("%s: got %q, want %q", header, got, id)
			}
			resumed.line()
		}
		resumed.close()
	}

	now := open(t, url) // from the next block on
	now.expect("retry: 1000", "id: 7")
	fake.Commit(event(7, 0, "e"))
	now.expect("id: 7.0", data(7, 0, "e"))

	other := event(8, 0, "f")
	other.Chaincode = "other"
	filtered := open(t, url+"?chaincode=other")
	filtered.expect("retry: 1000", "id: 8")
	fake.Commit(event(8, 0, "not this"), other)
	filtered.expect("id: 8.0")
}

// TestEventNames: what a contract puts into its event cannot break out of it.
func TestEventNames(t *testing.T) {
	t.Parallel()
	fake, server, _ := streamServer(t, time.Minute)
	evil := event(1, 0, "x\n\nid: 99\ndata: {}\r")
	evil.Payload = []byte("{\n \"a\": \"<b>\"\n}")
	fake.Commit(evil)
	s := open(t, server.URL+"/v1/channels/live/events?from=0")
	s.expect("retry: 1000", "id: 0", "id: 1.0",
		`data: {"id":"1.0","blockNumber":1,"transactionIndex":0,"transactionId":"t1.0","chaincode":"probe","name":"x\n\nid: 99\ndata: {}\r","payload":{"a":"<b>"}}`)
}

// TestHeartbeat: a silent stream says that it lives, and how far it has looked.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	fake, server, _ := streamServer(t, 5*time.Millisecond)
	s := open(t, server.URL+"/v1/channels/live/events?chaincode=quiet")
	s.expect("retry: 1000", "id: 0", ": still here")
	fake.Grow(40)
	for line := s.line(); line != "id: 40"; line = s.line() {
		if line != ": still here" {
			t.Fatalf("got %q", line)
		}
	}
	fake.Commit(gateway.Event{Block: 41, Chaincode: "quiet", Name: "n"})
	for line := s.line(); line != "id: 41.0"; line = s.line() {
		if line != ": still here" {
			t.Fatalf("got %q", line)
		}
	}
}

// TestShutdownEndsStreams: Shutdown returns although streams and polls are open, and their readers see an end.
func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	fake, server, _ := streamServer(t, time.Minute)
	s := open(t, server.URL+"/v1/channels/live/events")
	s.expect("retry: 1000", "id: 0")
	polled := make(chan int)
	go func() {
		response, err := http.Get(server.URL + "/v1/channels/live/events?wait=20s")
		if err != nil {
			t.Error(err)
			close(polled)
			return
		}
		response.Body.Close()
		polled <- response.StatusCode
	}()
	awaitReaders(t, fake, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	s.expect("end")
	if got := <-polled; got != 503 {
		t.Errorf("poll: got %d", got)
	}
}

// TestStreamProblem: what goes wrong before the first event is an answer; later, it is an event.
func TestStreamProblem(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{Blocks: map[string][][]byte{"live": nil}}
	h := newHandler(t, fake, func(c *api.Config) { c.Gateway = failing{fake} })
	a := do(t, h, "GET", "/v1/channels/live/events?from=0", nil)
	if body := string(a.body); !strings.Contains(body, "event: problem\ndata: {\"type\":\"urn:peerless:error:INTERNAL\"") {
		t.Errorf("got %s", body)
	}
	if p := do(t, h, "GET", "/v1/channels/live/events?from=0&wait=1s", nil).problem(t); p.Status != 500 {
		t.Errorf("poll: got %+v", p)
	}
	if p := do(t, newHandler(t, fake), "GET", "/v1/channels/nope/events?from=0", nil).problem(t); p.Status != 404 {
		t.Errorf("got %+v", p)
	}
	for query, field := range map[string]string{
		"from=x": "from", "from=": "from", "from=-1": "from", "from=1.": "from", "from=1.2.3": "from", "from=01": "from", "from=1.+2": "from", "from=18446744073709551616": "from",
		"wait=x": "wait", "wait=": "wait", "wait=-1s": "wait", "wait=26s": "wait", "chaincode=": "chaincode", "chaincode=a/b": "chaincode", "since=1": "since",
	} {
		if p := do(t, h, "GET", "/v1/channels/live/events?"+query, nil).problem(t); p.Status != 400 || p.Field != field {
			t.Errorf("%s: got %+v", query, p)
		}
	}
	if p := do(t, h, "GET", "/v1/channels/live/events", nil, "Last-Event-ID: x").problem(t); p.Field != "Last-Event-ID" {
		t.Errorf("got %+v", p)
	}
}

// failing has events that cannot be read.
type failing struct{ *apitest.Fake }

func (f failing) Events(context.Context, gateway.EventsRequest) (api.Events, error) {
	return failingEvents{}, nil
}

type failingEvents struct{}

func (failingEvents) Next(context.Context) (*gateway.Event, error) {
	return nil, fmt.Errorf("the disk is gone")
}
func (failingEvents) Position() uint64 { return 0 }

type eventPage struct {
	Events []struct {
		ID, Name string
		Payload  any
	}
	Cursor string
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{Blocks: map[string][][]byte{"live": nil}}
	h := newHandler(t, fake)
	get := func(query string, headers ...string) eventPage {
		t.Helper()
		var page eventPage
		a := do(t, h, "GET", "/v1/channels/live/events?"+query, nil, headers...)
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != 200 {
			t.Fatalf("%s: got %d %s", query, a.status, a.body)
		}
		return page
	}
	if page := get("wait=0s"); len(page.Events) != 0 || page.Cursor != "0" {
		t.Errorf("nothing yet: got %+v", page)
	}
	fake.Grow(4)
	if page := get("from=1&wait=5ms"); len(page.Events) != 0 || page.Cursor != "4" {
		t.Errorf("blocks without events: got %+v", page)
	}
	awaitReaders(t, fake, 0)
	arrived := make(chan eventPage)
	go func() { arrived <- get("from=4&wait=20s", "Accept: application/json") }()
	awaitReaders(t, fake, 1)
	fake.Commit(event(4, 0, "a"), event(4, 1, "b"))
	if page := <-arrived; len(page.Events) != 2 || page.Events[1].Name != "b" {
		t.Errorf("woken: got %+v", page)
	}
	for i := range 250 {
		fake.Commit(event(5, uint64(i), "burst"))
	}
	var ids []string
	cursor := "4.0"
	for range 5 {
		page := get("from=" + cursor + "&wait=0s")
		if len(page.Events) > api.MaxEvents {
			t.Errorf("got %d events", len(page.Events))
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		cursor = page.Cursor
	}
	want := []string{"4.1"}
	for i := range 250 {
		want = append(want, fmt.Sprint("5.", i))
	}
	if diff := cmp.Diff(ids, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if cursor != "6" {
		t.Errorf("cursor at the end: got %s", cursor)
	}
	awaitReaders(t, fake, 0)
}

// TestSlowReader: a reader that takes nothing holds one event and what the sockets buffer, not the rest. When it reads on it gets all the
// same, in order; while it does not, it does not hold up another, nor a server that ends.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	fake, server, h := streamServer(t, time.Minute)
	counted := &counting{Fake: fake, read: make(chan struct{}, 100000)}
	h.Gateway = counted
	big := event(1, 0, strings.Repeat("x", 64<<10))
	const events = 300 // 19 MB; the sockets buffer some 10
	for i := range events {
		big.Tx = uint64(i)
		fake.Commit(big)
	}
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "GET /v1/channels/live/events?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for quiet := false; !quiet; {
		select {
		case <-counted.read:
		case <-time.After(300 * time.Millisecond):
			quiet = true
		}
	}
	if n := counted.count.Load(); n >= events*9/10 {
		t.Errorf("%d of %d events were read for one that takes none", n, events)
	}

	stuck, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	fmt.Fprintf(stuck, "GET /v1/channels/live/events?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	late := &sse{t, func() {}, response.Body, bufio.NewReaderSize(response.Body, 128<<10)}
	late.expect("retry: 1000", "id: 0")
	for i := range events {
		late.expect(fmt.Sprintf("id: 1.%d", i))
		if line := late.line(); !strings.HasPrefix(line, fmt.Sprintf(`data: {"id":"1.%d",`, i)) {
			t.Fatalf("event %d: got %.50s", i, line)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("with a reader that takes nothing, the server does not end: %v", err)
	}
}

// counting counts the events that are read.
type counting struct {
	*apitest.Fake
	read  chan struct{}
	count atomic.Int64
}

func (c *counting) Events(ctx context.Context, r gateway.EventsRequest) (api.Events, error) {
	events, err := c.Fake.Events(ctx, r)
	return countingEvents{events, c}, err
}

type countingEvents struct {
	api.Events
	*counting
}

func (c countingEvents) Next(ctx context.Context) (*gateway.Event, error) {
	e, err := c.Events.Next(ctx)
	if err == nil {
		c.count.Add(1)
		c.read <- struct{}{}
	}
	return e, err
}

func TestHeadOfEvents(t *testing.T) {
	t.Parallel()
	_, server, _ := streamServer(t, time.Minute)
	response, err := http.Head(server.URL + "/v1/channels/live/events")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("got %d", response.StatusCode)
	}
}
