package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/gateway"
	"peerless/shared/queue"
	"peerless/shared/store/mem"
)

// submitter commits what the queue runs, through a fake.
type submitter struct {
	*apitest.Fake
}

func (submitter) Recorded(context.Context, string, string) (bool, error) { return false, nil }

// withQueue gives the API a queue, not started, whose messages the fake submits, and ids of transactions as the gateway makes them.
func withQueue(t *testing.T, config queue.Config) func(*api.Config) {
	t.Helper()
	return func(c *api.Config) {
		fake := c.Gateway.(*apitest.Fake)
		if fake.Accept == nil {
			fake.Accept = func(_ context.Context, r gateway.Request) (string, bool, error) {
				return gateway.IdempotentID(r), false, nil
			}
		}
		config.Handler = &queue.Handler{Gateway: submitter{fake}, Signer: signer}
		if config.Store == nil {
			config.Store = &mem.Records{}
		}
		q, err := queue.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { q.Stop(context.Background()) })
		c.Queue = q
	}
}

type accepted struct{ TransactionID, MessageID string }

func accept(t *testing.T, a answer) accepted {
	t.Helper()
	var out accepted
	if a.status != 202 || json.Unmarshal(a.body, &out) != nil {
		t.Fatalf("got %d %s, want 202", a.status, a.body)
	}
	return out
}

func TestQueue(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	ran := make(chan gateway.Request, 10)
	fake.Submit = func(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
		ran <- r
		return &gateway.Outcome{TransactionID: gateway.IdempotentID(r), Code: peer.TxValidationCode_VALID}, nil
	}
	with := withQueue(t, queue.Config{})
	var q *queue.Queue
	h := newHandler(t, fake, with, func(c *api.Config) { q = c.Queue.(*queue.Queue) })
	const body = `{"function":"CreateAsset","args":["a1","\u00e9"],"transient":{"k":"AP8="},"organizations":["Org2MSP"]}`
	first := accept(t, do(t, h, "POST", queuePath, body, "Idempotency-Key: order 7", "Message-Group-Id: a1", "X-Peerless-User: alice", "X-Peerless-Attributes: role=auditor"))
	if first.MessageID != "order 7" || len(first.TransactionID) != 64 {
		t.Errorf("got %+v", first)
	}
	again := accept(t, do(t, h, "POST", queuePath, body, "Idempotency-Key: order 7", "Message-Group-Id: a1", "X-Peerless-User: alice", "X-Peerless-Attributes: role=auditor"))
	if again != first {
		t.Errorf("the repeat was answered %+v, and the first %+v", again, first)
	}
	other := accept(t, do(t, h, "POST", queuePath, body))
	if other.TransactionID == first.TransactionID || len(other.MessageID) != 32 {
		t.Errorf("a request without a key: got %+v", other)
	}
	if p := do(t, h, "POST", queuePath, `{"function":"Other"}`, "Idempotency-Key: order 7", "X-Peerless-User: alice", "X-Peerless-Attributes: role=auditor").problem(t); p.Code != api.CodeIdempotencyReused || p.TransactionID != first.TransactionID {
		t.Errorf("the key used again: got %+v", p)
	}
	if a := do(t, h, "GET", "/v1/channels/alpha/queue", nil); a.status != 200 || !strings.HasPrefix(string(a.body), `{"waiting":2,"working":0,"deadLetters":0,"oldest":"20`) {
		t.Errorf("the queue: got %d %s", a.status, a.body)
	}
	q.Start()
	runs := map[string]gateway.Request{}
	for range 2 {
		r := <-ran
		runs[r.IdempotencyKey] = r
	}
	r := runs["order 7"]
	if user := string(r.User.Serialized); user != "Org1MSP alice map[role:auditor]" {
		t.Errorf("user: got %q", user)
	}
	r.User = nil
	want := gateway.Request{
		Channel: "alpha", Chaincode: "probe", Function: "CreateAsset", Args: [][]byte{[]byte("a1"), []byte("é")},
		Transient: map[string][]byte{"k": {0, 255}}, Organizations: []string{"Org2MSP"}, IdempotencyKey: "order 7",
	}
	if diff := cmp.Diff(r, want); diff != "" {
		t.Errorf("what was run (-got +want):\n%s", diff)
	}
}

