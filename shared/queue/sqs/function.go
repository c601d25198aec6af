package sqs

import (
	"context"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"peerless/shared/queue"
)

// A Function runs messages that Lambda takes from SQS. Its event source mapping must have ReportBatchItemFailures.
type Function struct {
	Handler *queue.Handler
	// Queue has the dead letters. nil: the queue's redrive policy alone fills them.
	Queue *Queue
}

// reserve is what is left of an invocation's time for its answer: without one, the whole batch is delivered again.
const reserve = time.Second

// Handle runs a batch of one queue's messages, and names those that are to be delivered again. Of a FIFO queue, a group's messages are
// run in their order, and none behind one that failed.
func (f *Function) Handle(ctx context.Context, event events.SQSEvent) (events.SQSEventResponse, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	errs := run(ctx, f.Handler, f.Queue, event.Records)
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for i, err := range errs {
		if err != nil {
			response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: event.Records[i].MessageId})
		}
	}
	return response, nil
}

// run runs records, and returns an error for each that is to be delivered again.
func run(ctx context.Context, handler *queue.Handler, q *Queue, records []events.SQSMessage) []error {
	deliveries := make([]queue.Delivery, len(records))
	sent := make(map[string]string)
	for i, r := range records {
		deliveries[i] = queue.Delivery{ID: r.MessageId, Body: []byte(r.Body)}
		if fifo(r.EventSourceARN) {
			deliveries[i].Group = r.Attributes["MessageGroupId"]
		}
		sent[r.MessageId] = r.Attributes["SentTimestamp"]
	}
	var bury func(context.Context, queue.Delivery, *queue.Poison) error
	if q != nil && q.DeadLettersURL != "" {
		bury = func(ctx context.Context, d queue.Delivery, p *queue.Poison) error {
			return q.bury(ctx, d, p, sent[d.ID])
		}
	}
	return handler.Batch(ctx, deliveries, bury)
}
