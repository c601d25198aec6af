package api

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// headerRequestID names a request in answers and in the log. A caller may choose it: up to 128 printable ASCII bytes.
const headerRequestID = "X-Request-Id"

// NewServer returns a server for root, which serves h, behind GuardLocal for instance. It bounds how long and how much a client may send.
// Its Shutdown ends the event streams, and waits for the other requests.
func NewServer(h *Handler, root http.Handler) *http.Server {
	server := &http.Server{
		Handler:           root,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader,
		ErrorLog:          slog.NewLogLogger(h.Logger.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(h.Close)
	return server
}

// ServeHTTP gives the request an id, serves it, turns a panic into a problem, and logs.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(headerRequestID)
	if !isRequestID(id) {
		id = newRequestID()
	}
	header := w.Header()
	header[headerRequestID] = []string{id}
	header["X-Content-Type-Options"] = noSniff
	record := &recorder{ResponseWriter: w}
	var start time.Time
	logs := h.Logger.Enabled(r.Context(), slog.LevelDebug)
	if logs {
		start = time.Now()
	}
	defer func() {
		if reason := recover(); reason != nil {
			if reason == http.ErrAbortHandler || record.status != 0 {
				panic(http.ErrAbortHandler) // the answer has begun: the client must not take it for whole
			}
			h.fail(record, r, fmt.Errorf("panic: %v\n%s", reason, debug.Stack()))
		}
		if logs {
			h.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("request", id),
				slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", record.status),
				slog.Int64("bytes", record.bytes), slog.Duration("took", time.Since(start)))
		}
	}()
	if !normalize(r) {
		notFound(record, r)
		return
	}
	h.mux.ServeHTTP(record, r)
}

var noSniff = []string{"nosniff"}

func isRequestID(id string) bool {
	return id != "" && len(id) <= 128 && isVisible(id)
}

// isVisible reports whether s is printable ASCII.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// newRequestID returns 16 hexadecimal digits. They need not be secret.
func newRequestID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return hex.EncodeToString(b[:])
}

// normalize makes a history's key one path segment, whatever it holds: slashes, also double ones, and dots are part of
// it. It reports whether the path is otherwise clean; ServeMux would redirect one that is not.
func normalize(r *http.Request) bool {
	path := r.URL.EscapedPath()
	rest := path
	for i, want := range []string{"", "v1", "channels", "*", "chaincodes", "*", "history"} {
		segment, after, ok := strings.Cut(rest, "/")
		if !ok || want != "*" && segment != want || want == "*" && (segment == "" || segment == "." || segment == "..") {
			break
		}
		rest = after
		if i == 6 {
			key := strings.ReplaceAll(rest, "/", "%2F")
			if strings.Trim(key, ".") == "" {
				key = strings.ReplaceAll(key, ".", "%2E")
			}
			r.URL.RawPath = path[:len(path)-len(rest)] + key
			return true
		}
	}
	return strings.HasPrefix(path, "/") && !strings.Contains(path, "//") && !strings.Contains(path, "/./") && !strings.Contains(path, "/../") &&
		!strings.HasSuffix(path, "/.") && !strings.HasSuffix(path, "/..")
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// writeBody sends a whole answer.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
	w.WriteHeader(status)
	w.Write(body)
}

var noStore = []string{"no-store"}
