package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Tokens takes bearer tokens that are no API keys: JWTs (package jwtauth). It returns a *Problem as an Authenticator does.
type Tokens interface {
	AuthenticateToken(ctx context.Context, token string) (*Principal, error)
}

// KeyAuth takes "Authorization: Bearer pk_…", an API key of Keys, and other bearer tokens if it has Tokens.
type KeyAuth struct {
	Keys *Keys
	// Organization is the platform's own, by MSP id: who administers with a key of it is an operator (Principal.Operator). Empty: nobody is.
	Organization string
	Signer       SignerFunc
	Tokens       Tokens           // nil: none but keys
	Now          func() time.Time // nil: time.Now
}

var _ Authenticator = (*KeyAuth)(nil)

// Authenticate returns the principal of the request's key or token. It does not say whether a key is unknown, revoked or expired.
func (a *KeyAuth) Authenticate(r *http.Request) (*Principal, error) {
	now := time.Now()
	if a.Now != nil {
		now = a.Now()
	}
	token, err := a.bearer(r)
	if err != nil {
		return nil, err
	}
	p, err := a.principal(r.Context(), token, now)
	if err != nil {
		return nil, err
	}
	if p.Tenant != "" {
		if p.tenant, err = a.Keys.tenant(r.Context(), p.Tenant, now); err != nil {
			return nil, Unavailable("look the tenant up", err)
		}
		if p.tenant == nil || p.tenant.Organization != p.MSPID {
			return nil, &Problem{Code: CodeUnauthenticated, Detail: "the tenant of this key does not exist any more"}
		}
	}
	p.Signer = p.signer(a.Signer)
	return p, nil
}

// bearer returns the token of a request.
func (a *KeyAuth) bearer(r *http.Request) (string, error) {
	wanted := "Authorization: Bearer pk_…"
	if a.Tokens != nil {
		wanted += ", or a JWT"
	}
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 || headers[0] == "" {
		return "", &Problem{Code: CodeUnauthenticated, Detail: "send the API key: " + wanted}
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", &Problem{Code: CodeUnauthenticated, Detail: "the Authorization header must be one: " + wanted}
	}
	return strings.TrimSpace(token), nil
}

func (a *KeyAuth) principal(ctx context.Context, token string, now time.Time) (*Principal, error) {
	if a.Tokens != nil && !strings.HasPrefix(token, KeyPrefix) {
		return a.Tokens.AuthenticateToken(ctx, token)
	}
	key, err := a.Keys.find(ctx, token, now)
	if err != nil {
		return nil, Unavailable("look the API key up", err)
	}
	if key == nil {
		return nil, &Problem{Code: CodeUnauthenticated, Detail: "this API key is not valid: it is unknown, revoked or expired"}
	}
	if wait := key.take(now); wait > 0 {
		return nil, &Problem{Code: CodeQuotaExceeded, RetryAfter: wait,
			Detail: fmt.Sprintf("the key %q may send %g requests per second: try again later", key.Name, key.RatePerSecond)}
	}
	return &Principal{
		Name: key.User, MSPID: key.Organization, Attributes: key.Attributes, Tenant: key.Tenant,
		Scopes: key.Scopes, Channels: key.Channels, Chaincodes: key.Chaincodes,
		Operator: a.Organization != "" && key.Organization == a.Organization && key.Tenant == "" && slices.Contains(key.Scopes, ScopeAdmin),
	}, nil
}

// Unavailable is a request that cannot be served because what is asked does not answer: not the caller's fault. The cause is for the log.
func Unavailable(operation string, err error) *Problem {
	return &Problem{Code: CodeUnavailable, Detail: "the server cannot " + operation + " now: try again", cause: fmt.Errorf("%s: %w", operation, err)}
}
