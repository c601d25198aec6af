package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"peerless/shared/organization"
)

// Config is what the API serves.
type Config struct {
	Gateway  Gateway
	Deployer Deployer
	Auth     Authenticator
	// Queue keeps what is accepted and not waited for. nil: there is no queue.
	Queue Queue
	// Fabric returns what serves requests that clients sign for themselves, as the gateway of an organisation, or of each signer's
	// own if that is empty. nil: there is none.
	Fabric func(mspID string) FabricGateway
	// Webhooks keeps subscriptions to events. nil: there are none.
	Webhooks Webhooks
	// Platform is what the operator manages. nil: it is managed elsewhere.
	Platform Platform
	// Healthy returns nil when the platform can commit. nil: it always can.
	Healthy func(context.Context) error
	// Logger gets a line per request at debug level, and what went wrong at error level. nil: nothing is logged.
	Logger *slog.Logger
	// Heartbeat is the pause after which a silent event stream sends a comment. Default: 15 s.
	Heartbeat time.Duration
	// NoStreams: what carries the answers carries no streams. Events are then for long polls only.
	NoStreams bool
}

// Handler serves the API. Close it to end the event streams.
type Handler struct {
	Config
	keys    *Keys // that administrators manage over HTTP: those of Auth. nil: the server needs no keys
	mux     *http.ServeMux
	closing context.Context
	close   context.CancelFunc
}

// New returns the API over its parts, of which Gateway, Deployer and Auth are required.
func New(config Config) (*Handler, error) {
	if config.Gateway == nil || config.Deployer == nil || config.Auth == nil {
		return nil, errors.New("api: Gateway, Deployer and Auth are required")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Heartbeat <= 0 {
		config.Heartbeat = defaultHeartbeat
	}
	h := &Handler{Config: config, mux: http.NewServeMux()}
	if auth, ok := config.Auth.(*KeyAuth); ok {
		h.keys = auth.Keys
	}
	h.closing, h.close = context.WithCancel(context.Background())
	byPath := make(map[string]methods)
	for _, route := range h.routes() {
		if byPath[route.path] == nil {
			byPath[route.path] = make(methods)
			h.mux.Handle(route.path, byPath[route.path])
			if short, ok := strings.CutSuffix(route.path, "/{key...}"); ok {
				h.mux.HandleFunc(short, notFound) // ServeMux would redirect
			}
		}
		byPath[route.path][route.method] = route.serve
	}
	h.mux.HandleFunc("/", notFound)
	return h, nil
}

// Close ends the event streams: their readers resume elsewhere, or later. Other requests are not touched.
func (h *Handler) Close() { h.close() }

// methods serves one path.
type methods map[string]http.HandlerFunc

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if serve, ok := m[method]; ok {
		serve(w, r)
		return
	}
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if m[method] != nil || method == http.MethodHead && m[http.MethodGet] != nil {
			allow = append(allow, method)
		}
	}
	list := strings.Join(allow, ", ")
	(&Problem{Code: CodeMethodNotAllowed, Allow: list, Detail: "there is " + list + " here, not " + r.Method}).write(w)
}

func notFound(w http.ResponseWriter, r *http.Request) {
	(&Problem{Code: CodeNotFound, Detail: "there is no such route: GET /docs lists them"}).write(w)
}

// request is one on its way through the adapter.
type request struct {
	*http.Request
	w                  http.ResponseWriter
	channel, chaincode string // from the path, checked; empty if the route has none
}

// handle is the adapter of every endpoint: authenticate, decode, call, encode. Errors of each step go to the error map.
func handle[In, Out any](h *Handler, scope Scope, decode func(*request) (In, error), call func(context.Context, *Principal, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r, w: w, channel: r.PathValue("ch"), chaincode: r.PathValue("cc")}
		principal, err := h.admit(scope, q)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		in, err := decode(q)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		out, err := call(r.Context(), principal, in)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.encode(w, r, out)
	}
}

// admit finds the principal and checks that it may use the route on the channel and chaincode in the path.
func (h *Handler) admit(scope Scope, q *request) (*Principal, error) {
	if scope == scopePublic {
		return nil, nil
	}
	principal, err := h.Auth.Authenticate(q.Request)
	if err != nil {
		return nil, err
	}
	if q.channel != "" {
		if err := checkChannel("channel", q.channel); err != nil {
			return nil, err
		}
	}
	if q.chaincode != "" {
		if err := checkChaincode("chaincode", q.chaincode); err != nil {
			return nil, err
		}
	}
	if err := principal.allow(scope, q.channel, q.chaincode); err != nil {
		return nil, err
	}
	return principal, h.join(q.Context(), principal, q.channel)
}

