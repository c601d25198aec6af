package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/queue"
	"peerless/shared/store/mem"
)

// A platform commits what its script lets it, once for each transaction id, as the ledger does.
type platform struct {
	// script decides on each run of a function with arguments: nil commits it. nil: all are committed.
	script func(run int, r gateway.Request) error

	mu        sync.Mutex
	runs      map[string]int // by transaction id
	committed []string       // arguments, in the order of commits
	more      chan struct{}  // closed at each run
}

func newPlatform(script func(run int, r gateway.Request) error) *platform {
	return &platform{script: script, runs: make(map[string]int), more: make(chan struct{})}
}

func (p *platform) SubmitTransaction(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
	id := gateway.IdempotentID(r)
	p.mu.Lock()
	p.runs[id]++
	run := p.runs[id]
	p.mu.Unlock()
	var err error
	if p.script != nil {
		err = p.script(run, r)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		close(p.more)
		p.more = make(chan struct{})
	}()
	if err != nil {
		return nil, err
	}
	if name := string(r.Args[0]); !slices.Contains(p.committed, name) {
		p.committed = append(p.committed, name)
	} else if run == 1 {
		return nil, fmt.Errorf("%s was committed under another id", name)
	}
	return &gateway.Outcome{TransactionID: id, Code: peer.TxValidationCode_VALID}, nil
}

func (p *platform) Recorded(context.Context, string, string) (bool, error) { return false, nil }

// await waits until done says so of what was committed.
func (p *platform) await(t *testing.T, done func(committed []string) bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		p.mu.Lock()
		ok, more := done(p.committed), p.more
		committed := slices.Clone(p.committed)
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("after a minute only these are committed: %v", committed)
		}
	}
}

func (p *platform) awaitCount(t *testing.T, n int) {
	t.Helper()
	p.await(t, func(committed []string) bool { return len(committed) >= n })
}

func (p *platform) order() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.committed)
}

func signer(mspID, user string, _ map[string]string) (*msp.Signer, error) {
	return &msp.Signer{Identity: &msp.Identity{MSPID: mspID, Serialized: []byte(mspID + " " + user)}}, nil
}

func handler(p *platform) *queue.Handler { return &queue.Handler{Gateway: p, Signer: signer} }

// message is a message whose first argument is its name.
func message(name string) *queue.Message {
	m := &queue.Message{Version: 1, ID: "id of " + name, Channel: "main", Chaincode: "cc", Function: "put", Args: []string{name}, User: "alice"}
	user, _ := signer(m.Organization, m.User, nil)
	m.TransactionID = gateway.IdempotentID(m.Request(user))
	return m
}

// open opens a queue and starts it; it is stopped with the test.
func open(t *testing.T, config queue.Config) *queue.Queue {
	t.Helper()
	if config.Store == nil {
		config.Store = &mem.Records{}
	}
	if config.Pause == 0 {
		config.Pause = time.Millisecond
	}
	q, err := queue.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	q.Start()
	t.Cleanup(func() { q.Stop(context.Background()) })
	return q
}

func send(t *testing.T, q *queue.Queue, group string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := q.Send(t.Context(), message(name), group); err != nil {
			t.Fatalf("send %s: %v", name, err)
		}
	}
}

// awaitStatus waits until the channel's queue is as it should be.
func awaitStatus(t *testing.T, q *queue.Queue, waiting, dead int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s, err := q.Status(t.Context(), "main")
		if err != nil {
			t.Fatal(err)
		}
		if s.Waiting == waiting && s.Working == 0 && s.DeadLetters == dead {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the queue has %+v, want %d waiting and %d dead letters", s, waiting, dead)
		}
	}
}

func failure(kind gateway.Kind, text string) error {
	return &gateway.Error{Kind: kind, Message: text, ChaincodeMessage: text}
}
