package stack

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"

	"peerless/shared/awstest"
	"peerless/shared/deploy"
)

const (
	roleARN  = "arn:aws:iam::123456789012:role/contract"
	layerARN = "arn:aws:lambda:us-east-1:123456789012:layer:adapter:1"
	newLayer = "arn:aws:lambda:us-east-1:123456789012:layer:adapter:2"
)

// account is an AWS account with the stack "peerless-dev".
type account struct {
	iam       *awstest.IAM
	functions *awstest.Functions
	outputs   map[string]string
	formation string
}

func newAccount(t *testing.T) *account {
	a := &account{iam: awstest.NewIAM(), outputs: map[string]string{
		OutputAPI: "https://api.example/", OutputPrefix: "peerless-dev-", OutputRole: roleARN, OutputLayer: layerARN, OutputLogGroup: "/peerless/dev/contracts",
	}}
	a.functions = awstest.NewFunctions(t, awstest.FunctionsConfig{
		IAM: a.iam, Roles: map[string]aws.Credentials{roleARN: {}}, Layers: map[string]string{layerARN: "/layer", newLayer: "/layer"},
	})
	a.formation = awstest.CloudFormation(t, a.iam, map[string]map[string]string{"peerless-dev": a.outputs, "other": {"BucketName": "b"}})
	return a
}

// open opens the stack with some credentials.
func (a *account) open(t *testing.T, c aws.Credentials) *Stack {
	t.Helper()
	s, err := Open(t.Context(), a.config(c, a.formation), "peerless-dev")
	if err != nil {
		t.Fatal(err)
	}
	s.client = lambda.NewFromConfig(a.config(c, a.functions.Endpoint()))
	s.minDelay = time.Millisecond
	return s
}

func (a *account) config(c aws.Credentials, endpoint string) aws.Config {
	return aws.Config{Region: awstest.Region, BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })}
}

