package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/docstore"
	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/sealed"
)

func openKeys(t testing.TB, config ...api.KeysConfig) (*api.Keys, *docstore.Mem) {
	t.Helper()
	store := docstore.NewMem(0)
	return keysOn(t, store, config...), store
}

func keysOn(t testing.TB, store docstore.Store, config ...api.KeysConfig) *api.Keys {
	t.Helper()
	keys, err := api.NewKeys(store, append(config, api.KeysConfig{})[0])
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func mustCreate(t testing.TB, keys *api.Keys, key api.Key) string {
	t.Helper()
	if key.Organization == "" && key.Tenant == "" {
		key.Organization = "Org1MSP"
	}
	if key.Name == "" {
		key.Name = "ci"
	}
	secret, _, err := keys.Create(t.Context(), key)
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
	{"GET", "/v1/keys", "", "admin", false, false},
	{"POST", "/v1/keys", `{"name":"new","scopes":["admin"],"channels":["beta"],"chaincodes":["other"]}`, "admin", false, false},
	{"DELETE", "/v1/keys/key_0", "", "admin", false, false},
	{"GET", "/v1/tenants", "", "admin", true, true}, // no key with limits may
	{"POST", "/v1/tenants", `{"name":"acme"}`, "admin", true, true},
	{"DELETE", "/v1/tenants/acme", "", "admin", true, true},
	{"GET", "/v1/organizations", "", "admin", false, false},
	{"GET", "/v1/organizations/Org1MSP", "", "admin", false, false},
	{"PUT", "/v1/organizations/Org1MSP", `{}`, "admin", false, false},
	{"GET", "/v1/packages", "", "admin", false, false},
	{"POST", "/v1/packages", "PK\x03\x04", "admin", false, false},
	{"PUT", "/v1/channels/alpha", `{"organizations":["Org1MSP"]}`, "admin", true, false},
	{"PUT", "/v1/channels/alpha/chaincodes/probe", `{"version":"1","source":{"packageId":"probe:00"}}`, "admin", true, true},
	{"GET", "/v1/channels", "", "evaluate", false, false},
	{"POST", "/v1/channels", `{"name":"alpha"}`, "admin", true, false},
	{"GET", "/v1/channels/alpha", "", "evaluate", true, false},
	{"GET", "/v1/channels/alpha/chaincodes", "", "evaluate", true, false},
	{"POST", "/v1/channels/alpha/chaincodes?name=probe", "PK\x03\x04", "admin", true, true},
	{"GET", "/v1/channels/alpha/chaincodes/probe", "", "evaluate", true, true},
	{"DELETE", "/v1/channels/alpha/chaincodes/probe", "", "admin", true, true},
	{"POST", "/v1/channels/alpha/chaincodes/probe/approvals", `{"version":"2"}`, "admin", true, true},
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
	dir, err := docstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	keys, other := keysOn(t, dir), keysOn(t, dir) // of two processes
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
	if diff := cmp.Diff(p, &api.Principal{Name: "alice", MSPID: "Org1MSP", Attributes: map[string]string{"role": "clerk"}, Scopes: []api.Scope{"submit", "evaluate"}}, cmpopts.IgnoreUnexported(api.Principal{})); diff != "" {
		t.Errorf("principal (-got +want):\n%s", diff)
	}
	unknown, _ := api.NewSecret()
	for _, wrong := range []string{"", "pk_", secret + "x", secret[:45], strings.ToUpper(secret), "x y", unknown} {
		if _, code := get(wrong); code != api.CodeUnauthenticated {
			t.Errorf("%q: got %q", wrong, code)
		}
	}
	now = now.Add(time.Hour)
	if _, code := get(secret); code != api.CodeUnauthenticated {
		t.Errorf("expired: got %q", code)
	}

	second := mustCreate(t, keys, api.Key{Name: "shop"})
	if err := keys.Revoke(t.Context(), "", "shop"); err == nil || errors.Is(err, api.ErrNoKey) {
		t.Errorf("revoke one of two by name: got %v", err)
	}
	list, err := other.List(t.Context(), "")
	if err != nil || len(list) != 2 {
		t.Fatalf("list: got %v %v", list, err)
	}
	if _, code := get(second); code != "" {
		t.Errorf("second: got %q", code)
	}
	id := list[slices.IndexFunc(list, func(k api.Key) bool { return k.ExpiresAt.IsZero() })].ID
	if err := other.Revoke(t.Context(), "", id); err != nil {
		t.Fatal(err)
	}
	if _, code := get(second); code != "" {
		t.Errorf("revoked elsewhere a moment ago: got %q, want that it is still believed", code)
	}
	now = now.Add(10*time.Second + 1)
	if _, code := get(second); code != api.CodeUnauthenticated {
		t.Errorf("revoked elsewhere ten seconds ago: got %q", code)
	}
	if err := keys.Revoke(t.Context(), "", "nobody"); !errors.Is(err, api.ErrNoKey) {
		t.Errorf("revoke nobody: got %v", err)
	}
	third := mustCreate(t, other, api.Key{Name: "third"})
	if p, code := get(third); code != "" || p.Name != "third" {
		t.Errorf("created elsewhere: got %q", code)
	}
	if err := keys.Revoke(t.Context(), "", "third"); err != nil {
		t.Fatal(err)
	}
	if _, code := get(third); code != api.CodeUnauthenticated {
		t.Errorf("revoked here a moment ago: got %q", code)
	}
}

// A document has no secret in it, and one that is put under another's hash is refused.
func TestKeyDocuments(t *testing.T) {
	t.Parallel()
	keys, store := openKeys(t)
	secret := mustCreate(t, keys, api.Key{})
	another := mustCreate(t, keys, api.Key{Scopes: api.Scopes})
	page, _, err := store.List(t.Context(), api.KindKey, "", "", 0)
	if err != nil || len(page) != 2 {
		t.Fatalf("%d documents, %v", len(page), err)
	}
	for _, doc := range page {
		if strings.Contains(string(doc.Value), secret[3:]) || strings.Contains(string(doc.Value), another[3:]) {
			t.Errorf("a document has a secret: %s", doc.Value)
		}
	}
	page[0].Value, page[1].Value = page[1].Value, page[0].Value
	for _, doc := range page {
		if _, err := store.Put(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
	}
	if a := do(t, newHandler(t, newFake(t), withKeys(keysOn(t, store))), "GET", "/v1/channels", nil, "Authorization: Bearer "+secret); a.status != 503 {
		t.Errorf("another key's document: got %d", a.status)
	}
}

// countingStore counts reads, and fails them when it is told to.
type countingStore struct {
	docstore.Store
	reads  atomic.Int32
	broken atomic.Bool
}

func (s *countingStore) Get(ctx context.Context, kind, id string) (docstore.Document, error) {
	s.reads.Add(1)
	if s.broken.Load() {
		return docstore.Document{}, errors.New("the table is throttled: secret detail")
	}
	return s.Store.Get(ctx, kind, id)
}

// A key that was looked up lately costs no read; what cannot be a key costs none either. A store that fails is not the caller's fault.
func TestKeyLookups(t *testing.T) {
	t.Parallel()
	store := &countingStore{Store: docstore.NewMem(0)}
	keys := keysOn(t, store)
	secret := mustCreate(t, keys, api.Key{})
	var logged strings.Builder
	h := newHandler(t, newFake(t), withKeys(keys), func(c *api.Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	for range 5 {
		if a := do(t, h, "GET", "/v1/channels", nil, "Authorization: Bearer "+secret); a.status != 200 {
			t.Fatalf("got %d", a.status)
		}
	}
	if got := store.reads.Load(); got != 1 {
		t.Errorf("five requests made %d reads, want 1", got)
	}
	unknown, _ := api.NewSecret()
	for _, bad := range []string{"pk_short", "pk_" + strings.Repeat("!", 43), "eyJ.a.b", unknown, unknown} {
		if a := do(t, h, "GET", "/v1/channels", nil, "Authorization: Bearer "+bad); a.status != 401 {
			t.Errorf("%q: got %d", bad, a.status)
		}
	}
	if got := store.reads.Load(); got != 2 {
		t.Errorf("and five that are no keys %d more, want 1", got-1)
	}
	store.broken.Store(true)
	late, _ := api.NewSecret()
	a := do(t, h, "GET", "/v1/channels", nil, "Authorization: Bearer "+late)
	if a.status != 503 || strings.Contains(string(a.body), "secret detail") {
		t.Errorf("with a store that fails: got %d %s", a.status, a.body)
	}
	if !strings.Contains(logged.String(), "the table is throttled") || strings.Contains(logged.String(), late) || strings.Contains(logged.String(), secret) {
		t.Errorf("the log lacks the cause, or has a key: %s", &logged)
	}
}

func TestAdminKey(t *testing.T) {
	t.Parallel()
	secret, hash := api.NewSecret()
	keys, _ := openKeys(t, api.KeysConfig{AdminHash: strings.ToUpper(hash), Organization: "PeerlessMSP"})
	h := newHandler(t, newFake(t), withKeys(keys))
	a := do(t, h, "POST", "/v1/keys", `{"name":"operator","scopes":["admin","submit","evaluate"]}`, "Authorization: Bearer "+secret)
	if a.status != 201 || !strings.Contains(string(a.body), `"organization":"PeerlessMSP"`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	for _, bad := range []api.KeysConfig{{AdminHash: "x", Organization: "o"}, {AdminHash: hash[1:], Organization: "o"}, {AdminHash: hash}} {
		if _, err := api.NewKeys(docstore.NewMem(0), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestOperator calls a channel that the platform's own organisation is no member of.
func TestOperator(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	var caller string
	fake := newFake(t) // its channels have the members Org1MSP and Org2MSP
	fake.Submit = func(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
		caller = r.User.MSPID
		return &gateway.Outcome{TransactionID: strings.Repeat("0", 64), Response: &peer.Response{}}, nil
	}
	h := newHandler(t, fake, func(c *api.Config) {
		c.Auth = &api.KeyAuth{Keys: keys, Organization: "PeerlessMSP", Signer: func(mspID, user string, attributes map[string]string) (*msp.Signer, error) {
			if mspID == "Org1MSP" {
				return nil, organization.ErrNoAuthority
			}
			return signer(mspID, user, attributes)
		}}
	})
	everything := []api.Scope{"admin", "submit", "evaluate"}
	for _, c := range []struct {
		key  api.Key
		want string
	}{
		{api.Key{Name: "operator", Organization: "PeerlessMSP", Scopes: everything}, "Org2MSP"}, // Org1MSP's users are made elsewhere
		{api.Key{Name: "clerk", Organization: "PeerlessMSP"}, "PeerlessMSP"},
		{api.Key{Name: "other", Organization: "Org3MSP", Scopes: everything}, "Org3MSP"},
		{api.Key{Name: "member", Organization: "Org2MSP", Scopes: everything}, "Org2MSP"},
	} {
		caller = ""
		a := do(t, h, "POST", "/v1/channels/alpha/chaincodes/asset/submit", `{"function":"f"}`, "Authorization: Bearer "+mustCreate(t, keys, c.key))
		if a.status != 200 || caller != c.want {
			t.Errorf("%s: got %d %s, called by %s, want %s", c.key.Name, a.status, a.body, caller, c.want)
		}
	}
}

// TestKeyRoutes is the life of a key over HTTP.
func TestKeyRoutes(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	h := newHandler(t, newFake(t), withKeys(keys))
	admin := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Name: "root", Scopes: api.Scopes})
	a := do(t, h, "POST", "/v1/keys", `{"name":"shop","attributes":{"role":"clerk"},"expiresAt":"2099-01-01T00:00:00+01:00"}`, admin)
	var made struct {
		Secret string
		Key    struct{ ID, ExpiresAt string }
	}
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != 201 || made.Key.ExpiresAt != "2098-12-31T23:00:00Z" || a.header.Get("Location") != "/v1/keys/"+made.Key.ID {
		t.Fatalf("got %d %s %v", a.status, a.body, a.header)
	}
	shop := "Authorization: Bearer " + made.Secret
	if a := do(t, h, "POST", evaluatePath, `{"function":"f"}`, shop); a.status != 200 {
		t.Errorf("the new key: got %d", a.status)
	}
	if a := do(t, h, "GET", "/v1/keys", nil, admin); a.status != 200 || strings.Contains(string(a.body), made.Secret) || strings.Contains(string(a.body), "hash") || !strings.Contains(string(a.body), made.Key.ID) {
		t.Errorf("list: got %d %s", a.status, a.body)
	}
	if a := do(t, h, "DELETE", "/v1/keys/"+made.Key.ID, nil, admin); a.status != 204 {
		t.Errorf("revoke: got %d %s", a.status, a.body)
	}
	if a := do(t, h, "POST", evaluatePath, `{"function":"f"}`, shop); a.status != 401 {
		t.Errorf("revoked: got %d", a.status)
	}
	if a := do(t, h, "DELETE", "/v1/keys/key_none", nil, admin); a.status != 404 {
		t.Errorf("revoke none: got %d", a.status)
	}
	limited := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Name: "limited", Scopes: []api.Scope{"admin"}, Channels: []string{"alpha"}})
	for body, want := range map[string]int{
		`{"name":"a","scopes":["admin"],"channels":["alpha"]}`:                                    201,
		`{"name":"a","scopes":["admin"],"channels":["alpha","beta"]}`:                             403,
		`{"name":"a","scopes":["admin"]}`:                                                         403,
		`{"name":"a","scopes":["admin","submit"],"channels":["alpha"]}`:                           403,
		`{"name":"a","channels":["alpha"]}`:                                                       403,
		`{"name":"a","scopes":["root"],"channels":["alpha"]}`:                                     400,
		`{"name":"","scopes":["admin"],"channels":["alpha"]}`:                                     400,
		`{"name":"a","scopes":["admin"],"channels":["alpha"],"expiresAt":"2001-01-01T00:00:00Z"}`: 400,
		`{"name":"a","scopes":["admin"],"channels":["alpha"],"expiresAt":"tomorrow"}`:             400,
		`{"name":"a","scopes":["admin"],"channels":["alpha"],"attributes":{"a":1}}`:               400,
		`{"name":"a","scopes":["admin"],"channels":["alpha"],"hash":"00"}`:                        400,
	} {
		if a := do(t, h, "POST", "/v1/keys", body, limited); a.status != want {
			t.Errorf("%s: got %d %s, want %d", body, a.status, a.body, want)
		}
	}
	if a := do(t, newHandler(t, newFake(t)), "GET", "/v1/keys", nil); a.status != 404 {
		t.Errorf("on a server without keys: got %d", a.status)
	}
}

// TestApprovesFor: a key has the platform approve for its own organisation, and an operator's for any.
func TestApprovesFor(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	fake := newFake(t)
	h := newHandler(t, fake, func(c *api.Config) {
		c.Auth = &api.KeyAuth{Keys: keys, Organization: "Org1MSP", Signer: signer}
	})
	operator := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Name: "operator", Organization: "Org1MSP", Scopes: api.Scopes})
	other := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Name: "other", Organization: "Org2MSP", Scopes: api.Scopes})
	const approvals = chaincodesPath + "/probe/approvals"
	if a := do(t, h, "POST", approvals, `{"version":"2"}`, other); a.status != 404 {
		t.Errorf("what is not there: got %d %s", a.status, a.body)
	}
	if a := do(t, h, "POST", chaincodesPath+"?name=probe&version=1", gzipped, operator); a.status != 201 {
		t.Fatalf("deploy: got %d %s", a.status, a.body)
	}
	for _, c := range []struct {
		key, body string
		want      int
	}{
		{operator, `{"version":"2","organization":"Org2MSP"}`, 200},
		{other, `{"version":"2"}`, 200},
		{other, `{"version":"2","organization":"Org2MSP","policy":"OR('Org1MSP.peer')","sequence":2,"initRequired":true}`, 200},
		{other, `{"version":"2","organization":"Org1MSP"}`, 403},
		{other, `{}`, 400},
		{other, `{"version":"a b"}`, 400},
		{other, `{"version":"2","sequence":0}`, 400},
		{other, `{"version":"2","package":"x"}`, 400},
	} {
		if a := do(t, h, "POST", approvals, c.body, c.key); a.status != c.want || c.want == 200 && !strings.Contains(string(a.body), `{"organization":"Org2MSP","approved":true}`) {
			t.Errorf("%s: got %d %s, want %d", c.body, a.status, a.body, c.want)
		}
	}
	for body, want := range map[string]int{
		`{"name":"mine","scopes":["admin"]}`: 201, `{"name":"own","organization":"Org2MSP","scopes":["admin"]}`: 201,
		`{"name":"theirs","organization":"Org1MSP","scopes":["admin"]}`: 403,
	} {
		if a := do(t, h, "POST", "/v1/keys", body, other); a.status != want {
			t.Errorf("%s: got %d %s, want %d", body, a.status, a.body, want)
		}
	}
	// What others have to approve is accepted, and no more.
	fake.DeployError = &gateway.PendingError{Definition: gateway.Definition{Name: "probe", Version: "2", Sequence: 2}, Approved: []string{"Org2MSP"}, Awaited: []string{"Org1MSP"}}
	if a := do(t, h, "POST", chaincodesPath+"?name=probe&version=2", gzipped, other); a.status != 202 || !strings.Contains(string(a.body), `"version":"1"`) ||
		!strings.Contains(string(a.body), `"awaits":["Org1MSP"],"detail":"chaincode probe, version 2, sequence 2, is approved by Org2MSP and awaits Org1MSP`) {
		t.Errorf("pending: got %d %s", a.status, a.body)
	}
}

