package sqs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"peerless/shared/queue"
)

// The attributes of a dead letter that was sent with its reason.
const (
	attributeCode          = "Code"          // as of the API's problems
	attributeReason        = "Reason"        // for people
	attributeTransactionID = "TransactionId" // that it would have had
	attributeMessageID     = "MessageId"     // the message's own, in the queue that it came from
	attributeGroup         = "MessageGroupId"
	attributeSentAt        = "SentTimestamp" // when the message was sent, in milliseconds since 1970
)

// A Queue is a queue in SQS, with its dead-letter queue.
type Queue struct {
	Client *sqs.Client
	URL    string
	// DeadLettersURL is that of the dead-letter queue. Empty: there is none, or only the redrive policy knows it.
	DeadLettersURL string
}

// fifo reports whether a queue's URL, ARN or name is that of a FIFO queue.
func fifo(name string) bool { return strings.HasSuffix(name, ".fifo") }

// Send puts a message into the queue. A queue that is not FIFO keeps no order.
func (q *Queue) Send(ctx context.Context, m *queue.Message, group string) error {
	if group != "" && !fifo(q.URL) {
		return queue.ErrOrder
	}
	body, err := queue.Format(m)
	if err != nil {
		return err
	}
	if len(body) > queue.MaxSQS {
		return fmt.Errorf("%w: with its names it has %d bytes, SQS takes %d", queue.ErrTooLarge, len(body), queue.MaxSQS)
	}
	if group == "" {
		group = m.TransactionID
	}
	return q.send(ctx, q.URL, string(body), group, newID(), nil)
}

// newID is a deduplication id: the SDK sends the same one when it tries again. A message that is sent anew is delivered anew, and
// its transaction found to be committed.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func (q *Queue) send(ctx context.Context, url, body, group, deduplication string, attributes map[string]types.MessageAttributeValue) error {
	input := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageAttributes: attributes}
	if fifo(url) {
		input.MessageGroupId, input.MessageDeduplicationId = &group, &deduplication
	}
	if _, err := q.Client.SendMessage(ctx, input); err != nil {
		return fmt.Errorf("send to %s: %w", url, err)
	}
	return nil
}

var errNoRoom = errors.New("the reason does not fit beside the body: the queue's redrive policy moves the message")

// bury sends a message to the dead letters with the reason.
func (q *Queue) bury(ctx context.Context, d queue.Delivery, p *queue.Poison, sent string) error {
	size := len(d.Body)
	attributes := make(map[string]types.MessageAttributeValue)
	for name, value := range map[string]string{
		attributeCode: p.Code, attributeReason: printable(p.Reason), attributeTransactionID: p.TransactionID, attributeMessageID: d.ID,
		attributeGroup: d.Group, attributeSentAt: sent,
	} {
		if value != "" {
			attributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
			size += len(name) + len("String") + len(value)
		}
	}
	if size > queue.MaxSQS {
		return errNoRoom
	}
	// Each is a group of its own: none holds up another's removal.
	return q.send(ctx, q.DeadLettersURL, string(d.Body), d.ID, d.ID, attributes)
}

// printable keeps what SQS takes in an attribute.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF {
			return utf8.RuneError
		}
		return c
	}, s)
}

// Status counts the messages of all channels: SQS does not tell them apart. It does not know the oldest either.
func (q *Queue) Status(ctx context.Context, _ string) (queue.Status, error) {
	waiting, working, err := q.count(ctx, q.URL)
	if err != nil {
		return queue.Status{}, err
	}
	s := queue.Status{Waiting: waiting, Working: working}
	if q.DeadLettersURL != "" {
		dead, looked, err := q.count(ctx, q.DeadLettersURL)
		if err != nil {
			return queue.Status{}, err
		}
		s.DeadLetters = dead + looked
	}
	return s, nil
}

func (q *Queue) count(ctx context.Context, url string) (visible, inFlight int, err error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}
	got, err := q.Client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: names})
	if err != nil {
		return 0, 0, fmt.Errorf("count messages of %s: %w", url, err)
	}
	var counts [3]int
	for i, name := range names {
		if counts[i], err = strconv.Atoi(got.Attributes[string(name)]); err != nil {
			return 0, 0, fmt.Errorf("count messages of %s: %s is %q", url, name, got.Attributes[string(name)])
		}
	}
	return counts[0] + counts[1], counts[2], nil
}

// peekTime is how long dead letters that are looked at stay invisible to others.
const peekTime = 20 * time.Second