// join makes the platform's operator a member of a channel: see Principal.Operator. Where no member's users are made here it stays
// who it is, and the channel refuses what is for members.
func (h *Handler) join(ctx context.Context, p *Principal, name string) error {
	if !p.Operator || name == "" {
		return nil
	}
	channel, err := h.Gateway.Channel(ctx, name)
	if err != nil {
		return nil // what the request is for says it better
	}
	members := channel.Config().Members()
	own := p.MSPID
	if slices.Contains(members, own) {
		return nil
	}
	for _, p.MSPID = range members {
		if _, err := p.Signer(); !errors.Is(err, organization.ErrNoAuthority) {
			return err
		}
	}
	p.MSPID = own
	return nil
}

// fail answers with the problem of err. What the server is to blame for is logged.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	problem := problemOf(err)
	if cause := problem.cause; cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	if problem.Code == CodeInternal || problem.Code == CodeOutcomeUnknown || problem.cause != nil {
		h.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("request", w.Header().Get(headerRequestID)), slog.String("method", r.Method),
			slog.String("path", r.URL.Path), slog.String("code", string(problem.Code)), slog.Any("error", err))
	}
	problem.write(w)
}

// What an endpoint returns is encoded as JSON, unless it is one of these.
type (
	// appender writes its own JSON.
	appender interface {
		appendJSON([]byte) []byte
	}
	// responder answers by itself; an error it returns comes before it wrote anything.
	responder interface {
		respond(http.ResponseWriter, *http.Request) error
	}
	// created is a new resource: 201, with its address.
	created struct {
		location string
		body     any
	}
	// none is an answer without content: 204.
	none struct{}
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the capacity up to which a buffer is kept for the next request.
const maxPooled = 64 << 10

func (h *Handler) encode(w http.ResponseWriter, r *http.Request, out any) {
	status := http.StatusOK
	switch o := out.(type) {
	case responder:
		if err := o.respond(w, r); err != nil {
			h.fail(w, r, err)
		}
		return
	case created:
		w.Header().Set("Location", o.location)
		status, out = http.StatusCreated, o.body
	case none:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	defer func() {
		if b.Cap() <= maxPooled {
			buffers.Put(b)
		}
	}()
	if a, ok := out.(appender); ok {
		b.Write(append(a.appendJSON(b.AvailableBuffer()), '\n'))
	} else {
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(out); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	writeBody(w, status, "application/json", b.Bytes())
}

// readBody reads a JSON body of at most MaxBody bytes.
func (q *request) readBody() ([]byte, error) {
	if err := q.checkContentType(); err != nil {
		return nil, err
	}
	if q.ContentLength > MaxBody {
		return nil, &http.MaxBytesError{Limit: MaxBody}
	}
	if n := q.ContentLength; n >= 0 && n <= maxPooled {
		body := make([]byte, n)
		if _, err := io.ReadFull(q.Body, body); err != nil {
			return nil, invalid("", "the body ended before its Content-Length")
		}
		return body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return nil, invalid("", "the body could not be read to its end")
	}
	return body, err
}

// checkContentType takes JSON, what says nothing, and what curl says by itself. The last is safe: pages of other origins,
// which could send it too, have no key, and are refused by GuardLocal where none is needed.
func (q *request) checkContentType() error {
	if e := q.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return &Problem{Code: CodeUnsupportedMedia, Field: "Content-Encoding", Detail: "send the body as it is, not encoded as " + e}
	}
	value := q.Header.Get("Content-Type")
	if value == "" || value == "application/json" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(value)
	if err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" && !strings.HasSuffix(kind, "+json") {
		return &Problem{Code: CodeUnsupportedMedia, Field: "Content-Type", Detail: "send JSON, with Content-Type: application/json"}
	}
	return nil
}

// accepts reports whether the request's Accept header names the media type: wildcards do not count.
func accepts(r *http.Request, mediaType string) bool {
	for _, header := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			kind, params, err := mime.ParseMediaType(part)
			if err == nil && kind == mediaType && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}
