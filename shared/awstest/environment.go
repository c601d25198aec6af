package awstest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errThrottled: all environments are taken.
var errThrottled = errors.New("throttled")

// A function is one that was deployed, with its environments.
type function struct {
	Function
	log     *log
	scratch string

	mu           sync.Mutex
	environments map[*environment]bool
	idle         []*environment // the one used last, last
	starts       []time.Duration
	closed       bool
	count        int // environments there ever were
}

// An answer is what Lambda tells the caller of an invocation.
type answer struct {
	payload []byte
	failed  bool // X-Amz-Function-Error
}

// failure is the answer to an invocation of a function that fails.
func failure(kind, format string, args ...any) answer {
	payload, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": fmt.Sprintf(format, args...)}) // strings cannot fail
	return answer{payload, true}
}

func newFunction(f Function, scratch string) *function {
	return &function{Function: f, log: &log{}, scratch: scratch, environments: make(map[*environment]bool)}
}

// invoke runs an invocation in an idle environment, or in a new one.
func (f *function) invoke(payload []byte) (answer, error) {
	id := requestID()
	for {
		e, err := f.acquire()
		if err != nil {
			return answer{}, err
		}
		if e == nil {
			var failed *answer
			if e, failed = f.start(id); failed != nil {
				return *failed, nil
			}
		}
		in := &invocation{id: id, payload: payload, deadline: time.Now().Add(f.Timeout), done: make(chan answer, 1)}
		select {
		case e.next <- in:
			return f.await(e, in), nil
		case <-e.ended: // while it was idle: nobody saw it yet
			f.remove(e)
		case <-time.After(f.Timeout): // it never came back for more
			e.kill()
			f.remove(e)
			return failure("Sandbox.Timedout", "RequestId: %s Error: Task timed out after %.2f seconds", id, f.Timeout.Seconds()), nil
		}
	}
}

// acquire returns an idle environment, nil if there is none and one more may start.
func (f *function) acquire() (*environment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.idle); n > 0 {
		e := f.idle[n-1]
		f.idle = f.idle[:n-1]
		return e, nil
	}
	if len(f.environments) >= f.Concurrency || f.closed {
		return nil, errThrottled
	}
	return nil, nil
}

// start starts an environment. One that does not come up in time is started again, as Lambda does with the invocation's own time.
func (f *function) start(id string) (*environment, *answer) {
	for _, limit := range []time.Duration{initTimeout, f.Timeout} {
		began := time.Now()
		e, err := f.spawn()
		if err != nil {
			failed := failure("Runtime.InvalidEntrypoint", "RequestId: %s Error: %v", id, err)
			return nil, &failed
		}
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-e.ready:
			f.mu.Lock()
			f.starts = append(f.starts, time.Since(began))
			f.mu.Unlock()
			return e, nil
		case failed := <-e.initError:
			e.kill()
			f.remove(e)
			return nil, &failed
		case <-e.ended:
			f.remove(e)
			select {
			case failed := <-e.initError:
				return nil, &failed
			default:
			}
			failed := failure("Runtime.ExitError", "RequestId: %s Error: Runtime exited %s", id, e.exit())
			return nil, &failed
		case <-timer.C:
			f.log.printf("INIT_REPORT Init Duration: %d ms Phase: init Status: timeout\n", limit.Milliseconds())
			e.kill()
			f.remove(e)
		}
	}
	failed := failure("Sandbox.Timedout", "RequestId: %s Error: Task timed out after %.2f seconds", id, f.Timeout.Seconds())
	return nil, &failed
}

// await waits for an invocation's answer.
func (f *function) await(e *environment, in *invocation) answer {
	timer := time.NewTimer(time.Until(in.deadline))
	defer timer.Stop()
	var a answer
	select {
	case a = <-in.done:
		f.release(e)
		return a
	case <-e.ended:
		select {
		case a = <-in.done: // it answered first
		default:
			a = failure("Runtime.ExitError", "RequestId: %s Error: Runtime exited %s", in.id, e.exit())
		}
	case <-timer.C:
		a = failure("Sandbox.Timedout", "RequestId: %s Error: Task timed out after %.2f seconds", in.id, f.Timeout.Seconds())
		e.kill()
	}
	f.remove(e)
	return a
}

func (f *function) release(e *environment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		go e.kill()
		return
	}
	f.idle = append(f.idle, e)
}

func (f *function) remove(e *environment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.environments, e)
	f.idle = slices.DeleteFunc(f.idle, func(o *environment) bool { return o == e })
}

// close ends what is idle now, and the rest after its invocation.
func (f *function) close() {
	f.mu.Lock()
	f.closed = true
	idle := f.idle
	f.idle = nil
	f.mu.Unlock()
	for _, e := range idle {
		e.kill()
		f.remove(e)
	}
}

// An environment is a process with its Runtime API.
type environment struct {
	arn       string
	cmd       *exec.Cmd
	server    *http.Server
	next      chan *invocation // to the process
	ready     chan struct{}    // closed at its first poll
	initError chan answer
	ended     chan struct{} // closed when the process has ended

	mu      sync.Mutex
	polled  bool
	current *invocation
}

// An invocation is a request on its way.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	done     chan answer // gets one
}

