// Package dynamodbtest is for tests and benchmarks of what runs on store/dynamodb: a table in memory, and faults for it or for the
// SDK's client.
package dynamodbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/tidwall/btree"

	"peerless/shared/store/dynamodb"
)

// Limits of DynamoDB.
const (
	maxItem      = 400 << 10
	maxPartition = 2048 // of a partition key
	maxSort      = 1024 // of a sort key
	maxPage      = 1 << 20
	maxGet       = 16 << 20
)

// Double is a table in memory, for what a real double's CPU would hide: how the store does with many callers at once. It knows the
// calls and the expressions that the store uses, and refuses others. Every call takes effect at one moment; items that were read
// must not be modified. Safe for concurrent use.
type Double struct {
	mu         sync.RWMutex
	partitions map[string]*btree.BTreeG[row]
}

type row struct {
	sk   string
	item item
}

type item = map[string]types.AttributeValue

var _ dynamodb.Client = (*Double)(nil)

// NewDouble returns an empty table.
func NewDouble() *Double { return &Double{partitions: make(map[string]*btree.BTreeG[row])} }

func invalid(format string, args ...any) error {
	return fmt.Errorf("ValidationException: "+format, args...)
}

// key takes apart an item's key.
func key(it item) (pk, sk string, err error) {
	p, okP := it["pk"].(*types.AttributeValueMemberS)
	s, okS := it["sk"].(*types.AttributeValueMemberB)
	if !okP || !okS || len(p.Value) == 0 || len(p.Value) > maxPartition || len(s.Value) == 0 || len(s.Value) > maxSort {
		return "", "", invalid("key %v", it)
	}
	return p.Value, string(s.Value), nil
}

func (d *Double) get(pk, sk string) item {
	rows := d.partitions[pk]
	if rows == nil {
		return nil
	}
	found, _ := rows.Get(row{sk: sk})
	return found.item
}

func (d *Double) put(pk, sk string, it item) {
	rows := d.partitions[pk]
	if rows == nil {
		rows = btree.NewBTreeGOptions(func(a, b row) bool { return a.sk < b.sk }, btree.Options{NoLocks: true, Degree: 8})
		d.partitions[pk] = rows
	}
	rows.Set(row{sk, it})
}

// size returns the bytes of an item, as DynamoDB counts them but for numbers, which are at most as long here.
func size(it item) int {
	n := 0
	for name, value := range it {
		n += len(name)
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value)
		case *types.AttributeValueMemberN:
			n += len(v.Value)
		default:
			n++
		}
	}
	return n
}

func number(value types.AttributeValue) (n uint64) {
	if v, ok := value.(*types.AttributeValueMemberN); ok {
		fmt.Sscan(v.Value, &n)
	}
	return n
}

// holds evaluates a condition of the store on an item, nil if there is none.
func holds(condition *string, there item, values item) (bool, error) {
	switch {
	case condition == nil:
		return true, nil
	case *condition == "attribute_not_exists(pk)":
		return there == nil, nil
	case *condition == "attribute_not_exists(pk) OR b < :b":
		return there == nil || number(there["b"]) < number(values[":b"]), nil
	case *condition == "attribute_not_exists(pk) OR n < :n":
		return there == nil || number(there["n"]) < number(values[":n"]), nil
	}
	return false, invalid("condition %q is not known to this double", *condition)
}

// clone copies an item: what the caller does to its own afterwards is not seen.
func clone(it item) item {
	own := make(item, len(it))
	for name, value := range it {
		if b, ok := value.(*types.AttributeValueMemberB); ok {
			value = &types.AttributeValueMemberB{Value: bytes.Clone(b.Value)}
		}
		own[name] = value
	}
	return own
}

// project returns an item with the attributes named by an expression of placeholders, all if there is none.
func project(it item, expression *string, names map[string]string) item {
	if it == nil {
		return nil
	}
	if expression == nil {
		return clone(it)
	}
	some := make(item)
	for _, name := range names {
		if value := it[name]; value != nil {
			some[name] = value
		}
	}
	return clone(some)
}

var errInconsistent = errors.New("this double has consistent reads only, and was not asked for one")

