package awstest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Limits of CreateFunction and UpdateFunctionCode: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const (
	maxZip      = 50 << 20
	maxUnzipped = 250 << 20
)

// A FunctionsConfig says what functions that are made through the API find.
type FunctionsConfig struct {
	IAM *IAM
	// Runs runs what is published; nil: nothing can be invoked.
	Runs *Lambda
	// Layers are directories, by the ARN of a layer's version.
	Layers map[string]string
	// Roles are the credentials that functions get, by the ARN of their role. Another role cannot be assumed by Lambda.
	Roles map[string]aws.Credentials
	// Looks is how often a function is looked at until it is ready: until then it is Pending, or its update InProgress. Default 2; a
	// negative number is none.
	Looks int
	// Environment is added to that of every function: where the doubles of other services are.
	Environment map[string]string
	// Wrappers are put before bootstraps, by architecture.
	Wrappers map[string][]string
}

// Functions is the part of Lambda's API that makes functions: code and configuration, with the states that an update goes through,
// versions, which do not change, and aliases. What a version holds is run by a Lambda, under its number and its aliases.
type Functions struct {
	FunctionsConfig
	t        testing.TB
	endpoint string

	mu    sync.Mutex
	made  map[string]*madeFunction
	calls map[string]int
}

// A madeFunction is $LATEST, with what was published of it.
type madeFunction struct {
	functionState
	versions []functionState // version n at n-1
	aliases  map[string]string
	waits    int // looks until it is ready
	created  bool
}

// A functionState is code and configuration at one time.
type functionState struct {
	settings functionSettings
	zip      []byte
	sha256   string
}

// functionSettings are the configuration as the API takes and gives it.
type functionSettings struct {
	FunctionName  string
	Role          string
	Runtime       string
	Handler       string
	Description   string `json:",omitempty"`
	MemorySize    int
	Timeout       int
	Architectures []string
	Layers        []string
	Environment   struct{ Variables map[string]string }
	LoggingConfig map[string]string `json:",omitempty"`
}

// NewFunctions serves the API on loopback until the test ends.
func NewFunctions(t testing.TB, config FunctionsConfig) *Functions {
	t.Helper()
	if config.IAM == nil {
		config.IAM = NewIAM()
	}
	if config.Looks == 0 {
		config.Looks = 2
	}
	config.Looks = max(config.Looks, 0)
	f := &Functions{FunctionsConfig: config, t: t, made: make(map[string]*madeFunction), calls: make(map[string]int)}
	const base = "/2015-03-31/functions"
	mux := http.NewServeMux()
	for pattern, do := range map[string]struct {
		action string
		serve  func(*functionsCall) (int, any)
	}{
		"POST " + base:                            {"CreateFunction", f.create},
		"GET " + base + "/{name}":                 {"GetFunction", f.get},
		"DELETE " + base + "/{name}":              {"DeleteFunction", f.delete},
		"GET " + base + "/{name}/configuration":   {"GetFunctionConfiguration", f.getConfiguration},
		"PUT " + base + "/{name}/configuration":   {"UpdateFunctionConfiguration", f.updateConfiguration},
		"PUT " + base + "/{name}/code":            {"UpdateFunctionCode", f.updateCode},
		"POST " + base + "/{name}/versions":       {"PublishVersion", f.publish},
		"POST " + base + "/{name}/aliases":        {"CreateAlias", f.createAlias},
		"GET " + base + "/{name}/aliases/{alias}": {"GetAlias", f.getAlias},
		"PUT " + base + "/{name}/aliases/{alias}": {"UpdateAlias", f.updateAlias},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, do.action, do.serve) })
	}
	f.endpoint = serve(t, mux)
	return f
}

// Endpoint is the API's address.
func (f *Functions) Endpoint() string { return f.endpoint }

// Calls returns how often each action was called.
func (f *Functions) Calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := make(map[string]int)
	for action, n := range f.calls {
		calls[action] = n
	}
	return calls
}

// Configuration returns what a function is configured with at $LATEST.
func (f *Functions) Configuration(name string) (layers []string, environment map[string]string, memory int, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.made[name]
	if m == nil {
		return nil, nil, 0, false
	}
	return m.settings.Layers, m.settings.Environment.Variables, m.settings.MemorySize, true
}

// A functionsCall is one call of the API, under the lock.
type functionsCall struct {
	*http.Request
	body []byte
	name string
	made *madeFunction // nil if there is none
}

