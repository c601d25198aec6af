package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/gateway"
	"peerless/shared/queue"
	"peerless/shared/store/mem"
)

// TestOrder has every message of several groups fail at random: each group is committed in its order all the same.
func TestOrder(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	p := newPlatform(func(run int, _ gateway.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if run < 4 && random.IntN(2) == 0 {
			return failure([]gateway.Kind{gateway.Unavailable, gateway.OutcomeUnknown, gateway.MVCCReadConflict, gateway.ChaincodeTimeout}[random.IntN(4)], "not now")
		}
		return nil
	})
	q := open(t, queue.Config{Handler: handler(p), Workers: 3})
	const groups, each = 5, 20
	var senders sync.WaitGroup
	for g := range groups {
		senders.Go(func() {
			for i := range each {
				send(t, q, fmt.Sprint("group ", g), fmt.Sprintf("%d-%02d", g, i))
			}
		})
	}
	senders.Wait()
	p.awaitCount(t, groups*each)
	for g := range groups {
		var got []string
		for _, name := range p.order() {
			if strings.HasPrefix(name, fmt.Sprint(g, "-")) {
				got = append(got, name)
			}
		}
		if len(got) != each || !slices.IsSorted(got) {
			t.Errorf("group %d was committed in the order %v", g, got)
		}
	}
	awaitStatus(t, q, 0, 0)
}

// TestGroupsAreConcurrent: a message that waits holds up its own group only.
func TestGroupsAreConcurrent(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := newPlatform(func(_ int, r gateway.Request) error {
		if string(r.Args[0]) == "slow" {
			<-release
		}
		return nil
	})
	q := open(t, queue.Config{Handler: handler(p), Workers: 2})
	send(t, q, "a", "slow", "after slow")
	send(t, q, "b", "other")
	send(t, q, "", "alone")
	p.awaitCount(t, 2)
	if got := p.order(); slices.Contains(got, "after slow") {
		t.Errorf("a message overtook one of its group: %v", got)
	}
	close(release)
	p.awaitCount(t, 4)
}

// TestDeadLetters: what can never be committed goes away with its reason, holds up nobody, and can be run again or removed.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	fixed := make(chan struct{})
	p := newPlatform(func(_ int, r gateway.Request) error {
		select {
		case <-fixed:
			return nil
		default:
		}
		if strings.HasPrefix(string(r.Args[0]), "bad") {
			return failure(gateway.ChaincodeError, "the asset exists already")
		}
		return nil
	})
	records := &mem.Records{}
	q := open(t, queue.Config{Handler: handler(p), Store: records})
	send(t, q, "g", "bad 1", "good", "bad 2")
	awaitStatus(t, q, 0, 2)
	letters, err := q.DeadLetters(t.Context(), "main", 10)
	if err != nil || len(letters) != 2 {
		t.Fatalf("got %d dead letters, %v", len(letters), err)
	}
	first := letters[0]
	if first.Message.Args[0] != "bad 1" || first.Code != "CHAINCODE_ERROR" || first.Reason != "the asset exists already" || first.Group != "g" || first.Attempts != 1 || first.DiedAt.IsZero() {
		t.Errorf("got the dead letter %+v", first)
	}
	if other, err := q.DeadLetters(t.Context(), "other", 10); err != nil || len(other) != 0 {
		t.Errorf("another channel has the dead letters %v, %v", other, err)
	}

	// They survive a restart.
	q.Stop(t.Context())
	close(fixed)
	q = open(t, queue.Config{Handler: handler(p), Store: records})
	awaitStatus(t, q, 0, 2)
	if err := q.Redrive(t.Context(), "main", first.Message.TransactionID); err != nil {
		t.Fatal(err)
	}
	p.await(t, func(committed []string) bool { return slices.Contains(committed, "bad 1") })
	if err := q.Remove(t.Context(), "main", letters[1].Message.TransactionID); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, q, 0, 0)
	for _, err := range []error{
		q.Redrive(t.Context(), "main", first.Message.TransactionID), q.Remove(t.Context(), "main", letters[1].Message.TransactionID),
		q.Redrive(t.Context(), "main", "nothing"),
	} {
		if !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("a dead letter that is none: got %v, want ErrNotFound", err)
		}
	}
	if got := p.order(); !slices.Equal(got, []string{"good", "bad 1"}) {
		t.Errorf("committed: %v", got)
	}
}

// TestAttempts: what may be a message's own fault is tried so often; that the platform is away does not count.
func TestAttempts(t *testing.T) {
	t.Parallel()
	p := newPlatform(func(run int, r gateway.Request) error {
		switch name := string(r.Args[0]); {
		case name == "crashes":
			return failure(gateway.ChaincodeCrashed, "the contract crashed")
		case run <= 8:
			return failure(gateway.Unavailable, "the disk is full")
		}
		return nil
	})
	q := open(t, queue.Config{Handler: handler(p), MaxAttempts: 3})
	send(t, q, "", "crashes", "patient")
	p.awaitCount(t, 1)
	awaitStatus(t, q, 0, 1)
	letters, err := q.DeadLetters(t.Context(), "main", 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("got %d dead letters, %v", len(letters), err)
	}
	if l := letters[0]; l.Code != "CHAINCODE_CRASHED" || l.Attempts != 3 || !strings.Contains(l.Reason, "given up after 3 attempts: the contract crashed") {
		t.Errorf("got the dead letter %+v", l)
	}
}

