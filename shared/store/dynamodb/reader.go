package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
)

// A Reader reads a channel's state as it is applied, namespace by namespace. For one namespace it touches the partitions
// StatePartition and HistoryPartition and no others: credentials restricted to these by dynamodb:LeadingKeys are enough. It
// keeps nothing, and is safe for concurrent use.
//
// What it returns is of no one height: who decides on it compares the versions again.
type Reader struct {
	client  Reads
	table   string
	channel string
}

// NewReader returns a reader of a channel's state.
func NewReader(client Reads, table, channel string) *Reader { return &Reader{client, table, channel} }

// Get is ledger.View's.
func (r *Reader) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	items := make([]*ledger.Item, len(keys))
	if len(keys) == 0 {
		return items, r.failed(ctx, "get", nil)
	}
	pk := StatePartition(r.channel, namespace)
	ids := make([]id, len(keys))
	for i, key := range keys {
		ids[i] = id{pk, string(stateKey(key))}
	}
	found, err := getItems(ctx, r.client, r.table, ids)
	if err != nil {
		return nil, r.failed(ctx, "get", err)
	}
	err = parallel(ctx, len(ids), func(ctx context.Context, i int) (err error) {
		if it := found[ids[i]]; it != nil {
			items[i], err = r.item(ctx, namespace, it)
		}
		return err
	})
	return items, r.failed(ctx, "get", err)
}

// failed puts the operation before an error. That ctx has ended is told as its own error, whatever the SDK made of it.
func (r *Reader) failed(ctx context.Context, op string, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = errors.Join(ended, err)
	}
	if err != nil {
		return fmt.Errorf("%s: channel %s: %w", op, r.channel, err)
	}
	return nil
}

// item reads a row of the state, nil for a tombstone.
func (r *Reader) item(ctx context.Context, namespace string, it item) (*ledger.Item, error) {
	if !has(it, value) {
		return nil, nil
	}
	pk := HistoryPartition(r.channel, namespace)
	var found ledger.Item
	var err error
	if found.Version, err = versionIn(it); err != nil {
		return nil, err
	}
	if found.Value, err = r.content(ctx, it, value, pk, valuePiece); err != nil {
		return nil, err
	}
	if has(it, metadata) {
		if found.Metadata, err = r.content(ctx, it, metadata, pk, valuePiece); err != nil {
			return nil, err
		}
	}
	return &found, nil
}

// key returns the ledger key of a row of the state.
func (r *Reader) key(ctx context.Context, namespace string, it item) (string, error) {
	if has(it, longKey) {
		key, err := r.content(ctx, it, longKey, HistoryPartition(r.channel, namespace), valuePiece)
		return string(key), err
	}
	sk, err := bytesIn(it, sortKey)
	if err != nil || len(sk) == 0 || sk[len(sk)-1] != wholeMark {
		return "", damaged(it, sortKey)
	}
	return string(sk[:len(sk)-1]), nil
}

// errLimit is what a limit below 1 gets.
var errLimit = errors.New("the limit must be 1 or more")

// maxPage is how many rows a query asks for at most. DynamoDB ends a page at 1 MB.
const maxPage = 5000

// Range is ledger.View's.
func (r *Reader) Range(ctx context.Context, namespace, start, end string, limit int) ([]ledger.KV, error) {
	if limit < 1 {
		return nil, r.failed(ctx, "range", errLimit)
	}
	if end != "" && start >= end {
		return nil, r.failed(ctx, "range", nil)
	}
	first, last := stateRange(start, end)
	pages := r.query(StatePartition(r.channel, namespace), first, last, true, min(limit, maxPage))
	var rows []row
	for !pages.done && complete(rows, limit) < limit {
		items, err := pages.next(ctx)
		if err != nil {
			return nil, r.failed(ctx, "range", err)
		}
		for _, it := range items {
			if !has(it, value) {
				continue
			}
			key, err := r.key(ctx, namespace, it)
			if err != nil {
				return nil, r.failed(ctx, "range", err)
			}
			if key >= start && (end == "" || key < end) {
				rows = append(rows, row{key, it})
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.key, b.key) })
	rows = rows[:min(len(rows), limit)]
	kvs := make([]ledger.KV, len(rows))
	err := parallel(ctx, len(rows), func(ctx context.Context, i int) (err error) {
		kvs[i].Key = rows[i].key
		kvs[i].Item, err = r.item(ctx, namespace, rows[i].item)
		return err
	})
	return kvs, r.failed(ctx, "range", err)
}

