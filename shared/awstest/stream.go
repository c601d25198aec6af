package awstest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// Heights says how long channels' chains are.
type Heights func(ctx context.Context, channel string) (uint64, error)

// A Stream behaves as Lambda's event source mapping of the ledger table's stream does, for DynamoDB doubles that have none: it invokes a
// function with a record of each new block, as DynamoDB writes it with the keys alone, in batches that it repeats until they succeed
// (https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
type Stream struct {
	Heights   Heights
	Function  Invoker
	Channels  []string
	BatchSize int // default 10

	// Replay delivers every batch again after it succeeded, as a stream may.
	Replay bool
	// Shuffle, if not nil, mixes the records: blocks are partitions of their own, and come through shards in any order.
	Shuffle *rand.Rand

	sent map[string]uint64 // blocks of each channel that were delivered
}

// Record is a block's record.
func Record(channel string, number uint64) events.DynamoDBEventRecord {
	return events.DynamoDBEventRecord{
		AWSRegion: "us-east-1", EventID: fmt.Sprintf("%s-%d", channel, number), EventName: "INSERT", EventSource: "aws:dynamodb", EventVersion: "1.1",
		EventSourceArn: "arn:aws:dynamodb:us-east-1:123456789012:table/ledger/stream/2026-01-01T00:00:00.000",
		Change: events.DynamoDBStreamRecord{
			ApproximateCreationDateTime: events.SecondsEpochTime{Time: time.Unix(1764158400, 0).UTC()},
			Keys: map[string]events.DynamoDBAttributeValue{
				"pk": events.NewStringAttribute(fmt.Sprintf("block#%s#%020d", channel, number)), "sk": events.NewBinaryAttribute([]byte{0}),
			},
			SequenceNumber: fmt.Sprintf("%021d", number+1), SizeBytes: 42, StreamViewType: "KEYS_ONLY",
		},
	}
}

// Deliver delivers the records of the blocks that are new, and returns when the function has taken them all, or ctx ends.
func (s *Stream) Deliver(ctx context.Context) error {
	if s.sent == nil {
		s.sent = make(map[string]uint64)
	}
	var records []events.DynamoDBEventRecord
	for _, channel := range s.Channels {
		height, err := s.Heights(ctx, channel)
		if err != nil {
			return err
		}
		for n := s.sent[channel]; n < height; n++ {
			records = append(records, Record(channel, n))
		}
		s.sent[channel] = height
	}
	if s.Shuffle != nil {
		s.Shuffle.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	}
	size := s.BatchSize
	if size == 0 {
		size = 10
	}
	for len(records) > 0 {
		batch := records[:min(size, len(records))]
		records = records[len(batch):]
		if err := s.invoke(ctx, batch); err != nil {
			return err
		}
		if s.Replay {
			if err := s.invoke(ctx, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// invoke repeats a batch, from the first record that failed, until all of it succeeds.
func (s *Stream) invoke(ctx context.Context, batch []events.DynamoDBEventRecord) error {
	for len(batch) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("a batch of %d records was not taken: %w", len(batch), err)
		}
		payload, err := json.Marshal(events.DynamoDBEvent{Records: batch})
		if err != nil {
			return err
		}
		answer, err := s.Function.Invoke(ctx, payload)
		if err != nil {
			continue // a function that fails gets the batch again
		}
		all := make(map[string]bool)
		for _, r := range batch {
			all[r.Change.SequenceNumber] = true
		}
		failed, err := batchFailures(answer, all)
		if err != nil {
			continue
		}
		first := len(batch)
		for i := len(batch) - 1; i >= 0; i-- {
			if failed[batch[i].Change.SequenceNumber] {
				first = i
			}
		}
		batch = batch[first:]
	}
	return nil
}
