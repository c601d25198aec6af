package chaincode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// How long a chaincode that ended by itself, or did not start, stays down: twice as long each time, from the first to the
// second. One that answered a transaction, or stayed up for backoffReset, begins at the first again.
const (
	backoffFirst = 100 * time.Millisecond
	backoffLast  = 10 * time.Second
	backoffReset = 10 * time.Second
)

// errEnded stands for the reason until it is known.
var errEnded = errors.New("the chaincode ended")

// A State says whether a chaincode runs.
type State string

// What a Status can say.
const (
	Stopped  State = "stopped"  // not asked for yet, or idle for so long that it was stopped
	Starting State = "starting" // on its way up for the first time, or after it was stopped
	Running  State = "running"
	Failing  State = "failing" // it ended by itself or did not start; it waits to be started again
	Closed   State = "closed"
)

// A Status tells how a chaincode fares.
type Status struct {
	State    State
	Reason   string // why it last ended by itself or did not start; empty if it never did
	Restarts int    // how often it was started again after that
}

// A connection is one life of the stream to a chaincode, from its registration on.
type connection struct {
	session *Session
	ended   <-chan struct{} // closed when the stream or the program behind it has ended
	close   func() error    // ends both, waits until nothing of them is left, and returns why they ended; called once

	// Owned by the supervisor's mutex.
	since    time.Time
	active   int // executions under way
	lastUsed time.Time
	served   bool // answered at least one transaction
	lost     bool // ended by itself
}

// A supervisor keeps one connection up. The first execution makes it; when it ends by itself it is made again, with growing
// delays, and executions that come meanwhile wait. It holds no goroutine before the first execution.
type supervisor struct {
	name    string // for errors and logs
	connect func(context.Context) (*connection, error)
	idle    time.Duration // 0: never stopped for idleness
	logger  *slog.Logger
	life    context.Context // ends with close
	cancel  context.CancelFunc
	tasks   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	live     *connection // nil, or the one that executions go to
	attempt  *attempt    // nil, or the start under way; never both
	failures int         // in a row
	due      time.Time   // no start before
	reason   error       // of the last failure
	restarts int
}

// An attempt is one start that callers wait for, its delay included.
type attempt struct {
	done chan struct{}
	err  error // valid once done is closed
}

func newSupervisor(name string, idle time.Duration, logger *slog.Logger, connect func(context.Context) (*connection, error)) *supervisor {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	life, cancel := context.WithCancel(context.Background())
	return &supervisor{name: name, connect: connect, idle: idle, logger: logger.With("chaincode", name), life: life, cancel: cancel}
}

func (s *supervisor) execute(ctx context.Context, inv *Invocation) (*Result, error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	result, err := c.session.Execute(ctx, inv)
	s.release(c, err == nil)
	return result, err
}

// start returns when the chaincode runs, or why it does not.
func (s *supervisor) start(ctx context.Context) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	s.release(c, false)
	return nil
}

func (s *supervisor) acquire(ctx context.Context) (*connection, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, s.errClosed()
		}
		if c := s.live; c != nil {
			select {
			case <-c.session.Done(): // whoever saw its end must not meet it again
				s.lostLocked(c)
			default:
				c.active++
				s.mu.Unlock()
				return c, nil
			}
		}
		a := s.beginLocked()
		s.mu.Unlock()
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, s.gaveUp(ctx)
		}
	}
}

func (s *supervisor) release(c *connection, served bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.active--
	c.served = c.served || served
	if s.idle > 0 {
		c.lastUsed = time.Now()
	}
}

func (s *supervisor) errClosed() error {
	return fmt.Errorf("%w: %s is closed", ErrUnavailable, s.name)
}

func (s *supervisor) gaveUp(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil && s.failures > 0 {
		return fmt.Errorf("%w: %s is being started again (%w) after: %v", ErrUnavailable, s.name, ctx.Err(), s.reason)
	}
	return fmt.Errorf("%w: %s is being started: %w", ErrUnavailable, s.name, ctx.Err())
}

// beginLocked returns the start under way, or sets one off.
func (s *supervisor) beginLocked() *attempt {
	if s.attempt != nil {
		return s.attempt
	}
	a := &attempt{done: make(chan struct{})}
	s.attempt = a
	if s.failures > 0 {
		s.restarts++
	}
	delay := time.Until(s.due)
	s.tasks.Go(func() { s.run(a, delay) })
	return a
}

func (s *supervisor) run(a *attempt, delay time.Duration) {
	defer close(a.done)
	var c *connection
	err := sleep(s.life, delay)
	if err == nil {
		c, err = s.connect(s.life)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt = nil
	switch {
	case s.closed:
		a.err = s.errClosed()
		if c != nil {
			s.tasks.Go(func() { _ = c.close() })
		}
	case err != nil:
		a.err = fmt.Errorf("%w: start %s: %w", ErrUnavailable, s.name, err)
		s.failedLocked(err)
		s.logger.Warn("chaincode does not start", "error", err, "failures", s.failures)
	default:
		c.since = time.Now()
		c.lastUsed = c.since
		s.live = c
		s.tasks.Go(func() { s.watch(c) })
		s.logger.Debug("chaincode registered")
	}
}

// watch waits until a connection has ended or is no longer wanted, and clears up after it.
func (s *supervisor) watch(c *connection) {
	var idle <-chan time.Time
	if s.idle > 0 {
		ticker := time.NewTicker(max(s.idle/4, time.Millisecond))
		defer ticker.Stop()
		idle = ticker.C
	}
	for wanted := true; wanted; {
		select {
		case <-c.ended:
			wanted = false
		case <-s.life.Done():
			wanted = false
		case <-idle:
			wanted = !s.retire(c)
		}
	}
	s.mu.Lock()
	if s.live == c {
		s.lostLocked(c)
	}
	s.mu.Unlock()

	err := c.close()

	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.lost {
		return
	}
	s.logger.Warn("chaincode ended", "error", err)
	if s.reason == errEnded {
		s.reason = err
	}
}

// retire takes an idle connection out of use and reports whether it did.
func (s *supervisor) retire(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != c || c.active > 0 || time.Since(c.lastUsed) < s.idle {
		return false
	}
	s.live = nil
	s.failures = 0
	s.logger.Debug("chaincode stopped, it was idle")
	return true
}

// lostLocked takes note that a connection ended by itself and sets off the next start.
func (s *supervisor) lostLocked(c *connection) {
	s.live = nil
	c.lost = true
	if c.served || time.Since(c.since) >= backoffReset {
		s.failures = 0
	}
	s.failedLocked(errEnded)
	s.beginLocked()
}

func (s *supervisor) failedLocked(reason error) {
	s.reason = reason
	delay := backoffLast
	if s.failures < 16 {
		delay = min(backoffFirst<<s.failures, backoffLast)
	}
	s.failures++
	s.due = time.Now().Add(delay)
}

func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{State: Stopped, Restarts: s.restarts}
	if s.reason != nil {
		status.Reason = s.reason.Error()
	}
	switch {
	case s.closed:
		status.State = Closed
	case s.live != nil:
		status.State = Running
	case s.failures > 0:
		status.State = Failing
	case s.attempt != nil:
		status.State = Starting
	}
	return status
}

// close ends the chaincode and returns when nothing of it is left.
func (s *supervisor) close() {
	s.mu.Lock()
	s.closed = true
	s.live = nil
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
}

// sleep returns early, with the context's error, if it ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
