package organization_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"

	"peerless/shared/awstest"
	documents "peerless/shared/docstore/dynamodb"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/secret/kms"
)

// A cloud is one control table and one KMS, which processes share.
type cloud struct {
	dynamodb  aws.Config
	kms       *awstest.KMSDouble
	sealing   string // ids of keys
	authority string
}

const controlTable = "control"

func newCloud(t *testing.T) *cloud {
	t.Helper()
	double := awstest.KMS(t)
	c := &cloud{awstest.DynamoDB(t), double, double.Key(t, "SYMMETRIC_DEFAULT"), double.Key(t, "ECC_NIST_P256")}
	if _, err := dynamodb.NewFromConfig(c.dynamodb).CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(controlTable), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(documents.PartitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(documents.SortKey), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(documents.PartitionKey), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(documents.SortKey), KeyType: types.KeyTypeRange},
		},
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// A process is a registry as a cold function opens it, and the calls that it made.
type process struct {
	*organization.Registry
	mu    sync.Mutex
	calls map[string]int
}

func (p *process) taken() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := maps.Clone(p.calls)
	clear(p.calls)
	return taken
}

func (c *cloud) start(t *testing.T) *process {
	t.Helper()
	p := &process{calls: map[string]int{}}
	count := func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("count", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			p.mu.Lock()
			p.calls[middleware.GetOperationName(ctx)]++
			p.mu.Unlock()
			return next.HandleFinalize(ctx, in)
		}), middleware.After) // within the retries
	}
	store, err := documents.New(dynamodb.NewFromConfig(c.dynamodb, dynamodb.WithAPIOptions(count)), controlTable)
	if err != nil {
		t.Fatal(err)
	}
	client := awskms.NewFromConfig(c.kms.Config, awskms.WithAPIOptions(count))
	sealer, err := kms.NewSealer(client, c.sealing, map[string]string{"table": controlTable})
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := kms.NewAuthorities(client, c.authority)
	if err != nil {
		t.Fatal(err)
	}
	p.Registry, err = organization.Open(t.Context(), organization.Config{Store: store, Sealer: sealer, Authorities: authorities})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) user(t *testing.T, mspID, name string) *msp.Signer {
	t.Helper()
	o, err := p.Organization(mspID)
	if err != nil {
		t.Fatal(err)
	}
	u, err := o.User(name, map[string]string{"role": "clerk"})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantCalls(t *testing.T, what string, got, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: calls (- want, + got):\n%s", what, diff)
	}
}

// TestColdStart counts what a function asks for before it can sign: what the package comment says.
func TestColdStart(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	first := c.start(t)
	prepare := func(p *process) {
		t.Helper()
		if _, err := p.CheckpointKey(); err != nil {
			t.Fatal(err)
		}
		for _, mspID := range []string{"Org1MSP", "Org2MSP"} {
			if _, err := p.Organization(mspID); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Endorser(mspID); err != nil {
				t.Fatal(err)
			}
		}
	}
	prepare(first)
	first.user(t, "Org1MSP", "ada")
	first.taken()

	cold := c.start(t)
	prepare(cold)
	wantCalls(t, "a cold start", cold.taken(), map[string]int{"Query": 1, "Decrypt": 1})
	ada := cold.user(t, "Org1MSP", "ada")
	wantCalls(t, "a known user", cold.taken(), map[string]int{"GetItem": 1})
	cold.user(t, "Org1MSP", "ada")
	prepare(cold)
	wantCalls(t, "warm", cold.taken(), map[string]int{})
	cold.user(t, "Org1MSP", "bob")
	wantCalls(t, "a new user", cold.taken(), map[string]int{"GetItem": 1, "Sign": 1, "PutItem": 1})
	first.Organization("Org3MSP")
	first.taken()
	if _, err := cold.Endorser("Org3MSP"); err != nil { // made by the other since
		t.Fatal(err)
	}
	wantCalls(t, "an organisation that another process made", cold.taken(), map[string]int{"GetItem": 1})
	for range 2 {
		if _, err := cold.Endorser("ForeignMSP"); !errors.Is(err, organization.ErrNotFound) {
			t.Fatal(err)
		}
	}
	wantCalls(t, "an organisation that is not the platform's, twice", cold.taken(), map[string]int{"GetItem": 1})
	signature, err := ada.Sign([]byte("transaction"))
	if err != nil || ada.Verify([]byte("transaction"), signature) != nil {
		t.Errorf("the user cannot sign: %v", err)
	}
	wantCalls(t, "a signature", cold.taken(), map[string]int{})
}

// Processes that start at once on an empty table, and ask for the same, get the same.
func TestProcessesAgree(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	const processes = 6
	all := make([]map[string]string, processes)
	var wait sync.WaitGroup
	for i := range processes {
		p := c.start(t)
		wait.Go(func() {
			got := map[string]string{}
			key, err := p.CheckpointKey()
			if err != nil {
				t.Error(err)
				return
			}
			got["checkpoint"] = string(key)
			for _, mspID := range []string{"Org1MSP", "Org2MSP"} {
				o, err := p.Organization(mspID)
				if err != nil {
					t.Error(err)
					return
				}
				got[mspID] = string(o.Endorser().Serialized)
				for n := range 3 {
					u, err := o.User(fmt.Sprint("user", n), nil)
					if err != nil {
						t.Error(err)
						return
					}
					got[fmt.Sprint(mspID, n)] = string(u.Serialized)
				}
			}
			all[i] = got
		})
	}
	wait.Wait()
	for _, got := range all[1:] {
		if diff := cmp.Diff(all[0], got); diff != "" {
			t.Errorf("two processes have different identities:\n%s", diff)
		}
	}
}

// The authority's key is in KMS alone, and is asked for certificates only.
func TestAuthorityInKMS(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	p := c.start(t)
	o, err := p.Organization("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.Organization("Org2MSP")
	if err != nil {
		t.Fatal(err)
	}
	ada := p.user(t, "Org1MSP", "ada")
	members, err := msp.New(o.MSPConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := members.Identify(ada.Serialized); err != nil {
		t.Errorf("the organisation does not know its user: %v", err)
	}
	// Authorities share the key. A member of one is none of the other all the same.
	others, err := msp.New(other.MSPConfig())
	if err != nil {
		t.Fatal(err)
	}
	posing, err := msp.Serialize("Org2MSP", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ada.Cert.Raw}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := others.Identify(posing); err == nil {
		t.Error("a certificate of Org1MSP passes for one of Org2MSP")
	}

	c.kms.Fail(func(operation string) string {
		if operation == "Sign" {
			return "AccessDeniedException"
		}
		return ""
	})
	if _, err := o.User("eve", nil); err == nil {
		t.Error("issued a certificate without the authority's key")
	}
	p.user(t, "Org1MSP", "ada") // goes on
	c.start(t).user(t, "Org1MSP", "ada")
	c.kms.Fail(nil)
	if _, err := o.User("eve", nil); err != nil {
		t.Errorf("when KMS is back: %v", err)
	}
}
