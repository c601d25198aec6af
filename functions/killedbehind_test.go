package functions_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"peerless/shared/awstest"
)

// TestKilledQueue has Lambda kill the queue's function at each call of DynamoDB that a message makes. SQS delivers the message again: in the end
// each is committed once.
func TestKilledQueue(t *testing.T) {
	t.Parallel()
	queues := awstest.NewQueues(t, awstest.QueueSpec{FIFO: true, MaxReceives: 5})
	d, s, kills := killing(t, "QueueFunction", queues)
	before := d.audit("alpha").Transactions
	poller := &awstest.Poller{Queues: queues, Function: invoker{lambda.NewFromConfig(d.lambda.Config()), d.name(t, "QueueFunction")}}
	poller.Drain(t) // nothing: the function has started
	var ids []string
	prepare := func() {
		status, answer := d.request("POST", "/v1/channels/alpha/chaincodes/probe/queue", probeCall(len(ids)))
		var accepted struct{ TransactionID string }
		if err := json.Unmarshal(answer, &accepted); status != http.StatusAccepted || err != nil {
			t.Fatalf("queue: %d %s", status, answer)
		}
		ids = append(ids, accepted.TransactionID)
	}
	made := s.everywhere(prepare, func() { poller.Drain(t) })
	for i, id := range ids {
		if status, answer := d.request("GET", "/v1/channels/alpha/transactions/"+id, ""); status != http.StatusOK {
			t.Errorf("message %d: %d %s", i, status, answer)
		}
	}
	if *kills < 4 {
		t.Errorf("the function was killed %d times: a message makes more calls than that", *kills)
	}
	if report := d.audit("alpha"); report.Transactions-before != uint64(made) || report.Invalid > 0 {
		t.Errorf("the chain has %d transactions more, %d of them invalid, want %d", report.Transactions-before, report.Invalid, made)
	}
	t.Logf("the queue's function was killed %d times in %d messages, and each transaction is there once", *kills, made)
}

// TestKilledEvents has Lambda kill the events function at each call of DynamoDB that a block's event makes. The stream brings the record again: no
// event is missing, and one that is sent again has the id that it had.
func TestKilledEvents(t *testing.T) {
	t.Parallel()
	d, s, kills := killing(t, "EventsFunction", nil)
	r := newReceiver(t)
	r.asked = 1 // it is there from the beginning
	status, answer := d.request("POST", "/v1/channels/alpha/webhooks", fmt.Sprintf(`{"url":%q,"chaincode":"probe"}`, r.URL))
	var subscribed struct{ Secret string }
	if err := json.Unmarshal(answer, &subscribed); status != http.StatusCreated || err != nil {
		t.Fatalf("subscribe: %d %s", status, answer)
	}
	r.secret = subscribed.Secret
	stream := &awstest.Stream{
		Heights: d.ledger().Height, Channels: []string{"alpha"},
		Function: invoker{lambda.NewFromConfig(d.lambda.Config()), d.name(t, "EventsFunction")},
	}
	deliver := func() {
		if err := stream.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	deliver() // the blocks so far: the function has started
	submitted := 0
	prepare := func() {
		if status, answer := d.request("POST", "/v1/channels/alpha/chaincodes/probe/submit", probeCall(submitted)); status != http.StatusOK {
			t.Fatalf("submit: %d %s", status, answer)
		}
		submitted++
	}
	made := s.everywhere(prepare, deliver)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		t.Errorf("signatures: %v", r.wrong)
	}
	if len(r.ids) != made {
		t.Errorf("events came by %d ids, want %d", len(r.ids), made)
	}
	if *kills < 4 {
		t.Errorf("the function was killed %d times: an event makes more calls than that", *kills)
	}
	t.Logf("the events function was killed %d times; %d events were sent %d times, by %d ids", *kills, made, len(r.took), len(r.ids))
}
