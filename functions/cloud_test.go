package functions_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/awstest"
	"peerless/shared/cloud"
	documents "peerless/shared/docstore/dynamodb"
	ledger "peerless/shared/store/dynamodb"
)

// makeTables makes the template's tables in a DynamoDB.
func (tp *template) makeTables(t *testing.T, config aws.Config) {
	t.Helper()
	client := dynamodb.NewFromConfig(config)
	for _, id := range []string{"LedgerTable", "ControlTable"} {
		name := tp.name(t, id)
		input := &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest}
		for _, a := range tp.Resources[id].Properties["AttributeDefinitions"].([]any) {
			a := a.(map[string]any)
			input.AttributeDefinitions = append(input.AttributeDefinitions, types.AttributeDefinition{
				AttributeName: aws.String(a["AttributeName"].(string)), AttributeType: types.ScalarAttributeType(a["AttributeType"].(string))})
		}
		for _, k := range tp.Resources[id].Properties["KeySchema"].([]any) {
			k := k.(map[string]any)
			input.KeySchema = append(input.KeySchema, types.KeySchemaElement{
				AttributeName: aws.String(k["AttributeName"].(string)), KeyType: types.KeyType(k["KeyType"].(string))})
		}
		if _, err := client.CreateTable(t.Context(), input); err != nil {
			t.Fatal(err)
		}
		wait := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 50 * time.Millisecond })
		if err := wait.Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

// environment is what the template gives a function.
func (tp *template) environment(t *testing.T, function string) map[string]string {
	t.Helper()
	variables := make(map[string]string)
	for name, value := range tp.Resources[function].Properties["Environment"].(map[string]any)["Variables"].(map[string]any) {
		variables[name] = value.(string)
	}
	return variables
}

// documentsOf are a role's policies as IAM's double takes them.
func (tp *template) documentsOf(t *testing.T, role string) (all []string) {
	t.Helper()
	for _, p := range tp.policies(t, role) {
		document, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(document))
	}
	return all
}

// TestCloud opens the platform as the gateway function does, with the environment and exactly the permissions that the template gives it,
// over a DynamoDB that refuses what these do not allow. And what is wrong with a set-up is said at /healthz.
func TestCloud(t *testing.T) {
	t.Parallel()
	tp := render(t, "Stage=test")
	tables, kms, iam := awstest.DynamoDB(t), awstest.KMS(t), awstest.NewIAM()
	tp.makeTables(t, tables)
	role := iam.Credentials(tp.documentsOf(t, "GatewayRole")...)
	guard := awstest.Guard(t, iam, *tables.BaseEndpoint, "pk", role)
	env := tp.environment(t, "GatewayFunction")
	maps.Copy(env, map[string]string{
		"AWS_REGION": awstest.Region, "AWS_ACCESS_KEY_ID": role.AccessKeyID, "AWS_SECRET_ACCESS_KEY": role.SecretAccessKey, "AWS_SESSION_TOKEN": role.SessionToken,
		"AWS_ENDPOINT_URL_DYNAMODB": *guard.BaseEndpoint, "AWS_ENDPOINT_URL_KMS": *kms.Config.BaseEndpoint,
		"PEERLESS_KEY_ARN": kms.Key(t, "SYMMETRIC_DEFAULT"),
	})
	nobody := iam.Credentials(tp.documentsOf(t, "ContractRole")...)
	for name, test := range map[string]struct {
		change map[string]string
		want   []string
	}{
		"as it should be":  {nil, []string{"200", "ok"}},
		"no such table":    {map[string]string{"PEERLESS_LEDGER_TABLE": tp.name(t, "LedgerTable") + "-gone"}, []string{"503", "LedgerTable"}},
		"no control table": {map[string]string{"PEERLESS_CONTROL_TABLE": "gone"}, []string{"503", "gone"}},
		"no permission": {map[string]string{
			"AWS_ACCESS_KEY_ID": nobody.AccessKeyID, "AWS_SECRET_ACCESS_KEY": nobody.SecretAccessKey, "AWS_SESSION_TOKEN": nobody.SessionToken,
		}, []string{"503", "role"}},
		"no region":      {map[string]string{"AWS_REGION": ""}, []string{"503", "AWS_REGION"}},
		"no such key":    {map[string]string{"PEERLESS_KEY_ARN": "arn:aws:kms:us-east-1:123456789012:key/none"}, []string{"503", "key/none"}},
		"an old session": {map[string]string{"AWS_SESSION_TOKEN": "old"}, []string{"503", "AWS_SESSION_TOKEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			variables := maps.Clone(env)
			maps.Copy(variables, test.change)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			quiet := slog.New(slog.DiscardHandler)
			h := cloud.Serve(ctx, quiet, func(ctx context.Context) (*cloud.Platform, error) {
				config, err := cloud.FromEnv(func(name string) string { return variables[name] })
				if err != nil {
					return nil, err
				}
				return cloud.Open(ctx, config, nil, quiet, nil)
			})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/healthz", nil))
			if got := w.Result().Status + w.Body.String(); !containsAll(got, test.want) {
				t.Errorf("%s, want %v", got, test.want)
			}
		})
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// TestTables: the template's tables are those that the stores are written for.
func TestTables(t *testing.T) {
	t.Parallel()
	tp := render(t)
	description := ledger.Description("x")
	var keys, kinds []any
	for _, k := range description.KeySchema {
		keys = append(keys, map[string]any{"AttributeName": *k.AttributeName, "KeyType": string(k.KeyType)})
	}
	for _, a := range description.AttributeDefinitions {
		kinds = append(kinds, map[string]any{"AttributeName": *a.AttributeName, "AttributeType": string(a.AttributeType)})
	}
	ledger := tp.Resources["LedgerTable"].Properties
	same(t, ledger["KeySchema"], keys)
	same(t, ledger["AttributeDefinitions"], kinds)
	same(t, ledger["StreamSpecification"], map[string]any{"StreamViewType": string(description.StreamSpecification.StreamViewType)})
	same(t, ledger["BillingMode"], string(description.BillingMode))
	control := tp.Resources["ControlTable"].Properties
	same(t, control["KeySchema"], []any{
		map[string]any{"AttributeName": documents.PartitionKey, "KeyType": "HASH"}, map[string]any{"AttributeName": documents.SortKey, "KeyType": "RANGE"}})
	same(t, control["TimeToLiveSpecification"], map[string]any{"AttributeName": documents.TTL, "Enabled": true})
}