// TestRepeat: a message that is sent again is one, unless it says something else.
func TestRepeat(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := newPlatform(func(int, gateway.Request) error {
		<-release
		return nil
	})
	q := open(t, queue.Config{Handler: handler(p)})
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() { send(t, q, "", "one") })
	}
	senders.Wait()
	other := message("one")
	other.Args = append(other.Args, "more")
	if err := q.Send(t.Context(), other, ""); !errors.Is(err, queue.ErrReused) {
		t.Errorf("another message with the same id: got %v, want ErrReused", err)
	}
	if s, _ := q.Status(t.Context(), "main"); s.Waiting+s.Working != 1 {
		t.Errorf("the queue has %+v, want one message", s)
	}
	close(release)
	awaitStatus(t, q, 0, 0)

	bad := newPlatform(func(run int, _ gateway.Request) error {
		if run == 1 {
			return failure(gateway.ChaincodeError, "not yet")
		}
		return nil
	})
	q = open(t, queue.Config{Handler: handler(bad)})
	send(t, q, "", "again")
	awaitStatus(t, q, 0, 1)
	send(t, q, "", "again")
	bad.awaitCount(t, 1)
	awaitStatus(t, q, 0, 0)
}

func TestFull(t *testing.T) {
	t.Parallel()
	p := newPlatform(func(int, gateway.Request) error { return failure(gateway.ChaincodeError, "no") })
	q := open(t, queue.Config{Handler: handler(p), MaxMessages: 2})
	send(t, q, "", "1", "2")
	awaitStatus(t, q, 0, 2)
	err := q.Send(t.Context(), message("3"), "")
	if !errors.Is(err, queue.ErrFull) || !strings.Contains(err.Error(), "2 dead letters") {
		t.Errorf("the third message: got %v, want ErrFull", err)
	}
	if err := q.Remove(t.Context(), "main", message("1").TransactionID); err != nil {
		t.Fatal(err)
	}
	send(t, q, "", "3")
	awaitStatus(t, q, 0, 2)

	small := open(t, queue.Config{Handler: handler(p), MaxBytes: 1000})
	m := message("large")
	m.Args = append(m.Args, strings.Repeat("x", 1000))
	if err := small.Send(t.Context(), m, ""); !errors.Is(err, queue.ErrFull) {
		t.Errorf("a message larger than the queue: got %v, want ErrFull", err)
	}
}

// TestStoreFails: a message that could not be kept was not accepted, and one that could not be moved to the dead letters is tried
// again.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk is full")
	var mu sync.Mutex
	failing := true
	records := &mem.Records{Hook: func(uint64) error {
		mu.Lock()
		defer mu.Unlock()
		if failing {
			return broken
		}
		return nil
	}}
	set := func(v bool) {
		mu.Lock()
		defer mu.Unlock()
		failing = v
	}
	var tried sync.Once
	again := make(chan struct{})
	p := newPlatform(func(run int, r gateway.Request) error {
		if string(r.Args[0]) != "bad" {
			return nil
		}
		if run == 1 {
			set(true)
		} else {
			tried.Do(func() { close(again) })
		}
		return failure(gateway.ChaincodeError, "no")
	})
	q := open(t, queue.Config{Handler: handler(p), Store: records})
	if err := q.Send(t.Context(), message("lost"), ""); !errors.Is(err, broken) {
		t.Fatalf("send to a broken store: got %v", err)
	}
	awaitStatus(t, q, 0, 0)
	set(false)
	send(t, q, "", "lost", "bad")
	<-again
	set(false)
	awaitStatus(t, q, 0, 1)
	if got := p.order(); !slices.Equal(got, []string{"lost"}) {
		t.Errorf("committed: %v", got)
	}
}

// TestRestarts stops the queue at any moment, and opens what it kept again: every accepted message is committed once.
func TestRestarts(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	records := &mem.Records{}
	p := newPlatform(nil)
	var want []string
	for round := range 20 {
		q, err := queue.Open(t.Context(), queue.Config{Handler: handler(p), Store: records, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		for i := range random.IntN(20) {
			if i == 5 {
				q.Start()
			}
			name := fmt.Sprintf("%d-%d", round, i)
			send(t, q, []string{"", "a", "b"}[i%3], name)
			want = append(want, name)
		}
		q.Stop(context.Background())
	}
	q := open(t, queue.Config{Handler: handler(p), Store: records})
	awaitStatus(t, q, 0, 0)
	got := p.order()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("committed (-got +want):\n%s", diff)
	}
	if err := records.Each(t.Context(), func(number uint64, _ []byte) error { return fmt.Errorf("record %d is left", number) }); err != nil {
		t.Error(err)
	}
}

// TestStop: Stop waits for what was begun, and has it give up when its time is over.
func TestStop(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	q := open(t, queue.Config{Handler: &queue.Handler{Gateway: stuck(begun), Signer: signer}})
	send(t, q, "", "stuck")
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q.Stop(ctx)
	awaitStatus(t, q, 1, 0)
}

// stuck is a gateway that never answers.
type stuck chan struct{}

func (s stuck) SubmitTransaction(ctx context.Context, _ gateway.Request) (*gateway.Outcome, error) {
	close(s)
	<-ctx.Done()
	return nil, failure(gateway.Unavailable, "gave up")
}

func (stuck) Recorded(context.Context, string, string) (bool, error) { return false, nil }
