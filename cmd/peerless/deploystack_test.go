package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/awstest"
	"peerless/shared/deploy"
	"peerless/shared/msp"
	"peerless/shared/stack"
)

// cloudAccount is an AWS account with a stack, and the platform that it is said to have.
type cloudAccount struct {
	t         *testing.T
	dir       string
	functions *awstest.Functions
	fake      *apitest.Fake
	env       []string
}

func newCloudAccount(t *testing.T) *cloudAccount {
	t.Helper()
	fake := &apitest.Fake{}
	h, err := api.New(api.Config{Gateway: fake, Deployer: fake, Auth: &api.DevAuth{Organization: "PeerlessMSP",
		Signer: func(mspID, user string, _ map[string]string) (*msp.Signer, error) {
			return &msp.Signer{Identity: &msp.Identity{MSPID: mspID, Serialized: []byte(user)}}, nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	platform := httptest.NewServer(h)
	t.Cleanup(platform.Close)
	if err := fake.CreateChannel(t.Context(), "main", nil); err != nil {
		t.Fatal(err)
	}
	const role, layer = "arn:aws:iam::123456789012:role/contract", "arn:aws:lambda:us-east-1:123456789012:layer:adapter:1"
	iam := awstest.NewIAM()
	functions := awstest.NewFunctions(t, awstest.FunctionsConfig{
		IAM: iam, Looks: -1, Roles: map[string]aws.Credentials{role: {}}, Layers: map[string]string{layer: "/layer"},
	})
	formation := awstest.CloudFormation(t, iam, map[string]map[string]string{"peerless-test": {
		stack.OutputAPI: platform.URL, stack.OutputPrefix: "peerless-test-cc-", stack.OutputRole: role, stack.OutputLayer: layer,
	}})
	c := iam.Administrator()
	return &cloudAccount{t: t, dir: t.TempDir(), functions: functions, fake: fake, env: append(os.Environ(),
		"AWS_REGION="+awstest.Region, "AWS_ACCESS_KEY_ID="+c.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+c.SecretAccessKey, "AWS_CONFIG_FILE=/dev/null",
		"AWS_ENDPOINT_URL_LAMBDA="+functions.Endpoint(), "AWS_ENDPOINT_URL_CLOUDFORMATION="+formation, "AWS_MAX_ATTEMPTS=1", "AWS_EC2_METADATA_DISABLED=true", "HOME=/nonexistent",
	)}
}

// peerless runs a command in a process of its own, because AWS's SDK reads the environment.
func (a *cloudAccount) peerless(args ...string) (stdout, stderr string, err error) {
	a.t.Helper()
	program, err := os.Executable()
	if err != nil {
		a.t.Fatal(err)
	}
	link := filepath.Join(a.dir, "peerless")
	if err := os.Symlink(program, link); err != nil && !os.IsExist(err) {
		a.t.Fatal(err)
	}
	var out, errOut strings.Builder
	cmd := exec.CommandContext(a.t.Context(), link, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = a.env, &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

func (a *cloudAccount) must(args ...string) string {
	a.t.Helper()
	stdout, stderr, err := a.peerless(args...)
	if err != nil {
		a.t.Fatalf("peerless %v: %v: %s", args, err, stderr)
	}
	return stdout + stderr
}

// zipFor writes the zip of a program for a machine: what is looked at of it.
func (a *cloudAccount) zipFor(name string, machine byte) string {
	a.t.Helper()
	program := make([]byte, 64)
	copy(program, "\x7fELF\x02\x01\x01")
	program[16], program[18], program[20], program[52] = 2, machine, 1, 64
	raw, err := deploy.PackFunction(program, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func TestDeployToStack(t *testing.T) {
	t.Parallel()
	a := newCloudAccount(t)
	const arm64, amd64 = 183, 62
	zip := a.zipFor("assets.zip", arm64)
	var got struct {
		Name, Function, Alias, Version, FunctionVersion string
		Unchanged                                       bool
	}
	out := a.must("deploy", zip, "--stack", "peerless-test", "--version", "1.0", "--json")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Name != "assets" || got.Version != "1.0" || got.FunctionVersion != "1" || got.Unchanged || !strings.HasPrefix(got.Function, "peerless-test-cc-main-assets-") {
		t.Errorf("got %+v", got)
	}
	if bound := string(a.fake.Package("main", "assets")); bound != got.Function+":"+got.Alias {
		t.Errorf("the platform was told %s, want %s:%s", bound, got.Function, got.Alias)
	}
	if out := a.must("deploy", zip, "--stack", "peerless-test", "--version", "1.0"); !strings.Contains(out, "assets runs on main as before, as "+got.Function+":1, version 1.0") {
		t.Errorf("again: %s", out)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"another machine's": {[]string{"deploy", a.zipFor("intel.zip", amd64), "--stack", "peerless-test"}, "is built for linux/amd64, the functions of stack peerless-test run on linux/arm64"},
		"no such stack":     {[]string{"deploy", zip, "--stack", "nowhere"}, `there is no stack "nowhere" in us-east-1`},
		"no such channel":   {[]string{"deploy", zip, "--stack", "peerless-test", "--channel", "none"}, "(NOT_FOUND)"},
		"source":            {[]string{"deploy", zip, "--stack", "peerless-test", "--source"}, "a function is built here"},
	} {
		if stdout, stderr, err := a.peerless(c.args...); err == nil || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: got %q, %q, %v, want one line with %q", name, stdout, stderr, err, c.want)
		}
	}

	// Other commands find the platform by its stack; removing a chaincode removes its function, also when it was removed half before.
	if out := a.must("chaincodes", "--stack", "peerless-test"); !strings.Contains(out, "assets") {
		t.Errorf("chaincodes: %s", out)
	}
	for range 2 {
		a.must("chaincodes", "remove", "assets", "--stack", "peerless-test")
		if _, _, _, found := a.functions.Configuration(got.Function); found {
			t.Error("the function is still there")
		}
	}
}
