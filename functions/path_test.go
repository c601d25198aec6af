package functions_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"peerless/shared/api"
	"peerless/shared/api/client"
	"peerless/shared/awstest"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
	"peerless/shared/store/mem"
	"peerless/shared/toolbox"
	script "peerless/shared/walk"
)

// programs are what the whole path in the cloud is made of, built once: the functions' bootstraps as directories of code, and the CLI.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "peerless-cloud-"); err != nil {
		return "", err
	}
	programsDir = dir
	for output, pkg := range map[string]string{
		"gateway/bootstrap": "./functions/gateway", "queue/bootstrap": "./functions/queue", "events/bootstrap": "./functions/events", "adapter/bootstrap": "./functions/adapter", "peerless": "./cmd/peerless",
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-tags", "lambda.norpc aws", "-ldflags", "-s -w", "-o", filepath.Join(dir, filepath.FromSlash(output)), pkg)
		cmd.Dir = toolbox.Root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("build %s: %w: %s", pkg, err, out)
		}
	}
	return dir, nil
})

var programsDir string // of programs, once they were needed

func TestMain(m *testing.M) {
	code := m.Run()
	if programsDir != "" {
		os.RemoveAll(programsDir)
	}
	os.Exit(code)
}

// A deployment is the template in an AWS of doubles: every function is its real bootstrap, a process of its own with the template's environment and
// permissions, which are enforced.
type deployment struct {
	*template
	t         *testing.T
	dir       string // of the programs
	iam       *awstest.IAM
	lambda    *awstest.Lambda
	functions *awstest.Functions
	tables    *sdkdynamodb.Client // beside the permissions
	url       string              // of the HTTP API
	key       string              // of the operator
	endpoints map[string]string   // by service
	env       []string            // of whoever deploys contracts
}

// deploy deploys the template. between, if not nil, stands between the functions and DynamoDB: it gets an address and returns one. queues, if
// not nil, are the template's.
func deploy(t *testing.T, between func(backend string) string, queues *awstest.Queues) *deployment {
	t.Helper()
	if runtime.GOOS != "linux" {
		toolbox.Missing(t, "functions are Linux programs")
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	architecture := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
	d := &deployment{template: render(t, "Stage=test", "Arch="+architecture), t: t, dir: dir, iam: awstest.NewIAM(), endpoints: make(map[string]string)}
	backend := awstest.DynamoDB(t)
	d.tables = sdkdynamodb.NewFromConfig(backend)
	d.makeTables(t, backend)
	address := *backend.BaseEndpoint
	if between != nil {
		address = between(address)
	}
	d.lambda = awstest.NewLambda(t, d.iam)
	kms := awstest.KMS(t)
	d.iam.Role(d.name(t, "ContractReaderRole"), d.documentsOf(t, "ContractReaderRole")...)
	d.endpoints["DYNAMODB"] = *awstest.Guard(t, d.iam, address, "pk", aws.Credentials{}).BaseEndpoint
	d.endpoints["STS"] = *awstest.STS(t, d.iam, aws.Credentials{}).BaseEndpoint
	d.endpoints["KMS"], d.endpoints["LAMBDA"] = *kms.Config.BaseEndpoint, d.lambda.Endpoint()
	d.functions = awstest.NewFunctions(t, awstest.FunctionsConfig{
		IAM: d.iam, Runs: d.lambda, Looks: -1,
		Roles:  map[string]aws.Credentials{d.arn(t, "ContractRole"): d.iam.Credentials(d.documentsOf(t, "ContractRole")...)},
		Layers: map[string]string{d.output("AdapterLayerArn"): filepath.Join(dir, "adapter")},
	})
	secret, hash := api.NewSecret()
	d.key = secret
	given := map[string]string{"PEERLESS_KEY_ARN": kms.Key(t, "SYMMETRIC_DEFAULT"), "PEERLESS_QUEUE_URL": "", "PEERLESS_DEAD_LETTERS_URL": "",
		"PEERLESS_ADMIN_KEY_HASH": hash, "PEERLESS_AUTHORITY_KEY_ARN": kms.Key(t, "ECC_NIST_P256"),
		"PEERLESS_EVENTS_LATER_URL": "", "PEERLESS_PRIVATE_WEBHOOKS": "yes"} // the receivers of webhooks are on this machine
	if queues != nil {
		d.endpoints["SQS"] = *awstest.SQS(t).BaseEndpoint
		given["PEERLESS_QUEUE_URL"], given["PEERLESS_DEAD_LETTERS_URL"] = queues.URL, queues.DeadLetters
		d.run("QueueFunction", "queue", given)
	}
	d.run("GatewayFunction", "gateway", given)
	d.run("EventsFunction", "events", given)
	d.url = awstest.HTTPAPI(t, d.lambda, d.name(t, "GatewayFunction"))
	outputs := map[string]string{}
	for name := range d.Outputs {
		outputs[name] = d.output(name)
	}
	outputs["ApiUrl"] = d.url
	who := d.iam.Administrator()
	d.env = append(os.Environ(), "AWS_REGION="+awstest.Region, "AWS_ACCESS_KEY_ID="+who.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+who.SecretAccessKey,
		"AWS_CONFIG_FILE=/dev/null", "AWS_ENDPOINT_URL_LAMBDA="+d.functions.Endpoint(),
		"AWS_ENDPOINT_URL_CLOUDFORMATION="+awstest.CloudFormation(t, d.iam, map[string]map[string]string{stackName: outputs}), "PEERLESS_STACK="+stackName, "PEERLESS_KEY="+d.key)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway printed:\n%s", d.lambda.Logs(d.name(t, "GatewayFunction")))
		}
	})
	return d
}