// program is the zip of some contract.
func program(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := deploy.PackFunction([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustRegister(t *testing.T, s *Stack, c Contract) *Registration {
	t.Helper()
	r, err := s.Register(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Show(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRegister(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	s := a.open(t, a.iam.Administrator())
	want := Outputs{API: "https://api.example", Prefix: "peerless-dev-", Role: roleARN, Layer: layerARN, LogGroup: "/peerless/dev/contracts", Architecture: "arm64"}
	if diff := cmp.Diff(want, s.Outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	first := Contract{Channel: "alpha", Chaincode: "assets", Zip: program(t, "one"), Handler: "bin/chaincode"}
	r := mustRegister(t, s, first)
	if r.Version != "1" || r.Unchanged || !strings.HasPrefix(r.Function, "peerless-dev-alpha-assets-") || !strings.HasPrefix(r.Alias, "p-") {
		t.Errorf("created: got %+v", r)
	}
	layers, environment, memory, _ := a.functions.Configuration(r.Function)
	if !cmp.Equal(layers, []string{layerARN}) || memory != DefaultMemory || environment["PEERLESS_CHANNEL"] != "alpha" || environment["PEERLESS_CHAINCODE"] != "assets" {
		t.Errorf("configuration: got %v %v %v", layers, environment, memory)
	}

	// The same again changes nothing.
	before := a.functions.Calls()
	again := mustRegister(t, s, first)
	if !again.Unchanged || again.Version != "1" || again.Alias != r.Alias {
		t.Errorf("again: got %+v, want %+v unchanged", again, r)
	}
	for action, n := range a.functions.Calls() {
		if !strings.HasPrefix(action, "Get") && n != before[action] {
			t.Errorf("deployed again, it called %s", action)
		}
	}

	// Another program, another memory, another layer: a version each; the first again: the first.
	second := first
	second.Zip = program(t, "two")
	if r := mustRegister(t, s, second); r.Version != "2" || r.Unchanged {
		t.Errorf("other code: got %+v", r)
	}
	second.Memory = 512
	if r := mustRegister(t, s, second); r.Version != "3" {
		t.Errorf("other memory: got %+v", r)
	}
	s.Layer = newLayer
	if r := mustRegister(t, s, second); r.Version != "4" {
		t.Errorf("another adapter: got %+v", r)
	}
	if layers, _, memory, _ := a.functions.Configuration(r.Function); !cmp.Equal(layers, []string{newLayer}) || memory != 512 {
		t.Errorf("configuration: got %v %v", layers, memory)
	}
	second.Adapter = true
	if r := mustRegister(t, s, second); r.Version != "5" {
		t.Errorf("its own adapter: got %+v", r)
	}
	if layers, _, _, _ := a.functions.Configuration(r.Function); len(layers) != 0 {
		t.Errorf("with an adapter in the zip it has the layers %v", layers)
	}
	s.Layer = layerARN
	if r := mustRegister(t, s, first); r.Version != "1" || !r.Unchanged {
		t.Errorf("the first again: got %+v", r)
	}

	if err := s.Remove(t.Context(), "alpha", "assets"); err != nil {
		t.Fatal(err)
	}
	if _, _, _, found := a.functions.Configuration(r.Function); found {
		t.Error("the function is still there after it was removed")
	}
	if err := s.Remove(t.Context(), "alpha", "assets"); err != nil {
		t.Errorf("removed again: %v", err)
	}
	if r := mustRegister(t, s, first); r.Version != "1" || r.Unchanged {
		t.Errorf("made anew: got %+v", r)
	}
}

// TestRegisterBeside: two deployments of the same at once end in one function, whichever is first.
func TestRegisterBeside(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	s := a.open(t, a.iam.Administrator())
	c := Contract{Channel: "alpha", Chaincode: "assets", Zip: program(t, "one"), Handler: "bin/chaincode"}
	mustRegister(t, s, c)
	c.Zip = program(t, "two")
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := s.Register(t.Context(), c)
			errs <- err
		}()
	}
	for range 2 {
		var setting *SettingError
		if err := <-errs; err != nil && (!errors.As(err, &setting) || setting.Setting != "function") {
			t.Errorf("got %v, want success or that another deployment is under way", err)
		}
	}
	if r := mustRegister(t, s, c); r.Alias == "" {
		t.Errorf("in the end: got %+v", r)
	}
}

func TestFunctionName(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, c := range [][3]string{
		{"peerless-dev-", "alpha", "assets"}, {"peerless-dev-", "alpha-assets", "x"}, {"peerless-dev-", "alpha", "assets-x"},
		{"peerless-dev-", "a.b", "c"}, {"peerless-dev-", "a-b", "c"}, {"peerless-dev-", "a.b.c", "c"},
		{"peerless-dev-", strings.Repeat("a", 249), "b"}, {"peerless-dev-", strings.Repeat("a", 249), "c"},
		{strings.Repeat("p", 44) + "-", strings.Repeat("a", 249), strings.Repeat("b", 249)},
	} {
		name, err := FunctionName(c[0], c[1], c[2])
		if err != nil || len(name) > MaxFunctionName || !strings.HasPrefix(name, c[0]) || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("%q: got %q, %v", c, name, err)
		}
		if other, twice := seen[name]; twice {
			t.Errorf("%q and %q are both called %s", c, other, name)
		}
		seen[name] = c[1] + " " + c[2]
	}
	if name, err := FunctionName("peerless-dev-", "main", "assettransfer"); err != nil || name != "peerless-dev-main-assettransfer-60fb2f7348" {
		t.Errorf("got %q, %v: templates may have this name, it must not change", name, err)
	}
	if _, err := FunctionName(strings.Repeat("p", 46), "main", "assets"); settingOf(err) != "stack" {
		t.Errorf("a long prefix: got %v", err)
	}
}

func settingOf(err error) string {
	var setting *SettingError
	if errors.As(err, &setting) {
		return setting.Setting
	}
	return ""
}

// TestSettings: whatever is set up in a wrong way is named.
func TestSettings(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	contract := Contract{Channel: "alpha", Chaincode: "assets", Zip: program(t, "one"), Handler: "bin/chaincode"}
	register := func(c aws.Credentials, change func(*Stack, *Contract)) error {
		s := a.open(t, a.iam.Administrator())
		s.client = lambda.NewFromConfig(a.config(c, a.functions.Endpoint()))
		mine := contract
		change(s, &mine)
		_, err := s.Register(t.Context(), mine)
		return err
	}
	allowing := func(actions string) aws.Credentials {
		return a.iam.Credentials(`{"Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`)
	}
	open := func(config aws.Config, name string) error {
		_, err := Open(t.Context(), config, name)
		return err
	}
	admin := a.iam.Administrator()
	none := a.config(admin, a.formation)
	none.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("no EC2 IMDS role found")
	})
	nowhere := a.config(admin, a.formation)
	nowhere.Region = ""
	skewed := a.config(admin, failing(t, `<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired: 20261126T100000Z is now earlier than 20261126T111500Z</Message></Error></ErrorResponse>`))
	for name, c := range map[string]struct {
		err     error
		setting string
		text    string
	}{
		"no region":               {open(nowhere, "peerless-dev"), "region", "AWS_REGION"},
		"no credentials":          {open(none, "peerless-dev"), "credentials", "AWS_PROFILE"},
		"unknown credentials":     {open(a.config(aws.Credentials{AccessKeyID: "AKIAX", SecretAccessKey: "x"}, a.formation), "peerless-dev"), "credentials", "does not accept"},
		"nothing there":           {open(a.config(admin, "http://127.0.0.1:1"), "peerless-dev"), "endpoint", "cannot be reached"},
		"a wrong clock":           {open(skewed, "peerless-dev"), "clock", "clock"},
		"no such stack":           {open(a.config(admin, a.formation), "peerless-prod"), "stack", `no stack "peerless-prod" in us-east-1`},
		"another's stack":         {open(a.config(admin, a.formation), "other"), "stack", "ApiUrl, FunctionPrefix, ContractRoleArn, AdapterLayerArn"},
		"may not read the stack":  {open(a.config(allowing(`"lambda:*"`), a.formation), "peerless-dev"), "permission", "cloudformation:DescribeStacks"},
		"may not look":            {register(allowing(`"lambda:CreateFunction"`), func(*Stack, *Contract) {}), "permission", "lambda:GetAlias"},
		"may not create":          {register(allowing(`"lambda:Get*"`), func(*Stack, *Contract) {}), "permission", "lambda:CreateFunction"},
		"a role that is gone":     {register(admin, func(s *Stack, _ *Contract) { s.Role = "arn:aws:iam::123456789012:role/gone" }), "role", "deploy the stack again"},
		"an adapter that is gone": {register(admin, func(s *Stack, _ *Contract) { s.Layer = layerARN + "9" }), "layer", "deploy the stack again"},
		"a zip that is too large": {register(admin, func(_ *Stack, c *Contract) { c.Zip = make([]byte, MaxZip+1) }), "size", "52428800"},
	} {
		if settingOf(c.err) != c.setting || !strings.Contains(c.err.Error(), c.text) || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%s: got %q of %v, want %q with %q", name, settingOf(c.err), c.err, c.setting, c.text)
		}
	}
}

// failing is an AWS that answers one thing.
func failing(t *testing.T, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
