package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	sdklambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"peerless/shared/awstest"
	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/invocation"
)

// TestWrongSetup: an error of a wrong set-up names the setting.
func TestWrongSetup(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe-wrapped")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")

	foreign := t.TempDir()
	program, err := os.ReadFile(filepath.Join(functionCode(t, "probe"), "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	program[18], program[19] = 8, 0 // MIPS
	for name, content := range map[string][]byte{"bootstrap": program, "probe": program} {
		if err := os.WriteFile(filepath.Join(foreign, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mixed := t.TempDir()
	adapter, err := os.ReadFile(filepath.Join(functionCode(t, "probe-wrapped"), "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"bootstrap": adapter, "probe": program, "ends": []byte("#!/bin/sh\necho cannot find my library >&2\nexit 4\n")} {
		if err := os.WriteFile(filepath.Join(mixed, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	for name, test := range map[string]struct {
		form   string
		change func(*awstest.Function, *lambda.Config)
		want   string
	}{
		"no such function": {"probe", func(f *awstest.Function, config *lambda.Config) {
			config.Function = "nobody"
			config.Client = c.client("nobody")
		}, "there is no such function, version or alias in this region and account: deploy the chaincode, or check AWS_REGION"},
		"no permission to invoke": {"probe", func(f *awstest.Function, config *lambda.Config) {
			config.Client = c.client("another")
		}, "the gateway's role may not invoke it: allow it lambda:InvokeFunction"},
		"credentials of nobody": {"probe", func(f *awstest.Function, config *lambda.Config) {
			config.Client = sdklambda.New(sdklambda.Options{Region: "r", BaseEndpoint: aws.String(c.lambda.Endpoint()), RetryMaxAttempts: 1,
				Credentials: aws.CredentialsProviderFunc(provider(aws.Credentials{AccessKeyID: "x", SecretAccessKey: "x"}))})
		}, "the gateway's credentials are not valid: check AWS_ACCESS_KEY_ID"},
		"another processor": {"probe", func(f *awstest.Function, _ *lambda.Config) {
			f.Code = foreign
		}, "its bootstrap is for another processor than its architecture setting says: build it with GOARCH=arm64"},
		"no bootstrap": {"probe", func(f *awstest.Function, _ *lambda.Config) {
			f.Code = t.TempDir()
		}, "its package has no executable file named bootstrap"},
		"settings missing": {"probe", func(f *awstest.Function, _ *lambda.Config) {
			f.Environment = map[string]string{"PEERLESS_CHANNEL": "ch"}
		}, "the function's environment lacks PEERLESS_CHAINCODE"},
		"no handler": {"probe-wrapped", func(f *awstest.Function, _ *lambda.Config) {
			f.Handler = ""
		}, "the function's Handler is empty: it must be the chaincode's program"},
		"another mode": {"probe-wrapped", func(f *awstest.Function, _ *lambda.Config) {
			f.Environment["PEERLESS_MODE"] = "call"
		}, `unknown mode "call"`},
		"a handler that is not there": {"probe-wrapped", func(f *awstest.Function, _ *lambda.Config) {
			f.Handler = "prob"
		}, "the function's Handler: exec: \"prob\": executable file not found"},
		"a program for another processor": {"probe-wrapped", func(f *awstest.Function, _ *lambda.Config) {
			f.Code = mixed
		}, "is for another processor: build it with GOARCH=arm64"},
		"a program that ends": {"probe-wrapped", func(f *awstest.Function, _ *lambda.Config) {
			f.Code, f.Handler = mixed, "ends"
		}, "cannot find my library"},
		"a program that ends, started ahead": {"probe-wrapped", func(f *awstest.Function, _ *lambda.Config) {
			f.Code, f.Handler = mixed, "ends"
			f.Environment["AWS_LAMBDA_INITIALIZATION_TYPE"] = "provisioned-concurrency"
		}, "it does not start: Peerless.Init: chaincode is not available: start mine: the program ended, exit status 4"},
		"no such table": {"probe", func(_ *awstest.Function, config *lambda.Config) {
			config.Table = "elsewhere"
			config.Credentials = func(context.Context, string, string) (invocation.Credentials, error) {
				all := c.iam.Administrator()
				return invocation.Credentials{AccessKeyID: all.AccessKeyID, SecretAccessKey: all.SecretAccessKey}, nil
			}
		}, `table "elsewhere" does not exist`},
		"a role that may not be assumed": {"probe", func(_ *awstest.Function, config *lambda.Config) {
			nobody := c.iam.Credentials(`{"Version":"2012-10-17","Statement":[]}`)
			config.Credentials = lambda.NewScopes(sts.NewFromConfig(awstest.STS(t, c.iam, nobody)), "arn:aws:iam::123456789012:role/state-reader", awstest.TableARN(table)).Credentials
		}, "the gateway's role may not assume it: allow it sts:AssumeRole"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := c.deploy(test.form, "ch", "mine", func(f *awstest.Function, config *lambda.Config) {
				f.Name = strings.ReplaceAll(name, " ", "-")
				config.Function, config.Client = f.Name, c.client(f.Name)
				test.change(f, config)
			})
			inv := c.invocationOf(t, "run", `[{"op":"GetState","key":"k","must":true}]`)
			_, err := execute(t, host, inv)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if name != "no such table" && !errors.Is(err, chaincode.ErrUnavailable) {
				t.Errorf("error %v, want ErrUnavailable", err)
			}
		})
	}

	if _, err := lambda.New(lambda.Config{Function: "f", Channel: "c", Chaincode: "cc", Table: "t"}); err == nil || !strings.Contains(err.Error(), "no region: set AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
}

// assumed counts what is asked of STS.
type assumed struct {
	sts   lambda.AssumeRole
	times atomic.Int64
}

func (a *assumed) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, options ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	a.times.Add(1)
	return a.sts.AssumeRole(ctx, in, options...)
}

// TestScopes: credentials are kept for each chaincode of each channel, renewed before they expire, and read what they should.
func TestScopes(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")
	role := c.iam.Role("reader", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"}]}`)
	client := &assumed{sts: sts.NewFromConfig(awstest.STS(t, c.iam, c.iam.Administrator()))}
	scopes := lambda.NewScopes(client, role, awstest.TableARN(table))
	get := func(channel, name string) invocation.Credentials {
		t.Helper()
		credentials, err := scopes.Credentials(t.Context(), channel, name)
		if err != nil {
			t.Fatal(err)
		}
		return credentials
	}
	first := get("ch", "mine")
	if again := get("ch", "mine"); again != first || client.times.Load() != 1 {
		t.Errorf("asked again, STS was asked %d times", client.times.Load())
	}
	if other := get("other", "mine"); other == first {
		t.Error("two channels have the same credentials")
	}
	for age, renewed := range map[time.Duration]bool{54 * time.Minute: false, 56 * time.Minute: true} {
		fresh := lambda.NewScopes(client, role, awstest.TableARN(table))
		before, err := fresh.Credentials(t.Context(), "ch", "mine")
		if err != nil {
			t.Fatal(err)
		}
		fresh.SetClock(func() time.Time { return time.Now().Add(age) })
		after, err := fresh.Credentials(t.Context(), "ch", "mine")
		if err != nil {
			t.Fatal(err)
		}
		if (before != after) != renewed {
			t.Errorf("after %s: renewed %t", age, before != after)
		}
	}
	// The role may do everything: what restricts the credentials is the session.
	table := table
	reader := sdkdynamodb.NewFromConfig(c.state, func(o *sdkdynamodb.Options) {
		o.Credentials = aws.CredentialsProviderFunc(provider(aws.Credentials{AccessKeyID: first.AccessKeyID, SecretAccessKey: first.SecretAccessKey, SessionToken: first.SessionToken}))
		o.RetryMaxAttempts = 1
	})
	for pk, allowed := range map[string]bool{"state#ch#mine": true, "history#ch#mine": true, "state#ch#mine$$iDoc/name": true, "state#ch#mine$$other": false, "state#ch#mine2": false, "state#other#mine": false, "block#ch#0": false} {
		_, err := reader.GetItem(t.Context(), &sdkdynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberB{Value: []byte{0}},
		}})
		if (err == nil) != allowed {
			t.Errorf("%s: %v", pk, err)
		}
	}
	policy, err := lambda.SessionPolicy(awstest.TableARN(table), strings.Repeat("c", 249), strings.Repeat("n", 150))
	if err != nil || !json.Valid([]byte(policy)) {
		t.Errorf("names of 249 and 150 characters: %d characters: %v", len(policy), err)
	}
	if _, err := lambda.SessionPolicy(awstest.TableARN(table), strings.Repeat("c", 249), strings.Repeat("n", 249)); err == nil || !strings.Contains(err.Error(), "too long together") {
		t.Errorf("names of 249 characters: %v", err)
	}
}
