// Package httpapi serves an http.Handler behind an API Gateway HTTP API: it turns an event of payload format 2.0 into a request, and
// what was answered into the event's result.
//
// What an HTTP API does to a request cannot be undone here: repeated headers come as one, joined with commas; the path comes
// percent-decoded, so that %2F in it is a slash, and ends before a %3F. The query comes as it was sent. A whole answer is one message:
// there are no streams, and no flushing. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

const (
	// MaxAnswer is the size of a function's result, in bytes: 6 MB and a little, by the error that Lambda answers for a larger one.
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	MaxAnswer = 6<<20 + 100
	// Margin is how long before the function's own deadline a request's context ends: what is left is for the answer.
	Margin = 500 * time.Millisecond
)

// A Handler is a function's handler, over an http.Handler. Safe for concurrent use if the latter is.
type Handler struct {
	Handler http.Handler
	// TooLarge answers in the place of an answer that is larger than MaxAnswer. nil: an error, of which the caller learns nothing.
	TooLarge http.Handler
}

// Invoke serves one event. An error means that the function failed; API Gateway answers 500 for it.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var event events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-Margin))
		defer cancel()
	}
	r, err := newRequest(ctx, &event)
	if err != nil {
		return nil, err
	}
	result, err := answer(h.Handler, r)
	if err != nil || len(result) <= MaxAnswer {
		return result, err
	}
	if h.TooLarge == nil {
		return nil, fmt.Errorf("the answer to %s %s has %d bytes, more than the %d of a function's result", r.Method, r.URL.Path, len(result), MaxAnswer)
	}
	return answer(h.TooLarge, r)
}

// newRequest makes the request that API Gateway was sent, as a server would have read it.
func newRequest(ctx context.Context, event *events.APIGatewayV2HTTPRequest) (*http.Request, error) {
	if event.Version != "2.0" || event.RequestContext.HTTP.Method == "" {
		return nil, fmt.Errorf("the event is not an HTTP API's of payload format 2.0, but of %q: set PayloadFormatVersion of the integration", event.Version)
	}
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return nil, fmt.Errorf("decode the event's body: %w", err)
		}
	}
	target := &url.URL{Path: event.RawPath, RawQuery: event.RawQueryString}
	r := (&http.Request{
		Method: event.RequestContext.HTTP.Method, URL: target, RequestURI: target.RequestURI(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(event.Headers)+1), Body: http.NoBody, ContentLength: int64(len(body)),
		Host: event.RequestContext.DomainName, RemoteAddr: net.JoinHostPort(event.RequestContext.HTTP.SourceIP, "0"),
	}).WithContext(ctx)
	if len(body) > 0 {
		r.Body = reader{bytes.NewReader(body)}
	}
	for name, value := range event.Headers {
		r.Header.Add(name, value)
	}
	if host := r.Header.Get("Host"); host != "" { // as net/http has it: there, and not among the headers
		r.Host = host
		r.Header.Del("Host")
	}
	if len(event.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(event.Cookies, "; "))
	}
	return r, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// response collects an answer.
type response struct {
	header, sent http.Header // sent is what header was when the status was written
	status       int
	body         bytes.Buffer
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // informational answers cannot be carried
		w.status, w.sent = status, maps.Clone(w.header)
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// answer serves a request and encodes what was answered as the event's result.
func answer(handler http.Handler, r *http.Request) (result []byte, err error) {
	defer func() {
		if reason := recover(); reason == http.ErrAbortHandler {
			err = fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, errAborted)
		} else if reason != nil {
			panic(reason) // the runtime ends the function's process, which is what is safe
		}
	}()
	w := &response{header: make(http.Header)}
	handler.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	out := events.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: make(map[string]string, len(w.sent)), Cookies: w.sent["Set-Cookie"]}
	for name, values := range w.sent {
		if name != "Set-Cookie" && name != "Content-Length" { // API Gateway counts by itself
			out.Headers[name] = strings.Join(values, ", ")
		}
	}
	body := w.body.Bytes()
	switch {
	case r.Method == http.MethodHead:
	case utf8.Valid(body):
		out.Body = string(body)
	default:
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false)
	if err := e.Encode(&out); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return bytes.TrimSuffix(encoded.Bytes(), []byte("\n")), nil
}

// errAborted: the http.Handler gave up after it had begun to answer.
var errAborted = errors.New("the answer was cut short")
