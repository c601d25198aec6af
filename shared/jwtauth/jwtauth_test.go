package jwtauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"peerless/shared/api"
)

// An issuer is an OpenID Connect issuer on loopback, with keys of its own.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jose.JSONWebKey // public
	down    bool
	fetched atomic.Int32 // how often the keys were asked for
}

func startIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.down {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys",
				"id_token_signing_alg_values_supported": []string{"ES256", "none", "HS256"}})
		case "/keys":
			i.fetched.Add(1)
			json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) setDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// rotate makes a key the issuer's only one, and returns what signs with it.
func (i *issuer) rotate(t testing.TB, id string) jose.Signer {
	t.Helper()
	key := newKey(t)
	i.mu.Lock()
	i.keys = []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: id, Algorithm: "ES256", Use: "sig"}}
	i.mu.Unlock()
	return signer(t, jose.ES256, key, id)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signer(t testing.TB, algorithm jose.SignatureAlgorithm, key any, id string) jose.Signer {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const audience = "https://peerless.example"

// claims are those of a token that is valid, with some changed; nil takes one away.
func (i *issuer) claims(changes ...map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": []string{"other", audience}, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	for _, change := range changes {
		for name, value := range change {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
	}
	return c
}

func sign(t testing.TB, s jose.Signer, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (i *issuer) verifier(t testing.TB, change ...func(*Config)) *Verifier {
	t.Helper()
	config := Config{Issuer: i.URL, Audience: audience, Organization: "Org1MSP", Scopes: []api.Scope{"evaluate"}}
	for _, f := range change {
		f(&config)
	}
	v, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// codeOf returns the code of a refusal, which must not repeat the token; "" if there is none.
func codeOf(t testing.TB, v *Verifier, token string) api.Code {
	t.Helper()
	p, err := v.AuthenticateToken(t.Context(), token)
	if err == nil {
		return ""
	}
	var problem *api.Problem
	if p != nil || !errors.As(err, &problem) {
		t.Fatalf("%+v, %v", p, err)
	}
	if parts := strings.Split(token, "."); len(parts) == 3 && len(parts[1]) > 20 && strings.Contains(err.Error(), parts[1]) {
		t.Errorf("the error repeats the token: %v", err)
	}
	return problem.Code
}

func TestTokens(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	s := i.rotate(t, "1")
	v := i.verifier(t)
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for name, c := range map[string]struct {
		claims map[string]any
		want   api.Code
	}{
		"valid":                      {nil, ""},
		"audience as a text":         {map[string]any{"aud": audience}, ""},
		"another audience":           {map[string]any{"aud": "other"}, api.CodeUnauthenticated},
		"no audience":                {map[string]any{"aud": nil}, api.CodeUnauthenticated},
		"another issuer":             {map[string]any{"iss": "https://other.example"}, api.CodeUnauthenticated},
		"expired":                    {map[string]any{"exp": ago(2 * time.Minute)}, api.CodeUnauthenticated},
		"expired within the leeway":  {map[string]any{"exp": ago(30 * time.Second)}, ""},
		"no expiry":                  {map[string]any{"exp": nil}, api.CodeUnauthenticated},
		"expiry of zero":             {map[string]any{"exp": 0}, api.CodeUnauthenticated},
		"far expiry":                 {map[string]any{"exp": 1e300}, api.CodeUnauthenticated},
		"not valid yet":              {map[string]any{"nbf": ago(-2 * time.Minute)}, api.CodeUnauthenticated},
		"not before, in the leeway":  {map[string]any{"nbf": ago(-30 * time.Second)}, ""},
		"not before, long ago":       {map[string]any{"nbf": ago(time.Hour)}, ""},
		"no user":                    {map[string]any{"sub": nil}, api.CodeForbidden},
		"a user with a control sign": {map[string]any{"sub": "a\x00b"}, api.CodeForbidden},
		"a user that is a list":      {map[string]any{"sub": []string{"a"}}, api.CodeForbidden},
	} {
		payload := i.claims(c.claims)
		if got := codeOf(t, v, sign(t, s, payload)); got != c.want {
			// A subject that is no text is a token that cannot be read: either refusal is right.
			if name == "a user that is a list" && got == api.CodeUnauthenticated {
				continue
			}
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if got := i.fetched.Load(); got != 1 {
		t.Errorf("the keys were fetched %d times, want once", got)
	}
	good := sign(t, s, i.claims())
	parts := strings.Split(good, ".")
	none := "eyJhbGciOiJub25lIn0." + parts[1] + "."
	shared := sign(t, signer(t, jose.HS256, []byte(strings.Repeat("k", 32)), "1"), i.claims())
	other := sign(t, signer(t, jose.ES256, newKey(t), "1"), i.claims())
	for name, token := range map[string]string{
		"empty": "", "no token": "x", "two parts": parts[0] + "." + parts[1], "algorithm none": none, "shared secret": shared, "another key": other,
		"flipped": good[:len(good)-3] + "AAA", "other claims": parts[0] + "." + strings.Split(sign(t, s, i.claims(map[string]any{"sub": "eve"})), ".")[1] + "." + parts[2],
		"too long": good + strings.Repeat("x", MaxToken), "JSON": `{"payload":"` + parts[1] + `"}`,
	} {
		if got := codeOf(t, v, token); got != api.CodeUnauthenticated {
			t.Errorf("%s: got %q", name, got)
		}
	}
	only := i.verifier(t, func(c *Config) { c.Algorithms = []string{"RS256"} })
	if got := codeOf(t, only, good); got != api.CodeUnauthenticated {
		t.Errorf("an algorithm that is not allowed: got %q", got)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	s := i.rotate(t, "1")
	v := i.verifier(t, func(c *Config) {
		c.UserClaim, c.UserPrefix = "email", "oidc:"
		c.OrganizationClaim, c.Known = "org", func(id string) bool { return id == "Org2MSP" }
		c.AttributeClaims = []string{"role", "department=dept", "groups", "level", "admin", "address"}
		c.ChannelClaim, c.ChaincodeClaim = "channels", "chaincodes"
	})
	for name, c := range map[string]struct {
		claims map[string]any
		want   *api.Principal // nil: refused
	}{
		"all": {map[string]any{"email": "a@b.c", "org": "Org2MSP", "role": "clerk", "department": "7", "groups": []any{"x", 1, "y"}, "level": 3, "admin": true,
			"address": map[string]any{"city": "z"}, "scope": "openid peerless:submit peerless:admin peerless:submit peerless:root", "channels": "alpha beta", "chaincodes": []string{"probe"}},
			&api.Principal{Name: "oidc:a@b.c", MSPID: "Org2MSP", Attributes: map[string]string{"role": "clerk", "dept": "7", "groups": "x,y", "level": "3", "admin": "true"},
				Scopes: []api.Scope{"submit", "admin"}, Channels: []string{"alpha", "beta"}, Chaincodes: []string{"probe"}}},
		"defaults": {map[string]any{"email": "a", "channels": "alpha", "chaincodes": "probe", "scope": "openid"},
			&api.Principal{Name: "oidc:a", MSPID: "Org1MSP", Scopes: []api.Scope{"evaluate"}, Channels: []string{"alpha"}, Chaincodes: []string{"probe"}}},
		"scopes as a list, none known": {map[string]any{"email": "a", "channels": "alpha", "chaincodes": "probe", "scope": []string{"peerless:root"}},
			&api.Principal{Name: "oidc:a", MSPID: "Org1MSP", Channels: []string{"alpha"}, Chaincodes: []string{"probe"}}},
		"an organisation that is not there": {map[string]any{"email": "a", "org": "EvilMSP", "channels": "alpha", "chaincodes": "probe"}, nil},
		"an organisation that is a list":    {map[string]any{"email": "a", "org": []string{"Org2MSP"}, "channels": "alpha", "chaincodes": "probe"}, nil},
		"no channels":                       {map[string]any{"email": "a", "chaincodes": "probe"}, nil},
		"empty chaincodes":                  {map[string]any{"email": "a", "channels": "alpha", "chaincodes": ""}, nil},
		"no user":                           {map[string]any{"channels": "alpha", "chaincodes": "probe"}, nil},
	} {
		p, err := v.AuthenticateToken(t.Context(), sign(t, s, i.claims(c.claims)))
		var problem *api.Problem
		if c.want == nil {
			if p != nil || !errors.As(err, &problem) || problem.Code != api.CodeForbidden {
				t.Errorf("%s: got %+v, %v; want that it is forbidden", name, p, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, p, cmpopts.IgnoreUnexported(api.Principal{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	tenants := i.verifier(t, func(c *Config) { c.TenantClaim = "tenant" })
	if p, err := tenants.AuthenticateToken(t.Context(), sign(t, s, i.claims(map[string]any{"tenant": "acme"}))); err != nil || p.Tenant != "acme" {
		t.Errorf("tenant: got %+v, %v", p, err)
	}
	if got := codeOf(t, tenants, sign(t, s, i.claims())); got != api.CodeForbidden {
		t.Errorf("no tenant: got %q", got)
	}
}

// TestIssuerFails: what cannot be asked is not the caller's fault, and is asked again.
func TestIssuerFails(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	first := i.rotate(t, "1")
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	i.setDown(true)
	v := i.verifier(t, func(c *Config) { c.Now = clock })
	token := sign(t, first, i.claims())
	if got := codeOf(t, v, token); got != api.CodeUnavailable {
		t.Errorf("before discovery: got %q", got)
	}
	i.setDown(false)
	pass(2 * time.Second)
	if got := codeOf(t, v, token); got != "" {
		t.Errorf("when it is back: got %q", got)
	}
	second := i.rotate(t, "2")
	rotated := sign(t, second, i.claims())
	pass(10 * time.Second)
	i.setDown(true)
	if got := codeOf(t, v, rotated); got != api.CodeUnavailable {
		t.Errorf("a new key, and the issuer is down: got %q", got)
	}
	if got := codeOf(t, v, token); got != "" {
		t.Errorf("a key that is known, and the issuer is down: got %q", got)
	}
	i.setDown(false)
	pass(2 * time.Second)
	if got := codeOf(t, v, rotated); got != "" {
		t.Errorf("after rotation: got %q", got)
	}
	if got := codeOf(t, v, token); got != api.CodeUnauthenticated {
		t.Errorf("the key that is withdrawn: got %q", got)
	}
	before := i.fetched.Load()
	for range 20 {
		if got := codeOf(t, v, sign(t, signer(t, jose.ES256, newKey(t), "unknown"), i.claims())); got != api.CodeUnauthenticated {
			t.Fatalf("an unknown key: got %q", got)
		}
	}
	if got := i.fetched.Load() - before; got > 1 {
		t.Errorf("20 tokens with keys that do not exist had the keys fetched %d times, want once at most", got)
	}
	i.Close()
	if got := codeOf(t, i.verifier(t), token); got != api.CodeUnavailable {
		t.Errorf("nobody listens: got %q", got)
	}
}

func TestWrongIssuerMetadata(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]string{
		"another issuer": `{"issuer":"https://other.example","jwks_uri":"https://other.example/keys"}`, "no JSON": `<html>`, "no keys": `{"issuer":"SELF"}`,
		"plain text": `{"issuer":"SELF","jwks_uri":"http://keys.example/"}`,
	} {
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(strings.ReplaceAll(metadata, "SELF", server.URL)))
		}))
		t.Cleanup(server.Close)
		if got := codeOf(t, (&issuer{Server: server}).verifier(t), "a.b.c"); got != api.CodeUnavailable {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Issuer: "https://login.example", Audience: "a", Organization: "o"}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"issuer": func(c *Config) { c.Issuer = "login.example" }, "plain text": func(c *Config) { c.Issuer = "http://login.example" },
		"audience": func(c *Config) { c.Audience = "" }, "organisation": func(c *Config) { c.Organization = "" },
		"which organisations": func(c *Config) { c.OrganizationClaim = "org" }, "attribute": func(c *Config) { c.AttributeClaims = []string{"a="} },
		"scope": func(c *Config) { c.Scopes = []api.Scope{"root"} }, "algorithm": func(c *Config) { c.Algorithms = []string{"HS256"} },
		"none": func(c *Config) { c.Algorithms = []string{"none"} },
	} {
		config := good
		change(&config)
		if _, err := New(config); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

// FuzzClaims maps whatever a signed token says: a principal that is one, or a refusal.
func FuzzClaims(f *testing.F) {
	v, err := New(Config{Issuer: "https://login.example", Audience: "a", Organization: "o", OrganizationClaim: "org", Known: func(id string) bool { return id == "Org2MSP" },
		AttributeClaims: []string{"role"}, ChannelClaim: "channels"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{`{"sub":"a","channels":"c","role":"x","exp":1e12}`, `{"sub":1,"org":["Org2MSP"],"channels":["c"],"nbf":-1}`, `{}`, `{"sub":"\u0000"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var claims map[string]any
		if json.Unmarshal([]byte(text), &claims) != nil {
			return
		}
		v.checkTime(claims)
		p, err := v.principal(claims)
		var problem *api.Problem
		switch {
		case err != nil && (p != nil || !errors.As(err, &problem) || problem.Code != api.CodeForbidden):
			t.Errorf("%+v, %v", p, err)
		case err == nil && (p.Name == "" || p.MSPID != "o" && p.MSPID != "Org2MSP" || len(p.Channels) == 0):
			t.Errorf("%s makes %+v", text, p)
		}
	})
}
