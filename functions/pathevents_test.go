package functions_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"peerless/shared/awstest"
	script "peerless/shared/walk"
	"peerless/shared/webhook"
)

// A receiver takes webhooks, and refuses the first.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	asked  int
	took   []string // the payloads, in the order that they came in
	ids    map[string]int
	wrong  []error // of signatures
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{ids: make(map[string]int)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := webhook.Verify(r.secret, request.Header, body, time.Now()); err != nil {
			r.wrong = append(r.wrong, err)
		}
		if r.asked++; r.asked == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.ids[request.Header.Get("Webhook-Id")]++
		r.took = append(r.took, string(body))
	}))
	t.Cleanup(r.Close)
	return r
}

// TestCloudEvents sends the events of transactions to a webhook: the table's stream, whose records come in any order and twice, wakes the events
// function. Each event comes signed, once, in the chain's order, although its receiver was away at first.
func TestCloudEvents(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil, nil)
	if status, answer := d.request("POST", "/v1/channels", `{"name":"alpha"}`); status != http.StatusCreated {
		t.Fatalf("create a channel: %d %s", status, answer)
	}
	if err := d.bring(t.Context(), script.Deployment{Contract: "probe", Name: "probe", Channel: "alpha"}); err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t)
	status, answer := d.request("POST", "/v1/channels/alpha/webhooks", fmt.Sprintf(`{"url":%q,"chaincode":"probe"}`, r.URL))
	var made struct{ Secret string }
	if err := json.Unmarshal(answer, &made); status != http.StatusCreated || err != nil || made.Secret == "" {
		t.Fatalf("subscribe: %d %s", status, answer)
	}
	r.secret = made.Secret
	const most = 4
	for i := range most {
		if status, answer := d.request("POST", "/v1/channels/alpha/chaincodes/probe/submit", probeCall(i)); status != http.StatusOK {
			t.Fatalf("submit: %d %s", status, answer)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	stream := &awstest.Stream{
		Heights: d.ledger().Height, Channels: []string{"alpha"}, Replay: true, Shuffle: rand.New(rand.NewPCG(seed, 0)), BatchSize: 2,
		Function: invoker{lambda.NewFromConfig(d.lambda.Config()), d.name(t, "EventsFunction")},
	}
	if err := stream.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		t.Errorf("signatures: %v", r.wrong)
	}
	if len(r.ids) != most || len(r.took) != most {
		t.Fatalf("%d events came by %d ids, want %d: %q", len(r.took), len(r.ids), most, r.took)
	}
	for i, body := range r.took {
		payload := fmt.Sprintf("event %d", i)
		if !strings.Contains(body, payload) {
			t.Errorf("event %d is %s, want one with %q", i, body, payload)
		}
	}
	if !slices.ContainsFunc(r.took, func(body string) bool { return strings.Contains(body, `"probe"`) }) {
		t.Errorf("the events do not say whose they are: %s", r.took[0])
	}
}
