package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"peerless/shared/gateway"
	"peerless/shared/webhook"
)

// Webhooks keeps subscriptions to events.
type Webhooks interface {
	// Add makes a subscription, and returns it with its secret. Errors: webhook.ErrInvalid, ErrSecret, ErrTooMany.
	Add(ctx context.Context, s webhook.Subscription, secret string) (*webhook.Subscription, string, error)
	List(ctx context.Context, channel string) ([]*webhook.Subscription, error)
	// Get and Remove return webhook.ErrNotFound if there is none.
	Get(ctx context.Context, channel, id string) (*webhook.Subscription, error)
	Progress(ctx context.Context, s *webhook.Subscription) (*webhook.Progress, error)
	Remove(ctx context.Context, channel, id string) error
}

var _ Webhooks = (*webhook.Registry)(nil)

// newWebhook is a subscription that is asked for.
type newWebhook struct {
	subscription webhook.Subscription
	secret       string
	from         *uint64
}

func (h *Handler) decodeWebhook(q *request) (*newWebhook, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &newWebhook{subscription: webhook.Subscription{Channel: q.channel}}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "url":
			in.subscription.URL, err = r.text(name)
		case "chaincode":
			if in.subscription.Chaincode, err = r.text(name); err == nil {
				err = checkChaincode(name, in.subscription.Chaincode)
			}
		case "events":
			in.subscription.Events, err = r.names(name)
		case "secret":
			in.secret, err = r.text(name)
		case "from":
			var text string
			if text, err = r.text(name); err == nil {
				cursor, bad := ParseCursor(text)
				if bad != nil || cursor.After != nil {
					return invalid(name, `from must be the number of a block, as a string: "12"`)
				}
				in.from = &cursor.Block
			}
		default:
			err = unknown(name, "url, chaincode, events, secret, from")
		}
		return err
	})
	if err == nil && in.subscription.URL == "" {
		err = invalid("url", `the field "url" is missing: {"url":"https://…"}`)
	}
	if len(in.subscription.Events) > MaxEventNames {
		err = invalid("events", fmt.Sprintf("events may have %d names: leave it out for all", MaxEventNames))
	}
	return in, err
}

// webhookView is a subscription as the API shows it.
type webhookView struct {
	ID        string       `json:"id"`
	URL       string       `json:"url"`
	Chaincode string       `json:"chaincode,omitempty"`
	Events    []string     `json:"events,omitempty"`
	CreatedAt time.Time    `json:"createdAt"`
	Secret    string       `json:"secret,omitempty"` // once
	Status    *webhookPast `json:"status,omitempty"`
}

// webhookPast is how far a subscription has come.
type webhookPast struct {
	Position     string     `json:"position"` // a Cursor: what is before it has been sent
	Delivered    uint64     `json:"delivered"`
	Failures     int        `json:"failures"` // since the target last took an event
	FailingSince *time.Time `json:"failingSince,omitempty"`
	LastError    string     `json:"lastError,omitempty"`
	RetryAt      *time.Time `json:"retryAt,omitempty"`
}

func viewWebhook(s *webhook.Subscription) *webhookView {
	return &webhookView{ID: s.ID, URL: s.URL, Chaincode: s.Chaincode, Events: s.Events, CreatedAt: s.CreatedAt}
}

func (h *Handler) addWebhook(ctx context.Context, p *Principal, in *newWebhook) (created, error) {
	channel, err := h.webhooksOf(ctx, in.subscription.Channel)
	if err != nil {
		return created{}, err
	}
	if len(p.Chaincodes) > 0 && (in.subscription.Chaincode == "" || !p.seesChaincode(in.subscription.Chaincode)) {
		return created{}, forbidden("this key is for certain chaincodes: name one of them as chaincode")
	}
	if in.from != nil {
		in.subscription.From = *in.from
	} else if in.subscription.From, err = channel.Height(ctx); err != nil {
		return created{}, fmt.Errorf("height of %s: %w", in.subscription.Channel, err)
	}
	s, secret, err := h.Webhooks.Add(ctx, in.subscription, in.secret)
	switch {
	case errors.Is(err, webhook.ErrInvalid):
		return created{}, invalid("url", err.Error())
	case errors.Is(err, webhook.ErrSecret):
		return created{}, invalid("secret", err.Error())
	case errors.Is(err, webhook.ErrTooMany):
		return created{}, &Problem{Code: CodeQuotaExceeded, Detail: err.Error() + ": remove one"}
	case err != nil:
		return created{}, err
	}
	view := viewWebhook(s)
	view.Secret = secret
	return created{"/v1/channels/" + s.Channel + "/webhooks/" + s.ID, view}, nil
}

// webhooksOf returns the channel, if there are webhooks.
func (h *Handler) webhooksOf(ctx context.Context, channel string) (Channel, error) {
	if h.Webhooks == nil {
		return nil, &Problem{Code: CodeNotFound, Detail: "this server sends no webhooks: read the events instead"}
	}
	return h.Gateway.Channel(ctx, channel)
}

type webhookList struct {
	Webhooks []*webhookView `json:"webhooks"`
}

func (h *Handler) listWebhooks(ctx context.Context, p *Principal, name string) (*webhookList, error) {
	if _, err := h.webhooksOf(ctx, name); err != nil {
		return nil, err
	}
	all, err := h.Webhooks.List(ctx, name)
	if err != nil {
		return nil, err
	}
	list := &webhookList{Webhooks: []*webhookView{}}
	for _, s := range all {
		if len(p.Chaincodes) > 0 && !p.seesChaincode(s.Chaincode) {
			continue
		}
		view := viewWebhook(s)
		if view.Status, err = h.webhookStatus(ctx, s); err != nil {
			return nil, err
		}
		list.Webhooks = append(list.Webhooks, view)
	}
	return list, nil
}

func (h *Handler) webhookStatus(ctx context.Context, s *webhook.Subscription) (*webhookPast, error) {
	p, err := h.Webhooks.Progress(ctx, s)
	if err != nil {
		return nil, err
	}
	past := &webhookPast{Position: Cursor{p.Block, p.After}.String(), Delivered: p.Delivered, Failures: p.Failures, LastError: p.LastError}
	if p.Failures > 0 {
		past.FailingSince, past.RetryAt = &p.FailingSince, &p.RetryAt
	}
	return past, nil
}

func (h *Handler) removeWebhook(ctx context.Context, p *Principal, in transactionRef) (none, error) {
	if _, err := h.webhooksOf(ctx, in.channel); err != nil {
		return none{}, err
	}
	gone := &Problem{Code: CodeNotFound, Detail: fmt.Sprintf("the channel %q has no webhook %.50q", in.channel, in.id)}
	s, err := h.Webhooks.Get(ctx, in.channel, in.id)
	if err == nil && len(p.Chaincodes) > 0 && !p.seesChaincode(s.Chaincode) {
		return none{}, gone
	}
	if err == nil {
		err = h.Webhooks.Remove(ctx, in.channel, in.id)
	}
	if errors.Is(err, webhook.ErrNotFound) {
		return none{}, gone
	}
	return none{}, err
}

// EncodeEvent writes an event of a channel as webhooks carry it: as the API shows it, with the channel.
func EncodeEvent(channel string, e *gateway.Event) ([]byte, error) {
	return marshal(struct {
		Channel string `json:"channel"`
		*eventView
	}{channel, viewEvent(e)})
}
