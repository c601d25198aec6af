package api_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"peerless/shared/api"
	"peerless/shared/gateway"
)

func TestNoSuchRoute(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	for _, path := range []string{"/", "/v1", "/v2/channels", "/v1/channels/", "/v1/channels//blocks", "//v1/channels", "/v1/./channels", "/v1/channels/..",
		"/v1/channels/alpha/../alpha/blocks", "/v1/channels/alpha/chaincodes/probe/api/f", "/v1/channels/alpha/blocks/1/2", "/V1/channels", "/v1/channels/alpha/chaincodes//history/x"} {
		if p := do(t, h, "GET", path, nil).problem(t); p.Status != 404 || p.Code != api.CodeNotFound {
			t.Errorf("%s: got %+v", path, p)
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	for request, allow := range map[string]string{
		"PUT /v1/channels": "GET, HEAD, POST", "GET " + submitPath: "POST", "HEAD " + submitPath: "POST", "OPTIONS /healthz": "GET, HEAD",
		"PATCH /v1/channels/alpha/chaincodes/probe": "GET, HEAD, PUT, DELETE", "POST /v1/channels/alpha/chaincodes/probe/history/a/b": "GET, HEAD",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		p := answer{w.Code, w.Header(), w.Body.Bytes()}.problem(t)
		if p.Status != 405 || p.Code != api.CodeMethodNotAllowed || w.Header().Get("Allow") != allow {
			t.Errorf("%s: got %d, Allow %q, want %q", request, p.Status, w.Header().Get("Allow"), allow)
		}
	}
	if a := do(t, h, "GET", "/healthz", nil); a.status != 200 {
		t.Errorf("healthz: got %d", a.status)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	for _, c := range []struct{ method, path, field, rule string }{
		{"GET", "/v1/channels/a%2Fb", "channel", `^[a-z][a-z0-9.-]*$`},
		{"GET", "/v1/channels/a%20b/blocks", "channel", `^[a-z]`},
		{"GET", "/v1/channels/Alpha", "channel", `^[a-z]`},
		{"GET", "/v1/channels/%C3%A9", "channel", `^[a-z]`},
		{"GET", "/v1/channels/%FF%00", "channel", `^[a-z]`},
		{"GET", "/v1/channels/%2E%2E", "channel", `^[a-z]`},
		{"GET", "/v1/channels/" + strings.Repeat("a", 250), "channel", `249`},
		{"POST", "/v1/channels/alpha/chaincodes/a%2Fb/submit", "chaincode", `^[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*$`},
		{"POST", "/v1/channels/alpha/chaincodes/_lifecycle/submit", "chaincode", `^[a-zA-Z0-9]+`},
		{"POST", "/v1/channels/alpha/chaincodes/a--b/evaluate", "chaincode", `^[a-zA-Z0-9]+`},
	} {
		p := do(t, h, c.method, c.path, nil).problem(t)
		if p.Status != 400 || p.Code != api.CodeInvalidRequest || p.Field != c.field || !strings.Contains(p.Detail, c.rule) {
			t.Errorf("%s: got %+v", c.path, p)
		}
	}
}

func TestPanicIsAProblem(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	fake := newFake(t)
	fake.Evaluate = func(context.Context, gateway.Request) (*gateway.Answer, error) { panic("boom") }
	h := newHandler(t, fake, func(c *api.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	a := do(t, h, "POST", evaluatePath, `{"function":"f"}`, "X-Request-Id: r-1")
	if p := a.problem(t); p.Status != 500 || p.Code != api.CodeInternal || strings.Contains(p.Detail, "boom") {
		t.Errorf("got %+v", p)
	}
	if !strings.Contains(log.String(), "panic: boom") || !strings.Contains(log.String(), "request=r-1") {
		t.Errorf("log: got %s", log.String())
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newHandler(t, newFake(t), func(c *api.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if got := do(t, h, "GET", "/healthz", nil, "X-Request-Id: mine").header.Get("X-Request-Id"); got != "mine" {
		t.Errorf("got %q, want mine", got)
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 129), "é"} {
		if got := do(t, h, "GET", "/healthz", nil, "X-Request-Id: "+bad).header.Get("X-Request-Id"); len(got) != 16 {
			t.Errorf("for %q: got %q, want 16 digits", bad, got)
		}
	}
	if !strings.Contains(log.String(), "level=DEBUG msg=request request=mine method=GET path=/healthz status=200 bytes=16") {
		t.Errorf("log: got %s", log.String())
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t), func(c *api.Config) { c.Auth = &api.KeyAuth{} })
	if a := do(t, h, "GET", "/v1/openapi.json", nil); a.status != 200 || !bytes.Equal(a.body, api.OpenAPI) {
		t.Errorf("openapi.json: got %d", a.status)
	}
	a := do(t, h, "GET", "/docs", nil)
	if a.status != 200 || !strings.Contains(a.header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Errorf("docs: got %d %v", a.status, a.header)
	}
	for _, outside := range []string{"src=\"http", "href=\"http", "//cdn", "@import"} {
		if bytes.Contains(a.body, []byte(outside)) {
			t.Errorf("the page refers to the outside: %s", outside)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t), func(c *api.Config) {
		c.Healthy = func(context.Context) error { return context.DeadlineExceeded }
	})
	if p := do(t, h, "GET", "/healthz", nil).problem(t); p.Status != 503 || p.Code != api.CodeUnavailable {
		t.Errorf("got %+v", p)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := api.New(api.Config{}); err == nil {
		t.Error("a handler without parts was made")
	}
}

// TestServer sends over a real connection: what httptest cannot show.
func TestServer(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	server := httptest.NewUnstartedServer(nil)
	server.Config = api.NewServer(h, api.GuardLocal(h))
	server.Start()
	defer server.Close()
	for path, want := range map[string]int{"/healthz": 200, "/v1/channels/alpha/chaincodes/probe/history/a//b": 200, "/v1/nope": 404} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want || len(response.Header.Values("Access-Control-Allow-Origin")) > 0 {
			t.Errorf("%s: got %d %v", path, response.StatusCode, response.Header)
		}
	}
	response, err := http.Get(server.URL + "/v1/channels/alpha/chaincodes/probe/history/" + strings.Repeat("x", api.MaxHeader+8192))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("header over the limit: got %d", response.StatusCode)
	}
}
