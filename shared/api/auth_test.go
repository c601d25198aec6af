package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/api"
	"peerless/shared/sealed"
)

func openKeys(t testing.TB) (*api.Keys, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys, err := api.OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys, path
}

func mustCreate(t testing.TB, keys *api.Keys, key api.Key) string {
	t.Helper()
	if key.Organization == "" {
		key.Organization = "Org1MSP"
	}
	if key.Name == "" {
		key.Name = "ci"
	}
	secret, _, err := keys.Create(key)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func withKeys(keys *api.Keys) func(*api.Config) {
	return func(c *api.Config) { c.Auth = &api.KeyAuth{Keys: keys, Signer: signer} }
}

// requests has one valid request for every route that needs a key, with the scope it needs.
var requests = []struct {
	method, path, body string
	scope              api.Scope
	channel, chaincode bool // has one in its path
}{
	{"GET", "/v1/channels", "", "evaluate", false, false},
	{"POST", "/v1/channels", `{"name":"alpha"}`, "admin", true, false},
	{"GET", "/v1/channels/alpha", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/chaincodes", "", "evaluate", true, false},
	{"POST", "/v1/channels/alpha/chaincodes?name=probe", "PK\x03\x04", "admin", true, true},
	{"GET", "/v1/channels/alpha/chaincodes/probe", "", "evaluate", true, true},
	{"DELETE", "/v1/channels/alpha/chaincodes/probe", "", "admin", true, true},
	{"POST", submitPath, `{"function":"f"}`, "submit", true, true},
	{"POST", queuePath, `{"function":"f"}`, "submit", true, true},
	{"GET", "/v1/channels/alpha/queue", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/dead-letters", "", "admin", true, false},
	{"POST", "/v1/channels/alpha/dead-letters/x/redrive", "", "admin", true, false},
	{"DELETE", "/v1/channels/alpha/dead-letters/x", "", "admin", true, false},
	{"GET", "/v1/channels/alpha/webhooks", "", "admin", true, false},
	{"POST", "/v1/channels/alpha/webhooks", `{"url":"https://example.com"}`, "admin", true, false},
	{"DELETE", "/v1/channels/alpha/webhooks/x", "", "admin", true, false},
	{"POST", evaluatePath, `{"function":"f"}`, "evaluate", true, true},
	{"GET", "/v1/channels/alpha/chaincodes/probe/history/k", "", "evaluate", true, true},
	{"GET", "/v1/channels/alpha/transactions/x", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/transactions/x/receipt", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/checkpoint", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/blocks", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/blocks/0", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/events?wait=0s&chaincode=probe", "", "evaluate", true, true},
}

// TestScopes asks every route with every kind of key.
func TestScopes(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	h := newHandler(t, newFake(t), withKeys(keys))
	const public, signed = 3, 4 // routes that need no key; those whose messages prove themselves
	if got, want := len(requests), len(h.Routes())-public-signed; got != want {
		t.Fatalf("%d requests for %d routes that need a key", got, want)
	}
	status := func(secret string, i int) int {
		r := requests[i]
		return do(t, h, r.method, r.path, r.body, "Authorization: Bearer "+secret).status
	}
	for i, r := range requests {
		if p := do(t, h, r.method, r.path, r.body).problem(t); p.Status != 401 || p.Code != api.CodeUnauthenticated {
			t.Errorf("%s %s without a key: got %+v", r.method, r.path, p)
		}
		for _, scope := range api.Scopes {
			got := status(mustCreate(t, keys, api.Key{Scopes: []api.Scope{scope}}), i)
			if (got == 403) != (scope != r.scope) || got == 401 {
				t.Errorf("%s %s with %s: got %d", r.method, r.path, scope, got)
			}
		}
		other := status(mustCreate(t, keys, api.Key{Scopes: api.Scopes, Channels: []string{"beta"}}), i)
		if (other == 403) != r.channel {
			t.Errorf("%s %s with a key for beta: got %d", r.method, r.path, other)
		}
		other = status(mustCreate(t, keys, api.Key{Scopes: api.Scopes, Chaincodes: []string{"other"}}), i)
		if whole := strings.Contains(r.path, "/blocks"); (other == 403) != (r.chaincode || whole) {
			t.Errorf("%s %s with a key for another chaincode: got %d", r.method, r.path, other)
		}
	}
}

func TestLimitedKeySeesItsOwn(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	h := newHandler(t, newFake(t), withKeys(keys))
	limited := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Channels: []string{"beta"}, Chaincodes: []string{"probe"}, Scopes: api.Scopes})
	if got := string(do(t, h, "GET", "/v1/channels", nil, limited).body); got != `{"channels":[{"name":"beta"}]}`+"\n" {
		t.Errorf("channels: got %s", got)
	}
	all := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Scopes: api.Scopes})
	for _, name := range []string{"probe", "other"} {
		do(t, h, "POST", "/v1/channels/beta/chaincodes?version=1&name="+name, "PK\x03\x04", all)
	}
	if got := string(do(t, h, "GET", "/v1/channels/beta/chaincodes", nil, limited).body); !strings.Contains(got, "probe") || strings.Contains(got, "other") {
		t.Errorf("chaincodes: got %s", got)
	}
	if p := do(t, h, "POST", "/v1/channels/beta/chaincodes", "PK\x03\x04", limited).problem(t); p.Field != "name" {
		t.Errorf("deploy without a name: got %+v", p)
	}
	if p := do(t, h, "GET", "/v1/channels/beta/events?wait=0s", nil, limited).problem(t); p.Status != 403 {
		t.Errorf("events of all chaincodes: got %+v", p)
	}
	alpha := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Chaincodes: []string{"probe"}})
	seen := map[int]int{}
	for id := range newFake(t).Txs["alpha"] {
		if id == "" {
			continue
		}
		seen[do(t, h, "GET", "/v1/channels/alpha/transactions/"+id, nil, alpha).status]++
	}
	if seen[200] == 0 || seen[403] == 0 || len(seen) != 2 {
		t.Errorf("transactions: got %v", seen)
	}
}