// GetItem is DynamoDB's.
func (d *Double) GetItem(ctx context.Context, in *sdk.GetItemInput, _ ...func(*sdk.Options)) (*sdk.GetItemOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pk, sk, err := key(in.Key)
	if err != nil {
		return nil, err
	}
	if in.ConsistentRead == nil || !*in.ConsistentRead {
		return nil, errInconsistent
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return &sdk.GetItemOutput{Item: project(d.get(pk, sk), in.ProjectionExpression, in.ExpressionAttributeNames)}, nil
}

// BatchGetItem is DynamoDB's.
func (d *Double) BatchGetItem(ctx context.Context, in *sdk.BatchGetItemInput, _ ...func(*sdk.Options)) (*sdk.BatchGetItemOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := &sdk.BatchGetItemOutput{Responses: make(map[string][]map[string]types.AttributeValue)}
	for table, keys := range in.RequestItems {
		if len(keys.Keys) == 0 || len(keys.Keys) > 100 {
			return nil, invalid("%d keys in a batch", len(keys.Keys))
		}
		if keys.ConsistentRead == nil || !*keys.ConsistentRead {
			return nil, errInconsistent
		}
		asked := make(map[[2]string]bool)
		total := 0
		for i, k := range keys.Keys {
			pk, sk, err := key(k)
			if err != nil {
				return nil, err
			}
			if asked[[2]string{pk, sk}] {
				return nil, invalid("a key is asked for twice")
			}
			asked[[2]string{pk, sk}] = true
			d.mu.RLock() // each item is read by itself: a batch is no snapshot
			it := d.get(pk, sk)
			d.mu.RUnlock()
			if total += size(it); total > maxGet {
				rest := keys
				rest.Keys = keys.Keys[i:]
				out.UnprocessedKeys = map[string]types.KeysAndAttributes{table: rest}
				break
			}
			if it != nil {
				out.Responses[table] = append(out.Responses[table], project(it, keys.ProjectionExpression, keys.ExpressionAttributeNames))
			}
		}
	}
	return out, nil
}

// Query is DynamoDB's.
func (d *Double) Query(ctx context.Context, in *sdk.QueryInput, _ ...func(*sdk.Options)) (*sdk.QueryOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if in.ConsistentRead == nil || !*in.ConsistentRead {
		return nil, errInconsistent
	}
	bound := func(name string) string {
		b, _ := in.ExpressionAttributeValues[name].(*types.AttributeValueMemberB)
		return string(b.Value)
	}
	pk, _ := in.ExpressionAttributeValues[":p"].(*types.AttributeValueMemberS)
	first, last, open := bound(":a"), "", true
	switch *in.KeyConditionExpression {
	case "pk = :p AND sk >= :a":
	case "pk = :p AND sk BETWEEN :a AND :z":
		if last, open = bound(":z"), false; last < first {
			return nil, invalid("BETWEEN: the first bound is after the last")
		}
	default:
		return nil, invalid("key condition %q is not known to this double", *in.KeyConditionExpression)
	}
	forward, limit := in.ScanIndexForward == nil || *in.ScanIndexForward, int(^uint(0)>>1)
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	out, total := &sdk.QueryOutput{}, 0
	rows := d.partitions[pk.Value]
	if rows == nil {
		return out, nil
	}
	take := func(r row) bool {
		if len(out.Items) == limit || total >= maxPage {
			after := out.Items[len(out.Items)-1]
			out.LastEvaluatedKey = item{"pk": after["pk"], "sk": after["sk"]}
			return false
		}
		total += size(r.item)
		out.Items = append(out.Items, clone(r.item))
		return true
	}
	var start string
	if in.ExclusiveStartKey != nil {
		var err error
		if _, start, err = key(in.ExclusiveStartKey); err != nil {
			return nil, err
		}
	}
	if forward {
		rows.Ascend(row{sk: max(first, start)}, func(r row) bool {
			return r.sk == start || (open || r.sk <= last) && take(r)
		})
		return out, nil
	}
	descend := func(r row) bool {
		return r.sk == start || r.sk >= first && take(r)
	}
	if from := last; start != "" {
		rows.Descend(row{sk: min(from, start)}, descend)
	} else {
		rows.Descend(row{sk: from}, descend)
	}
	return out, nil
}

// PutItem is DynamoDB's.
func (d *Double) PutItem(ctx context.Context, in *sdk.PutItemInput, _ ...func(*sdk.Options)) (*sdk.PutItemOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pk, sk, err := key(in.Item)
	if err != nil {
		return nil, err
	}
	own := clone(in.Item)
	if n := size(own); n > maxItem {
		return nil, invalid("an item of %d bytes", n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	ok, err := holds(in.ConditionExpression, d.get(pk, sk), in.ExpressionAttributeValues)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &types.ConditionalCheckFailedException{}
	}
	d.put(pk, sk, own)
	return &sdk.PutItemOutput{}, nil
}

// UpdateItem is DynamoDB's.
func (d *Double) UpdateItem(ctx context.Context, in *sdk.UpdateItemInput, _ ...func(*sdk.Options)) (*sdk.UpdateItemOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pk, sk, err := key(in.Key)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	there := d.get(pk, sk)
	ok, err := holds(in.ConditionExpression, there, in.ExpressionAttributeValues)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &types.ConditionalCheckFailedException{}
	}
	next := clone(in.Key)
	for name, value := range there {
		next[name] = value
	}
	next["n"] = in.ExpressionAttributeValues[":n"]
	switch *in.UpdateExpression {
	case "SET n = :n, l = if_not_exists(l, :zero)":
		if next["l"] == nil {
			next["l"] = in.ExpressionAttributeValues[":zero"]
		}
	case "SET n = :n, l = :n":
		next["l"] = next["n"]
	default:
		return nil, invalid("update %q is not known to this double", *in.UpdateExpression)
	}
	d.put(pk, sk, next)
	return &sdk.UpdateItemOutput{}, nil
}

// BatchWriteItem is DynamoDB's.
func (d *Double) BatchWriteItem(ctx context.Context, in *sdk.BatchWriteItemInput, _ ...func(*sdk.Options)) (*sdk.BatchWriteItemOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, requests := range in.RequestItems {
		if len(requests) == 0 || len(requests) > 25 {
			return nil, invalid("%d writes in a batch", len(requests))
		}
		written := make(map[[2]string]bool)
		for _, r := range requests {
			it := item(nil)
			if r.PutRequest != nil {
				it = clone(r.PutRequest.Item)
			} else {
				it = r.DeleteRequest.Key
			}
			pk, sk, err := key(it)
			if err != nil {
				return nil, err
			}
			if n := size(it); n > maxItem || written[[2]string{pk, sk}] {
				return nil, invalid("an item of %d bytes, or written twice", n)
			}
			written[[2]string{pk, sk}] = true
			d.mu.Lock()
			if r.PutRequest != nil {
				d.put(pk, sk, it)
			} else if rows := d.partitions[pk]; rows != nil {
				rows.Delete(row{sk: sk})
			}
			d.mu.Unlock()
		}
	}
	return &sdk.BatchWriteItemOutput{}, nil
}

// Items returns how many items there are in the partitions whose keys have a prefix.
func (d *Double) Items(prefix string) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := 0
	for pk, rows := range d.partitions {
		if strings.HasPrefix(pk, prefix) {
			n += rows.Len()
		}
	}
	return n
}