// bootstrap finds the program to run, as the provided runtimes do.
func (f *function) bootstrap() (string, error) {
	var looked []string
	for i, dir := range append([]string{f.Code}, f.Layers...) {
		path := filepath.Join(dir, "bootstrap")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if i == 0 {
			looked = append(looked, "/var/task/bootstrap")
		} else {
			looked = append(looked, "/opt/bootstrap")
		}
	}
	return "", fmt.Errorf("Couldn't find valid bootstrap(s): %s", looked) //lint:ignore ST1005 Lambda's text
}

func (f *function) spawn() (*environment, error) {
	program, err := f.bootstrap()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.count++
	tmp := filepath.Join(f.scratch, strconv.Itoa(f.count))
	f.mu.Unlock()
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &environment{
		arn: ARN(f.Name), next: make(chan *invocation), ready: make(chan struct{}), initError: make(chan answer, 1), ended: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.serveInitError)
	e.server = &http.Server{Handler: mux}

	command := append(slices.Clone(f.Wrapper), program)
	e.cmd = exec.Command(command[0], command[1:]...)
	e.cmd.Dir = f.Code
	e.cmd.Env = f.variables(listener.Addr().String(), tmp)
	e.cmd.Stdout, e.cmd.Stderr = f.log, f.log
	e.cmd.WaitDelay = time.Second
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		listener.Close()
		cause := err
		if pathError := (*os.PathError)(nil); errors.As(err, &pathError) {
			cause = pathError.Err
		}
		return nil, fmt.Errorf("fork/exec /var/task/bootstrap: %w", cause)
	}
	f.mu.Lock()
	f.environments[e] = true
	f.mu.Unlock()
	go e.server.Serve(listener)
	go func() {
		e.cmd.Wait() // ProcessState tells
		syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
		close(e.ended)
		e.server.Close()
	}()
	return e, nil
}

// variables are the process's environment: Lambda's, the role's credentials, and the configured.
func (f *function) variables(api, tmp string) []string {
	root := f.Code
	all := map[string]string{
		"AWS_LAMBDA_RUNTIME_API":          api,
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.Memory),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      "stream",
		"AWS_EXECUTION_ENV":               "AWS_Lambda_provided.al2023",
		"AWS_REGION":                      Region,
		"AWS_DEFAULT_REGION":              Region,
		"AWS_ACCESS_KEY_ID":               f.Credentials.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":           f.Credentials.SecretAccessKey,
		"AWS_SESSION_TOKEN":               f.Credentials.SessionToken,
		"LAMBDA_TASK_ROOT":                root,
		"LAMBDA_RUNTIME_DIR":              "/var/runtime",
		"LANG":                            "en_US.UTF-8",
		"LD_LIBRARY_PATH":                 "/lib64:/usr/lib64:/var/runtime:/var/task:/var/task/lib:/opt/lib",
		"PATH":                            "/usr/local/bin:/usr/bin:/bin:/opt/bin",
		"TMPDIR":                          tmp,
		"TZ":                              ":UTC",
		"_HANDLER":                        f.Handler,
	}
	maps.Copy(all, f.Environment)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}

// kill ends the process and returns when it is gone.
func (e *environment) kill() {
	select {
	case <-e.ended:
		return
	default:
	}
	syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	<-e.ended
}

// exit says how the process ended, in Lambda's words.
func (e *environment) exit() string {
	if state := e.cmd.ProcessState; !state.Success() {
		return fmt.Sprintf("with error: %v", state)
	}
	return "without providing a reason"
}

// serveNext hands the process its next invocation when there is one.
func (e *environment) serveNext(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	if !e.polled {
		e.polled = true
		close(e.ready)
	}
	e.mu.Unlock()
	var in *invocation
	select {
	case in = <-e.next:
	case <-r.Context().Done():
		return
	}
	e.mu.Lock()
	e.current = in
	e.mu.Unlock()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", in.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", e.arn)
	h.Set("Lambda-Runtime-Trace-Id", "Root=1-"+in.id[:8]+"-"+strings.ReplaceAll(in.id, "-", "")[:24]+";Sampled=0")
	w.Write(in.payload)
}

func (e *environment) serveResponse(w http.ResponseWriter, r *http.Request) {
	in := e.take(w, r)
	if in == nil {
		return
	}
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil {
		return // the process is gone
	}
	if len(payload) > maxPayload {
		in.done <- failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (%d bytes).", maxPayload)
		runtimeError(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge")
		return
	}
	in.done <- answer{payload: payload}
	accepted(w)
}

func (e *environment) serveError(w http.ResponseWriter, r *http.Request) {
	in := e.take(w, r)
	if in == nil {
		return
	}
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	if err != nil {
		return
	}
	in.done <- answer{payload, true}
	accepted(w)
}

// take returns the invocation that a report is about. It is reported on once.
func (e *environment) take(w http.ResponseWriter, r *http.Request) *invocation {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.current
	if in == nil || in.id != r.PathValue("id") {
		runtimeError(w, http.StatusBadRequest, "InvalidRequestID")
		return nil
	}
	e.current = nil
	return in
}

func (e *environment) serveInitError(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	if err != nil {
		return
	}
	select {
	case e.initError <- answer{payload, true}:
	default:
	}
	accepted(w)
}

func accepted(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`)
}

func runtimeError(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"errorType": kind, "errorMessage": kind})
}

func requestID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// log keeps the last 256 KiB that were written to it.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	if extra := l.buf.Len() - 256<<10; extra > 0 {
		l.buf.Next(extra)
	}
	return len(b), nil
}

func (l *log) printf(format string, args ...any) { fmt.Fprintf(l, format, args...) }

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
