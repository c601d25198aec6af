package awstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// An Invoker runs a function: an event in, an answer or an error out. lambda.NewHandler makes one of a handler in this process.
type Invoker interface {
	Invoke(ctx context.Context, payload []byte) ([]byte, error)
}

// A Poller behaves as Lambda's event source mapping of an SQS queue with ReportBatchItemFailures: it receives batches, invokes the
// function with each, deletes what succeeded, and leaves what failed, which SQS delivers again or moves to the dead-letter queue
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
type Poller struct {
	Queues   *Queues
	Function Invoker
	// BatchSize is how many messages an invocation gets at most: 10 is the limit of a FIFO queue. Default 10.
	BatchSize int32
	// Patience is whether what failed waits until its visibility timeout ends, as on AWS. Otherwise it comes again at once.
	Patience bool

	// Twice delivers every batch again after it succeeded, as SQS may: what it deleted comes once more.
	Twice bool
	// Shuffle, if not nil, mixes the order within a batch, as a standard queue may.
	Shuffle *rand.Rand
}

// Run polls until ctx ends, and returns the first error of SQS itself.
func (p *Poller) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := p.Poll(ctx, 1); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Drain polls until the queue has neither a message to deliver nor one in flight, and fails the test if that takes more than two
// minutes. It returns how many invocations there were.
func (p *Poller) Drain(t testing.TB) (invocations int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		n, err := p.Poll(ctx, 0)
		if err != nil {
			t.Fatalf("poll: %v", err)
		}
		if n > 0 {
			invocations++
			continue
		}
		left, err := p.Queues.Depth(ctx, p.Queues.URL)
		if err != nil {
			t.Fatalf("depth: %v", err)
		}
		if left == 0 {
			return invocations
		}
		time.Sleep(20 * time.Millisecond) // a visibility timeout, which SQS does not signal
	}
}

// Poll receives one batch, waiting for it for so many seconds, and invokes the function. It returns the number of messages.
func (p *Poller) Poll(ctx context.Context, seconds int32) (int, error) {
	size := p.BatchSize
	if size == 0 {
		size = 10
	}
	got, err := p.Queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &p.Queues.URL, MaxNumberOfMessages: size, WaitTimeSeconds: seconds, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil || len(got.Messages) == 0 {
		return 0, err
	}
	messages := got.Messages
	if p.Shuffle != nil {
		p.Shuffle.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
	}
	failed := p.invoke(ctx, messages)
	if p.Twice && len(failed) == 0 {
		failed = p.invoke(ctx, messages)
	}
	// What the function has done counts, also if the poller is being stopped.
	ctx = context.WithoutCancel(ctx)
	for _, m := range messages {
		switch {
		case !failed[*m.MessageId]:
			_, err = p.Queues.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.Queues.URL, ReceiptHandle: m.ReceiptHandle})
		case !p.Patience:
			_, err = p.Queues.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
				QueueUrl: &p.Queues.URL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0})
		}
		if err != nil {
			return len(messages), fmt.Errorf("settle message %s: %w", *m.MessageId, err)
		}
	}
	return len(messages), nil
}

// invoke returns the ids of the messages that failed.
func (p *Poller) invoke(ctx context.Context, messages []types.Message) map[string]bool {
	event := events.SQSEvent{}
	all := make(map[string]bool)
	for _, m := range messages {
		event.Records = append(event.Records, SQSRecord(m, p.Queues.ARN))
		all[*m.MessageId] = true
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return all
	}
	answer, err := p.Function.Invoke(ctx, payload)
	if err != nil {
		return all
	}
	failed, err := batchFailures(answer, all)
	if err != nil {
		return all
	}
	return failed
}

var errUnknownItem = errors.New("a batch item failure names no message of the batch")

// batchFailures reads a function's answer. One that Lambda cannot make sense of fails the whole batch.
func batchFailures(answer []byte, all map[string]bool) (map[string]bool, error) {
	var response events.SQSEventResponse
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &response); err != nil {
			return nil, err
		}
	}
	failed := make(map[string]bool)
	for _, f := range response.BatchItemFailures {
		if !all[f.ItemIdentifier] {
			return nil, errUnknownItem
		}
		failed[f.ItemIdentifier] = true
	}
	return failed, nil
}

// SQSRecord is a message as it stands in a function's event.
func SQSRecord(m types.Message, arn string) events.SQSMessage {
	record := events.SQSMessage{
		MessageId: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body, Attributes: m.Attributes,
		EventSource: "aws:sqs", EventSourceARN: arn, AWSRegion: "us-east-1",
		MessageAttributes: make(map[string]events.SQSMessageAttribute),
	}
	if m.MD5OfBody != nil {
		record.Md5OfBody = *m.MD5OfBody
	}
	for name, a := range m.MessageAttributes {
		record.MessageAttributes[name] = events.SQSMessageAttribute{DataType: *a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue}
	}
	return record
}
