package jwtauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// refreshAfter is how far fetches of one document are apart at least: tokens with keys that do not exist cost the issuer nothing.
	refreshAfter = 5 * time.Second
	// retryAfter is the same after a failure.
	retryAfter = time.Second
	// maxDocument is how large the issuer's metadata and its keys may be, in bytes.
	maxDocument = 1 << 20
)

// A fetchError is a document of the issuer that could not be had.
type fetchError struct {
	url string
	err error
}

func (e *fetchError) Error() string { return fmt.Sprintf("fetch %s: %v", e.url, e.err) }
func (e *fetchError) Unwrap() error { return e.err }

// fetcher fetches the issuer's documents, each at most once in a while.
type fetcher struct {
	transport http.RoundTripper
	timeout   time.Duration
	now       func() time.Time

	mu   sync.Mutex
	last map[string]*fetched // by URL
}

type fetched struct {
	at   time.Time
	body []byte
	err  error
}

func newFetcher(client *http.Client, now func() time.Time) *fetcher {
	f := &fetcher{transport: http.DefaultTransport, timeout: defaultTimeout, now: now, last: map[string]*fetched{}}
	if client != nil {
		if client.Transport != nil {
			f.transport = client.Transport
		}
		if client.Timeout > 0 {
			f.timeout = client.Timeout
		}
	}
	return f
}

// client follows no redirection: the documents are where the issuer says.
func (f *fetcher) client() *http.Client {
	return &http.Client{Transport: f, Timeout: f.timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip answers with what was fetched lately, or fetches. What is no JSON is a failure.
func (f *fetcher) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.String()
	f.mu.Lock()
	last := f.last[name]
	f.mu.Unlock()
	now := f.now()
	if last == nil || now.Sub(last.at).Abs() > last.fresh() {
		last = f.fetch(r, now)
		f.mu.Lock()
		if r.Context().Err() == nil { // else it was the caller who failed
			f.last[name] = last
		}
		f.mu.Unlock()
	}
	if last.err != nil {
		return nil, &fetchError{name, last.err}
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(last.body)), ContentLength: int64(len(last.body))}, nil
}

func (l *fetched) fresh() time.Duration {
	if l.err != nil {
		return retryAfter
	}
	return refreshAfter
}

func (f *fetcher) fetch(r *http.Request, now time.Time) *fetched {
	response, err := f.transport.RoundTrip(r)
	if err != nil {
		return &fetched{at: now, err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	switch {
	case err != nil:
	case response.StatusCode != http.StatusOK:
		err = errors.New("the answer is " + response.Status)
	case len(body) > maxDocument:
		err = fmt.Errorf("the answer has over %d bytes", maxDocument)
	case !json.Valid(body):
		err = errors.New("the answer is no JSON")
	}
	return &fetched{at: now, body: body, err: err}
}
