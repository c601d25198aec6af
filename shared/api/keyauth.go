package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// KeyAuth takes "Authorization: Bearer pk_…", an API key of Keys.
type KeyAuth struct {
	Keys   *Keys
	Signer SignerFunc
	Now    func() time.Time // nil: time.Now
}

var _ Authenticator = (*KeyAuth)(nil)

// Authenticate returns the principal of the request's key. It does not say whether a key is unknown, revoked or expired.
func (a *KeyAuth) Authenticate(r *http.Request) (*Principal, error) {
	now := time.Now()
	if a.Now != nil {
		now = a.Now()
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, &Problem{Code: CodeUnauthenticated, Detail: "send the API key: Authorization: Bearer pk_…"}
	}
	scheme, secret, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, &Problem{Code: CodeUnauthenticated, Detail: "the Authorization header must be: Bearer pk_…"}
	}
	key, err := a.Keys.find(strings.TrimSpace(secret), now)
	if err != nil {
		return nil, fmt.Errorf("look the API key up: %w", err)
	}
	if key == nil {
		return nil, &Problem{Code: CodeUnauthenticated, Detail: "this API key is not valid: it is unknown, revoked or expired"}
	}
	if wait := key.take(now); wait > 0 {
		return nil, &Problem{Code: CodeQuotaExceeded, RetryAfter: wait,
			Detail: fmt.Sprintf("the key %q may send %g requests per second: try again later", key.Name, key.RatePerSecond)}
	}
	p := &Principal{
		Name: key.User, MSPID: key.Organization, Attributes: key.Attributes,
		Scopes: key.Scopes, Channels: key.Channels, Chaincodes: key.Chaincodes,
	}
	p.Signer = p.signer(a.Signer)
	return p, nil
}