// TestQueueRefuses: what submit refuses before it runs anything is refused before it is accepted.
func TestQueueRefuses(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	fake.Accept = func(_ context.Context, r gateway.Request) (string, bool, error) {
		return "", false, &gateway.Error{Kind: gateway.NotFound, Message: "no such chaincode"}
	}
	with := withQueue(t, queue.Config{})
	h := newHandler(t, fake, with)
	for _, c := range []struct {
		body, header string
		status       int
		code         api.Code
		field        string
	}{
		{`{`, "", 400, api.CodeInvalidRequest, ""},
		{`{"function":"f","colour":1}`, "", 400, api.CodeInvalidRequest, "colour"},
		{`{"function":"f"}`, "Message-Group-Id: a b", 400, api.CodeInvalidRequest, "Message-Group-Id"},
		{`{"function":"f"}`, "Message-Group-Id: " + strings.Repeat("x", 129), 400, api.CodeInvalidRequest, "Message-Group-Id"},
		{`{"function":"f"}`, "Idempotency-Key: " + strings.Repeat("x", 256), 400, api.CodeInvalidRequest, "Idempotency-Key"},
		{`{"function":"f","args":["` + strings.Repeat("x", 1<<20+1) + `"]}`, "", 413, api.CodeTooLarge, "args[0]"},
		{`{"function":"f"}`, "", 404, api.CodeNotFound, ""},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		if p := do(t, h, "POST", queuePath, c.body, headers...).problem(t); p.Status != c.status || p.Code != c.code || p.Field != c.field {
			t.Errorf("%.60s %.40s: got %+v", c.body, c.header, p)
		}
	}

	with = withQueue(t, queue.Config{MaxMessages: 1})
	h = newHandler(t, newFake(t), with)
	accept(t, do(t, h, "POST", queuePath, `{"function":"f","args":["1"]}`))
	a := do(t, h, "POST", queuePath, `{"function":"f","args":["2"]}`)
	if p := a.problem(t); p.Status != 503 || p.Code != api.CodeUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("a full queue: got %+v, Retry-After %q", p, a.header.Get("Retry-After"))
	}

	h = newHandler(t, newFake(t))
	if p := do(t, h, "POST", queuePath, `{"function":"f"}`).problem(t); p.Status != 404 || !strings.Contains(p.Detail, "no queue") {
		t.Errorf("a server without a queue: got %+v", p)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	var mu sync.Mutex
	refuse := true
	done := make(chan struct{})
	fake.Submit = func(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		if refuse {
			return nil, &gateway.Error{Kind: gateway.ChaincodeError, Message: "m", ChaincodeMessage: "the asset a1 exists already"}
		}
		close(done)
		return &gateway.Outcome{TransactionID: gateway.IdempotentID(r), Code: peer.TxValidationCode_VALID}, nil
	}
	with := withQueue(t, queue.Config{})
	var q *queue.Queue
	h := newHandler(t, fake, with, func(c *api.Config) { q = c.Queue.(*queue.Queue) })
	q.Start()
	const list = "/v1/channels/alpha/dead-letters"
	if a := do(t, h, "GET", list, nil); a.status != 200 || string(a.body) != `{"deadLetters":[]}`+"\n" {
		t.Errorf("no dead letters: got %d %s", a.status, a.body)
	}
	one := accept(t, do(t, h, "POST", queuePath, `{"function":"CreateAsset","args":["a1"],"transient":{"secret":"c2VjcmV0"}}`, "Message-Group-Id: g", "X-Peerless-User: alice"))
	two := accept(t, do(t, h, "POST", queuePath, `{"function":"CreateAsset"}`))
	var letters struct {
		DeadLetters []struct{ TransactionID, MessageID, GroupID, Chaincode, Function, User, Code, Reason string }
	}
	for len(letters.DeadLetters) < 2 {
		q.Stop(t.Context()) // waits for what is being run
		q.Start()
		a := do(t, h, "GET", list, nil)
		if err := json.Unmarshal(a.body, &letters); err != nil || a.status != 200 || strings.Contains(string(a.body), "c2VjcmV0") {
			t.Fatalf("dead letters: got %d %s", a.status, a.body)
		}
	}
	if got, want := fmt.Sprint(letters.DeadLetters[0]), fmt.Sprint(struct{ a, b, c, d, e, f, g, h string }{one.TransactionID, one.MessageID, "g", "probe", "CreateAsset", "alice", "CHAINCODE_ERROR", "the asset a1 exists already"}); got != want {
		t.Errorf("got the dead letter %s, want %s", got, want)
	}
	if a := do(t, h, "GET", list+"?limit=1", nil); strings.Count(string(a.body), "transactionId") != 1 {
		t.Errorf("one dead letter: got %s", a.body)
	}
	mu.Lock()
	refuse = false
	mu.Unlock()
	if got := accept(t, do(t, h, "POST", list+"/"+one.TransactionID+"/redrive", nil)); got != one {
		t.Errorf("redrive: got %+v", got)
	}
	<-done
	if a := do(t, h, "DELETE", list+"/"+two.TransactionID, nil); a.status != 204 {
		t.Errorf("remove: got %d %s", a.status, a.body)
	}
	if p := do(t, h, "DELETE", list+"/"+two.TransactionID, nil).problem(t); p.Status != 404 || p.TransactionID != two.TransactionID {
		t.Errorf("remove again: got %+v", p)
	}
	if p := do(t, h, "GET", list+"?limit=0", nil).problem(t); p.Status != 400 || p.Field != "limit" {
		t.Errorf("a limit of 0: got %+v", p)
	}
	if p := do(t, h, "GET", "/v1/channels/nope/dead-letters", nil).problem(t); p.Status != 404 {
		t.Errorf("an unknown channel: got %+v", p)
	}
}
