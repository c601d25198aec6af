package queue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Defaults of Config.
const (
	DefaultWorkers     = 64
	DefaultMaxMessages = 100_000
	DefaultMaxBytes    = 1 << 30
	DefaultMaxAttempts = 5
)

// Config is what a queue is made of. Store and Handler are required.
type Config struct {
	Store   Store
	Handler *Handler

	Workers     int   // messages run at once; default 64, as many as share a block well
	MaxMessages int   // kept at once, dead letters included; default 100,000
	MaxBytes    int64 // of these; default 1 GiB
	// MaxAttempts is how often a message is run that fails in a way that may be its own fault: its contract crashes or takes too
	// long, it loses its race. Then it goes to the dead letters. While the platform is not available, attempts do not count.
	// Default 5.
	MaxAttempts int
	// Pause is how long a message waits for its second attempt; the pause doubles each time, up to 30 s. Default 100 ms.
	Pause  time.Duration
	Logger *slog.Logger // default: none
}

const maxPause = 30 * time.Second

// A Queue keeps messages on this machine and runs them. Send returns when a message is on the disk; from then on it is run until it
// is committed or in the dead letters, over any number of restarts. Safe for concurrent use.
type Queue struct {
	config Config

	mu      sync.Mutex
	entries map[string]*entry // all that are kept, by channel and transaction id
	groups  map[string]*group // with messages that wait or are being run
	ready   []*group          // whose first message can be run now
	next    uint64            // number of the next record
	bytes   int64
	busy    int // workers
	running bool
	workers sync.WaitGroup

	life context.Context // of what is being run
	kill context.CancelFunc
}

// An entry is a message that is kept.
type entry struct {
	number   uint64
	channel  string
	txID     string
	group    string
	size     int64
	accepted time.Time
	attempts int // since it was accepted, or since this program started
	counted  int // attempts that count
	state    state
	durable  chan struct{} // closed when the message is on the disk, or could not be put there
}

type state int

const (
	arriving state = iota
	waiting
	working
	dead
	done
)

// A group is messages that are run one after the other. The first is being run, or waits for its time or a worker.
type group struct {
	name    string
	entries []*entry
}

