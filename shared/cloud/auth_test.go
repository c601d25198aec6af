package cloud

import (
	"errors"
	"net/http/httptest"
	"testing"

	"peerless/shared/api"
	"peerless/shared/node"
	"peerless/shared/store/mem"
)

// The first key is the one whose hash is configured; a token is not taken where no issuer is, and no issuer is asked at start.
func TestAuthenticator(t *testing.T) {
	t.Parallel()
	n, err := node.Open(node.Config{Store: mem.New(mem.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	secret, hash := api.NewSecret()
	code := func(config Config, token string) api.Code {
		t.Helper()
		auth, err := authenticator(config, n)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/v1/channels", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		p, err := auth.Authenticate(r)
		var problem *api.Problem
		if errors.As(err, &problem) {
			return problem.Code
		}
		if err != nil || p.MSPID != n.Organization {
			t.Errorf("got %+v, %v", p, err)
		}
		return ""
	}
	with := Config{AdminKeyHash: hash, Issuer: "https://127.0.0.1:1", Audience: "a"}
	for _, c := range []struct {
		config Config
		token  string
		want   api.Code
	}{
		{with, secret, ""}, {Config{}, secret, api.CodeUnauthenticated}, {Config{}, "a.b.c", api.CodeUnauthenticated}, {with, "a.b.c", api.CodeUnavailable},
	} {
		if got := code(c.config, c.token); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.config, got, c.want)
		}
	}
	for _, bad := range []Config{{AdminKeyHash: "x"}, {Issuer: "http://login.example", Audience: "a"}} {
		if _, err := authenticator(bad, n); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
