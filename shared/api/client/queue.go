package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Accepted is a transaction that will be committed, or end in the dead letters.
type Accepted struct {
	TransactionID string `json:"transactionId"`
	MessageID     string `json:"messageId"` // the idempotency key, or one that the server made
}

// Queue has a transaction run, and returns when the server keeps it durably. What has the same group is run in its order; an empty
// group has none.
func (c *Client) Queue(ctx context.Context, call Call, group string) (*Accepted, error) {
	out := &Accepted{}
	err := c.post(ctx, chaincodePath(call.Channel, call.Chaincode)+"/queue", call, out, "Idempotency-Key", call.IdempotencyKey, "Message-Group-Id", group)
	return result(out, err)
}

// QueueStatus counts what is in a channel's queue.
type QueueStatus struct {
	Waiting     int       `json:"waiting"`
	Working     int       `json:"working"`
	DeadLetters int       `json:"deadLetters"`
	Oldest      time.Time `json:"oldest,omitzero"` // when the oldest was accepted that waits or is being run
}

// QueueStatus counts what is in a channel's queue.
func (c *Client) QueueStatus(ctx context.Context, channel string) (*QueueStatus, error) {
	out := &QueueStatus{}
	return result(out, c.get(ctx, channelPath(channel)+"/queue", out))
}

// A DeadLetter is a message that the queue gave up.
type DeadLetter struct {
	TransactionID string    `json:"transactionId"` // that it would have had
	MessageID     string    `json:"messageId"`
	GroupID       string    `json:"groupId,omitempty"`
	Chaincode     string    `json:"chaincode"`
	Function      string    `json:"function"`
	Args          []string  `json:"args"`
	User          string    `json:"user"`
	Organization  string    `json:"organization"`
	Code          string    `json:"code"` // as a Problem's
	Reason        string    `json:"reason"`
	Attempts      int       `json:"attempts"`
	AcceptedAt    time.Time `json:"acceptedAt"`
	DiedAt        time.Time `json:"diedAt"`
}

// DeadLetters returns a channel's dead letters, those accepted first first, at most limit; 0 is the server's default.
func (c *Client) DeadLetters(ctx context.Context, channel string, limit int) ([]DeadLetter, error) {
	path := channelPath(channel) + "/dead-letters"
	if limit > 0 {
		path += "?limit=" + strconv.Itoa(limit)
	}
	var out struct {
		DeadLetters []DeadLetter `json:"deadLetters"`
	}
	err := c.get(ctx, path, &out)
	return out.DeadLetters, err
}

func deadLetterPath(channel, txID string) string {
	return channelPath(channel) + "/dead-letters/" + url.PathEscape(txID)
}

// Redrive has the dead letter of a transaction run again.
func (c *Client) Redrive(ctx context.Context, channel, txID string) error {
	return c.do(ctx, call{method: http.MethodPost, path: deadLetterPath(channel, txID) + "/redrive"}, nil)
}

// RemoveDeadLetter drops the dead letter of a transaction.
func (c *Client) RemoveDeadLetter(ctx context.Context, channel, txID string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: deadLetterPath(channel, txID)}, nil)
}
