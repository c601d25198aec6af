package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"peerless/shared/queue"
)

// Queue keeps messages that are accepted and not waited for.
type Queue interface {
	// Send keeps a message durably, behind those of its group that were sent before; an empty group has no order. Its errors are
	// queue.ErrFull, ErrTooLarge, ErrReused, ErrOrder, or of the store's.
	Send(ctx context.Context, m *queue.Message, group string) error
	Status(ctx context.Context, channel string) (queue.Status, error)
	// DeadLetters returns a channel's, at most limit.
	DeadLetters(ctx context.Context, channel string, limit int) ([]queue.DeadLetter, error)
	// DeadLetter returns that of a transaction, Redrive has it run again, and Remove drops it: queue.ErrNotFound if there is none.
	DeadLetter(ctx context.Context, channel, txID string) (*queue.DeadLetter, error)
	Redrive(ctx context.Context, channel, txID string) error
	Remove(ctx context.Context, channel, txID string) error
}

var _ Queue = (*queue.Queue)(nil)

// headerGroup names a message's group, after SQS's MessageGroupId. It is a header, as the Idempotency-Key is: it says how the
// request is delivered, and the body stays the one of submit.
const headerGroup = "Message-Group-Id"

// queued is a submit that is not waited for.
type queued struct {
	*invocation
	group string
}

func (h *Handler) decodeQueued(q *request) (*queued, error) {
	if h.Queue == nil {
		return nil, errNoQueue
	}
	in := &queued{}
	if values := q.Header[headerGroup]; len(values) > 0 {
		in.group = values[0]
		if len(values) > 1 || in.group == "" || len(in.group) > MaxGroup || !isGroup(in.group) {
			return nil, invalid(headerGroup, fmt.Sprintf("send one %s of 1 to %d letters, digits and punctuation", headerGroup, MaxGroup))
		}
	}
	var err error
	in.invocation, err = decodeInvocation(q)
	return in, err
}

