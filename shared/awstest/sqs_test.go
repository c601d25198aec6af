package awstest

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
)

func bodies(messages []types.Message) string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = *m.Body
	}
	return strings.Join(texts, " ")
}

// TestElasticMQ shows what of SQS our tests rely on: in all of it ElasticMQ 1.6.14 does what SQS's documentation says. It differs in
// what nothing here relies on: the region in its ARNs is "elasticmq", and it asks for no signature.
func TestElasticMQ(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	t.Run("a group waits while its messages are in flight, and comes again in order", func(t *testing.T) {
		t.Parallel()
		q := NewQueues(t, QueueSpec{FIFO: true})
		for _, m := range []string{"a1", "b1", "a2"} {
			q.Send(t, m, m[:1], "")
		}
		first := q.Receive(t, q.URL)
		check(t, "first batch", bodies(first), "a1 a2 b1")
		q.Send(t, "a3", "a", "")
		q.Send(t, "c1", "c", "")
		check(t, "while a and b are in flight", bodies(q.Receive(t, q.URL)), "c1")
		q.Release(t, q.URL, first)
		check(t, "after the release", bodies(q.Receive(t, q.URL)), "a1 a2 a3 b1")
	})
	t.Run("a message sent again with its deduplication id is one", func(t *testing.T) {
		t.Parallel()
		q := NewQueues(t, QueueSpec{FIFO: true})
		q.Send(t, "one", "g", "d")
		q.Send(t, "one", "g", "d")
		check(t, "batch", bodies(q.Receive(t, q.URL)), "one")
	})
	t.Run("a poison message of a group goes to the dead letters, and is not overtaken before", func(t *testing.T) {
		t.Parallel()
		q := NewQueues(t, QueueSpec{FIFO: true, MaxReceives: 2})
		q.Send(t, "poison", "a", "")
		got := q.Receive(t, q.URL)
		check(t, "first receive", bodies(got), "poison")
		q.Send(t, "later", "a", "")
		q.Release(t, q.URL, got)
		one, err := q.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.URL, MaxNumberOfMessages: 1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}})
		if err != nil {
			t.Fatal(err)
		}
		check(t, "second receive", bodies(one.Messages), "poison")
		check(t, "receive count", one.Messages[0].Attributes["ApproximateReceiveCount"], "2")
		q.Release(t, q.URL, one.Messages)
		check(t, "after two receives", bodies(q.Receive(t, q.URL)), "later")
		check(t, "dead letters", bodies(q.Receive(t, q.DeadLetters)), "poison")
	})
	t.Run("a standard queue's poison message goes to the dead letters", func(t *testing.T) {
		t.Parallel()
		q := NewQueues(t, QueueSpec{MaxReceives: 1})
		id := q.Send(t, "poison", "", "")
		got := q.Receive(t, q.URL)
		check(t, "batch", bodies(got), "poison")
		q.Release(t, q.URL, got)
		check(t, "after one receive", bodies(q.Receive(t, q.URL)), "")
		dead := q.Receive(t, q.DeadLetters)
		check(t, "dead letters", bodies(dead), "poison")
		if diff := cmp.Diff(*dead[0].MessageId, id); diff != "" {
			t.Errorf("the dead letter's id: %s", diff)
		}
	})
	t.Run("256 KiB is the largest body", func(t *testing.T) {
		t.Parallel()
		q := NewQueues(t, QueueSpec{})
		largest := strings.Repeat("x", 256<<10)
		q.Send(t, largest, "", "")
		if got := q.Receive(t, q.URL); len(got) != 1 || *got[0].Body != largest {
			t.Errorf("the largest body was not received: %d messages", len(got))
		}
		body := largest + "x"
		if _, err := q.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body}); err == nil {
			t.Error("a larger body was taken")
		}
	})
}
