package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// A NewWebhook asks for events to be sent.
type NewWebhook struct {
	URL       string   `json:"url"`                 // https://…
	Chaincode string   `json:"chaincode,omitempty"` // empty: of every chaincode
	Events    []string `json:"events,omitempty"`    // their names; none: all
	Secret    string   `json:"secret,omitempty"`    // whsec_…; empty: the server makes one
	From      string   `json:"from,omitempty"`      // the number of the block to begin with; empty: what is committed from now on
}

// A Webhook is who gets events sent.
type Webhook struct {
	ID        string         `json:"id"`
	URL       string         `json:"url"`
	Chaincode string         `json:"chaincode,omitempty"`
	Events    []string       `json:"events,omitempty"`
	CreatedAt time.Time      `json:"createdAt"`
	Secret    string         `json:"secret,omitempty"` // of one that was just added: see webhook.Verify
	Status    *WebhookStatus `json:"status,omitempty"` // of one that is listed
}

// A WebhookStatus is how far a webhook has come.
type WebhookStatus struct {
	Position     string    `json:"position"` // what is before it has been sent
	Delivered    uint64    `json:"delivered"`
	Failures     int       `json:"failures"` // since the target last took an event
	FailingSince time.Time `json:"failingSince,omitzero"`
	LastError    string    `json:"lastError,omitempty"`
	RetryAt      time.Time `json:"retryAt,omitzero"`
}

// AddWebhook has a channel's events sent.
func (c *Client) AddWebhook(ctx context.Context, channel string, w NewWebhook) (*Webhook, error) {
	out := &Webhook{}
	return result(out, c.post(ctx, channelPath(channel)+"/webhooks", w, out))
}

// Webhooks lists who gets a channel's events sent.
func (c *Client) Webhooks(ctx context.Context, channel string) ([]Webhook, error) {
	var out struct {
		Webhooks []Webhook `json:"webhooks"`
	}
	err := c.get(ctx, channelPath(channel)+"/webhooks", &out)
	return out.Webhooks, err
}

// RemoveWebhook has no more events sent.
func (c *Client) RemoveWebhook(ctx context.Context, channel, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: channelPath(channel) + "/webhooks/" + url.PathEscape(id)}, nil)
}