// run deploys one of the template's own functions, with what doubles gave for the template's resources in its environment.
func (d *deployment) run(id, code string, given map[string]string) {
	d.t.Helper()
	properties := d.Resources[id].Properties
	f := awstest.Function{
		Name: d.name(d.t, id), Code: filepath.Join(d.dir, code), Handler: "bootstrap", Timeout: time.Duration(number(properties["Timeout"])) * time.Second,
		Memory: int(number(properties["MemorySize"])), Credentials: d.iam.Credentials(d.documentsOf(d.t, d.roleOf(d.t, id))...), Environment: d.environment(d.t, id),
	}
	maps.Copy(f.Environment, given)
	for service, endpoint := range d.endpoints {
		f.Environment["AWS_ENDPOINT_URL_"+service] = endpoint
	}
	d.lambda.Deploy(f)
}

// number is one of the template's, which parameters make texts of.
func number(value any) float64 {
	var n float64
	fmt.Sscan(fmt.Sprint(value), &n)
	return n
}

func (d *deployment) output(name string) string {
	return fmt.Sprint(d.resolve(d.t, d.Outputs[name].Value))
}

// ledger opens the deployment's ledger, beside its permissions.
func (d *deployment) ledger() *dynamodb.Store {
	d.t.Helper()
	store, err := dynamodb.Open(dynamodb.Config{Client: d.tables, Table: d.name(d.t, "LedgerTable")})
	if err != nil {
		d.t.Fatal(err)
	}
	return store
}

// audit replays a channel from nothing and compares.
func (d *deployment) audit(channel string) *ledger.AuditReport {
	d.t.Helper()
	report, err := (&ledger.Audit{Store: d.ledger(), Channel: channel, Scratch: mem.New(mem.Config{})}).Run(context.Background())
	if err != nil {
		d.t.Fatalf("audit of %s: %v", channel, err)
	}
	return report
}

// peerless runs the CLI as who deploys contracts.
func (d *deployment) peerless(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(d.dir, "peerless"), args...)
	cmd.Env = d.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("peerless %v: %w: %s", args, err, out)
	}
	return nil
}

// request is a request of the operator's.
func (d *deployment) request(method, path, body string, headers ...string) (int, []byte) {
	d.t.Helper()
	return request(d.t, method, d.url+path, body, append(headers, "Authorization", "Bearer "+d.key)...)
}

// bring deploys a contract of contracts/ as a function.
func (d *deployment) bring(ctx context.Context, w script.Deployment) error {
	args := []string{"deploy", filepath.Join(toolbox.Root(), "contracts", w.Contract), "--name", w.Name, "--channel", w.Channel, "--version", "1.0"}
	if w.Policy != "" {
		args = append(args, "--policy", w.Policy)
	}
	return d.peerless(ctx, args...)
}

// TestCloudWalk walks through the whole path: the HTTP API, the gateway's function, each contract in its function, DynamoDB, KMS and STS. The
// answers are those of peerless serve.
func TestCloudWalk(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil, nil)
	text, err := os.ReadFile(filepath.Join(toolbox.Root(), "testdata", "walk", "walk.txt"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := script.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	operator, err := client.New(d.url, client.Config{Key: d.key})
	if err != nil {
		t.Fatal(err)
	}
	reader, _, err := operator.CreateKey(t.Context(), client.Key{Name: "reader", Scopes: []string{"evaluate"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Run(t.Context(), script.Target{URL: d.url, Deploy: d.bring, Keys: map[string]string{"operator": d.key, "reader": reader}})
	if err != nil {
		t.Fatalf("after\n%s\n%v", got, errors.Unwrap(err))
	}
	if diff := cmp.Diff(string(text), got); diff != "" {
		t.Errorf("the answers differ from those of one machine (-one machine +cloud):\n%s", diff)
	}
	if report := d.audit("alpha"); report.Blocks != 16 {
		t.Errorf("the chain has %d blocks, want 16", report.Blocks)
	}
	for _, chaincode := range []string{"assets", "probe"} {
		if err := d.peerless(t.Context(), "chaincodes", "remove", chaincode, "--channel", "alpha"); err != nil {
			t.Error(err)
		}
	}
}
