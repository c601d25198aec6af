package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/gateway"
	"peerless/shared/msp"
)

// Gateway runs transactions. *gateway.Service is one.
type Gateway interface {
	SubmitTransaction(context.Context, gateway.Request) (*gateway.Outcome, error)
	// Recorded reports whether a channel has a transaction.
	Recorded(ctx context.Context, channel, txID string) (bool, error)
}

var _ Gateway = (*gateway.Service)(nil)

// A SignerFunc returns the signer of a user of an organisation, the same at each call with the same attributes. An empty
// organisation is the platform's own. For one that is not the platform's to sign for, the error is a *gateway.Error of kind Forbidden.
type SignerFunc func(mspID, user string, attributes map[string]string) (*msp.Signer, error)

// A Handler runs messages. Gateway and Signer are required. Safe for concurrent use.
type Handler struct {
	Gateway Gateway
	Signer  SignerFunc
	Logger  *slog.Logger // default: none
}

// Poison is the error of a message that no repetition can help.
type Poison struct {
	Code          string // as of the API's problems: CHAINCODE_ERROR, NOT_FOUND, …
	Reason        string // for people: one line, of what happened
	TransactionID string // that it would have had; empty if it cannot be read
}

func (p *Poison) Error() string { return p.Code + ": " + p.Reason }

// ErrBlocked is the error of a message that was not run, because one before it in its group waits.
var ErrBlocked = errors.New("a message before it in its group has to be run first")

// Handle runs a message. It returns nil once its transaction is committed and valid, by this delivery or by an earlier one; a
// *Poison if it never can be; and any other error if it has to be delivered again.
func (h *Handler) Handle(ctx context.Context, m *Message) error {
	user, err := h.Signer(m.Organization, m.User, m.Attributes)
	if err != nil {
		return fmt.Errorf("find the key of %q: %w", m.User, classify(err, ""))
	}
	request := m.Request(user)
	id := gateway.IdempotentID(request)
	if m.TransactionID != "" && m.TransactionID != id {
		// The user has another certificate than when the message was accepted.
		done, err := h.Gateway.Recorded(ctx, m.Channel, m.TransactionID)
		if done && err == nil {
			return nil
		}
		if failure := classify(err, id); failure != nil {
			return failure
		}
		h.logger().Warn("a message's transaction gets another id: its user's certificate has changed", "id", m.TransactionID, "now", id)
	}
	outcome, err := h.Gateway.SubmitTransaction(ctx, request)
	if err != nil {
		return classify(err, id)
	}
	if outcome.Code != peer.TxValidationCode_VALID {
		return &Poison{gateway.TransactionInvalid.String(), "the transaction was recorded as invalid: " + outcome.Code.String(), id}
	}
	return nil
}

func (h *Handler) logger() *slog.Logger {
	if h.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Logger
}

// final are the kinds of failure that a repetition meets again.
var final = map[gateway.Kind]bool{
	gateway.InvalidRequest: true, gateway.NotFound: true, gateway.AlreadyExists: true, gateway.Unauthenticated: true, gateway.Forbidden: true,
	gateway.ChaincodeError: true, gateway.EndorsementPolicyFailure: true, gateway.TransactionInvalid: true, gateway.TooLarge: true,
	gateway.IdempotencyKeyReused: true,
}

// classify makes a *Poison of a failure that is final.
func classify(err error, txID string) error {
	var failure *gateway.Error
	if !errors.As(err, &failure) || !final[failure.Kind] {
		return err
	}
	p := &Poison{Code: failure.Kind.String(), Reason: failure.Error(), TransactionID: txID}
	if failure.Kind == gateway.ChaincodeError {
		p.Reason = failure.ChaincodeMessage
	}
	p.Reason = shorten(p.Reason)
	return p
}

// maxReason is how much of a reason is kept, in bytes: a contract writes it.
const maxReason = 1000

func shorten(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// unavailable reports whether a failure says nothing of the message: the platform could not run it, whatever it is.
func unavailable(err error) bool {
	var failure *gateway.Error
	return errors.As(err, &failure) && (failure.Kind == gateway.Unavailable || failure.Kind == gateway.OutcomeUnknown)
}

// A Delivery is a message as a queue delivers it.
type Delivery struct {
	ID    string // that the queue gave it
	Group string // empty: it has no order
	Body  []byte
}

// Batch runs deliveries, those of a group in order and all groups at once, and returns an error for each that has to stay in the
// queue. bury puts a message into the dead letters, durably; if it is nil or fails, the poison stays in the queue, for the queue's
// own limit of deliveries to remove.
func (h *Handler) Batch(ctx context.Context, deliveries []Delivery, bury func(context.Context, Delivery, *Poison) error) []error {
	errs := make([]error, len(deliveries))
	groups := make(map[string][]int)
	var running sync.WaitGroup
	for i, d := range deliveries {
		if d.Group != "" {
			groups[d.Group] = append(groups[d.Group], i)
			continue
		}
		running.Go(func() { errs[i] = h.deliver(ctx, d, bury) })
	}
	for _, group := range groups {
		running.Go(func() {
			for n, i := range group {
				if errs[i] = h.deliver(ctx, deliveries[i], bury); errs[i] != nil {
					for _, later := range group[n+1:] {
						errs[later] = ErrBlocked
					}
					return
				}
			}
		})
	}
	running.Wait()
	return errs
}

func (h *Handler) deliver(ctx context.Context, d Delivery, bury func(context.Context, Delivery, *Poison) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("message %s was not begun: %w", d.ID, err)
	}
	m, err := Parse(d.Body, d.ID)
	if err == nil {
		err = h.Handle(ctx, m)
	}
	var poison *Poison
	switch {
	case err == nil:
		return nil
	case errors.As(err, &poison):
		h.logger().Warn("a message is poison", "message", d.ID, "code", poison.Code, "reason", poison.Reason, "transaction", poison.TransactionID)
		if bury == nil {
			return err
		}
		if err := bury(ctx, d, poison); err != nil {
			return fmt.Errorf("put message %s into the dead letters: %w", d.ID, err)
		}
		return nil
	}
	h.logger().Info("a message is to be delivered again", "message", d.ID, "error", err)
	return err
}
