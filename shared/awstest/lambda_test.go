package awstest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"peerless/shared/awstest"
)

// built builds the function of testdata, once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "awstest-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "bootstrap"), "./testdata/function").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func code(t *testing.T) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func invoke(t *testing.T, l *awstest.Lambda, function, payload string) *lambda.InvokeOutput {
	t.Helper()
	out, err := lambda.NewFromConfig(l.Config()).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String(function), Payload: []byte(payload), LogType: types.LogTypeTail,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	l := awstest.NewLambda(t, nil)
	l.Deploy(awstest.Function{Name: "f", Code: code(t), Timeout: time.Minute, Handler: "it", Environment: map[string]string{"STAGE": "test"}})

	var environment []string
	out := invoke(t, l, awstest.ARN("f")+":live", `{"do":"environment"}`)
	if err := json.Unmarshal(out.Payload, &environment); err != nil || out.FunctionError != nil {
		t.Fatalf("payload %s, error %v", out.Payload, aws.ToString(out.FunctionError))
	}
	for _, want := range []string{"STAGE=test", "_HANDLER=it", "AWS_REGION=us-east-1", "AWS_LAMBDA_FUNCTION_NAME=f"} {
		if !slices.Contains(environment, want) {
			t.Errorf("environment lacks %s", want)
		}
	}
	for _, variable := range environment {
		if strings.HasPrefix(variable, "HOME=") {
			t.Errorf("environment has the machine's %s", variable)
		}
	}
	if out := invoke(t, l, "f", `{"do":"calls"}`); string(out.Payload) != "2" {
		t.Errorf("the second invocation of a process counted %s", out.Payload)
	}
	out = invoke(t, l, "f", `{"do":"fail"}`)
	if got, want := string(out.Payload), `{"errorMessage":"as told","errorType":"errorString"}`; got != want || aws.ToString(out.FunctionError) != "Unhandled" {
		t.Errorf("payload %s, error %v", got, aws.ToString(out.FunctionError))
	}
	for tail := ""; !strings.Contains(tail, "printed by the function"); { // the pipe is read while the answer goes out
		raw, err := base64.StdEncoding.DecodeString(aws.ToString(invoke(t, l, "f", `{"do":"print"}`).LogResult))
		if err != nil {
			t.Fatal(err)
		}
		tail = string(raw)
	}
	if n := len(l.Starts("f")); n != 1 {
		t.Errorf("%d processes were started for invocations one after the other", n)
	}
}

// TestFailures: what AWS answers when a function fails.
func TestFailures(t *testing.T) {
	t.Parallel()
	l := awstest.NewLambda(t, nil)
	wrong := t.TempDir()
	if err := os.WriteFile(filepath.Join(wrong, "bootstrap"), []byte("\x7fELF of another machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, payload, kind, message string
		function                     awstest.Function
	}{
		{"ends", `{"do":"exit"}`, "Runtime.ExitError", "exit status 7", awstest.Function{Code: code(t)}},
		{"takes too long", `{"do":"sleep"}`, "Sandbox.Timedout", "Task timed out after 3.00 seconds", awstest.Function{Code: code(t)}},
		{"answers too much", `{"do":"large","size":7000000}`, "Function.ResponseSizeTooLarge", "6291456 bytes", awstest.Function{Code: code(t)}},
		{"reports that it cannot start", `{}`, "Config.Missing", "TABLE is not set", awstest.Function{Code: code(t), Environment: map[string]string{"START": "fail"}}},
		{"ends at its start", `{}`, "Runtime.ExitError", "exit status 3", awstest.Function{Code: code(t), Environment: map[string]string{"START": "exit"}}},
		{"has no bootstrap", `{}`, "Runtime.InvalidEntrypoint", "/var/task/bootstrap", awstest.Function{Code: t.TempDir()}},
		{"is for another machine", `{}`, "Runtime.InvalidEntrypoint", "exec format error", awstest.Function{Code: wrong}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.function.Name = strings.ReplaceAll(c.name, " ", "-")
			l.Deploy(c.function)
			out := invoke(t, l, c.function.Name, c.payload)
			var failure struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal(out.Payload, &failure); err != nil {
				t.Fatal(err)
			}
			if failure.ErrorType != c.kind || !strings.Contains(failure.ErrorMessage, c.message) || aws.ToString(out.FunctionError) != "Unhandled" {
				t.Errorf("answer %s, error %q", out.Payload, aws.ToString(out.FunctionError))
			}
			if c.function.Code == code(t) && c.function.Environment == nil {
				if out := invoke(t, l, c.function.Name, `{"do":"calls"}`); out.FunctionError != nil {
					t.Errorf("the invocation after it: %s", out.Payload)
				}
			}
		})
	}
}

// TestRefused: errors of the API itself.
func TestRefused(t *testing.T) {
	t.Parallel()
	iam := awstest.NewIAM()
	l := awstest.NewLambda(t, iam)
	l.Deploy(awstest.Function{Name: "f", Code: code(t), Timeout: time.Minute, Concurrency: 1})
	call := func(function, payload string, c aws.Credentials) error {
		config := l.Config()
		if c.AccessKeyID != "" {
			config.Credentials = aws.CredentialsProviderFunc(provider(c))
		}
		_, err := lambda.NewFromConfig(config, func(o *lambda.Options) { o.RetryMaxAttempts = 1 }).Invoke(t.Context(), &lambda.InvokeInput{
			FunctionName: &function, Payload: []byte(payload),
		})
		return err
	}
	other := iam.Credentials(`{"Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"` + awstest.ARN("g") + `"}]}`)
	for want, err := range map[string]error{
		"ResourceNotFoundException":   call("g", `{}`, aws.Credentials{}),
		"RequestTooLargeException":    call("f", `"`+strings.Repeat("x", 6<<20)+`"`, aws.Credentials{}),
		"AccessDeniedException":       call("f", `{}`, other),
		"UnrecognizedClientException": call("f", `{}`, aws.Credentials{AccessKeyID: "AKIAUNKNOWN", SecretAccessKey: "x"}),
	} {
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	// Of many at once one runs, and others come while it does.
	errs := make([]error, 8)
	var calls sync.WaitGroup
	for i := range errs {
		calls.Go(func() { errs[i] = call("f", `{"do":"wait"}`, aws.Credentials{}) })
	}
	calls.Wait()
	var throttled *types.TooManyRequestsException
	if err := errors.Join(errs...); !errors.As(err, &throttled) {
		t.Errorf("%d invocations of a function of one environment: %v", len(errs), err)
	}
}