func TestKeyLife(t *testing.T) {
	t.Parallel()
	keys, path := openKeys(t)
	now := time.Now()
	auth := &api.KeyAuth{Keys: keys, Signer: signer, Now: func() time.Time { return now }}
	get := func(secret string) (*api.Principal, api.Code) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		p, err := auth.Authenticate(r)
		var problem *api.Problem
		if errors.As(err, &problem) {
			return p, problem.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return p, ""
	}
	secret := mustCreate(t, keys, api.Key{Name: "shop", User: "alice", Attributes: map[string]string{"role": "clerk"}, ExpiresAt: now.Add(time.Hour)})
	p, code := get(secret)
	if code != "" || !strings.HasPrefix(secret, "pk_") || len(secret) != 46 {
		t.Fatalf("got %q for %q", code, secret)
	}
	if s, err := p.Signer(); err != nil || string(s.Serialized) != "Org1MSP alice map[role:clerk]" {
		t.Errorf("signer: got %v %v", s, err)
	}
	p.Signer = nil
	if diff := cmp.Diff(p, &api.Principal{Name: "alice", MSPID: "Org1MSP", Attributes: map[string]string{"role": "clerk"}, Scopes: []api.Scope{"submit", "evaluate"}}); diff != "" {
		t.Errorf("principal (-got +want):\n%s", diff)
	}
	for _, wrong := range []string{"", "pk_", secret + "x", secret[:45], strings.ToUpper(secret), "x y"} {
		if _, code := get(wrong); code != api.CodeUnauthenticated {
			t.Errorf("%q: got %q", wrong, code)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(raw), secret) || strings.Contains(string(raw), secret[3:]) {
		t.Errorf("the file has the secret, or cannot be read: %v", err)
	}
	if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v %v", stat.Mode(), err)
	}
	now = now.Add(time.Hour)
	if _, code := get(secret); code != api.CodeUnauthenticated {
		t.Errorf("expired: got %q", code)
	}

	second := mustCreate(t, keys, api.Key{Name: "shop"})
	if err := keys.Revoke("shop"); err == nil || errors.Is(err, api.ErrNoKey) {
		t.Errorf("revoke one of two by name: got %v", err)
	}
	other, err := api.OpenKeys(path) // as the command does, beside the server
	if err != nil {
		t.Fatal(err)
	}
	list, err := other.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("list: got %v %v", list, err)
	}
	if _, code := get(second); code != "" {
		t.Errorf("second: got %q", code)
	}
	if err := other.Revoke(list[1].ID); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if _, code := get(second); code != api.CodeUnauthenticated {
		t.Errorf("revoked elsewhere: got %q", code)
	}
	if err := keys.Revoke("nobody"); !errors.Is(err, api.ErrNoKey) {
		t.Errorf("revoke nobody: got %v", err)
	}
	third := mustCreate(t, other, api.Key{Name: "third"})
	now = now.Add(2 * time.Second)
	if p, code := get(third); code != "" || p.Name != "third" {
		t.Errorf("created elsewhere: got %q", code)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	now := time.Now()
	h := newHandler(t, newFake(t), func(c *api.Config) {
		c.Auth = &api.KeyAuth{Keys: keys, Signer: signer, Now: func() time.Time { return now }}
	})
	header := "Authorization: Bearer " + mustCreate(t, keys, api.Key{RatePerSecond: 0.25, Burst: 2})
	for i, want := range []int{200, 200, 429, 429} {
		a := do(t, h, "POST", evaluatePath, `{"function":"f"}`, header)
		if a.status != want {
			t.Fatalf("request %d: got %d", i, a.status)
		}
		if want == 429 && (a.problem(t).Code != api.CodeQuotaExceeded || a.header.Get("Retry-After") != "4") {
			t.Errorf("got %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
		}
	}
	mustCreate(t, keys, api.Key{Name: "another"}) // changes the file: the count goes on
	now = now.Add(3900 * time.Millisecond)
	if a := do(t, h, "POST", evaluatePath, `{"function":"f"}`, header); a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("a moment too early: got %d %q", a.status, a.header.Get("Retry-After"))
	}
	now = now.Add(100 * time.Millisecond)
	if a := do(t, h, "POST", evaluatePath, `{"function":"f"}`, header); a.status != 200 {
		t.Errorf("after the pause: got %d", a.status)
	}
}