// isGroup reports whether SQS takes s as a MessageGroupId, whatever its length.
func isGroup(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

var errNoQueue = &Problem{Code: CodeNotFound, Detail: "this server has no queue: submit instead"}

// acceptance is the answer to what was accepted: 202.
type acceptance struct {
	TransactionID string `json:"transactionId"`
	MessageID     string `json:"messageId"`
}

func (a *acceptance) respond(w http.ResponseWriter, _ *http.Request) error {
	body, err := marshal(a)
	if err != nil {
		return fmt.Errorf("encode the acceptance: %w", err)
	}
	writeBody(w, http.StatusAccepted, "application/json", append(body, '\n'))
	return nil
}

// enqueue checks a transaction as submit does, and answers when its message is kept.
func (h *Handler) enqueue(ctx context.Context, p *Principal, in *queued) (*acceptance, error) {
	request, err := in.request(p)
	if err != nil {
		return nil, err
	}
	if request.IdempotencyKey == "" {
		var id [16]byte
		rand.Read(id[:]) // never fails
		request.IdempotencyKey = hex.EncodeToString(id[:])
	}
	txID, committed, err := h.Gateway.AcceptTransaction(ctx, request)
	if err != nil {
		return nil, err
	}
	accepted := &acceptance{TransactionID: txID, MessageID: request.IdempotencyKey}
	if committed {
		return accepted, nil
	}
	m := &queue.Message{
		Version: queue.Version, ID: request.IdempotencyKey, TransactionID: txID, Channel: in.channel, Chaincode: in.chaincode,
		Function: in.function, Args: make([]string, len(in.args)), Transient: in.transient, Organizations: in.organizations, IsInit: in.init,
		User: p.Name, Organization: p.MSPID, Attributes: p.Attributes,
	}
	for i, arg := range in.args {
		m.Args[i] = string(arg)
	}
	if err := h.Queue.Send(ctx, m, in.group); err != nil {
		return nil, problemOfQueue(err, txID)
	}
	return accepted, nil
}

// problemOfQueue makes a problem of what a queue says of one transaction.
func problemOfQueue(err error, txID string) error {
	switch {
	case errors.Is(err, queue.ErrFull):
		return &Problem{Code: CodeUnavailable, Detail: err.Error() + ": try again later", RetryAfter: time.Second}
	case errors.Is(err, queue.ErrTooLarge):
		return &Problem{Code: CodeTooLarge, Detail: err.Error() + ": submit instead", Limit: queue.MaxSQS}
	case errors.Is(err, queue.ErrReused):
		return &Problem{Code: CodeIdempotencyReused, Detail: err.Error(), TransactionID: txID}
	case errors.Is(err, queue.ErrOrder):
		return invalid(headerGroup, err.Error()+": leave "+headerGroup+" out, or use a FIFO queue")
	case errors.Is(err, queue.ErrNotFound):
		return &Problem{Code: CodeNotFound, Detail: "there is no dead letter of transaction " + txID, TransactionID: txID}
	}
	return err
}

// queueView is a channel's queue as the API shows it.
type queueView struct {
	Waiting     int        `json:"waiting"`
	Working     int        `json:"working"`
	DeadLetters int        `json:"deadLetters"`
	Oldest      *time.Time `json:"oldest,omitempty"`
}

func (h *Handler) showQueue(ctx context.Context, _ *Principal, channel string) (*queueView, error) {
	if err := h.withQueue(ctx, channel); err != nil {
		return nil, err
	}
	status, err := h.Queue.Status(ctx, channel)
	if err != nil {
		return nil, err
	}
	view := &queueView{Waiting: status.Waiting, Working: status.Working, DeadLetters: status.DeadLetters}
	if !status.Oldest.IsZero() {
		oldest := status.Oldest.UTC()
		view.Oldest = &oldest
	}
	return view, nil
}

// withQueue checks that there are a queue and the channel.
func (h *Handler) withQueue(ctx context.Context, channel string) error {
	if h.Queue == nil {
		return errNoQueue
	}
	_, err := h.Gateway.Channel(ctx, channel)
	return err
}

type deadLetterQuery struct {
	channel string
	limit   int
}

func decodeDeadLetters(q *request) (*deadLetterQuery, error) {
	query, err := parseQuery(q.Request, "limit")
	if err != nil {
		return nil, err
	}
	in := &deadLetterQuery{channel: q.channel, limit: DefaultDeadLetters}
	if v := query.Get("limit"); query.Has("limit") {
		if in.limit, err = strconv.Atoi(v); err != nil || in.limit < 1 || in.limit > MaxDeadLetters {
			return nil, invalid("limit", fmt.Sprintf("limit must be a number from 1 to %d", MaxDeadLetters))
		}
	}
	return in, nil
}

// deadLetterView is a dead letter as the API shows it: without the transient values.
type deadLetterView struct {
	TransactionID string    `json:"transactionId"`
	MessageID     string    `json:"messageId"`
	GroupID       string    `json:"groupId,omitempty"`
	Chaincode     string    `json:"chaincode"`
	Function      string    `json:"function"`
	Args          []string  `json:"args"`
	User          string    `json:"user"`
	Organization  string    `json:"organization"`
	Code          string    `json:"code"`
	Reason        string    `json:"reason"`
	Attempts      int       `json:"attempts"`
	AcceptedAt    time.Time `json:"acceptedAt"`
	DiedAt        time.Time `json:"diedAt"`
}

type deadLetterList struct {
	DeadLetters []deadLetterView `json:"deadLetters"`
}

func (h *Handler) listDeadLetters(ctx context.Context, p *Principal, in *deadLetterQuery) (*deadLetterList, error) {
	if err := h.withQueue(ctx, in.channel); err != nil {
		return nil, err
	}
	letters, err := h.Queue.DeadLetters(ctx, in.channel, in.limit)
	if err != nil {
		return nil, err
	}
	list := &deadLetterList{DeadLetters: []deadLetterView{}}
	for _, l := range letters {
		m := l.Message
		if !p.seesChaincode(m.Chaincode) {
			continue
		}
		args := m.Args
		if args == nil {
			args = []string{}
		}
		list.DeadLetters = append(list.DeadLetters, deadLetterView{
			TransactionID: m.TransactionID, MessageID: m.ID, GroupID: l.Group, Chaincode: m.Chaincode, Function: m.Function, Args: args,
			User: m.User, Organization: m.Organization, Code: l.Code, Reason: l.Reason, Attempts: l.Attempts,
			AcceptedAt: l.AcceptedAt, DiedAt: l.DiedAt,
		})
	}
	return list, nil
}

// redrive has a dead letter run again: 202.
func (h *Handler) redrive(ctx context.Context, p *Principal, in transactionRef) (*acceptance, error) {
	letter, err := h.deadLetter(ctx, p, in)
	if err != nil {
		return nil, err
	}
	if err := h.Queue.Redrive(ctx, in.channel, in.id); err != nil {
		return nil, problemOfQueue(err, in.id)
	}
	return &acceptance{TransactionID: in.id, MessageID: letter}, nil
}

func (h *Handler) removeDeadLetter(ctx context.Context, p *Principal, in transactionRef) (none, error) {
	if _, err := h.deadLetter(ctx, p, in); err != nil {
		return none{}, err
	}
	if err := h.Queue.Remove(ctx, in.channel, in.id); err != nil {
		return none{}, problemOfQueue(err, in.id)
	}
	return none{}, nil
}

// deadLetter checks that a principal may act on a transaction's dead letter, and returns its message's id.
func (h *Handler) deadLetter(ctx context.Context, p *Principal, in transactionRef) (messageID string, err error) {
	if err := h.withQueue(ctx, in.channel); err != nil {
		return "", err
	}
	letter, err := h.Queue.DeadLetter(ctx, in.channel, in.id)
	if err != nil {
		return "", problemOfQueue(err, in.id)
	}
	return letter.Message.ID, p.allowTransaction(letter.Message.Chaincode)
}
