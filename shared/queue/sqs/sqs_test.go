package sqs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/awstest"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/node"
	"peerless/shared/queue"
	"peerless/shared/queue/sqs"
	"peerless/shared/store/mem"
)

// list is a contract of lists: add LIST ITEM puts the item behind the others, get LIST shows them. An item "bad" is refused, and what
// the test puts into before runs first.
type list struct {
	before func(item string)
}

func (l *list) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (l *list) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	items, err := stub.GetState(args[0])
	if err != nil {
		return shim.Error(err.Error())
	}
	if function == "get" {
		return shim.Success(items)
	}
	if l.before != nil {
		l.before(args[1])
	}
	if args[1] == "bad" {
		return shim.Error("there is no room for bad\x01")
	}
	if err := stub.PutState(args[0], append(items, args[1]+" "...)); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

// A platform is a node with the contract, whose store can fail. It ends in an audit.
type platform struct {
	*node.Node
	store   *mem.Store
	failing atomic.Int32 // writes that are still to fail
}

func newPlatform(t *testing.T, contract *list) *platform {
	t.Helper()
	p := &platform{}
	p.store = mem.New(mem.Config{Hook: func(mem.Write) mem.Outcome {
		if p.failing.Load() > 0 && p.failing.Add(-1) >= 0 {
			return mem.FailNotApplied
		}
		return mem.Proceed
	}})
	var err error
	p.Node, err = node.Open(node.Config{Store: p.store, LedgerConfig: ledger.Config{RetryPause: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EnsureChannel(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DeployInProcess(t.Context(), "main", contract, gateway.Definition{Name: "list"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close node: %v", err)
		}
		audit := ledger.Audit{Store: p.store, Channel: "main", Scratch: mem.New(mem.Config{})}
		if _, err := audit.Run(context.Background()); err != nil {
			t.Errorf("audit: %v", err)
		}
	})
	return p
}

func (p *platform) items(t *testing.T, name string) []string {
	t.Helper()
	user, err := p.User("", "reader", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.Gateway.EvaluateTransaction(t.Context(), gateway.Request{Channel: "main", Chaincode: "list", Function: "get", Args: [][]byte{[]byte(name)}, User: user})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(answer.Response.Payload))
}

// transactions counts those of the chain.
func (p *platform) transactions(t *testing.T) int {
	t.Helper()
	channel, err := p.Gateway.Channel(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	height, err := channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for b := range height {
		block, err := channel.Block(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		n += len(block.Data.Data)
	}
	return n - 2 // genesis and definition
}

func body(t *testing.T, name, item string) string {
	t.Helper()
	raw, err := queue.Format(&queue.Message{Version: 1, Channel: "main", Chaincode: "list", Function: "add", Args: []string{name, item}, User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func function(p *platform, q *awstest.Queues, deadLetters bool) *sqs.Function {
	f := &sqs.Function{Handler: p.QueueHandler()}
	if deadLetters {
		f.Queue = &sqs.Queue{Client: q.Client, URL: q.URL, DeadLettersURL: q.DeadLetters}
	}
	return f
}

func attributes(m types.Message) map[string]string {
	values := make(map[string]string)
	for name, a := range m.MessageAttributes {
		values[name] = *a.StringValue
	}
	return values
}

// TestFIFO: each group in its order, with a store that fails, every batch delivered twice, and poison between.
func TestFIFO(t *testing.T) {
	t.Parallel()
	q := awstest.NewQueues(t, awstest.QueueSpec{FIFO: true, MaxReceives: 20})
	p := newPlatform(t, &list{})
	for i := range 12 {
		name := fmt.Sprint("g", i%3)
		q.Send(t, body(t, name, fmt.Sprint(i)), name, "")
		if i == 4 {
			q.Send(t, body(t, "g1", "bad"), "g1", "")
			q.Send(t, "{", "g1", "")
			q.Send(t, strings.Replace(body(t, "g1", "x"), `"list"`, `"nothing"`, 1), "g1", "")
		}
	}
	p.failing.Store(3)
	poller := &awstest.Poller{Queues: q, Function: lambda.NewHandler(function(p, q, true).Handle), Twice: true}
	poller.Drain(t)
	for g := range 3 {
		want := []string{fmt.Sprint(g), fmt.Sprint(g + 3), fmt.Sprint(g + 6), fmt.Sprint(g + 9)}
		if got := p.items(t, fmt.Sprint("g", g)); !slices.Equal(got, want) {
			t.Errorf("group %d: got %v, want %v", g, got, want)
		}
	}
	if got := p.transactions(t); got != 12 {
		t.Errorf("the chain has %d transactions, want 12", got)
	}
	dead := q.Receive(t, q.DeadLetters)
	codes := make(map[string]string)
	for _, m := range dead {
		a := attributes(m)
		codes[a["Code"]] = a["Reason"]
		if a["MessageGroupId"] != "g1" || a["MessageId"] == "" || (a["TransactionId"] == "") != (a["Code"] == "INVALID_REQUEST") {
			t.Errorf("a dead letter has the attributes %v", a)
		}
	}
	if len(dead) != 3 || codes["CHAINCODE_ERROR"] != "there is no room for bad\uFFFD" || !strings.Contains(codes["NOT_FOUND"], "nothing") || !strings.Contains(codes["INVALID_REQUEST"], "JSON") {
		t.Errorf("dead letters: %v", codes)
	}
}

// TestStandard: out of order, twice, with the largest body, without a dead-letter queue that the function knows.
func TestStandard(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	q := awstest.NewQueues(t, awstest.QueueSpec{MaxReceives: 6})
	p := newPlatform(t, &list{})
	const messages = 15
	for i := range messages {
		q.Send(t, body(t, fmt.Sprint("l", i), "once"), "", "")
	}
	empty := len(body(t, "large", ""))
	large := strings.Repeat("x", queue.MaxSQS-empty)
	q.Send(t, body(t, "large", large), "", "")
	poison := q.Send(t, body(t, "l0", "bad"), "", "")
	p.failing.Store(3)
	poller := &awstest.Poller{Queues: q, Function: lambda.NewHandler(function(p, q, false).Handle), Twice: true, Shuffle: rand.New(rand.NewPCG(seed, 0))}
	poller.Drain(t)
	for i := range messages {
		if got := p.items(t, fmt.Sprint("l", i)); !slices.Equal(got, []string{"once"}) {
			t.Errorf("list %d has %v", i, got)
		}
	}
	if got := p.items(t, "large"); len(got) != 1 || got[0] != large {
		t.Errorf("the largest message did not arrive whole")
	}
	if got := p.transactions(t); got != messages+1 {
		t.Errorf("the chain has %d transactions, want %d", got, messages+1)
	}
	if dead := q.Receive(t, q.DeadLetters); len(dead) != 1 || *dead[0].MessageId != poison {
		t.Errorf("SQS moved %d messages to the dead letters, want the poison", len(dead))
	}
}

// TestKilledFunction kills the function at every point at which it could be: before it begins, while the contract runs, after the
// commit and before its answer. Each message is committed once all the same.
func TestKilledFunction(t *testing.T) {
	t.Parallel()
	q := awstest.NewQueues(t, awstest.QueueSpec{FIFO: true, MaxReceives: 20})
	p := newPlatform(t, &list{})
	for i := range 5 {
		q.Send(t, body(t, "l", fmt.Sprint(i)), "g", "")
	}
	f := &killed{Handler: lambda.NewHandler(function(p, q, true).Handle)}
	(&awstest.Poller{Queues: q, Function: f}).Drain(t)
	if got := p.items(t, "l"); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("got %v", got)
	}
	if f.kills != 3 {
		t.Errorf("%d invocations were killed", f.kills)
	}
	if dead := q.Receive(t, q.DeadLetters); len(dead) != 0 {
		t.Errorf("%d messages are in the dead letters", len(dead))
	}
}

// killed is a function that is killed in its first three invocations.
type killed struct {
	lambda.Handler
	kills int
}

var errKilled = errors.New("signal: killed")

func (k *killed) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	switch k.kills++; k.kills {
	case 1:
		return nil, errKilled
	case 2: // with its time, what it does ends: not even the first message may be begun
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		answer, err := k.Handler.Invoke(ctx, payload)
		var response struct{ BatchItemFailures []any }
		if err != nil || json.Unmarshal(answer, &response) != nil || len(response.BatchItemFailures) != 5 {
			return nil, fmt.Errorf("out of time, the function answered %s, %v: want 5 failures", answer, err)
		}
		return answer, nil
	case 3:
		k.Handler.Invoke(ctx, payload)
		return nil, errKilled
	}
	k.kills = 3
	return k.Handler.Invoke(ctx, payload)
}

// TestConsumer: a server takes from SQS what is sent with the API, keeps what takes longer than the visibility timeout to itself,
// and shows, runs again and drops the dead letters.
func TestConsumer(t *testing.T) {
	t.Parallel()
	made := awstest.NewQueues(t, awstest.QueueSpec{FIFO: true, Visibility: time.Second, MaxReceives: 20})
	slow := make(chan struct{})
	var runs atomic.Int32
	p := newPlatform(t, &list{before: func(item string) {
		if item == "slow" {
			runs.Add(1)
			<-slow
		}
	}})
	q := &sqs.Queue{Client: made.Client, URL: made.URL, DeadLettersURL: made.DeadLetters}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&sqs.Consumer{Handler: p.QueueHandler(), Queue: q, Pollers: 2}).Run(ctx) }()
	send := func(name, item string) string {
		t.Helper()
		m := &queue.Message{Version: 1, ID: name + item, Channel: "main", Chaincode: "list", Function: "add", Args: []string{name, item}, User: "alice", Organization: node.DefaultOrganization}
		user, err := p.User(m.Organization, m.User, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.TransactionID = gateway.IdempotentID(m.Request(user))
		if err := q.Send(t.Context(), m, name); err != nil {
			t.Fatal(err)
		}
		return m.TransactionID
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after a minute: %s", what)
			}
		}
	}
	send("a", "slow")
	bad := send("b", "bad")
	send("b", "next")
	await("the message behind the poison is not run", func() bool { return len(p.items(t, "b")) == 1 })
	await("the slow message is not run", func() bool { return runs.Load() == 1 })
	time.Sleep(2500 * time.Millisecond) // what is tested: two visibility timeouts pass, and it is not delivered again
	if got := runs.Load(); got != 1 {
		t.Errorf("the slow message was run %d times at once", got)
	}
	close(slow)
	await("the slow message is not committed", func() bool { return len(p.items(t, "a")) == 1 })
	await("messages are left in the queue", func() bool {
		s, err := q.Status(t.Context(), "main")
		return err == nil && s.Waiting == 0 && s.Working == 0 && s.DeadLetters == 1
	})

	letters, err := q.DeadLetters(t.Context(), "main", 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("got %d dead letters, %v", len(letters), err)
	}
	if l := letters[0]; l.Message.TransactionID != bad || l.Code != "CHAINCODE_ERROR" || l.Group != "b" || l.AcceptedAt.IsZero() || l.DiedAt.IsZero() {
		t.Errorf("got the dead letter %+v", l)
	}
	if letters, err := q.DeadLetters(t.Context(), "other", 10); err != nil || len(letters) != 0 {
		t.Errorf("another channel: got %d dead letters, %v", len(letters), err)
	}
	if err := q.Redrive(t.Context(), "main", bad); err != nil {
		t.Fatal(err)
	}
	await("the dead letter is not back", func() bool {
		letter, err := q.DeadLetter(t.Context(), "main", bad)
		return err == nil && letter.Code == "CHAINCODE_ERROR"
	})
	if err := q.Remove(t.Context(), "main", bad); err != nil {
		t.Fatal(err)
	}
	if err := q.Remove(t.Context(), "main", bad); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("removed twice: got %v, want ErrNotFound", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the consumer ended with %v", err)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	made := awstest.NewQueues(t, awstest.QueueSpec{})
	q := &sqs.Queue{Client: made.Client, URL: made.URL}
	m := &queue.Message{Version: 1, ID: "1", TransactionID: "t", Channel: "main", Chaincode: "list", Function: "add"}
	if err := q.Send(t.Context(), m, "g"); !errors.Is(err, queue.ErrOrder) {
		t.Errorf("a group in a standard queue: got %v, want ErrOrder", err)
	}
	m.Args = []string{strings.Repeat("x", queue.MaxSQS)}
	if err := q.Send(t.Context(), m, ""); !errors.Is(err, queue.ErrTooLarge) {
		t.Errorf("a large message: got %v, want ErrTooLarge", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	gone := &sqs.Queue{Client: made.Client, URL: made.URL + "-gone"}
	if err := (&sqs.Consumer{Queue: gone}).Run(ctx); err == nil || !strings.Contains(err.Error(), "-gone") {
		t.Errorf("a queue that does not exist: got %v", err)
	}
}