func TestBadKeys(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	for _, key := range []api.Key{
		{}, {Name: "n"}, {Name: "n\n", Organization: "o"}, {Name: "n", Organization: "o", User: strings.Repeat("u", 65)},
		{Name: "n", Organization: "o", Scopes: []api.Scope{"root"}}, {Name: "n", Organization: "o", RatePerSecond: -1},
	} {
		if _, _, err := keys.Create(key); err == nil {
			t.Errorf("%+v was created", key)
		}
	}
	if list, err := keys.List(); err != nil || len(list) != 0 {
		t.Errorf("got %v %v", list, err)
	}
}

// TestDamagedKeyFile changes every byte of a file of keys, among others.
func TestDamagedKeyFile(t *testing.T) {
	t.Parallel()
	refused := func(content string, want error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := api.OpenKeys(path)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Fatalf("%q: got %v, want %v", content, err, want)
		}
		if text := err.Error(); !strings.Contains(text, path) || !strings.Contains(text, "make new keys") {
			t.Fatalf("the error names no file, or not what to do: %s", text)
		}
	}
	for _, content := range []string{"", "{", "null", `{"version":2}`, `{"version":2,"keys":[]}`} {
		refused(content, api.ErrDamagedKeys)
	}
	refused(`{"version":1,"keys":[]}`, nil)
	refused(`{"version":3}`, nil)
	for _, hash := range []string{"00", "zz" + strings.Repeat("0", 62)} {
		content, err := sealed.Marshal(struct {
			Version int       `json:"version"`
			Keys    []api.Key `json:"keys"`
		}{2, []api.Key{{ID: "a", Hash: hash}}})
		if err != nil {
			t.Fatal(err)
		}
		refused(string(content), api.ErrDamagedKeys)
	}

	keys, path := openKeys(t)
	mustCreate(t, keys, api.Key{Attributes: map[string]string{"Role": "a"}, Channels: []string{"main"}, RatePerSecond: 1.5})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			bad := slices.Clone(good)
			bad[i] ^= 1 << bit
			refused(string(bad), nil) // the byte may be the version's
		}
	}
}

// TestKeyFileDamagedMeanwhile damages the file of a server that runs.
func TestKeyFileDamagedMeanwhile(t *testing.T) {
	t.Parallel()
	keys, path := openKeys(t)
	header := "Authorization: Bearer " + mustCreate(t, keys, api.Key{})
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := do(t, newHandler(t, newFake(t), withKeys(keys)), "GET", "/v1/channels", nil, header); a.status != 500 {
		t.Errorf("with a file damaged meanwhile: got %d", a.status)
	}
	if _, _, err := keys.Create(api.Key{Name: "n", Organization: "o"}); err == nil {
		t.Error("a damaged file was overwritten")
	}
}

