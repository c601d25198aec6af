package dynamodb_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
	"peerless/shared/store/dynamodb/dynamodbtest"
)

func openOn(t *testing.T, client dynamodb.Client) *dynamodb.Store {
	t.Helper()
	s, err := dynamodb.Open(dynamodb.Config{Client: client, Table: "table"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func batchOf(n uint64, item *ledger.Item) *ledger.Batch {
	hash := bytes.Repeat([]byte{byte(n)}, 32)
	return &ledger.Batch{Block: n, Hash: hash, Writes: []ledger.Write{{Namespace: "ns", Key: "k", Item: item}}}
}

// TestLateApply stops an Apply at each of its calls, lets another process apply its block and the next, which deletes the key, and
// lets it go on: what it writes late brings nothing back.
func TestLateApply(t *testing.T) {
	t.Parallel()
	written := &ledger.Item{Value: []byte("v")}
	for stop := 0; ; stop++ {
		double := dynamodbtest.NewDouble()
		quick := openOn(t, double)
		var once sync.Once
		faults := &dynamodbtest.Faults{}
		slow := openOn(t, faults.Client(double))
		for n, b := range []*ledger.Batch{batchOf(0, written), batchOf(1, nil)} {
			if err := quick.Append(t.Context(), "ch", []byte{byte(n)}, b); err != nil {
				t.Fatal(err)
			}
		}
		faults.Decide = func(n int, _ string) dynamodbtest.Outcome {
			if n >= stop {
				once.Do(func() {
					for _, b := range []*ledger.Batch{batchOf(0, written), batchOf(1, nil)} {
						if err := quick.Apply(context.Background(), "ch", b); err != nil {
							t.Errorf("apply block %d: %v", b.Block, err)
						}
					}
				})
			}
			return dynamodbtest.Proceed
		}
		if err := slow.Apply(t.Context(), "ch", batchOf(0, written)); err != nil {
			t.Errorf("stopped at call %d: %v", stop, err)
		}
		if faults.Made() <= stop {
			return
		}
		view, err := openOn(t, double).View(t.Context(), "ch")
		if err != nil {
			t.Fatal(err)
		}
		items, err := view.Get(t.Context(), "ns", []string{"k"})
		rows, rangeErr := view.Range(t.Context(), "ns", "", "", 10)
		if err != nil || rangeErr != nil || items[0] != nil || len(rows) != 0 || view.Savepoint() != 2 {
			t.Errorf("stopped at call %d: got %v, %v, %v, %v, savepoint %d, want a deleted key, and 2", stop, items[0], err, rows, rangeErr, view.Savepoint())
		}
	}
}

// TestLoserLeavesNothing has two writers of a large block: the pieces of the one that loses are removed.
func TestLoserLeavesNothing(t *testing.T) {
	t.Parallel()
	double := dynamodbtest.NewDouble()
	winner, loser := openOn(t, double), openOn(t, double)
	large := func(b byte) []byte { return bytes.Repeat([]byte{b}, 1<<20) }
	if err := winner.Append(t.Context(), "ch", large(1), batchOf(0, nil)); err != nil {
		t.Fatal(err)
	}
	pieces := double.Items("block#ch#")
	if err := loser.Append(t.Context(), "ch", large(2), batchOf(0, nil)); err == nil {
		t.Fatal("two blocks by one number")
	}
	if got := double.Items("block#ch#"); got != pieces {
		t.Errorf("got %d items after a block that lost, want %d as before", got, pieces)
	}
	if got, err := winner.Block(t.Context(), "ch", 0); err != nil || !bytes.Equal(got, large(1)) {
		t.Errorf("the block that won: got %d bytes, %v", len(got), err)
	}
}

// partitions is a client that notes the partition of everything that is read.
type partitions struct {
	dynamodb.Reads
	mu   sync.Mutex
	seen map[string]bool
}

func (p *partitions) note(key map[string]types.AttributeValue) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[key["pk"].(*types.AttributeValueMemberS).Value] = true
}

func (p *partitions) GetItem(ctx context.Context, in *sdk.GetItemInput, o ...func(*sdk.Options)) (*sdk.GetItemOutput, error) {
	p.note(in.Key)
	return p.Reads.GetItem(ctx, in, o...)
}

func (p *partitions) BatchGetItem(ctx context.Context, in *sdk.BatchGetItemInput, o ...func(*sdk.Options)) (*sdk.BatchGetItemOutput, error) {
	for _, keys := range in.RequestItems {
		for _, key := range keys.Keys {
			p.note(key)
		}
	}
	return p.Reads.BatchGetItem(ctx, in, o...)
}

func (p *partitions) Query(ctx context.Context, in *sdk.QueryInput, o ...func(*sdk.Options)) (*sdk.QueryOutput, error) {
	p.note(map[string]types.AttributeValue{"pk": in.ExpressionAttributeValues[":p"]})
	return p.Reads.Query(ctx, in, o...)
}

// TestReader reads all that a contract's function can, large values and long keys too, and checks that it touches two partitions.
func TestReader(t *testing.T) {
	t.Parallel()
	double := dynamodbtest.NewDouble()
	s := openOn(t, double)
	long := strings.Repeat("k", 20_000)
	b := batchOf(0, &ledger.Item{Value: make([]byte, 1<<20)})
	b.Writes = append(b.Writes, ledger.Write{Namespace: "ns", Key: long, Item: &ledger.Item{Value: []byte("v"), Metadata: make([]byte, 100_000)}})
	b.History = []ledger.Change{{Namespace: "ns", Key: "k", Value: make([]byte, 1<<20)}}
	if err := s.Append(t.Context(), "ch", nil, b); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), "ch", b); err != nil {
		t.Fatal(err)
	}
	reads := &partitions{Reads: double, seen: make(map[string]bool)}
	view := dynamodb.NewReader(reads, "table", "ch").View(1)
	items, err := view.Get(t.Context(), "ns", []string{"k", long, "absent"})
	if err != nil || len(items[0].Value) != 1<<20 || len(items[1].Metadata) != 100_000 || items[2] != nil {
		t.Errorf("get: got %v, %v", items, err)
	}
	if rows, err := view.Range(t.Context(), "ns", "", "", 10); err != nil || len(rows) != 2 || rows[1].Key != long {
		t.Errorf("range: got %d rows, %v", len(rows), err)
	}
	if changes, err := view.History(t.Context(), "ns", "k", ledger.Version{}, 10); err != nil || len(changes) != 1 || len(changes[0].Value) != 1<<20 {
		t.Errorf("history: got %d changes, %v", len(changes), err)
	}
	for pk := range reads.seen {
		if pk != dynamodb.StatePartition("ch", "ns") && pk != dynamodb.HistoryPartition("ch", "ns") {
			t.Errorf("the reader touched %q", pk)
		}
	}
	if len(reads.seen) != 2 {
		t.Errorf("the reader touched %v", reads.seen)
	}
}
