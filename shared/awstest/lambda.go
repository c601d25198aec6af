package awstest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Region and Account are where everything of this package is.
const (
	Region  = "us-east-1"
	Account = "123456789012"
)

// Lambda's limits: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const (
	maxPayload  = 6 << 20          // of a synchronous invocation, each way, in bytes
	initTimeout = 10 * time.Second // of an environment's start; a second one may take the invocation's time
)

// A Function is what Lambda knows about one. Name and Code are required.
type Function struct {
	Name string
	// Qualifier is the version or alias that this is. Empty: $LATEST, and every qualifier as long as none was deployed.
	Qualifier string
	// Code is the directory of its code, /var/task: it holds the bootstrap, unless a layer does.
	Code string
	// Layers are directories of its layers' content, /opt.
	Layers []string
	// Handler is what the program finds in _HANDLER.
	Handler string
	// Environment variables that it is configured with.
	Environment map[string]string
	// Timeout of an invocation. Default 3 s, as Lambda's.
	Timeout time.Duration
	// Memory in MB. It is told to the function and not enforced. Default 128.
	Memory int
	// Concurrency is how many environments there may be at once; an invocation beyond them is refused. Default 10.
	Concurrency int
	// Credentials are those of its role. Default: ones that may do nothing.
	Credentials aws.Credentials
	// Wrapper is put before the bootstrap: a CPU emulator, for code of another architecture.
	Wrapper []string
}

// Lambda is the Invoke API over functions that run as they do in AWS: the real bootstrap, as a process with a scrubbed
// environment behind a Runtime API of its own, one invocation at a time each, more processes as more are needed. A process that
// exceeds its time is killed; one that ended is replaced. What AWS answers then is answered here.
//
// Two things differ: processes share the machine's disk (TMPDIR is each one's own), and they are not frozen between invocations.
type Lambda struct {
	t        testing.TB
	iam      *IAM
	endpoint string

	mu        sync.Mutex
	functions map[string]*function
}

// NewLambda serves the Lambda API on loopback until the test ends. iam knows the callers; nil is an IAM of its own.
func NewLambda(t testing.TB, iam *IAM) *Lambda {
	t.Helper()
	if iam == nil {
		iam = NewIAM()
	}
	l := &Lambda{t: t, iam: iam, functions: make(map[string]*function)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", l.invoke)
	l.endpoint = serve(t, mux)
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, f := range l.functions {
			f.close()
		}
	})
	return l
}

// Endpoint is the API's address.
func (l *Lambda) Endpoint() string { return l.endpoint }

// Config is that of clients that may do everything.
func (l *Lambda) Config() aws.Config {
	return aws.Config{Region: Region, BaseEndpoint: aws.String(l.endpoint), Credentials: provider(l.iam.Administrator())}
}

// Deploy creates a function, or replaces it: processes of what was there before end after the invocation that they have.
func (l *Lambda) Deploy(f Function) {
	l.t.Helper()
	if f.Name == "" || f.Code == "" {
		l.t.Fatal("awstest: a function has a name and code")
	}
	if f.Timeout == 0 {
		f.Timeout = 3 * time.Second
	}
	if f.Memory == 0 {
		f.Memory = 128
	}
	if f.Concurrency == 0 {
		f.Concurrency = 10
	}
	if f.Credentials.AccessKeyID == "" {
		f.Credentials = l.iam.Credentials(`{"Version":"2012-10-17","Statement":[]}`)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.functions[f.key()]; old != nil {
		defer old.close()
	}
	l.functions[f.key()] = newFunction(f, l.t.TempDir())
}

// Undeploy deletes a function, with all its qualifiers. Invocations under way end.
func (l *Lambda) Undeploy(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, f := range l.functions {
		if f.Name == name {
			delete(l.functions, key)
			defer f.close()
		}
	}
}

func (f *Function) key() string { return qualified(f.Name, f.Qualifier) }

func qualified(name, qualifier string) string {
	if qualifier == "" || qualifier == "$LATEST" {
		return name
	}
	return name + ":" + qualifier
}

// Logs returns the last of what a function's processes printed, in all its environments.
func (l *Lambda) Logs(name string) string {
	if f := l.function(name); f != nil {
		return f.log.String()
	}
	return ""
}

// Starts returns how long each environment of a function took from its process's start to the first poll of the Runtime API.
func (l *Lambda) Starts(name string) []time.Duration {
	f := l.function(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Duration{}, f.starts...)
}

// Processes returns the ids of a function's processes.
func (l *Lambda) Processes(name string) []int {
	f := l.function(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []int
	for e := range f.environments {
		ids = append(ids, e.cmd.Process.Pid)
	}
	return ids
}

func (l *Lambda) function(name string) *function {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.functions[name]
}

// resolve finds what a name and a qualifier invoke, nil if nothing.
func (l *Lambda) resolve(name, qualifier string) *function {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.functions[qualified(name, qualifier)]; f != nil {
		return f
	}
	for _, f := range l.functions {
		if f.Name == name && f.Qualifier != "" {
			return nil
		}
	}
	return l.functions[name]
}

// ARN returns a function's ARN.
func ARN(function string) string {
	return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", Region, Account, function)
}

// functionName takes a name as callers may give it: a name, a partial or a whole ARN, each with a version or alias or without.
func functionName(given string) (name, qualifier string) {
	if _, rest, ok := strings.Cut(given, ":function:"); ok {
		given = rest
	}
	name, qualifier, _ = strings.Cut(given, ":")
	return name, qualifier
}

// invoke is the Invoke API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
func (l *Lambda) invoke(w http.ResponseWriter, r *http.Request) {
	given, err := url.PathUnescape(r.PathValue("name"))
	if err != nil {
		apiError(w, http.StatusBadRequest, "ValidationException", "malformed function name")
		return
	}
	name, qualifier := functionName(given)
	if q := r.URL.Query().Get("Qualifier"); q != "" {
		qualifier = q
	}
	if refusal := l.iam.refuse(r, Call{Action: "lambda:InvokeFunction", Resource: ARN(qualified(name, qualifier))}); refusal != nil {
		apiError(w, refusal.status, refusal.kind, refusal.message)
		return
	}
	f := l.resolve(name, qualifier)
	if f == nil {
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+ARN(name))
		return
	}
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	switch {
	case err != nil:
		return // the caller is gone
	case len(payload) > maxPayload:
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation", maxPayload))
		return
	case len(payload) > 0 && !json.Valid(payload):
		apiError(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
		return
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	switch r.Header.Get("X-Amz-Invocation-Type") {
	case "DryRun":
		w.WriteHeader(http.StatusNoContent)
		return
	case "Event":
		go f.invoke(payload)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer, err := f.invoke(payload)
	if errors.Is(err, errThrottled) {
		w.Header().Set("Retry-After", "1")
		apiError(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
		return
	}
	w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	if answer.failed {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
	}
	if r.Header.Get("X-Amz-Log-Type") == "Tail" {
		tail := f.log.String()
		w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(tail[max(0, len(tail)-4096):])))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(answer.payload)
}

// apiError answers as AWS's REST services do.
func apiError(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", kind)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"Type": "User", "Message": message, "message": message})
}

// serve serves a handler on loopback until the test ends, and returns its URL.
func serve(t testing.TB, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String()
}

// provider gives clients credentials.
func provider(c aws.Credentials) aws.CredentialsProvider {
	return credentials.StaticCredentialsProvider{Value: c}
}
