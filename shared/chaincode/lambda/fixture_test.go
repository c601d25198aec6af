package lambda_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	sdklambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"peerless/shared/awstest"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/store/dynamodb"
)

// The functions that tests deploy, each in a directory with what its package holds.
var functions = map[string]map[string]string{ // directory: file: package
	"probe":         {"bootstrap": "peerless/functions/probe"},
	"probe-wrapped": {"bootstrap": "peerless/functions/adapter", "probe": "peerless/contracts/probe"},
	"asset":         {"bootstrap": "peerless/functions/assettransfer"},
	"asset-program": {"assettransfer": "peerless/contracts/assettransfer"},
	"layer":         {"bootstrap": "peerless/functions/adapter"},
	"attacker":      {"bootstrap": "./testdata/attacker"},
}

var flags = []string{"build", "-trimpath", "-tags", "lambda.norpc,grpcnotrace", "-ldflags", "-s -w -buildid="}

// built builds the functions, once.
var built = sync.OnceValues(func() (string, error) {
	root, err := os.MkdirTemp("", "functions-")
	if err != nil {
		return "", err
	}
	for name, files := range functions {
		for file, pkg := range files {
			cmd := exec.Command("go", append(flags, "-o", filepath.Join(root, name, file), pkg)...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				return root, errors.New(string(out))
			}
		}
	}
	return root, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if root, _ := built(); root != "" {
		os.RemoveAll(root)
	}
	os.Exit(code)
}

func functionCode(t testing.TB, name string) string {
	t.Helper()
	root, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, name)
}

const table = "peerless"

// A cloud is what a gateway stands on in AWS: a table behind permissions, STS, and Lambda.
type cloud struct {
	t      testing.TB
	iam    *awstest.IAM
	lambda *awstest.Lambda
	store  *dynamodb.Store
	state  aws.Config // the way that functions go to the table
	scopes *lambda.Scopes
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	backend := awstest.DynamoDB(t)
	client := sdkdynamodb.NewFromConfig(backend)
	if err := dynamodb.CreateTable(t.Context(), client, table); err != nil {
		t.Fatal(err)
	}
	store, err := dynamodb.Open(dynamodb.Config{Client: client, Table: table})
	if err != nil {
		t.Fatal(err)
	}
	iam := awstest.NewIAM()
	// The role may read the whole table: what restricts a function is the session's policy.
	role := iam.Role("state-reader", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["dynamodb:GetItem","dynamodb:BatchGetItem","dynamodb:Query"],"Resource":"`+awstest.TableARN(table)+`"}]}`)
	gateway := iam.Credentials(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"` + role + `"}]}`)
	return &cloud{
		t: t, iam: iam, lambda: awstest.NewLambda(t, iam), store: store,
		state:  awstest.Guard(t, iam, *backend.BaseEndpoint, "pk", aws.Credentials{}),
		scopes: lambda.NewScopes(sts.NewFromConfig(awstest.STS(t, iam, gateway)), role, awstest.TableARN(table)),
	}
}

// deploy deploys a function for a chaincode of a channel, and returns its host.
func (c *cloud) deploy(form, channel, name string, change ...func(*awstest.Function, *lambda.Config)) *lambda.Host {
	c.t.Helper()
	function := awstest.Function{
		Name: form + "-" + channel + "-" + name, Code: functionCode(c.t, form), Timeout: time.Minute,
		Environment: map[string]string{"PEERLESS_CHANNEL": channel, "PEERLESS_CHAINCODE": name},
	}
	switch form {
	case "probe-wrapped":
		function.Handler = "probe"
	case "asset-program":
		function.Handler = "assettransfer"
	}
	config := lambda.Config{
		Client: c.client(function.Name), Function: function.Name, Channel: channel, Chaincode: name,
		Table: table, Region: awstest.Region, Endpoint: *c.state.BaseEndpoint, Credentials: c.scopes.Credentials,
	}
	for _, f := range change {
		f(&function, &config)
	}
	c.lambda.Deploy(function)
	host, err := lambda.New(config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { host.Close() })
	return host
}

// client returns a client that may invoke one function, and do nothing else.
func (c *cloud) client(function string) *sdklambda.Client {
	gateway := c.iam.Credentials(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"` + awstest.ARN(function) + `"}]}`)
	return sdklambda.New(sdklambda.Options{
		Region: awstest.Region, BaseEndpoint: aws.String(c.lambda.Endpoint()), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(provider(gateway)),
	})
}
