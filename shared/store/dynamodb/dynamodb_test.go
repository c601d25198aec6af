package dynamodb_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"peerless/shared/awstest"
	"peerless/shared/ledger"
	"peerless/shared/ledger/ledgertest"
	"peerless/shared/store/dynamodb"
)

// endpointVariable leads the tests to another double, or to AWS itself, in place of dynalite: DynamoDB Local's address.
const endpointVariable = "PEERLESS_TEST_DYNAMODB"

var capabilities = ledgertest.Capabilities{Persistent: true}

// newClient returns a client of a double.
func newClient(t testing.TB) *sdk.Client {
	t.Helper()
	if endpoint := os.Getenv(endpointVariable); endpoint != "" {
		return sdk.NewFromConfig(awstest.Config(endpoint))
	}
	return sdk.NewFromConfig(awstest.DynamoDB(t))
}

// newTable makes a table of its own for a test.
func newTable(t testing.TB, client *sdk.Client) string {
	t.Helper()
	table := "peerless-" + strings.NewReplacer("/", "-", "#", "-").Replace(t.Name())
	if err := dynamodb.CreateTable(t.Context(), client, table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteTable(context.Background(), &sdk.DeleteTableInput{TableName: aws.String(table)}); err != nil {
			t.Errorf("delete table: %v", err)
		}
	})
	return table
}

func TestStore(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	var mu sync.Mutex
	tables := make(map[string]string) // by directory
	ledgertest.TestStore(t, capabilities, func(t *testing.T, dir string) ledger.Store {
		mu.Lock()
		defer mu.Unlock()
		if tables[dir] == "" {
			tables[dir] = newTable(t, client)
		}
		s, err := dynamodb.Open(dynamodb.Config{Client: client, Table: tables[dir]})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