// TestTenants: a tenant's administrator and users see what is theirs, and nothing else.
func TestTenants(t *testing.T) {
	t.Parallel()
	keys, store := openKeys(t)
	h := newHandler(t, newFake(t), func(c *api.Config) { // a key of the platform's own organisation is an operator's
		c.Auth = &api.KeyAuth{Keys: keys, Organization: "Org1MSP", Signer: signer}
	})
	root := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Name: "root", Scopes: api.Scopes})
	if a := do(t, h, "POST", "/v1/tenants", `{"name":"acme","organization":"AcmeMSP","channels":["alpha"]}`, root); a.status != 201 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	for body, want := range map[string]int{
		`{"name":"acme"}`: 409, `{"name":"Acme"}`: 400, `{"name":"other","channels":["alpha"]}`: 400, `{"name":"other","organization":"AcmeMSP"}`: 400,
		`{"name":"zeta"}`: 201,
	} {
		if a := do(t, h, "POST", "/v1/tenants", body, root); a.status != want {
			t.Errorf("%s: got %d %s, want %d", body, a.status, a.body, want)
		}
	}
	made := do(t, h, "POST", "/v1/keys", `{"name":"boss","tenant":"acme","scopes":["admin","submit","evaluate"]}`, root)
	var boss struct{ Secret string }
	if err := json.Unmarshal(made.body, &boss); err != nil || made.status != 201 {
		t.Fatalf("got %d %s", made.status, made.body)
	}
	acme := "Authorization: Bearer " + boss.Secret
	check := func(method, path, body string, want int) answer {
		t.Helper()
		a := do(t, h, method, path, body, acme)
		if a.status != want {
			t.Errorf("%s %s %s: got %d %s, want %d", method, path, body, a.status, a.body, want)
		}
		return a
	}
	if a := check("GET", "/v1/channels", "", 200); string(a.body) != `{"channels":[{"name":"alpha"}]}`+"\n" {
		t.Errorf("channels: %s", a.body)
	}
	check("GET", "/v1/channels/alpha", "", 200)
	check("POST", evaluatePath, `{"function":"f"}`, 200)
	for _, r := range requests {
		if strings.HasPrefix(r.path, "/v1/channels/alpha") {
			if a := do(t, h, r.method, strings.Replace(r.path, "alpha", "beta", 1), r.body, acme); a.status != 404 {
				t.Errorf("%s %s of beta: got %d, want that it is not there", r.method, r.path, a.status)
			}
		}
	}
	check("GET", "/v1/tenants", "", 403)
	check("POST", "/v1/tenants", `{"name":"mine"}`, 403)
	check("DELETE", "/v1/tenants/zeta", "", 403)
	check("POST", "/v1/channels", `{"name":"own"}`, 201)
	check("GET", "/v1/channels/own", "", 200)
	check("POST", "/v1/channels", `{"name":"joint","organizations":["AcmeMSP","ZetaMSP"]}`, 403)
	check("POST", "/v1/channels", `{"name":"beta"}`, 409)
	check("GET", "/v1/channels/beta", "", 404)
	check("POST", "/v1/keys", `{"name":"clerk"}`, 201)
	check("POST", "/v1/keys", `{"name":"clerk","tenant":"zeta"}`, 403)
	check("POST", "/v1/keys", `{"name":"clerk","organization":"Org1MSP"}`, 400)
	if a := check("GET", "/v1/keys", "", 200); strings.Contains(string(a.body), "root") || !strings.Contains(string(a.body), "clerk") {
		t.Errorf("keys: %s", a.body)
	}
	check("DELETE", "/v1/keys/root", "", 404)
	if a := do(t, h, "DELETE", "/v1/tenants/acme", nil, root); a.status != 204 {
		t.Errorf("remove: got %d %s", a.status, a.body)
	}
	check("GET", "/v1/channels", "", 401)
	if a := do(t, newHandler(t, newFake(t), withKeys(keysOn(t, store))), "GET", "/v1/channels", nil, acme); a.status != 401 {
		t.Errorf("in another process: got %d", a.status)
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
	mustCreate(t, keys, api.Key{Name: "another"}) // the count goes on
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
		{Name: "n", Organization: "o", Channels: []string{"A B"}}, {Name: "n", Organization: "o", Chaincodes: []string{"-"}},
		{Name: "n", Organization: "o", Attributes: map[string]string{"": "x"}}, {Name: "n", Tenant: "nobody"},
	} {
		if _, _, err := keys.Create(t.Context(), key); err == nil {
			t.Errorf("%+v was created", key)
		}
	}
	if list, err := keys.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("got %v %v", list, err)
	}
}