type row struct {
	key  string
	item item
}

// complete returns how many rows, read in the order of their sort keys, are the first in the order of their keys: long keys with
// the same beginning stand in the order of their hashes, and more of them may come.
func complete(rows []row, limit int) int {
	n := len(rows)
	if n < limit || n == 0 || len(rows[n-1].key) <= maxWholeKey {
		return n
	}
	beginning := rows[n-1].key[:maxWholeKey]
	for n > 0 && len(rows[n-1].key) > maxWholeKey && rows[n-1].key[:maxWholeKey] == beginning {
		n--
	}
	return n
}

// History is ledger.View's.
func (r *Reader) History(ctx context.Context, namespace, key string, before ledger.Version, limit int) ([]ledger.Change, error) {
	if limit < 1 {
		return nil, r.failed(ctx, "history", errLimit)
	}
	newest := ledger.Version{Block: ^uint64(0), Tx: ^uint64(0)}
	if before != (ledger.Version{}) {
		newest = ledger.Version{Block: before.Block, Tx: before.Tx - 1}
		if before.Tx == 0 {
			newest.Block--
		}
	}
	pk := HistoryPartition(r.channel, namespace)
	pages := r.query(pk, historyKey(key, ledger.Version{}), historyKey(key, newest), false, min(limit, maxPage))
	var found []item
	for !pages.done && len(found) < limit {
		items, err := pages.next(ctx)
		if err != nil {
			return nil, r.failed(ctx, "history", err)
		}
		found = append(found, items...)
	}
	found = found[:min(len(found), limit)]
	changes := make([]ledger.Change, len(found))
	err := parallel(ctx, len(found), func(ctx context.Context, i int) error {
		c, it := ledger.Change{Namespace: namespace, Key: key}, found[i]
		var err error
		if c.Version, err = versionIn(it); err != nil {
			return err
		}
		if c.TxID, err = textIn(it, txID); err != nil {
			return err
		}
		if c.Timestamp, err = timeIn(it, timestamp); err != nil {
			return err
		}
		if c.IsDelete = it[deletion] != nil; !c.IsDelete {
			c.Value, err = r.content(ctx, it, value, pk, valuePiece)
		}
		changes[i] = c
		return err
	})
	return changes, r.failed(ctx, "history", err)
}

// query reads the items of a partition with first ≤ sort key ≤ last, page by page. A nil last is open.
func (r *Reader) query(pk string, first, last []byte, forward bool, limit int) *pages {
	input := &sdk.QueryInput{
		TableName: &r.table, ConsistentRead: aws.Bool(true), ScanIndexForward: &forward, Limit: aws.Int32(int32(limit)),
		KeyConditionExpression:    aws.String("pk = :p AND sk >= :a"),
		ExpressionAttributeValues: item{":p": text(pk), ":a": bytesOf(first)},
	}
	if last != nil {
		input.KeyConditionExpression = aws.String("pk = :p AND sk BETWEEN :a AND :z")
		input.ExpressionAttributeValues[":z"] = bytesOf(last)
	}
	return &pages{client: r.client, input: input}
}

type pages struct {
	client Reads
	input  *sdk.QueryInput
	done   bool
}

func (p *pages) next(ctx context.Context) ([]map[string]types.AttributeValue, error) {
	out, err := p.client.Query(ctx, p.input)
	if err != nil {
		return nil, explain(*p.input.TableName, err)
	}
	p.input.ExclusiveStartKey = out.LastEvaluatedKey
	p.done = len(out.LastEvaluatedKey) == 0
	return out.Items, nil
}

// View returns a ledger.View of nothing but state and history, for a reader that was told how many blocks are applied.
func (r *Reader) View(height uint64) ledger.View { return &view{Reader: r, savepoint: height} }
