package awstest

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"peerless/shared/toolbox"
)

// DynamoDB starts dynalite, which keeps its tables in memory, and returns a configuration that leads to it. Its address is
// *BaseEndpoint. It has no transactions, streams or time to live; its conditions, races, limits and capacity units are
// DynamoDB's.
func DynamoDB(t testing.TB) aws.Config {
	t.Helper()
	program, port := toolbox.Need(t, "node_modules/.bin/dynalite"), toolbox.Port(t)
	config := Config(fmt.Sprintf("http://127.0.0.1:%d", port))
	client := dynamodb.NewFromConfig(config)
	cmd := exec.Command(program, "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--createTableMs", "0", "--deleteTableMs", "0")
	toolbox.Start(t, cmd, func(ctx context.Context) error {
		_, err := client.ListTables(ctx, &dynamodb.ListTablesInput{}, func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
		return err
	})
	return config
}

// Config leads the SDK to a double at an address, with credentials that mean nothing.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region:       "eu-central-1",
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}
