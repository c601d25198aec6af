// Package jwtauth takes JSON Web Tokens of one OpenID Connect issuer as who sends a request: claims become the user, the
// organisation, the attributes and the scopes, by configuration.
//
// The issuer's metadata and keys are fetched when a token first needs them, and keys again when a token names one that is not
// known, five seconds apart at least. Nothing is fetched at start: an issuer that does not answer makes requests with tokens
// UNAVAILABLE, which is not the caller's fault, and those with API keys go on. Signatures are checked by go-oidc, with an allow-list
// of asymmetric algorithms; what is checked beside them is here.
package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"peerless/shared/api"
)

// Algorithms are those that a token may be signed with: none by a shared secret, and never "none".
var Algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

const (
	// MaxToken is how long a token may be, in bytes: API Gateway takes 10,240 bytes of header lines.
	MaxToken = 8 << 10
	// defaultLeeway is how far the issuer's clock and ours may be apart.
	defaultLeeway = time.Minute
	// defaultTimeout bounds each request to the issuer.
	defaultTimeout = 5 * time.Second
)

// A Config says which tokens are taken, and what their claims mean. Issuer, Audience, and Organization or OrganizationClaim are required.
type Config struct {
	Issuer   string // the URL that tokens name as iss, and below which the issuer's metadata are. HTTPS, or a loopback address
	Audience string // that tokens must name among their aud: this platform's

	UserClaim  string // whose value is the user. Default sub
	UserPrefix string // put before it, so that tokens' users are not API keys' users of the same name
	// Organization is the MSP id of the users' organisation. With OrganizationClaim, that of tokens without the claim; if it is empty,
	// these are refused.
	Organization string
	// OrganizationClaim is the claim with the MSP id. Known must report that there is such an organisation: a token founds none.
	OrganizationClaim string
	Known             func(mspID string) bool
	// AttributeClaims are the claims that become attributes of the user's certificate: CLAIM, or CLAIM=ATTRIBUTE.
	AttributeClaims []string
	// ScopeClaim holds scopes, separated by spaces or as a list; those that begin with ScopePrefix count. Defaults scope, "peerless:".
	ScopeClaim, ScopePrefix string
	// Scopes are those of tokens whose claim has none. Empty: these may do nothing.
	Scopes []api.Scope
	// ChannelClaim and ChaincodeClaim hold the only channels and chaincodes that the token is for, separated by spaces or as a list.
	// Empty: all. A token without a claim that is configured is for none.
	ChannelClaim, ChaincodeClaim string
	// TenantClaim holds the tenant that the user belongs to. Empty: tokens are the platform's own. A token without the claim is refused.
	TenantClaim string

	Algorithms []string         // some of Algorithms; default all
	Leeway     time.Duration    // default one minute
	Client     *http.Client     // default one with a timeout of 5 s
	Now        func() time.Time // default time.Now
}

// A Verifier takes tokens. Safe for concurrent use.
type Verifier struct {
	Config
	attributes [][2]string // claim, attribute
	fetcher    *fetcher

	mu       sync.Mutex // held while metadata are fetched
	verifier *oidc.IDTokenVerifier
}

var _ api.Tokens = (*Verifier)(nil)