// An apiFailure is an error that a call answers.
type apiFailure struct {
	kind, message string
}

func (f *Functions) serve(w http.ResponseWriter, r *http.Request, action string, do func(*functionsCall) (int, any)) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxZip*3/2)) // base64
	if err != nil {
		return // the caller is gone
	}
	c := &functionsCall{Request: r, body: body, name: r.PathValue("name")}
	if action == "CreateFunction" {
		var named struct{ FunctionName string }
		if err := json.Unmarshal(body, &named); err != nil {
			apiError(w, http.StatusBadRequest, "SerializationException", err.Error())
			return
		}
		c.name = named.FunctionName
	}
	if refusal := f.IAM.refuse(r, Call{Action: "lambda:" + action, Resource: ARN(c.name)}); refusal != nil {
		apiError(w, refusal.status, refusal.kind, refusal.message)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[action]++
	c.made = f.made[c.name]
	if c.made == nil && action != "CreateFunction" {
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+ARN(c.name))
		return
	}
	status, answer := do(c)
	if failure, ok := answer.(apiFailure); ok {
		apiError(w, status, failure.kind, failure.message)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if answer != nil {
		json.NewEncoder(w).Encode(answer)
	}
}

func refuseCall(status int, kind, format string, args ...any) (int, any) {
	return status, apiFailure{kind, fmt.Sprintf(format, args...)}
}

