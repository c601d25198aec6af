package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"peerless/shared/api"
	"peerless/shared/docstore"
	"peerless/shared/secret"
	"peerless/shared/webhook"
)

func TestWebhooks(t *testing.T) {
	t.Parallel()
	registry := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey()}
	h := newHandler(t, newFake(t), func(c *api.Config) { c.Webhooks = registry })
	const path = "/v1/channels/alpha/webhooks"
	if a := do(t, h, "GET", path, nil); a.status != 200 || string(a.body) != `{"webhooks":[]}`+"\n" {
		t.Errorf("no webhooks: got %d %s", a.status, a.body)
	}
	a := do(t, h, "POST", path, `{"url":"https://example.com/e","chaincode":"probe","events":["rung"],"from":"3"}`)
	var made struct{ ID, Secret string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != 201 || !strings.HasPrefix(made.Secret, "whsec_") || a.header.Get("Location") != path+"/"+made.ID {
		t.Fatalf("add: got %d %s", a.status, a.body)
	}
	s, err := registry.Get(t.Context(), "alpha", made.ID)
	if err != nil || s.From != 3 || s.Chaincode != "probe" || fmt.Sprint(s.Events) != "[rung]" {
		t.Errorf("what is kept: %+v, %v", s, err)
	}
	a = do(t, h, "GET", path, nil)
	if a.status != 200 || strings.Contains(string(a.body), "secret") || !strings.Contains(string(a.body), `"status":{"position":"3","delivered":0,"failures":0}`) {
		t.Errorf("list: got %d %s", a.status, a.body)
	}
	// One that begins now begins behind the blocks there are.
	if a := do(t, h, "POST", path, `{"url":"https://example.com/now"}`); a.status != 201 {
		t.Errorf("add: got %d %s", a.status, a.body)
	}
	a = do(t, h, "GET", path, nil)
	if now := fmt.Sprintf(`"position":"%d"`, len(blocks()["alpha"])); !strings.Contains(string(a.body), now) {
		t.Errorf("list: got %s, want %s", a.body, now)
	}
	for body, field := range map[string]string{
		`{}`:                                     "url",
		`{"url":"http://example.com"}`:           "url",
		`{"url":"arn:aws:sns:eu:1:t"}`:           "url",
		`{"url":"https://e.com","colour":"x"}`:   "colour",
		`{"url":"https://e.com","secret":"x"}`:   "secret",
		`{"url":"https://e.com","from":"1.2"}`:   "from",
		`{"url":"https://e.com","events":"x"}`:   "events",
		`{"url":"https://e.com","chaincode":""}`: "chaincode",
	} {
		if p := do(t, h, "POST", path, body).problem(t); p.Status != 400 || p.Field != field {
			t.Errorf("%s: got %+v, want field %s", body, p, field)
		}
	}
	if p := do(t, h, "POST", "/v1/channels/nope/webhooks", `{"url":"https://e.com"}`).problem(t); p.Status != 404 {
		t.Errorf("an unknown channel: got %+v", p)
	}
	if a := do(t, h, "DELETE", path+"/"+made.ID, nil); a.status != 204 {
		t.Errorf("remove: got %d %s", a.status, a.body)
	}
	if p := do(t, h, "DELETE", path+"/"+made.ID, nil).problem(t); p.Status != 404 {
		t.Errorf("remove again: got %+v", p)
	}
	h = newHandler(t, newFake(t))
	if p := do(t, h, "GET", path, nil).problem(t); p.Status != 404 || !strings.Contains(p.Detail, "no webhooks") {
		t.Errorf("a server without webhooks: got %+v", p)
	}
}

// TestWebhookKeys: a key for one chaincode sees and makes webhooks of that alone.
func TestWebhookKeys(t *testing.T) {
	t.Parallel()
	keys, _ := openKeys(t)
	registry := &webhook.Registry{Documents: docstore.NewMem(1 << 20), Sealer: secret.NewKey()}
	h := newHandler(t, newFake(t), withKeys(keys), func(c *api.Config) { c.Webhooks = registry })
	const path = "/v1/channels/alpha/webhooks"
	whole := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Scopes: api.Scopes})
	probe := "Authorization: Bearer " + mustCreate(t, keys, api.Key{Scopes: api.Scopes, Chaincodes: []string{"probe"}})
	a := do(t, h, "POST", path, `{"url":"https://example.com/all"}`, whole)
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != 201 {
		t.Fatalf("add: got %d %s", a.status, a.body)
	}
	for _, body := range []string{`{"url":"https://e.com"}`, `{"url":"https://e.com","chaincode":"other"}`} {
		if p := do(t, h, "POST", path, body, probe).problem(t); p.Status != 403 {
			t.Errorf("%s: got %+v", body, p)
		}
	}
	if a := do(t, h, "POST", path, `{"url":"https://e.com","chaincode":"probe"}`, probe); a.status != 201 {
		t.Errorf("its own chaincode: got %d %s", a.status, a.body)
	}
	if a := do(t, h, "GET", path, nil, probe); strings.Count(string(a.body), `"id"`) != 1 {
		t.Errorf("it sees %s", a.body)
	}
	if p := do(t, h, "DELETE", path+"/"+made.ID, nil, probe).problem(t); p.Status != 404 {
		t.Errorf("it removed another's: %+v", p)
	}
}
