package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"peerless/shared/awstest"
	"peerless/shared/docstore"
	"peerless/shared/docstore/docstoretest"
	store "peerless/shared/docstore/dynamodb"
)

// start returns a client of a DynamoDB that ends with the test.
func start(t *testing.T, options ...func(*dynamodb.Options)) *dynamodb.Client {
	t.Helper()
	return dynamodb.NewFromConfig(awstest.DynamoDB(t), options...)
}

func makeTable(t *testing.T, client *dynamodb.Client, name string) {
	t.Helper()
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(store.PartitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(store.SortKey), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(store.PartitionKey), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(store.SortKey), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.NewTableExistsWaiter(client).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, client *dynamodb.Client, table string) *store.Store {
	t.Helper()
	s, err := store.New(client, table)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDynamoDB(t *testing.T) {
	t.Parallel()
	client := start(t)
	var tables atomic.Int32
	docstoretest.TestStore(t, func(t *testing.T) func() docstore.Store {
		table := fmt.Sprintf("control-%d", tables.Add(1))
		makeTable(t, client, table)
		return func() docstore.Store { return open(t, client, table) }
	})
}

// A write whose answer is lost is sent again by the SDK, meets itself, and succeeds.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	var losing atomic.Bool
	client := start(t, dynamodb.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("lose", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if middleware.GetOperationName(ctx) == "PutItem" && losing.CompareAndSwap(true, false) {
				return out, metadata, &lost{}
			}
			return out, metadata, err
		}), middleware.Before)
	}))
	makeTable(t, client, "control")
	s := open(t, client, "control")
	doc := docstore.Document{Kind: "key", ID: "a", Value: json.RawMessage(`1`)}
	losing.Store(true)
	doc, err := s.Put(t.Context(), doc)
	if err != nil || losing.Load() {
		t.Fatalf("create: %v", err)
	}
	losing.Store(true)
	if doc, err = s.Put(t.Context(), doc); err != nil || losing.Load() {
		t.Fatalf("replace: %v", err)
	}
	if got, err := s.Get(t.Context(), "key", "a"); err != nil || got.Version != doc.Version {
		t.Errorf("got version %q, %v; want %q", got.Version, err, doc.Version)
	}
}

// lost is an error that the SDK tries again after.
type lost struct{}

func (*lost) Error() string   { return "connection reset" }
func (*lost) Temporary() bool { return true }
func (*lost) Timeout() bool   { return true }

func TestWrongSetUp(t *testing.T) {
	t.Parallel()
	if _, err := store.New(nil, ""); err == nil || !strings.Contains(err.Error(), "control table") {
		t.Errorf("without a table: %v", err)
	}
	client := start(t)
	s := open(t, client, "missing")
	if _, err := s.Get(t.Context(), "key", "a"); err == nil || !strings.Contains(err.Error(), `no control table "missing"`) {
		t.Errorf("of a table that is not there: %v", err)
	}
	makeTable(t, client, "control")
	s = open(t, client, "control")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "key", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An item that another program wrote is refused.
func TestDamagedItem(t *testing.T) {
	t.Parallel()
	client := start(t)
	makeTable(t, client, "control")
	s := open(t, client, "control")
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for id, item := range map[string]map[string]types.AttributeValue{
		"no-version": {"value": text(`1`)},
		"no-value":   {"version": text("v")},
		"no-json":    {"version": text("v"), "value": text("{")},
		"binary":     {"version": text("v"), "value": &types.AttributeValueMemberB{Value: []byte("1")}},
		"expiry":     {"version": text("v"), "value": text("1"), "expires": &types.AttributeValueMemberN{Value: "1.5"}},
	} {
		item["kind"], item["id"] = text("key"), text(id)
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("control"), Item: item}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "key", id); !errors.Is(err, docstore.ErrDamaged) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, _, err := s.List(t.Context(), "key", "", "", 0); !errors.Is(err, docstore.ErrDamaged) {
		t.Errorf("listed: %v", err)
	}
}