// oldFile is a file as servers kept it.
func oldFile(t testing.TB, version int, keys ...api.Key) []byte {
	t.Helper()
	content, err := sealed.Marshal(struct {
		Version int       `json:"version"`
		Keys    []api.Key `json:"keys"`
	}{version, keys})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestImportKeys takes an older file over, unless a byte of it has changed.
func TestImportKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	imported := func(content []byte) (*api.Keys, error) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, _ := openKeys(t)
		return keys, keys.Import(t.Context(), path)
	}
	secret, hash := api.NewSecret()
	old := api.Key{ID: "key_" + hash[:12], Name: "shop", Hash: hash, User: "alice", Organization: "Org1MSP", Scopes: api.Scopes, Channels: []string{"alpha"}, CreatedAt: time.Now().UTC()}
	good := oldFile(t, 2, old)
	for range 200 {
		bad := slices.Clone(good)
		bad[rand.IntN(len(bad))] ^= 1 << rand.IntN(8)
		if _, err := imported(bad); !errors.Is(err, api.ErrDamagedKeys) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "make new keys") {
			t.Fatalf("%q: %v", bad, err)
		}
	}
	wrong := old
	wrong.Hash = "00"
	for _, content := range []string{"", "{", "null", `{"version":2}`, string(oldFile(t, 1, old)), string(oldFile(t, 3)), string(oldFile(t, 2, wrong))} {
		if _, err := imported([]byte(content)); !errors.Is(err, api.ErrDamagedKeys) {
			t.Errorf("%q: %v", content, err)
		}
	}
	keys, err := imported(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Import(t.Context(), path); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if a := do(t, newHandler(t, newFake(t), withKeys(keys)), "GET", "/v1/channels/alpha", nil, "Authorization: Bearer "+secret); a.status != 200 {
		t.Errorf("with the old key: got %d", a.status)
	}
}

