package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"peerless/shared/webhook"
)

// A Function wakes the sender. Lambda invokes it with records of the table's stream, of which it needs the keys only, and with messages
// of the queue in which it leaves what is to be tried again. Both mappings must have ReportBatchItemFailures.
//
// The stream is only an alarm clock: what is sent is read from the ledger, from where the subscription is to the block that the
// record names. So records may come twice, late, or out of order.
type Function struct {
	Sender *webhook.Sender
	// Later keeps what is to be tried again. nil: a failing target has the stream's records come again, and holds up the others'.
	Later  *Later
	Logger *slog.Logger // default: none
}

// Later is a queue in SQS, not FIFO, whose messages are delayed.
type Later struct {
	Client *sqs.Client
	URL    string
}

// reserve is what is left of an invocation's time for its answer.
const reserve = time.Second

// Send has a wake-up come again.
func (l *Later) Send(ctx context.Context, w webhook.Wake, pause time.Duration) error {
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	text, delay := string(body), int32(math.Ceil(max(0, min(pause, webhook.MaxPause)).Seconds()))
	if _, err := l.Client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &l.URL, MessageBody: &text, DelaySeconds: delay}); err != nil {
		return fmt.Errorf("send to %s: %w", l.URL, err)
	}
	return nil
}

// A response names records that have to come again: both kinds of mapping read it.
type response struct {
	BatchItemFailures []failure `json:"batchItemFailures"`
}

type failure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// Handle wakes the sender for a batch of records, of the stream or of the queue.
func (f *Function) Handle(ctx context.Context, payload json.RawMessage) (any, error) {
	if f.Logger == nil {
		f.Logger = slog.New(slog.DiscardHandler)
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	var kind struct {
		Records []struct {
			EventSource string `json:"eventSource"`
		}
	}
	if err := json.Unmarshal(payload, &kind); err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	if len(kind.Records) == 0 {
		return response{[]failure{}}, nil
	}
	switch kind.Records[0].EventSource {
	case "aws:dynamodb":
		var event events.DynamoDBEvent
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, fmt.Errorf("read the stream's records: %w", err)
		}
		return f.stream(ctx, event), nil
	case "aws:sqs":
		var event events.SQSEvent
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, fmt.Errorf("read the queue's messages: %w", err)
		}
		return f.queue(ctx, event), nil
	}
	return nil, fmt.Errorf("records of %q are not for this function: it takes those of a DynamoDB stream and of SQS", kind.Records[0].EventSource)
}

func (f *Function) later() webhook.Later {
	if f.Later == nil {
		return nil
	}
	return f.Later.Send
}

// stream wakes each channel once, for the last of its blocks in the batch. A shard's records come again from the first that failed.
func (f *Function) stream(ctx context.Context, event events.DynamoDBEvent) response {
	heights := make(map[string]uint64)
	first := make(map[string]string) // sequence number of a channel's first record
	var order []string
	for _, r := range event.Records {
		channel, number, ok := newBlock(r)
		if !ok {
			continue
		}
		if _, seen := heights[channel]; !seen {
			order = append(order, channel)
			first[channel] = r.Change.SequenceNumber
		}
		heights[channel] = max(heights[channel], number+1)
	}
	answer := response{[]failure{}}
	errs := make(chan error, len(order))
	for _, channel := range order {
		go func() {
			// The batch that is delivered again after a crash has the same owner.
			errs <- f.Sender.Wake(ctx, webhook.Wake{Channel: channel, Height: heights[channel]}, "stream "+first[channel], f.later())
		}()
	}
	for range order {
		if err := <-errs; err != nil {
			f.Logger.Error("events were not sent", "error", err)
			answer.BatchItemFailures = []failure{{event.Records[0].Change.SequenceNumber}} // what was sent is known, and is not sent again
		}
	}
	return answer
}

// newBlock reads the number of a block from the keys of its item: block#<channel>#<number>, 00.
func newBlock(r events.DynamoDBEventRecord) (channel string, number uint64, ok bool) {
	pk, sk := r.Change.Keys["pk"], r.Change.Keys["sk"]
	if r.EventName != string(events.DynamoDBOperationTypeInsert) || pk.DataType() != events.DataTypeString || sk.DataType() != events.DataTypeBinary {
		return "", 0, false
	}
	rest, block := strings.CutPrefix(pk.String(), "block#")
	channel, text, found := strings.Cut(rest, "#")
	number, err := strconv.ParseUint(text, 10, 64)
	return channel, number, block && found && err == nil && string(sk.Binary()) == "\x00"
}

// queue wakes what was left for later.
func (f *Function) queue(ctx context.Context, event events.SQSEvent) response {
	answer := response{[]failure{}}
	for _, r := range event.Records {
		var w webhook.Wake
		err := json.Unmarshal([]byte(r.Body), &w)
		if err == nil && (w.Channel == "" || w.Webhook == "") {
			err = errors.New("the message names no channel or no webhook")
		}
		if err == nil {
			err = f.Sender.Wake(ctx, w, "later "+r.MessageId, f.later())
		}
		if err != nil {
			f.Logger.Error("events were not sent", "message", r.MessageId, "error", err)
			answer.BatchItemFailures = append(answer.BatchItemFailures, failure{r.MessageId})
		}
	}
	return answer
}
