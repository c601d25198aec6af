package httpapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"peerless/shared/httpapi"
)

// event is a request as API Gateway sends it.
func event(method, path string) events.APIGatewayV2HTTPRequest {
	e := events.APIGatewayV2HTTPRequest{Version: "2.0", RouteKey: "$default", RawPath: path, Headers: map[string]string{"host": "api.example"}}
	e.RequestContext.HTTP.Method, e.RequestContext.HTTP.SourceIP = method, "192.0.2.7"
	return e
}

// invoke runs one event and decodes the result, whose form API Gateway knows.
func invoke(t *testing.T, h *httpapi.Handler, e events.APIGatewayV2HTTPRequest) events.APIGatewayV2HTTPResponse {
	t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	result, err := h.Invoke(context.Background(), payload)
	if err != nil {
		t.Fatal(err)
	}
	var answer events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(result, &answer); err != nil {
		t.Fatalf("%v: %.200s", err, result)
	}
	return answer
}

// seen is what a handler finds in a request.
type seen struct {
	Method, Path, Escaped, Query, Host, Remote, URI, Body string
	Length                                                int64
	Header                                                http.Header
}

func TestRequest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*events.APIGatewayV2HTTPRequest)
		want   seen
	}{
		"plain": {func(e *events.APIGatewayV2HTTPRequest) {}, seen{}},
		"body": {
			func(e *events.APIGatewayV2HTTPRequest) { e.Body = `{"a":"ü"}` },
			seen{Body: `{"a":"ü"}`, Length: 10},
		},
		"base64 body": {
			func(e *events.APIGatewayV2HTTPRequest) {
				e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte{0xff, 0, 0x1f}), true
			},
			seen{Body: "\xff\x00\x1f", Length: 3},
		},
		"query as sent": {
			func(e *events.APIGatewayV2HTTPRequest) { e.RawQueryString = "from=1%2E2&from=%26+x" },
			seen{Query: "from=1%2E2&from=%26+x", URI: "/v1/x?from=1%2E2&from=%26+x"},
		},
		// API Gateway decodes: what reads as an escape is none.
		"decoded path": {
			func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/h/a/b c%41 100%/ü#" },
			seen{Path: "/h/a/b c%41 100%/ü#", Escaped: "/h/a/b%20c%2541%20100%25/%C3%BC%23", URI: "/h/a/b%20c%2541%20100%25/%C3%BC%23"},
		},
		"headers and cookies": {
			func(e *events.APIGatewayV2HTTPRequest) {
				e.Headers["accept"], e.Headers["x-peerless-user"] = "application/json,text/plain", "alice"
				e.Cookies = []string{"a=1", "b=2; c"}
			},
			seen{Header: http.Header{"Accept": {"application/json,text/plain"}, "X-Peerless-User": {"alice"}, "Cookie": {"a=1; b=2; c"}}},
		},
		"no host": {
			func(e *events.APIGatewayV2HTTPRequest) {
				delete(e.Headers, "host")
				e.RequestContext.DomainName = "id.execute-api.eu-central-1.amazonaws.com"
			},
			seen{Host: "id.execute-api.eu-central-1.amazonaws.com"},
		},
		"IPv6": {
			func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.HTTP.SourceIP = "2001:db8::1" },
			seen{Remote: "[2001:db8::1]:0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got seen
			h := &httpapi.Handler{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				got = seen{r.Method, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery, r.Host, r.RemoteAddr, r.RequestURI, string(body), r.ContentLength, r.Header}
			})}
			e := event("POST", "/v1/x")
			test.change(&e)
			invoke(t, h, e)
			want := test.want
			want.Method = "POST"
			for field, otherwise := range map[*string]string{&want.Path: "/v1/x", &want.Escaped: "/v1/x", &want.URI: "/v1/x", &want.Host: "api.example", &want.Remote: "192.0.2.7:0"} {
				if *field == "" {
					*field = otherwise
				}
			}
			if want.Header == nil {
				want.Header = http.Header{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		serve  http.HandlerFunc
		want   events.APIGatewayV2HTTPResponse
	}{
		"nothing": {"GET", func(http.ResponseWriter, *http.Request) {}, events.APIGatewayV2HTTPResponse{StatusCode: 200}},
		"text": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "13")
			w.WriteHeader(201)
			w.Header().Set("Too", "late")
			io.WriteString(w, `{"a":"<ü>"}`+"\n")
		}, events.APIGatewayV2HTTPResponse{StatusCode: 201, Headers: map[string]string{"Content-Type": "application/json"}, Body: `{"a":"<ü>"}` + "\n"}},
		"bytes": {"GET", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{1, 0xfe}) },
			events.APIGatewayV2HTTPResponse{StatusCode: 200, Body: "Af4=", IsBase64Encoded: true}},
		"repeated headers": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Vary"] = []string{"Accept", "Origin"}
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
			http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
			w.WriteHeader(204)
		}, events.APIGatewayV2HTTPResponse{StatusCode: 204, Headers: map[string]string{"Vary": "Accept, Origin"}, Cookies: []string{"a=1", "b=2"}}},
		"head": {"HEAD", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "no body") }, events.APIGatewayV2HTTPResponse{StatusCode: 200}},
		"early hints": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		}, events.APIGatewayV2HTTPResponse{StatusCode: http.StatusTeapot}},
		"a flush is refused": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err == nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}, events.APIGatewayV2HTTPResponse{StatusCode: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.want.Headers == nil {
				test.want.Headers = map[string]string{}
			}
			if diff := cmp.Diff(test.want, invoke(t, &httpapi.Handler{Handler: test.serve}, event(test.method, "/"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLimits: an answer of the size that Lambda carries passes; one more byte does not, and says so.
func TestLimits(t *testing.T) {
	t.Parallel()
	size := 0
	h := &httpapi.Handler{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", size)) }),
		TooLarge: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) }),
	}
	payload, err := json.Marshal(event("GET", "/blocks"))
	if err != nil {
		t.Fatal(err)
	}
	empty, err := h.Invoke(context.Background(), payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ extra, status int }{{0, 200}, {1, 413}} {
		size = httpapi.MaxAnswer - len(empty) + test.extra
		if got := invoke(t, h, event("GET", "/blocks")).StatusCode; got != test.status {
			t.Errorf("%d bytes over the limit: status %d, want %d", test.extra, got, test.status)
		}
	}
	h.TooLarge = nil
	if _, err := h.Invoke(context.Background(), payload); err == nil || !strings.Contains(err.Error(), "GET /blocks") {
		t.Errorf("too large, with nobody to say so: %v", err)
	}
}

// TestDeadline: the context of a request ends a little before the function's time does.
func TestDeadline(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(29 * time.Second)
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	var got time.Time
	h := &httpapi.Handler{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _ = r.Context().Deadline() })}
	payload, err := json.Marshal(event("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Invoke(ctx, payload); err != nil {
		t.Fatal(err)
	}
	if want := end.Add(-httpapi.Margin); !got.Equal(want) {
		t.Errorf("deadline %v, want %v", got, want)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	h := &httpapi.Handler{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}
	good, err := json.Marshal(event("GET", "/x"))
	if err != nil {
		t.Fatal(err)
	}
	for want, payload := range map[string]string{
		"read the event":                   `[]`,
		"PayloadFormatVersion":             `{"version":"1.0","httpMethod":"GET","path":"/"}`,
		"decode the event's body":          `{"version":"2.0","isBase64Encoded":true,"body":"*","requestContext":{"http":{"method":"GET"}}}`,
		"GET /x: the answer was cut short": string(good),
	} {
		if _, err := h.Invoke(context.Background(), []byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %s", payload, err, want)
		}
	}
}

// FuzzInvoke: no event brings the function down, and every result is JSON that API Gateway takes.
func FuzzInvoke(f *testing.F) {
	for _, path := range []string{"/", "/a%zz", "//x", "", "\x00?#"} {
		payload, err := json.Marshal(event("GET", path))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	h := &httpapi.Handler{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, r.URL.EscapedPath(), r.URL.Query(), r.Header)
		io.Copy(w, r.Body)
	})}
	f.Fuzz(func(t *testing.T, payload []byte) {
		result, err := h.Invoke(context.Background(), payload)
		var answer events.APIGatewayV2HTTPResponse
		if err == nil {
			err = json.Unmarshal(result, &answer)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("%v: %s", err, result)
			}
		}
	})
}
