package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// benchConn is one client's connection. It writes a request whole and reads the answer with net/http's parser: half of what
// net/http's client costs, whose goroutines would take the time of the server that is measured.
type benchConn struct {
	net.Conn
	reader  *bufio.Reader
	key     string
	request []byte
	answer  bytes.Buffer
}

func (s *benchServer) dial(ctx context.Context) (*benchConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, fmt.Errorf("reach the server: %w", err)
	}
	return &benchConn{Conn: conn, reader: bufio.NewReader(conn), key: s.Key}, nil
}

// post sends a request and returns the status and the body of the answer, which is good until the next.
func (c *benchConn) post(path string, body []byte) (int, []byte, error) {
	c.request = fmt.Appendf(c.request[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, c.RemoteAddr(), c.key, len(body))
	c.request = append(c.request, body...)
	if _, err := c.Write(c.request); err != nil {
		return 0, nil, fmt.Errorf("send a request: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("read an answer: %w", err)
	}
	defer response.Body.Close()
	c.answer.Reset()
	if _, err := c.answer.ReadFrom(response.Body); err != nil {
		return 0, nil, fmt.Errorf("read an answer: %w", err)
	}
	return response.StatusCode, c.answer.Bytes(), nil
}

// A benchLoad is the same kind of request, over and over, from several clients. Each sends the next when it has its answer.
type benchLoad struct {
	what     string // for the display
	path     string
	submits  bool // a transaction counts only if it is VALID
	clients  int
	duration time.Duration // after a warm-up of a tenth of it, which is not measured
	requests int           // if not 0, this many are sent instead, and all measured
	// body appends the body of request n, which no other has.
	body func(b []byte, n int) []byte
	// open, if not nil, connects a client that calls otherwise than over HTTP.
	open func(context.Context) (benchSender, error)
}

// A benchSender sends one client's requests, one at a time.
type benchSender interface {
	// send sends request n and returns "" for a success, and else a code. An error ends the load.
	send(ctx context.Context, n int) (code string, err error)
	Close() error
}

// httpSender sends a load's requests over HTTP.
type httpSender struct {
	*benchConn
	run  *benchRun
	body []byte
}

func (s *httpSender) send(_ context.Context, n int) (string, error) {
	s.body = s.run.body(s.body[:0], n)
	status, answer, err := s.post(s.run.path, s.body)
	if err != nil {
		return "", err
	}
	return s.run.judge(status, answer), nil
}

// connect connects one client.
func (r *benchRun) connect(ctx context.Context) (benchSender, error) {
	if r.open != nil {
		return r.open(ctx)
	}
	conn, err := r.server.dial(ctx)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return &httpSender{benchConn: conn, run: r}, nil
}

// A benchResult is what the clients saw.
type benchResult struct {
	succeeded int
	failures  map[string]int // by the code of the answer
	elapsed   time.Duration
	latencies []time.Duration // of those that succeeded, sorted
	cpu       *benchCPU       // nil where it cannot be measured
}

// cpuTimes are times on the processors.
type cpuTimes struct{ server, contract, client, all time.Duration }

// benchCPU is what a load cost. Where other processes want the cores too, it says more than the speed.
type benchCPU struct {
	Server   float64 `json:"serverMicroseconds"`             // for each request
	Contract float64 `json:"contractMicroseconds,omitempty"` // in a process of its own
	Client   float64 `json:"clientMicroseconds"`
	Others   float64 `json:"othersShare"` // of all cores, taken by processes that have nothing to do with it
}

// since returns what was used from before on by some requests.
func (t cpuTimes) since(before cpuTimes, requests int, elapsed time.Duration) *benchCPU {
	each := func(now, before time.Duration) float64 {
		return float64((now - before).Microseconds()) / float64(max(requests, 1))
	}
	ours := func(t cpuTimes) time.Duration { return t.server + t.contract + t.client }
	others := t.all - before.all - (ours(t) - ours(before))
	return &benchCPU{
		each(t.server, before.server), each(t.contract, before.contract), each(t.client, before.client),
		max(0, others.Seconds()) / elapsed.Seconds() / float64(runtime.NumCPU()),
	}
}

func (r *benchResult) perSecond() float64 { return float64(r.succeeded) / r.elapsed.Seconds() }

// percentile returns the latency that the share p of all did not exceed.
func (r *benchResult) percentile(p float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(len(r.latencies)-1, int(p*float64(len(r.latencies))))]
}

// run puts the load on a server.
func (b *bench) run(ctx context.Context, s *benchServer, l benchLoad) (*benchResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &benchRun{benchLoad: l, server: s, result: benchResult{failures: make(map[string]int)}}
	warmUp := l.duration / 10
	if l.requests > 0 {
		warmUp = 0
	}
	start := time.Now()
	cpu, measured := measureCPU(s.process.Process.Pid)
	r.from, r.until = start.Add(warmUp), start.Add(warmUp+l.duration)

	update, end := b.counter(l.what)
	defer end()
	var clients sync.WaitGroup
	for range l.clients {
		clients.Go(func() {
			if err := r.client(ctx); err != nil {
				cancel(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-tick.C:
			if l.requests > 0 {
				update(uint64(min(int(r.next.Load()), l.requests)), uint64(l.requests))
			} else {
				update(uint64(min(time.Since(start), warmUp+l.duration)/time.Second), uint64((warmUp+l.duration)/time.Second))
			}
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	r.result.elapsed = r.last.Sub(r.from)
	if now, ok := measureCPU(s.process.Process.Pid); ok && measured {
		r.result.cpu = now.since(cpu, r.sent, time.Since(start))
	}
	slices.Sort(r.result.latencies)
	if r.result.succeeded == 0 {
		return nil, fmt.Errorf("%s: no request succeeded: %v", l.what, r.result.failures)
	}
	return &r.result, nil
}

// A benchRun is a load while it lasts.
type benchRun struct {
	benchLoad
	server      *benchServer
	from, until time.Time
	next        atomic.Int64

	mu     sync.Mutex // guards what follows
	result benchResult
	sent   int       // requests, those of the warm-up included
	last   time.Time // when the last answer came
}

// client sends requests until it is time to stop.
func (r *benchRun) client(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sender, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer sender.Close()
	var latencies []time.Duration
	failures := make(map[string]int)
	acknowledged, requests := 0, 0
	now := time.Now()
	for r.requests > 0 || now.Before(r.until) {
		n := int(r.next.Add(1)) - 1
		if r.requests > 0 && n >= r.requests {
			break
		}
		sent := now
		code, err := sender.send(ctx, n)
		if err != nil {
			return err
		}
		now = time.Now()
		requests++
		if code == "" && r.submits {
			acknowledged++
		}
		switch {
		case sent.Before(r.from):
		case code == "":
			latencies = append(latencies, now.Sub(sent))
		default:
			failures[code]++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server.acknowledged += acknowledged
	r.sent += requests
	r.result.latencies = append(r.result.latencies, latencies...)
	r.result.succeeded += len(latencies)
	for code, n := range failures {
		r.result.failures[code] += n
	}
	if now.After(r.last) {
		r.last = now
	}
	return nil
}

var validCode = []byte(`"code":"VALID"`)

// judge returns "" for a success, and else the code of the answer.
func (r *benchRun) judge(status int, answer []byte) string {
	if status == http.StatusOK && (!r.submits || bytes.Contains(answer, validCode)) {
		return ""
	}
	var problem struct{ Code string }
	if json.Unmarshal(answer, &problem) != nil || problem.Code == "" {
		return fmt.Sprintf("HTTP %d", status)
	}
	return problem.Code
}

// submitOnce submits one transaction.
func (s *benchServer) submitOnce(ctx context.Context, channel string, body []byte) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	status, answer, err := conn.post(benchPath(channel, "submit"), body)
	if err != nil {
		return err
	}
	if r := (&benchRun{benchLoad: benchLoad{submits: true}}); r.judge(status, answer) != "" {
		return errors.New("the server refused a transaction: " + lineOf(string(answer)))
	}
	if channel == defaultChannel {
		s.acknowledged++
	}
	return nil
}
