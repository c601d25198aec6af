// Package dynamodb keeps documents (package docstore) in one DynamoDB table, the control plane's.
//
//	kind      S  partition key  what the document is: dynamodb:LeadingKeys scopes a function to kinds
//	id        S  sort key
//	version   S                 another with each write: the condition of the next
//	value     S                 compact JSON, up to docstore.MaxValue bytes of the item's 400 KB
//	expires   N  TTL attribute  seconds since 1970, left out of what lasts
//
// Each call of the store is one request of DynamoDB, and reads are consistent: Get costs one read unit for each 4 KB, Put and
// Delete one write unit for each KB, List one read unit for each 4 KB of its page. A Put whose condition failed reads the item
// once more, because a request that the SDK sent again may have met its own write. DynamoDB deletes what has expired within days:
// until then it is filtered here, by this machine's clock.
package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/docstore"
)

// Names of attributes, for templates and tests that make the table.
const (
	PartitionKey = "kind"
	SortKey      = "id"
	TTL          = "expires"
)

// Store is a docstore.Store in a table.
type Store struct {
	client *dynamodb.Client
	table  string
}

var _ docstore.Store = (*Store)(nil)

// New returns the store in a table, which exists. It sends nothing.
func New(client *dynamodb.Client, table string) (*Store, error) {
	if client == nil || table == "" {
		return nil, errors.New("documents in DynamoDB: a client and the name of the control table are required")
	}
	return &Store{client, table}, nil
}

// item is a document as DynamoDB has it.
type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func seconds(t time.Time) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(t.Unix(), 10)}
}

func key(kind, id string) item { return item{PartitionKey: text(kind), SortKey: text(id)} }

func encode(doc docstore.Document) item {
	i := key(doc.Kind, doc.ID)
	i["version"], i["value"] = text(doc.Version), text(string(doc.Value))
	if !doc.Expires.IsZero() {
		i[TTL] = seconds(doc.Expires)
	}
	return i
}

func decode(i item) (docstore.Document, error) {
	var doc docstore.Document
	for name, to := range map[string]*string{PartitionKey: &doc.Kind, SortKey: &doc.ID, "version": &doc.Version} {
		s, ok := i[name].(*types.AttributeValueMemberS)
		if !ok {
			return doc, fmt.Errorf("%w: an item of %q has no text %q", docstore.ErrDamaged, doc.Kind, name)
		}
		*to = s.Value
	}
	value, ok := i["value"].(*types.AttributeValueMemberS)
	if !ok || !json.Valid([]byte(value.Value)) {
		return doc, fmt.Errorf("%s %s: %w: its value is no JSON", doc.Kind, doc.ID, docstore.ErrDamaged)
	}
	doc.Value = json.RawMessage(value.Value)
	if n, ok := i[TTL].(*types.AttributeValueMemberN); ok {
		at, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			return doc, fmt.Errorf("%s %s: %w: its expiry is %q", doc.Kind, doc.ID, docstore.ErrDamaged, n.Value)
		}
		doc.Expires = time.Unix(at, 0).UTC()
	}
	return doc, nil
}

// Get makes one GetItem.
func (s *Store) Get(ctx context.Context, kind, id string) (docstore.Document, error) {
	if err := docstore.CheckName(kind, id); err != nil {
		return docstore.Document{}, err
	}
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, Key: key(kind, id), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return docstore.Document{}, s.fail("read", kind, id, err)
	}
	if len(out.Item) == 0 {
		return docstore.Document{}, fmt.Errorf("%s %s: %w", kind, id, docstore.ErrNotFound)
	}
	doc, err := decode(out.Item)
	if err == nil && doc.Expired(time.Now()) {
		err = fmt.Errorf("%s %s: %w", kind, id, docstore.ErrNotFound)
	}
	if err != nil {
		return docstore.Document{}, err
	}
	return doc, nil
}

// The conditions of writes. An item that has expired is none.
const (
	absent  = "attribute_not_exists(kind) OR expires <= :now"
	living  = "attribute_exists(kind) AND (attribute_not_exists(expires) OR expires > :now)"
	current = "version = :version AND (attribute_not_exists(expires) OR expires > :now)"
)

