package dynamodb_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/awstest"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
	"peerless/shared/toolbox"
)

// refusing is a client of a service that answers every call with an error of DynamoDB's.
func refusing(t *testing.T, code string) *sdk.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#%s","message":"refused"}`, code)
	}))
	t.Cleanup(server.Close)
	return once(awstest.Config(server.URL))
}

func once(config aws.Config) *sdk.Client {
	return sdk.NewFromConfig(config, func(o *sdk.Options) { o.RetryMaxAttempts = 1 })
}

// TestCheck sets things up wrong in each way and looks for the name of what is wrong.
func TestCheck(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	table := newTable(t, client)
	if err := dynamodb.Check(t.Context(), client, table); err != nil {
		t.Errorf("a table as it should be: %v", err)
	}
	other := dynamodb.Description(table + "-other")
	other.AttributeDefinitions[1].AttributeType = types.ScalarAttributeTypeS
	if _, err := client.CreateTable(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	nowhere := awstest.Config(fmt.Sprintf("http://127.0.0.1:%d", toolbox.Port(t)))
	noRegion := awstest.Config(*nowhere.BaseEndpoint)
	noRegion.Region = ""
	for name, test := range map[string]struct {
		client *sdk.Client
		table  string
		want   []string
	}{
		"no table":          {client, "absent", []string{`"absent" does not exist`, "AWS_REGION"}},
		"other keys":        {client, table + "-other", []string{"pk (S) and sk (B)"}},
		"no region":         {once(noRegion), table, []string{"AWS_REGION"}},
		"nobody there":      {once(nowhere), table, []string{"does not answer", "endpoint"}},
		"no permission":     {refusing(t, "AccessDeniedException"), table, []string{table, "policy"}},
		"unknown key":       {refusing(t, "UnrecognizedClientException"), table, []string{"AWS_ACCESS_KEY_ID"}},
		"session over":      {refusing(t, "ExpiredTokenException"), table, []string{"AWS_SESSION_TOKEN"}},
		"clock off":         {refusing(t, "RequestTimeTooSkewed"), table, []string{"clock"}},
		"signature refused": {refusing(t, "InvalidSignatureException"), table, []string{"clock", "AWS_SECRET_ACCESS_KEY"}},
	} {
		err := dynamodb.Check(t.Context(), test.client, test.table)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want something about %q", name, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", name, err)
		}
	}
}

// TestUnavailable checks that what may go well later is told from what will not.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"ProvisionedThroughputExceededException": true, "ThrottlingException": true, "RequestLimitExceeded": true,
		"AccessDeniedException": false, "ValidationException": false,
	} {
		s, err := dynamodb.Open(dynamodb.Config{Client: refusing(t, code), Table: "table"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Block(context.Background(), "ch", 0); err == nil || strings.Contains(err.Error(), ledger.ErrUnavailable.Error()) != want {
			t.Errorf("%s: got %v, want unavailable: %v", code, err, want)
		}
	}
}