// TestKeysTogether: writers in several processes lose nothing.
func TestKeysTogether(t *testing.T) {
	t.Parallel()
	_, path := openKeys(t)
	var group sync.WaitGroup
	for i := range 8 {
		keys, err := api.OpenKeys(path)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for j := range 4 {
				if _, _, err := keys.Create(api.Key{Name: fmt.Sprint(i, j), Organization: "o"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	keys, err := api.OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := keys.List(); err != nil || len(list) != 32 {
		t.Errorf("got %d keys, %v", len(list), err)
	}
}

func TestDevAuth(t *testing.T) {
	t.Parallel()
	auth := &api.DevAuth{Organization: "Org1MSP", Signer: signer, Known: func(id string) bool { return id == "Org1MSP" || id == "Org2MSP" }}
	authenticate := func(headers ...string) (*api.Principal, error) {
		r := httptest.NewRequest("GET", "/", nil)
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			r.Header.Set(name, value)
		}
		return auth.Authenticate(r)
	}
	p, err := authenticate()
	if err != nil || p.Name != "dev" || p.MSPID != "Org1MSP" || !slices.Equal(p.Scopes, api.Scopes) {
		t.Errorf("got %+v %v", p, err)
	}
	p, err = authenticate("X-Peerless-User: Zoë", "X-Peerless-Organization: Org2MSP", "X-Peerless-Attributes: role=auditor, dept=7,note=a%2Cb%3D%25,empty=")
	if err != nil || p.Name != "Zoë" || p.MSPID != "Org2MSP" {
		t.Fatalf("got %+v %v", p, err)
	}
	if diff := cmp.Diff(p.Attributes, map[string]string{"role": "auditor", "dept": "7", "note": "a,b=%", "empty": ""}); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"X-Peerless-User: " + strings.Repeat("u", 65), "X-Peerless-User: a\x00", "X-Peerless-User: \xff", "X-Peerless-Organization: Org3MSP",
		"X-Peerless-Attributes: role", "X-Peerless-Attributes: =x", "X-Peerless-Attributes: a=1,a=2", "X-Peerless-Attributes: a=1,", "X-Peerless-Attributes: a=%zz", "X-Peerless-Attributes: a=%ff",
	} {
		var problem *api.Problem
		if _, err := authenticate(bad); !errors.As(err, &problem) || problem.Code != api.CodeInvalidRequest || problem.Field != strings.SplitN(bad, ":", 2)[0] {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// TestGuardLocal: a page in the developer's browser reaches nothing, neither by its own name for 127.0.0.1 nor by form or fetch.
func TestGuardLocal(t *testing.T) {
	t.Parallel()
	h := api.GuardLocal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), "dev.test")
	for _, c := range []struct {
		method, host string
		headers      string
		want         int
	}{
		{"GET", "127.0.0.1:8080", "", 204},
		{"GET", "127.9.9.9", "", 204},
		{"GET", "localhost:8080", "", 204},
		{"GET", "LOCALHOST", "", 204},
		{"GET", "[::1]:8080", "", 204},
		{"GET", "dev.test:8080", "", 204},
		{"GET", "evil.test:8080", "", 403},
		{"GET", "127.0.0.1.evil.test", "", 403},
		{"GET", "localhost.evil.test", "", 403},
		{"GET", "10.0.0.1:8080", "", 403},
		{"GET", "", "", 403},
		{"POST", "localhost:8080", "", 204},
		{"POST", "localhost:8080", "Origin: http://localhost:8080", 204},
		{"POST", "localhost:8080", "Sec-Fetch-Site: same-origin", 204},
		{"POST", "localhost:8080", "Origin: http://evil.test", 403},
		{"POST", "localhost:8080", "Origin: http://localhost:9090", 403},
		{"POST", "localhost:8080", "Origin: null", 403},
		{"POST", "localhost:8080", "Sec-Fetch-Site: cross-site", 403},
		{"POST", "localhost:8080", "Sec-Fetch-Site: same-site", 403},
		{"GET", "localhost:8080", "Origin: http://evil.test", 403},
		{"GET", "localhost:8080", "Sec-Fetch-Site: cross-site", 204}, // a link to /docs: the page that has it cannot read the answer
	} {
		r := httptest.NewRequest(c.method, "/v1/channels", nil)
		r.Host = c.host
		if name, value, ok := strings.Cut(c.headers, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %s %s: got %d, want %d", c.method, c.host, c.headers, w.Code, c.want)
		}
	}
}
