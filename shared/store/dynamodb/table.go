package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TTLAttribute is the attribute by which DynamoDB removes what has had its time: tombstones, and what was left in an inbox.
const TTLAttribute = expiry

// Description is how the table is made: its keys, on-demand capacity, and a stream of what is written, for events. Time to live
// is switched on by a call of its own, for TTLAttribute.
func Description(table string) *sdk.CreateTableInput {
	return &sdk.CreateTableInput{
		TableName:   &table,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(partitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(sortKey), AttributeType: types.ScalarAttributeTypeB},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(partitionKey), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(sortKey), KeyType: types.KeyTypeRange},
		},
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage},
	}
}

// Tables are the calls that make and look at a table.
type Tables interface {
	CreateTable(context.Context, *sdk.CreateTableInput, ...func(*sdk.Options)) (*sdk.CreateTableOutput, error)
	DescribeTable(context.Context, *sdk.DescribeTableInput, ...func(*sdk.Options)) (*sdk.DescribeTableOutput, error)
}

// CreateTable makes a table as Description says and waits until it can be used. It is for tests and doubles: on AWS a
// template makes it.
func CreateTable(ctx context.Context, client Tables, table string) error {
	if _, err := client.CreateTable(ctx, Description(table)); err != nil {
		return fmt.Errorf("create table %s: %w", table, explain(table, err))
	}
	for wait := firstPause; ; {
		out, err := client.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: &table})
		if err != nil {
			return fmt.Errorf("create table %s: %w", table, explain(table, err))
		}
		if out.Table.TableStatus == types.TableStatusActive {
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("create table %s: it is %s: %w", table, out.Table.TableStatus, err)
		}
		wait = min(2*wait, time.Second)
	}
}

// Check returns an error that says which setting is wrong if the table cannot be used: it does not exist, has other keys, the
// credentials may not see it or have expired, no region is set, the clock is off, nobody answers.
func Check(ctx context.Context, client *sdk.Client, table string) error {
	if options := client.Options(); options.Region == "" {
		return errors.New("no region is set: set AWS_REGION")
	}
	out, err := client.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: &table})
	if err != nil {
		return explain(table, err)
	}
	keys := make(map[types.KeyType]string)
	for _, k := range out.Table.KeySchema {
		keys[k.KeyType] = aws.ToString(k.AttributeName)
	}
	kinds := make(map[string]types.ScalarAttributeType)
	for _, a := range out.Table.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	if keys[types.KeyTypeHash] != partitionKey || keys[types.KeyTypeRange] != sortKey || kinds[partitionKey] != "S" || kinds[sortKey] != "B" {
		return fmt.Errorf("table %q is not one of Peerless: its keys must be pk (S) and sk (B); check the table's name", table)
	}
	if status := out.Table.TableStatus; status != types.TableStatusActive && status != types.TableStatusUpdating {
		return fmt.Errorf("table %q is %s: wait until it is ACTIVE", table, status)
	}
	return nil
}