// peek receives dead letters of a channel and calls visit with each, until it returns false. What visit has not removed is visible
// again then. Dead letters that cannot be read are of no channel.
func (q *Queue) peek(ctx context.Context, channel string, visit func(types.Message, *queue.DeadLetter) (more bool, err error)) (err error) {
	if q.DeadLettersURL == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, peekTime)
	defer cancel()
	var held []types.Message
	defer func() {
		for _, m := range held {
			_, releaseErr := q.Client.ChangeMessageVisibility(context.WithoutCancel(ctx), &sqs.ChangeMessageVisibilityInput{
				QueueUrl: &q.DeadLettersURL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0})
			var gone *types.MessageNotInflight
			if releaseErr != nil && !errors.As(releaseErr, &gone) && err == nil {
				err = fmt.Errorf("put a dead letter back: %w", releaseErr)
			}
		}
	}()
	seen := make(map[string]bool)
	for {
		got, err := q.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &q.DeadLettersURL, MaxNumberOfMessages: 10, VisibilityTimeout: int32(peekTime / time.Second), WaitTimeSeconds: 1,
			MessageAttributeNames:       []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			return fmt.Errorf("receive dead letters: %w", err)
		}
		for i, m := range got.Messages {
			letter := letterOf(m)
			if letter == nil || letter.Message.Channel != channel || seen[*m.MessageId] {
				held = append(held, m)
				continue
			}
			seen[*m.MessageId] = true
			more, err := visit(m, letter)
			if err != nil || more {
				held = append(held, m)
			}
			if err != nil || !more {
				held = append(held, got.Messages[i+1:]...)
				return err
			}
		}
		if len(got.Messages) == 0 {
			return nil
		}
	}
}

// letterOf reads a dead letter, or returns nil.
func letterOf(m types.Message) *queue.DeadLetter {
	attribute := func(name string) string {
		if a, ok := m.MessageAttributes[name]; ok && a.StringValue != nil {
			return *a.StringValue
		}
		return ""
	}
	id := attribute(attributeMessageID)
	if id == "" {
		id = *m.MessageId
	}
	message, err := queue.Parse([]byte(*m.Body), id)
	if err != nil {
		return nil
	}
	if tx := attribute(attributeTransactionID); tx != "" {
		message.TransactionID = tx
	}
	letter := &queue.DeadLetter{Message: message, Group: attribute(attributeGroup), Code: attribute(attributeCode), Reason: attribute(attributeReason), Attempts: 1}
	sent := m.Attributes["SentTimestamp"]
	if letter.Code == "" { // moved by the redrive policy
		letter.Code, letter.Reason = "UNAVAILABLE", "SQS moved it here, after it was received too often: the log of the function says why"
		letter.Group = m.Attributes["MessageGroupId"]
		letter.Attempts, _ = strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	} else {
		letter.DiedAt = milliseconds(sent)
		sent = attribute(attributeSentAt)
	}
	letter.AcceptedAt = milliseconds(sent)
	return letter
}

func milliseconds(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// DeadLetters returns dead letters of a channel, at most limit, as far as they are found in 20 s. Others do not see them meanwhile.
func (q *Queue) DeadLetters(ctx context.Context, channel string, limit int) (letters []queue.DeadLetter, err error) {
	err = q.peek(ctx, channel, func(_ types.Message, l *queue.DeadLetter) (bool, error) {
		letters = append(letters, *l)
		return len(letters) < limit, nil
	})
	return letters, err
}

// DeadLetter returns that of a transaction, or queue.ErrNotFound.
func (q *Queue) DeadLetter(ctx context.Context, channel, txID string) (*queue.DeadLetter, error) {
	var letter *queue.DeadLetter
	err := q.find(ctx, channel, txID, func(_ types.Message, l *queue.DeadLetter) error {
		letter = l
		return errKeep
	})
	if errors.Is(err, errKeep) {
		err = nil
	}
	return letter, err
}

// errKeep ends a search without a removal.
var errKeep = errors.New("keep it")

// find calls f with the dead letter of a transaction, and removes it if f returns nil.
func (q *Queue) find(ctx context.Context, channel, txID string, f func(types.Message, *queue.DeadLetter) error) error {
	found := false
	err := q.peek(ctx, channel, func(m types.Message, l *queue.DeadLetter) (bool, error) {
		if l.Message.TransactionID != txID {
			return true, nil
		}
		found = true
		if err := f(m, l); err != nil {
			return false, err
		}
		if _, err := q.Client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.DeadLettersURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return false, fmt.Errorf("delete the dead letter of transaction %s: %w", txID, err)
		}
		return false, nil
	})
	if err == nil && !found {
		err = queue.ErrNotFound
	}
	return err
}

// Redrive sends the dead letter of a transaction to the queue again, and removes it.
func (q *Queue) Redrive(ctx context.Context, channel, txID string) error {
	return q.find(ctx, channel, txID, func(m types.Message, l *queue.DeadLetter) error {
		group := l.Group
		if group == "" {
			group = l.Message.ID
		}
		// The message's own id in SQS, which makes its transaction's id if it has none, must stay.
		body, err := queue.Format(l.Message)
		if err != nil {
			return err
		}
		return q.send(ctx, q.URL, string(body), group, newID(), nil)
	})
}

// Remove drops the dead letter of a transaction.
func (q *Queue) Remove(ctx context.Context, channel, txID string) error {
	return q.find(ctx, channel, txID, func(types.Message, *queue.DeadLetter) error { return nil })
}