// New checks the configuration. It sends nothing.
func New(config Config) (*Verifier, error) {
	v := &Verifier{Config: config}
	issuer, err := url.Parse(config.Issuer)
	switch {
	case err != nil || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.User != nil:
		return nil, fmt.Errorf("the issuer of JWTs must be a URL such as https://login.example/, not %q", config.Issuer)
	case issuer.Scheme != "https" && (issuer.Scheme != "http" || !loopback(issuer.Hostname())):
		return nil, fmt.Errorf("the issuer of JWTs must be an https URL: whoever can change an answer of %s can make tokens", config.Issuer)
	case config.Audience == "":
		return nil, errors.New("the audience of JWTs is required: without it tokens for any other application would be taken")
	case config.Organization == "" && config.OrganizationClaim == "":
		return nil, errors.New("the organisation of JWTs' users is required, or the claim that names it")
	case config.OrganizationClaim != "" && config.Known == nil:
		return nil, errors.New("JWTs that name an organisation need to be told which there are")
	}
	for _, text := range config.AttributeClaims {
		claim, attribute, ok := strings.Cut(text, "=")
		if !ok {
			attribute = claim
		}
		if claim == "" || attribute == "" {
			return nil, fmt.Errorf("a JWT's claim that becomes an attribute is CLAIM or CLAIM=ATTRIBUTE, not %q", text)
		}
		v.attributes = append(v.attributes, [2]string{claim, attribute})
	}
	for _, scope := range config.Scopes {
		if !slices.Contains(api.Scopes, scope) {
			return nil, fmt.Errorf("unknown scope %q of JWTs: there are %v", scope, api.Scopes)
		}
	}
	for _, algorithm := range config.Algorithms {
		if !slices.Contains(Algorithms, algorithm) {
			return nil, fmt.Errorf("JWTs cannot be signed with %q here: there are %v", algorithm, Algorithms)
		}
	}
	v.UserClaim, v.ScopeClaim, v.ScopePrefix = or(v.UserClaim, "sub"), or(v.ScopeClaim, "scope"), or(v.ScopePrefix, "peerless:")
	if len(v.Algorithms) == 0 {
		v.Algorithms = Algorithms
	}
	if v.Leeway <= 0 {
		v.Leeway = defaultLeeway
	}
	if v.Now == nil {
		v.Now = time.Now
	}
	v.fetcher = newFetcher(v.Client, v.Now)
	return v, nil
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// AuthenticateToken returns the principal of a token. A *api.Problem says what is wrong with it: UNAUTHENTICATED, FORBIDDEN if it is
// valid and its claims do not make a user, UNAVAILABLE if the issuer does not answer. None repeats the token.
func (v *Verifier) AuthenticateToken(ctx context.Context, token string) (*api.Principal, error) {
	if len(token) > MaxToken {
		return nil, refused(fmt.Sprintf("it has over %d bytes", MaxToken))
	}
	verifier, err := v.discovered(ctx)
	if err != nil {
		return nil, api.Unavailable("reach the issuer of JWTs", err)
	}
	fetch := &outcome{}
	verified, err := verifier.Verify(context.WithValue(ctx, outcomeKey{}, fetch), token)
	switch {
	case fetch.err != nil:
		return nil, api.Unavailable("fetch the keys of JWTs", fetch.err)
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil: // it may hold parts of the token
		return nil, refused("its signature, algorithm, issuer or audience is not the one that is wanted")
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return nil, refused("its claims are no JSON object")
	}
	if err := v.checkTime(claims); err != nil {
		return nil, err
	}
	return v.principal(claims)
}

func refused(reason string) *api.Problem {
	return &api.Problem{Code: api.CodeUnauthenticated, Detail: "this token is not valid: " + reason}
}

// checkTime takes a token from its nbf to its exp, which it must have, by either clock.
func (v *Verifier) checkTime(claims map[string]any) error {
	now := v.Now()
	expires, ok := instant(claims["exp"])
	switch {
	case !ok:
		return refused("it has no time at which it expires")
	case !now.Add(-v.Leeway).Before(expires):
		return refused("it has expired")
	}
	if claims["nbf"] != nil {
		if from, ok := instant(claims["nbf"]); !ok || now.Add(v.Leeway).Before(from) {
			return refused("it is not valid yet")
		}
	}
	return nil
}

// instant reads seconds since 1970, of which there may be fractions.
func instant(claim any) (time.Time, bool) {
	seconds, ok := claim.(float64)
	if !ok || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(0, 0).Add(time.Duration(seconds * float64(time.Second))), ok
}

// discovered returns what verifies tokens. Metadata that could be fetched once are kept.
func (v *Verifier) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.verifier != nil {
		return v.verifier, nil
	}
	fetching := oidc.ClientContext(ctx, v.fetcher.client())
	provider, err := oidc.NewProvider(fetching, v.Issuer)
	if err != nil {
		return nil, err
	}
	var metadata struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := provider.Claims(&metadata); err != nil {
		return nil, err
	}
	keys, err := url.Parse(metadata.JWKS)
	if err != nil || keys.Host == "" || keys.Scheme != "https" && !loopback(keys.Hostname()) {
		return nil, errors.New("the issuer's metadata have no https URL of its keys")
	}
	set := keySet{oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), v.fetcher.client()), metadata.JWKS)}
	v.verifier = oidc.NewVerifier(v.Issuer, set, &oidc.Config{
		ClientID: v.Audience, SupportedSigningAlgs: v.Algorithms,
		SkipExpiryCheck: true, // checkTime has leeway
	})
	return v.verifier, nil
}

// outcome tells the one who verifies a token that the keys could not be fetched, whatever becomes of the error on its way.
type outcome struct{ err error }

type outcomeKey struct{}

type keySet struct{ *oidc.RemoteKeySet }

func (s keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := s.RemoteKeySet.VerifySignature(ctx, jwt)
	var failed *fetchError
	if fetch, ok := ctx.Value(outcomeKey{}).(*outcome); ok && errors.As(err, &failed) {
		fetch.err = failed
	}
	return payload, err
}

// text returns a claim that can stand for a name: a string, a number, or a truth value.
func text(claim any) (string, bool) {
	switch c := claim.(type) {
	case string:
		return c, true
	case bool:
		return fmt.Sprint(c), true
	case float64:
		encoded, err := json.Marshal(c)
		return string(encoded), err == nil
	}
	return "", false
}

// texts returns a claim that is a list, or words separated by spaces.
func texts(claim any) []string {
	switch c := claim.(type) {
	case string:
		return strings.Fields(c)
	case []any:
		var list []string
		for _, item := range c {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}