// Open returns the queue of what a store keeps. Nothing is run before Start.
func Open(ctx context.Context, config Config) (*Queue, error) {
	if config.Store == nil || config.Handler == nil {
		return nil, errors.New("open queue: a store and a handler are required")
	}
	config.Workers = cmp.Or(config.Workers, DefaultWorkers)
	config.MaxMessages = cmp.Or(config.MaxMessages, DefaultMaxMessages)
	config.MaxBytes = cmp.Or(config.MaxBytes, DefaultMaxBytes)
	config.MaxAttempts = cmp.Or(config.MaxAttempts, DefaultMaxAttempts)
	config.Pause = cmp.Or(config.Pause, 100*time.Millisecond)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	q := &Queue{config: config, entries: make(map[string]*entry), groups: make(map[string]*group)}
	q.life, q.kill = context.WithCancel(context.Background())
	err := config.Store.Each(ctx, func(number uint64, record []byte) error {
		k, err := decode(record)
		if err != nil {
			return fmt.Errorf("message %d: %w", number, err)
		}
		e := &entry{
			number: number, channel: k.Message.Channel, txID: k.Message.TransactionID, group: k.Group, size: int64(len(record)),
			accepted: k.AcceptedAt, state: waiting, durable: make(chan struct{}),
		}
		close(e.durable)
		q.entries[key(e.channel, e.txID)] = e
		q.bytes += e.size
		q.next = max(q.next, number+1)
		if k.Death != nil {
			e.state = dead
		} else {
			q.line(e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	return q, nil
}

func decode(record []byte) (*kept, error) {
	k := &kept{}
	if err := json.Unmarshal(record, k); err != nil {
		return nil, err
	}
	if k.Message == nil {
		return nil, errors.New("the record has no message")
	}
	return k, nil
}

func key(channel, txID string) string { return channel + "/" + txID }

// Start begins to run messages.
func (q *Queue) Start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = true
	if len(q.entries) > 0 {
		status := q.statusLocked(func(*entry) bool { return true })
		q.config.Logger.Info("the queue goes on", "waiting", status.Waiting, "deadLetters", status.DeadLetters)
	}
	q.pump()
}

// Stop runs no further message, and waits for those that are being run; when ctx ends it has them give up. What was not run is run
// after the next Start, of this process or a later one.
func (q *Queue) Stop(ctx context.Context) {
	q.mu.Lock()
	q.running = false
	q.mu.Unlock()
	defer context.AfterFunc(ctx, q.kill)()
	q.workers.Wait()
}

// Send keeps a message, whose TransactionID must be set. nil means that it is on the disk. A message that is kept already is not
// kept twice; a dead letter that is sent again is run again. Errors: ErrFull, ErrReused, or the store's.
func (q *Queue) Send(ctx context.Context, m *Message, group string) error {
	if m.TransactionID == "" {
		return errors.New("send: the message has no transaction id")
	}
	record, err := json.Marshal(kept{Message: m, Group: group, AcceptedAt: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	for {
		e, before, err := q.reserve(m, group, int64(len(record)))
		if err != nil {
			return err
		}
		if e != nil {
			return q.arrive(ctx, e, record)
		}
		select {
		case <-before.durable:
		case <-ctx.Done():
			return ctx.Err()
		}
		again, err := q.repeat(ctx, before, m)
		if err != nil || !again {
			return err
		}
	}
}

// reserve makes an entry for a new message. If there is one already, it returns that as before.
func (q *Queue) reserve(m *Message, group string, size int64) (e, before *entry, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := key(m.Channel, m.TransactionID)
	if before := q.entries[k]; before != nil {
		return nil, before, nil
	}
	if len(q.entries) >= q.config.MaxMessages || q.bytes+size > q.config.MaxBytes {
		all := q.statusLocked(func(*entry) bool { return true })
		return nil, nil, fmt.Errorf("%w: it keeps %d messages that wait and %d dead letters, %d bytes in all", ErrFull, all.Waiting+all.Working, all.DeadLetters, q.bytes)
	}
	e = &entry{number: q.next, channel: m.Channel, txID: m.TransactionID, group: group, size: size, accepted: time.Now(), durable: make(chan struct{})}
	q.next++
	q.entries[k] = e
	q.bytes += size
	return e, nil, nil
}

// arrive puts a reserved message into the store and in its line.
func (q *Queue) arrive(ctx context.Context, e *entry, record []byte) error {
	err := q.config.Store.Put(ctx, e.number, record)
	q.mu.Lock()
	defer q.mu.Unlock()
	close(e.durable)
	if err != nil {
		q.forget(e)
		return fmt.Errorf("keep message: %w", err)
	}
	e.state = waiting
	q.line(e)
	q.pump()
	return nil
}

// repeat deals with a message that is sent again. It reports whether there is nothing of it left, so that it is new.
func (q *Queue) repeat(ctx context.Context, before *entry, m *Message) (again bool, err error) {
	k, err := q.read(ctx, before)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if was := k.Message; was.Function != m.Function || !slices.Equal(was.Args, m.Args) || !maps.EqualFunc(was.Transient, m.Transient, bytes.Equal) {
		return false, ErrReused
	}
	if k.Death == nil {
		return false, nil
	}
	if err := q.Redrive(ctx, m.Channel, m.TransactionID); err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	return false, nil
}

// line puts a message at the end of its group. q.mu is held, or nobody else knows q.
func (q *Queue) line(e *entry) {
	name := key(e.channel, "group "+e.group)
	if e.group == "" {
		name = key(e.channel, fmt.Sprintf("message %d", e.number))
	}
	g := q.groups[name]
	if g == nil {
		g = &group{name: name}
		q.groups[name] = g
		q.ready = append(q.ready, g)
	}
	g.entries = append(g.entries, e)
}

// forget drops an entry. q.mu is held.
func (q *Queue) forget(e *entry) {
	if k := key(e.channel, e.txID); q.entries[k] == e {
		delete(q.entries, k)
		q.bytes -= e.size
	}
}

// pump gives work to workers that are free. q.mu is held.
func (q *Queue) pump() {
	for q.running && q.busy < q.config.Workers && len(q.ready) > 0 {
		g := q.ready[0]
		q.ready = q.ready[1:]
		e := g.entries[0]
		e.state = working
		q.busy++
		q.workers.Go(func() { q.work(g, e) })
	}
}

// work runs the first message of a group, and lets the group go on.
func (q *Queue) work(g *group, e *entry) {
	after, pause := q.run(q.life, e)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	if e.state = after; after != waiting {
		g.entries = g.entries[1:]
	}
	if after == done {
		q.forget(e)
	}
	switch {
	case len(g.entries) == 0:
		delete(q.groups, g.name)
	case pause > 0:
		time.AfterFunc(pause, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.ready = append(q.ready, g)
			q.pump()
		})
	default:
		q.ready = append(q.ready, g)
	}
	q.pump()
}

// run runs a message, and removes it or puts it into the dead letters. One that waits is to be run again after the pause.
func (q *Queue) run(ctx context.Context, e *entry) (after state, pause time.Duration) {
	e.attempts++
	k, err := q.read(ctx, e)
	if errors.Is(err, ErrNotFound) {
		return done, 0
	}
	if err != nil {
		return waiting, q.backOff(e, err)
	}
	if err = q.config.Handler.Handle(ctx, k.Message); err == nil {
		// If this fails, it is delivered again after a restart, which changes nothing.
		if err := q.config.Store.Delete(ctx, e.number); err != nil {
			q.config.Logger.Warn("a message that was run cannot be removed", "channel", e.channel, "transaction", e.txID, "error", err)
		}
		return done, 0
	}
	var poison *Poison
	if !errors.As(err, &poison) {
		if !unavailable(err) {
			e.counted++
		}
		if e.counted < q.config.MaxAttempts {
			return waiting, q.backOff(e, err)
		}
		poison = &Poison{Code: codeOf(err), Reason: fmt.Sprintf("given up after %d attempts: %v", e.counted, err)}
	}
	k.Death = &death{Code: poison.Code, Reason: poison.Reason, Attempts: e.attempts, At: time.Now().UTC()}
	if err := q.replace(ctx, e, k); err != nil {
		return waiting, q.backOff(e, err)
	}
	q.config.Logger.Warn("a message went to the dead letters", "channel", e.channel, "transaction", e.txID, "code", poison.Code, "reason", poison.Reason)
	return dead, 0
}

func (q *Queue) backOff(e *entry, err error) time.Duration {
	pause := min(q.config.Pause<<min(e.attempts-1, 20), maxPause)
	pause = pause/2 + rand.N(pause)
	q.config.Logger.Info("a message is to be run again", "channel", e.channel, "attempts", e.attempts, "pause", pause, "error", err)
	return pause
}

// read returns a message as it is kept, or ErrNotFound.
func (q *Queue) read(ctx context.Context, e *entry) (*kept, error) {
	record, err := q.config.Store.Get(ctx, e.number)
	if err != nil {
		return nil, notKept(err)
	}
	return decode(record)
}

// replace keeps a message that has changed.
func (q *Queue) replace(ctx context.Context, e *entry, k *kept) error {
	record, err := json.Marshal(k)
	if err == nil {
		err = q.config.Store.Put(ctx, e.number, record)
	}
	if err != nil {
		return fmt.Errorf("keep message: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes += int64(len(record)) - e.size
	e.size = int64(len(record))
	return nil
}
