package aws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/awstest"
	"peerless/shared/docstore"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/secret"
	"peerless/shared/store/mem"
	"peerless/shared/webhook"
	"peerless/shared/webhook/aws"
)

// service answers the SDK's requests as SNS and EventBridge do, and notes them.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // bodies
	fail     string   // what the next answers are, if not empty
}

func newService(t *testing.T, answer string) (*service, sdk.Config) {
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, string(body))
		if s.fail != "" {
			io.WriteString(w, s.fail)
			return
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s, sdk.Config{Region: "us-east-1", BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
}

const body = `{"channel":"main","id":"3.0","payload":{"a":1}}`

func TestTopics(t *testing.T) {
	t.Parallel()
	s, config := newService(t, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`)
	topics := aws.Topics{Client: sns.NewFromConfig(config)}
	sub := &webhook.Subscription{Channel: "main", URL: "arn:aws:sns:us-east-1:1:orders.fifo"}
	if err := topics.Send(t.Context(), sub, &webhook.Message{ID: "main:3-0", Body: []byte(body), Name: "rung"}); err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(s.requests[0])
	if err != nil {
		t.Fatal(err)
	}
	if form.Get("TopicArn") != sub.URL || form.Get("Message") != body || form.Get("MessageGroupId") != "main" || form.Get("MessageDeduplicationId") != "main:3-0" || !strings.Contains(s.requests[0], "rung") {
		t.Errorf("published %s", s.requests[0])
	}
	large := `{"channel":"main","id":"3.0","payload":"` + strings.Repeat("x", 300<<10) + `"}`
	if err := topics.Send(t.Context(), sub, &webhook.Message{ID: "main:3-0", Body: []byte(large)}); err != nil {
		t.Fatal(err)
	}
	if form, err = url.ParseQuery(s.requests[1]); err != nil || form.Get("Message") != `{"channel":"main","id":"3.0","payload":null,"payloadEncoding":"omitted"}` {
		t.Errorf("a large event: published %.300s", form.Get("Message"))
	}
}

func TestBuses(t *testing.T) {
	t.Parallel()
	s, config := newService(t, `{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}`)
	buses := aws.Buses{Client: eventbridge.NewFromConfig(config)}
	sub := &webhook.Subscription{Channel: "main", URL: "arn:aws:events:us-east-1:1:event-bus/orders"}
	m := &webhook.Message{ID: "main:3-0", Body: []byte(body), Name: "rung"}
	if err := buses.Send(t.Context(), sub, m); err != nil {
		t.Fatal(err)
	}
	var put struct {
		Entries []struct {
			Source, DetailType, Detail, EventBusName string
			Resources                                []string
		}
	}
	raw := s.requests[0]
	if err := json.Unmarshal([]byte(raw), &put); err != nil || len(put.Entries) != 1 {
		t.Fatalf("put %s: %v", raw, err)
	}
	if e := put.Entries[0]; e.Source != "peerless" || e.DetailType != "rung" || e.Detail != body || e.EventBusName != sub.URL || !slices.Equal(e.Resources, []string{"main:3-0"}) {
		t.Errorf("put %s", raw)
	}
	s.fail = `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"ThrottlingException","ErrorMessage":"slow down"}]}`
	if err := buses.Send(t.Context(), sub, m); err == nil || !strings.Contains(err.Error(), "ThrottlingException: slow down") {
		t.Errorf("an entry that is refused: got %v", err)
	}
}

// bell is a contract whose transactions set an event.
type bell struct{}

func (bell) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (bell) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	_, args := stub.GetFunctionAndParameters()
	if err := stub.SetEvent("rung", []byte(args[0])); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

// TestFunction: a stream whose records are mixed, and come twice, and an endpoint that fails at first: no gap, no repeat, the chain's
// order; what failed comes again from the queue.
func TestFunction(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	q := awstest.NewQueues(t, awstest.QueueSpec{MaxReceives: 20})
	n, err := node.Open(node.Config{Store: mem.New(mem.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	user, err := n.User("", "ringer", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"main", "trade"} {
		if err := n.EnsureChannel(t.Context(), channel); err != nil {
			t.Fatal(err)
		}
		if _, err := n.DeployInProcess(t.Context(), channel, bell{}, gateway.Definition{Name: "bell"}); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	failures, taken := 2, make(map[string][]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/shaky" && failures > 0 {
			failures--
			w.WriteHeader(500)
			return
		}
		id := r.URL.Path + " " + r.Header.Get(webhook.HeaderID)
		taken[r.URL.Path] = append(taken[r.URL.Path], id)
	}))
	defer server.Close()
	registry := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey(), AllowPrivate: true}
	for channel, paths := range map[string][]string{"main": {"/shaky", "/good"}, "trade": {"/trade"}} {
		for _, path := range paths {
			if _, _, err := registry.Add(t.Context(), webhook.Subscription{Channel: channel, URL: server.URL + path}, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := &aws.Function{Later: &aws.Later{Client: q.Client, URL: q.URL}, Sender: webhook.NewSender(webhook.Config{
		Registry: registry, Source: n.Gateway, Encode: api.EncodeEvent, Endpoints: webhook.NewEndpoints(registry), Pause: time.Millisecond,
	})}
	function := lambda.NewHandler(f.Handle)
	stream := &awstest.Stream{Function: function, Channels: []string{"main", "trade"}, BatchSize: 3, Replay: true, Shuffle: rand.New(rand.NewPCG(seed, 0)),
		Heights: func(ctx context.Context, name string) (uint64, error) {
			channel, err := n.Gateway.Channel(ctx, name)
			if err != nil {
				return 0, err
			}
			return channel.Height(ctx)
		}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const rounds, each = 3, 4
	for round := range rounds {
		for i := range each {
			for _, channel := range stream.Channels {
				r := gateway.Request{Channel: channel, Chaincode: "bell", Function: "ring", Args: [][]byte{fmt.Append(nil, round, i)}, User: user}
				if _, err := n.Gateway.SubmitTransaction(ctx, r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := stream.Deliver(ctx); err != nil {
			t.Fatal(err)
		}
	}
	(&awstest.Poller{Queues: q, Function: function, Twice: true}).Drain(t)
	mu.Lock()
	defer mu.Unlock()
	for _, path := range []string{"/shaky", "/good", "/trade"} {
		channel := "main"
		if path == "/trade" {
			channel = "trade"
		}
		var want []string
		for b := range rounds * each {
			want = append(want, fmt.Sprintf("%s %s:%d-0", path, channel, b+2))
		}
		if !slices.Equal(taken[path], want) {
			t.Errorf("got %v, want %v", taken[path], want)
		}
	}
	if failures != 0 {
		t.Errorf("the endpoint failed %d times too few", failures)
	}
}

func TestFunctionRefuses(t *testing.T) {
	t.Parallel()
	f := &aws.Function{}
	if _, err := f.Handle(t.Context(), json.RawMessage(`{"Records":[{"eventSource":"aws:s3"}]}`)); err == nil || !strings.Contains(err.Error(), "aws:s3") {
		t.Errorf("another's records: got %v", err)
	}
}
