package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// A Key is an API key, without its secret.
type Key struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Tenant        string            `json:"tenant,omitempty"`
	User          string            `json:"user"`
	Organization  string            `json:"organization"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Scopes        []string          `json:"scopes"`
	Channels      []string          `json:"channels,omitempty"`
	Chaincodes    []string          `json:"chaincodes,omitempty"`
	CreatedAt     time.Time         `json:"createdAt"`
	ExpiresAt     time.Time         `json:"expiresAt,omitzero"` // zero: never
	Revoked       bool              `json:"revoked"`
	RatePerSecond float64           `json:"ratePerSecond,omitempty"`
	Burst         int               `json:"burst,omitempty"`
}

// newKey is what a key is made of; an expiry of zero is none.
type newKey struct {
	Name         string            `json:"name"`
	Tenant       string            `json:"tenant,omitempty"`
	User         string            `json:"user,omitempty"`
	Organization string            `json:"organization,omitempty"`
	Attributes   map[string]string `json:"attributes,omitempty"`
	Scopes       []string          `json:"scopes,omitempty"`
	Channels     []string          `json:"channels,omitempty"`
	Chaincodes   []string          `json:"chaincodes,omitempty"`
	ExpiresAt    time.Time         `json:"expiresAt,omitzero"`
}

// CreateKey makes a key, and returns its secret, which cannot be had again. A rate limit is not the server's to give over HTTP.
func (c *Client) CreateKey(ctx context.Context, key Key) (secret string, created *Key, err error) {
	var out struct {
		Secret string
		Key    Key
	}
	err = c.post(ctx, "/v1/keys", newKey{key.Name, key.Tenant, key.User, key.Organization, key.Attributes, key.Scopes, key.Channels, key.Chaincodes, key.ExpiresAt}, &out)
	return out.Secret, &out.Key, err
}

// Keys returns the keys that the caller may see, in order of creation.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var out struct{ Keys []Key }
	err := c.get(ctx, "/v1/keys", &out)
	return out.Keys, err
}

// RevokeKey makes a key invalid for good, by its id or its name.
func (c *Client) RevokeKey(ctx context.Context, idOrName string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/keys/" + url.PathEscape(idOrName)}, nil)
}

// A Tenant owns channels, keys and the users of an organisation.
type Tenant struct {
	Name         string    `json:"name"`
	Organization string    `json:"organization"`
	Channels     []string  `json:"channels"`
	CreatedAt    time.Time `json:"createdAt"`
}

// CreateTenant makes a tenant.
func (c *Client) CreateTenant(ctx context.Context, tenant Tenant) (*Tenant, error) {
	in := struct {
		Name         string   `json:"name"`
		Organization string   `json:"organization,omitempty"`
		Channels     []string `json:"channels,omitempty"`
	}{tenant.Name, tenant.Organization, tenant.Channels}
	created := &Tenant{}
	return created, c.post(ctx, "/v1/tenants", in, created)
}

// Tenants returns all, sorted by name.
func (c *Client) Tenants(ctx context.Context) ([]Tenant, error) {
	var out struct{ Tenants []Tenant }
	err := c.get(ctx, "/v1/tenants", &out)
	return out.Tenants, err
}

// RemoveTenant takes a tenant away.
func (c *Client) RemoveTenant(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/tenants/" + url.PathEscape(name)}, nil)
}