func (f *Functions) create(c *functionsCall) (int, any) {
	if c.made != nil {
		return refuseCall(http.StatusConflict, "ResourceConflictException", "Function already exist: %s", c.name)
	}
	if len(c.name) > 64 || c.name == "" {
		return refuseCall(http.StatusBadRequest, "InvalidParameterValueException", "functionName has 1 to 64 characters")
	}
	m := &madeFunction{aliases: make(map[string]string), waits: f.Looks, created: true}
	if status, failure := f.configure(&m.functionState, c.body); failure != nil {
		return status, failure
	}
	var in struct{ Code struct{ ZipFile []byte } }
	if err := json.Unmarshal(c.body, &in); err != nil {
		return refuseCall(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	if status, failure := m.load(in.Code.ZipFile); failure != nil {
		return status, failure
	}
	f.made[c.name] = m
	return http.StatusCreated, m.describe(m.functionState, "$LATEST")
}

// configure changes what a request names.
func (f *Functions) configure(s *functionState, body []byte) (int, any) {
	if err := json.Unmarshal(body, &s.settings); err != nil {
		return refuseCall(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	if _, ok := f.Roles[s.settings.Role]; !ok {
		return refuseCall(http.StatusBadRequest, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.")
	}
	for _, layer := range s.settings.Layers {
		if f.Layers[layer] == "" {
			return refuseCall(http.StatusBadRequest, "InvalidParameterValueException", "Layer version %s does not exist.", layer)
		}
	}
	return 0, nil
}

// load takes code.
func (s *functionState) load(raw []byte) (int, any) {
	if len(raw) > maxZip {
		return refuseCall(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "Request must be smaller than %d bytes for the operation", maxZip)
	}
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return refuseCall(http.StatusBadRequest, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again.")
	}
	total := uint64(0)
	for _, file := range archive.File {
		total += file.UncompressedSize64
	}
	if total > maxUnzipped {
		return refuseCall(http.StatusBadRequest, "InvalidParameterValueException", "Unzipped size must be smaller than %d bytes", maxUnzipped)
	}
	sum := sha256.Sum256(raw)
	s.zip, s.sha256 = raw, base64.StdEncoding.EncodeToString(sum[:])
	return 0, nil
}

// describe is a FunctionConfiguration. It is a look: after some of them the function is ready.
func (m *madeFunction) describe(s functionState, version string) map[string]any {
	layers := []map[string]string{}
	for _, arn := range s.settings.Layers {
		layers = append(layers, map[string]string{"Arn": arn})
	}
	d := map[string]any{
		"FunctionName": s.settings.FunctionName, "FunctionArn": ARN(qualified(s.settings.FunctionName, version)), "Version": version, "Role": s.settings.Role,
		"Runtime": s.settings.Runtime, "Handler": s.settings.Handler, "Description": s.settings.Description, "MemorySize": s.settings.MemorySize,
		"Timeout": s.settings.Timeout, "Architectures": s.settings.Architectures, "Layers": layers, "Environment": s.settings.Environment,
		"CodeSha256": s.sha256, "CodeSize": len(s.zip), "State": "Active", "LastUpdateStatus": "Successful", "PackageType": "Zip",
		"LastModified": time.Now().UTC().Format("2006-01-02T15:04:05.000+0000"),
	}
	if m.waits > 0 {
		if m.created {
			d["State"], d["StateReasonCode"] = "Pending", "Creating"
		} else {
			d["LastUpdateStatus"] = "InProgress"
		}
	}
	return d
}

// look counts one look at a function that is not ready.
func (m *madeFunction) look() {
	if m.waits > 0 {
		m.waits--
	} else {
		m.created = false
	}
}

func (f *Functions) get(c *functionsCall) (int, any) {
	d := c.made.describe(c.made.functionState, "$LATEST")
	c.made.look()
	return http.StatusOK, map[string]any{"Configuration": d, "Code": map[string]string{"RepositoryType": "S3"}}
}

func (f *Functions) getConfiguration(c *functionsCall) (int, any) {
	qualifier := c.URL.Query().Get("Qualifier")
	s, version, ok := c.made.at(qualifier)
	if !ok {
		return refuseCall(http.StatusNotFound, "ResourceNotFoundException", "Function not found: %s", ARN(qualified(c.name, qualifier)))
	}
	d := c.made.describe(s, version)
	c.made.look()
	return http.StatusOK, d
}

// at finds a version by its number or alias.
func (m *madeFunction) at(qualifier string) (functionState, string, bool) {
	if qualifier == "" || qualifier == "$LATEST" {
		return m.functionState, "$LATEST", true
	}
	if version, ok := m.aliases[qualifier]; ok {
		qualifier = version
	}
	n, err := strconv.Atoi(qualifier)
	if err != nil || n < 1 || n > len(m.versions) {
		return functionState{}, "", false
	}
	return m.versions[n-1], qualifier, true
}

// busy refuses an update while one is under way.
func (m *madeFunction) busy() (int, any) {
	if m.waits == 0 {
		return 0, nil
	}
	state := "An update is in progress for resource"
	if m.created {
		state = "The function is currently in the following state: Pending"
	}
	return refuseCall(http.StatusConflict, "ResourceConflictException", "The operation cannot be performed at this time. %s", state)
}

func (f *Functions) updateCode(c *functionsCall) (int, any) {
	if status, failure := c.made.busy(); failure != nil {
		return status, failure
	}
	var in struct {
		ZipFile       []byte
		Architectures []string
	}
	if err := json.Unmarshal(c.body, &in); err != nil {
		return refuseCall(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	if status, failure := c.made.load(in.ZipFile); failure != nil {
		return status, failure
	}
	if in.Architectures != nil {
		c.made.settings.Architectures = in.Architectures
	}
	c.made.waits, c.made.created = f.Looks, false
	return http.StatusOK, c.made.describe(c.made.functionState, "$LATEST")
}

func (f *Functions) updateConfiguration(c *functionsCall) (int, any) {
	if status, failure := c.made.busy(); failure != nil {
		return status, failure
	}
	changed := c.made.functionState
	changed.settings.Environment.Variables = nil // it is replaced, not merged
	changed.settings.Layers = slices.Clone(changed.settings.Layers)
	if status, failure := f.configure(&changed, c.body); failure != nil {
		return status, failure
	}
	changed.settings.FunctionName = c.name
	c.made.functionState = changed
	c.made.waits, c.made.created = f.Looks, false
	return http.StatusOK, c.made.describe(c.made.functionState, "$LATEST")
}

func (f *Functions) publish(c *functionsCall) (int, any) {
	if status, failure := c.made.busy(); failure != nil {
		return status, failure
	}
	var in struct{ CodeSha256, Description string }
	if err := json.Unmarshal(c.body, &in); err != nil {
		return refuseCall(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	if in.CodeSha256 != "" && in.CodeSha256 != c.made.sha256 {
		return refuseCall(http.StatusPreconditionFailed, "InvalidParameterValueException", "CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", in.CodeSha256, c.made.sha256)
	}
	published := c.made.functionState
	published.settings.Description = in.Description
	c.made.versions = append(c.made.versions, published)
	number := strconv.Itoa(len(c.made.versions))
	f.run(c.made, number, number)
	return http.StatusCreated, c.made.describe(published, number)
}

// run has a version invoked under a qualifier.
func (f *Functions) run(m *madeFunction, version, qualifier string) {
	if f.Runs == nil {
		return
	}
	n, _ := strconv.Atoi(version)
	s := m.versions[n-1]
	dir, err := unzip(f.t, s.zip)
	if err != nil {
		f.t.Errorf("awstest: unpack %s: %v", s.settings.FunctionName, err)
		return
	}
	function := Function{
		Name: s.settings.FunctionName, Qualifier: qualifier, Code: dir, Handler: s.settings.Handler, Timeout: time.Duration(s.settings.Timeout) * time.Second,
		Memory: s.settings.MemorySize, Credentials: f.Roles[s.settings.Role], Environment: make(map[string]string),
	}
	for _, layer := range s.settings.Layers {
		function.Layers = append(function.Layers, f.Layers[layer])
	}
	if len(s.settings.Architectures) > 0 {
		function.Wrapper = f.Wrappers[s.settings.Architectures[0]]
	}
	for _, variables := range []map[string]string{f.Environment, s.settings.Environment.Variables} {
		for name, value := range variables {
			function.Environment[name] = value
		}
	}
	f.Runs.Deploy(function)
}

// unzip unpacks a function's code as Lambda does.
func unzip(t testing.TB, raw []byte) (dir string, err error) {
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return "", err
	}
	dir = t.TempDir()
	for _, file := range archive.File {
		path := filepath.Join(dir, filepath.FromSlash(file.Name))
		if !filepath.IsLocal(filepath.FromSlash(file.Name)) {
			return "", fmt.Errorf("the name %q leads out", file.Name)
		}
		if file.FileInfo().IsDir() {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		in, err := file.Open()
		if err != nil {
			return "", err
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, file.Mode().Perm())
		if err != nil {
			return "", errors.Join(err, in.Close())
		}
		_, err = io.Copy(out, in)
		if err := errors.Join(err, out.Close(), in.Close()); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func (f *Functions) createAlias(c *functionsCall) (int, any) {
	var in struct{ Name, FunctionVersion string }
	if err := json.Unmarshal(c.body, &in); err != nil {
		return refuseCall(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	if _, exists := c.made.aliases[in.Name]; exists {
		return refuseCall(http.StatusConflict, "ResourceConflictException", "Alias already exists: %s", ARN(qualified(c.name, in.Name)))
	}
	status, answer := f.point(c, in.Name, in.FunctionVersion)
	if status == http.StatusOK {
		status = http.StatusCreated
	}
	return status, answer
}

// point makes an alias mean a version.
func (f *Functions) point(c *functionsCall, alias, version string) (int, any) {
	if _, _, ok := c.made.at(version); !ok {
		return refuseCall(http.StatusNotFound, "ResourceNotFoundException", "Function not found: %s", ARN(qualified(c.name, version)))
	}
	c.made.aliases[alias] = version
	f.run(c.made, version, alias)
	return http.StatusOK, describeAlias(c.name, alias, version)
}

func describeAlias(function, alias, version string) map[string]string {
	return map[string]string{"AliasArn": ARN(qualified(function, alias)), "Name": alias, "FunctionVersion": version}
}

func (f *Functions) getAlias(c *functionsCall) (int, any) {
	alias := c.PathValue("alias")
	version, ok := c.made.aliases[alias]
	if !ok {
		return refuseCall(http.StatusNotFound, "ResourceNotFoundException", "Cannot find alias arn: %s", ARN(qualified(c.name, alias)))
	}
	return http.StatusOK, describeAlias(c.name, alias, version)
}

func (f *Functions) updateAlias(c *functionsCall) (int, any) {
	var in struct{ FunctionVersion string }
	if err := json.Unmarshal(c.body, &in); err != nil {
		return refuseCall(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	if _, ok := c.made.aliases[c.PathValue("alias")]; !ok {
		return refuseCall(http.StatusNotFound, "ResourceNotFoundException", "Cannot find alias arn: %s", ARN(qualified(c.name, c.PathValue("alias"))))
	}
	return f.point(c, c.PathValue("alias"), in.FunctionVersion)
}

func (f *Functions) delete(c *functionsCall) (int, any) {
	delete(f.made, c.name)
	if f.Runs != nil {
		f.Runs.Undeploy(c.name)
	}
	return http.StatusNoContent, nil
}