func FuzzImportKeys(f *testing.F) {
	_, hash := api.NewSecret()
	f.Add(oldFile(f, 2, api.Key{ID: "key_" + hash[:12], Name: "n", Hash: hash, User: "u", Organization: "o"}))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, _ := openKeys(t)
		if err := keys.Import(t.Context(), path); err != nil {
			return
		}
		list, err := keys.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range list {
			if len(key.Hash) != 64 || key.Organization == "" {
				t.Errorf("imported %+v", key)
			}
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	keys, _ := openKeys(f)
	secret, _, err := keys.Create(f.Context(), api.Key{Name: "n", Organization: "o"})
	if err != nil {
		f.Fatal(err)
	}
	auth := &api.KeyAuth{Keys: keys, Signer: signer}
	for _, seed := range []string{"Bearer " + secret, "bearer  " + secret + " ", "Basic eDp5", "", "Bearer", "Bearer pk_"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{header}
		p, err := auth.Authenticate(r)
		if (err == nil) != (p != nil) {
			t.Fatalf("%+v and %v", p, err)
		}
		scheme, token, _ := strings.Cut(header, " ")
		if want := strings.EqualFold(scheme, "Bearer") && strings.TrimSpace(token) == secret; (err == nil) != want {
			t.Errorf("%q: %v", header, err)
		}
		if err != nil && len(header) > 30 && strings.Contains(err.Error(), header) {
			t.Errorf("the error repeats the header: %v", err)
		}
	})
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
