package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// Reads are the calls that a reader makes: all that a contract's function needs to be allowed.
type Reads interface {
	GetItem(context.Context, *sdk.GetItemInput, ...func(*sdk.Options)) (*sdk.GetItemOutput, error)
	BatchGetItem(context.Context, *sdk.BatchGetItemInput, ...func(*sdk.Options)) (*sdk.BatchGetItemOutput, error)
	Query(context.Context, *sdk.QueryInput, ...func(*sdk.Options)) (*sdk.QueryOutput, error)
}

// Client is the part of the SDK's client that the store uses.
type Client interface {
	Reads
	PutItem(context.Context, *sdk.PutItemInput, ...func(*sdk.Options)) (*sdk.PutItemOutput, error)
	UpdateItem(context.Context, *sdk.UpdateItemInput, ...func(*sdk.Options)) (*sdk.UpdateItemOutput, error)
	BatchWriteItem(context.Context, *sdk.BatchWriteItemInput, ...func(*sdk.Options)) (*sdk.BatchWriteItemOutput, error)
}

var _ Client = (*sdk.Client)(nil)

// Limits of DynamoDB's calls: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	// parallelCalls that one operation has under way at most.
	parallelCalls = 128
)

// parallel runs f for 0 to n-1 at the same time and returns the first error.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	switch n {
	case 0:
		return nil
	case 1:
		return f(ctx, 0)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelCalls)
	for i := range n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(ctx, i)
		})
	}
	return group.Wait()
}

// getItem reads one item, nil if there is none. With names only these attributes are returned.
func getItem(ctx context.Context, c Reads, table, pk string, sk []byte, names ...string) (item, error) {
	input := &sdk.GetItemInput{TableName: &table, Key: newItem(pk, sk), ConsistentRead: aws.Bool(true)}
	input.ProjectionExpression, input.ExpressionAttributeNames = projection(names)
	out, err := c.GetItem(ctx, input)
	if err != nil {
		return nil, explain(table, err)
	}
	if len(out.Item) == 0 {
		return nil, nil
	}
	return out.Item, nil
}

func projection(names []string) (expression *string, placeholders map[string]string) {
	if len(names) == 0 {
		return nil, nil
	}
	text := ""
	placeholders = make(map[string]string)
	for i, name := range names {
		p := fmt.Sprintf("#%d", i)
		placeholders[p] = name
		if i > 0 {
			text += ","
		}
		text += p
	}
	return &text, placeholders
}

// id is an item's primary key as a map's key.
type id struct{ pk, sk string }

func idOf(it item) (id, error) {
	pk, err := textIn(it, partitionKey)
	if err != nil {
		return id{}, err
	}
	sk, err := bytesIn(it, sortKey)
	return id{pk, string(sk)}, err
}

// getItems reads items by their keys, in as few calls as there may be, all at the same time. Those that are not there are not in
// the result.
func getItems(ctx context.Context, c Reads, table string, ids []id, names ...string) (map[id]item, error) {
	unique := make(map[id]bool, len(ids))
	for _, i := range ids {
		unique[i] = true
	}
	found := make(map[id]item, len(unique))
	if len(unique) == 1 {
		it, err := getItem(ctx, c, table, ids[0].pk, []byte(ids[0].sk), names...)
		if it != nil {
			found[ids[0]] = it
		}
		return found, err
	}
	if len(names) > 0 {
		names = append([]string{partitionKey, sortKey}, slices.DeleteFunc(names, func(n string) bool { return n == partitionKey })...)
	}
	calls := slices.Collect(slices.Chunk(slices.Collect(maps.Keys(unique)), maxBatchGet))
	var mu sync.Mutex
	err := parallel(ctx, len(calls), func(ctx context.Context, i int) error {
		keys := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
		keys.ProjectionExpression, keys.ExpressionAttributeNames = projection(names)
		for _, i := range calls[i] {
			keys.Keys = append(keys.Keys, newItem(i.pk, []byte(i.sk)))
		}
		wanted := map[string]types.KeysAndAttributes{table: keys}
		for wait := firstPause; len(wanted) > 0; wait *= 2 {
			out, err := c.BatchGetItem(ctx, &sdk.BatchGetItemInput{RequestItems: wanted})
			if err != nil {
				return explain(table, err)
			}
			for _, it := range out.Responses[table] {
				i, err := idOf(it)
				if err != nil {
					return err
				}
				mu.Lock()
				found[i] = it
				mu.Unlock()
			}
			wanted = out.UnprocessedKeys
			// More than 16 MB in one answer come in several; without an item among them it is for want of capacity.
			if len(wanted) > 0 && len(out.Responses[table]) == 0 {
				if err := pause(ctx, wait); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return found, err
}

// firstPause before asking again for what DynamoDB did not get done; it doubles each time.
const firstPause = 10 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// putItem writes an item; with a condition, of which values gives the values, it reports whether that held.
func putItem(ctx context.Context, c Client, table string, it item, condition string, values item) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	input := &sdk.PutItemInput{TableName: &table, Item: it, ExpressionAttributeValues: values}
	if condition != "" {
		input.ConditionExpression = &condition
	}
	_, err := c.PutItem(ctx, input)
	if conditionFailed(err) {
		return false, nil
	}
	if err != nil {
		return false, explain(table, err)
	}
	return true, nil
}

// puts are requests to write items, each once.
func puts(items []item) []types.WriteRequest {
	written := make(map[id]bool, len(items))
	requests := make([]types.WriteRequest, 0, len(items))
	for _, it := range items {
		i, err := idOf(it)
		if err != nil || written[i] {
			continue // a piece that two values share; every item here was made by newItem
		}
		written[i] = true
		requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
	}
	return requests
}

func conditionFailed(err error) bool {
	var failed *types.ConditionalCheckFailedException
	return errors.As(err, &failed)
}

// writeItems puts and deletes items without a condition, all at the same time.
func writeItems(ctx context.Context, c Client, table string, requests []types.WriteRequest) error {
	calls := slices.Collect(slices.Chunk(requests, maxBatchWrite))
	return parallel(ctx, len(calls), func(ctx context.Context, i int) error {
		wanted := map[string][]types.WriteRequest{table: calls[i]}
		for wait := firstPause; ; wait *= 2 {
			if err := ctx.Err(); err != nil {
				return err
			}
			out, err := c.BatchWriteItem(ctx, &sdk.BatchWriteItemInput{RequestItems: wanted})
			if err != nil {
				return explain(table, err)
			}
			if wanted = out.UnprocessedItems; len(wanted) == 0 {
				return nil
			}
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
	})
}