func condition(version, without string) (*string, item) {
	values := item{":now": seconds(time.Now())}
	if version == "" {
		return aws.String(without), values
	}
	values[":version"] = text(version)
	return aws.String(current), values
}

// Put makes one PutItem, and one GetItem if its condition fails.
func (s *Store) Put(ctx context.Context, doc docstore.Document) (docstore.Document, error) {
	next, err := docstore.Prepare(doc)
	if err != nil {
		return doc, err
	}
	expression, values := condition(doc.Version, absent)
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: encode(next),
		ConditionExpression: expression, ExpressionAttributeValues: values})
	if err == nil {
		return next, nil
	}
	if err := s.fail("write", doc.Kind, doc.ID, err); !errors.Is(err, docstore.ErrConflict) {
		return doc, err
	}
	stored, err := s.Get(ctx, doc.Kind, doc.ID)
	switch {
	case err == nil && stored.Version == next.Version: // written by a request whose answer was lost
		return next, nil
	case err != nil && !errors.Is(err, docstore.ErrNotFound):
		return doc, fmt.Errorf("after a conflict: %w", err)
	}
	return doc, fmt.Errorf("%s %s: %w", doc.Kind, doc.ID, docstore.ErrConflict)
}

// Delete makes one DeleteItem, and one GetItem if its condition fails.
func (s *Store) Delete(ctx context.Context, kind, id, version string) error {
	if err := docstore.CheckName(kind, id); err != nil {
		return err
	}
	expression, values := condition(version, living)
	_, err := s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: key(kind, id),
		ConditionExpression: expression, ExpressionAttributeValues: values})
	if err == nil {
		return nil
	}
	if err := s.fail("delete", kind, id, err); !errors.Is(err, docstore.ErrConflict) {
		return err
	}
	if _, err := s.Get(ctx, kind, id); err != nil { // ErrNotFound, mostly
		return err
	}
	return fmt.Errorf("%s %s: %w", kind, id, docstore.ErrConflict)
}

// List makes one Query.
func (s *Store) List(ctx context.Context, kind, prefix, after string, limit int) ([]docstore.Document, string, error) {
	limit, err := docstore.CheckList(kind, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	if after >= prefix+"\x7f" { // behind all that begin with prefix: ids are ASCII
		return nil, "", nil
	}
	query := &dynamodb.QueryInput{TableName: &s.table, ConsistentRead: aws.Bool(true), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression: aws.String("kind = :kind"), ExpressionAttributeValues: item{":kind": text(kind)}}
	if prefix != "" {
		*query.KeyConditionExpression += " AND begins_with(id, :prefix)"
		query.ExpressionAttributeValues[":prefix"] = text(prefix)
	}
	if after > prefix { // else it stands before all of them, where DynamoDB takes no key
		query.ExclusiveStartKey = key(kind, after)
	}
	out, err := s.client.Query(ctx, query)
	if err != nil {
		return nil, "", s.fail("list", kind, prefix, err)
	}
	page := make([]docstore.Document, 0, len(out.Items))
	now := time.Now()
	for _, i := range out.Items {
		doc, err := decode(i)
		if err != nil {
			return nil, "", err
		}
		if !doc.Expired(now) {
			page = append(page, doc)
		}
	}
	next := ""
	if last, ok := out.LastEvaluatedKey[SortKey].(*types.AttributeValueMemberS); ok {
		next = last.Value
	}
	return page, next, nil
}

// fail names the operation, and the setting where the set-up is wrong. ErrConflict stands for a condition that failed.
func (s *Store) fail(operation, kind, id string, err error) error {
	var failed *types.ConditionalCheckFailedException
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &failed):
		return docstore.ErrConflict
	case errors.As(err, &missing):
		return fmt.Errorf("%s %s %s: there is no control table %q in this account and region: %w", operation, kind, id, s.table, err)
	}
	return fmt.Errorf("%s %s %s in the table %s: %w", operation, kind, id, s.table, err)
}
