package sqs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"peerless/shared/queue"
)

// A Consumer takes messages from SQS for a server. Handler and Queue are required.
type Consumer struct {
	Handler *queue.Handler
	Queue   *Queue
	Pollers int          // batches that are run at once; default 4
	Logger  *slog.Logger // default: none

	visibility time.Duration // of the queue
}

const (
	batchSize     = 10 // what SQS gives at once
	pollSeconds   = 20 // the longest that it waits
	failurePause  = 100 * time.Millisecond
	longestPause  = 30 * time.Second
	shortestClaim = 3 // claims are renewed so many times within the queue's visibility timeout
)

// Run takes messages until ctx ends, and returns when those that were begun have ended. It returns an error only if the queue is not
// there at the start; later failures of SQS are logged, and tried again.
func (c *Consumer) Run(ctx context.Context) error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Pollers == 0 {
		c.Pollers = 4
	}
	got, err := c.Queue.Client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &c.Queue.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameVisibilityTimeout}})
	if err != nil {
		return fmt.Errorf("find the queue %s: %w", c.Queue.URL, err)
	}
	seconds, err := strconv.Atoi(got.Attributes[string(types.QueueAttributeNameVisibilityTimeout)])
	if err != nil || seconds < 1 {
		return fmt.Errorf("the queue %s has a visibility timeout of %q seconds: set it to 30 or more", c.Queue.URL, got.Attributes["VisibilityTimeout"])
	}
	c.visibility = time.Duration(seconds) * time.Second
	var pollers sync.WaitGroup
	for range c.Pollers {
		pollers.Go(func() { c.poll(ctx) })
	}
	pollers.Wait()
	return nil
}

func (c *Consumer) poll(ctx context.Context) {
	pause := failurePause
	for ctx.Err() == nil {
		got, err := c.Queue.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &c.Queue.URL, MaxNumberOfMessages: batchSize, WaitTimeSeconds: pollSeconds,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			if ctx.Err() == nil {
				c.Logger.Warn("messages cannot be received", "queue", c.Queue.URL, "error", err, "pause", pause)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, longestPause)
			continue
		}
		pause = failurePause
		if len(got.Messages) > 0 {
			// What has been received is run to its end, which the contract's time bounds.
			c.run(context.WithoutCancel(ctx), got.Messages)
		}
	}
}

// run runs a batch, deletes what succeeded, and leaves what failed until its visibility timeout.
func (c *Consumer) run(ctx context.Context, messages []types.Message) {
	claimed, release := context.WithCancel(ctx)
	var claim sync.WaitGroup
	claim.Go(func() { c.keep(claimed, messages) })
	records := make([]events.SQSMessage, len(messages))
	for i, m := range messages {
		records[i] = events.SQSMessage{MessageId: *m.MessageId, Body: *m.Body, Attributes: m.Attributes, EventSourceARN: c.Queue.URL}
	}
	errs := run(ctx, c.Handler, c.Queue, records)
	release()
	claim.Wait()
	var done []types.DeleteMessageBatchRequestEntry
	for i, err := range errs {
		if err == nil {
			id := strconv.Itoa(i)
			done = append(done, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: messages[i].ReceiptHandle})
		}
	}
	if len(done) == 0 {
		return
	}
	out, err := c.Queue.Client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &c.Queue.URL, Entries: done})
	if err == nil && len(out.Failed) > 0 && out.Failed[0].Message != nil {
		err = errors.New(*out.Failed[0].Message)
	}
	if err != nil { // they come again, and are found to be committed
		c.Logger.Warn("messages that were run cannot be deleted", "queue", c.Queue.URL, "error", err)
	}
}

// keep extends the messages' visibility timeout while they are being run.
func (c *Consumer) keep(ctx context.Context, messages []types.Message) {
	renew := time.NewTicker(c.visibility / shortestClaim)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
		}
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
		for i, m := range messages {
			id := strconv.Itoa(i)
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(c.visibility / time.Second)}
		}
		_, err := c.Queue.Client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &c.Queue.URL, Entries: entries})
		if err != nil && ctx.Err() == nil {
			c.Logger.Warn("messages may be delivered while they are run", "queue", c.Queue.URL, "error", err)
		}
	}
}
