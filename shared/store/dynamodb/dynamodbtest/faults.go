package dynamodbtest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"peerless/shared/store/dynamodb"
)

// ErrKilled is what a call of a killed process ends with: nobody is there any more to see it.
var ErrKilled = errors.New("the process was killed")

// An Outcome is what becomes of a call.
type Outcome int

const (
	Proceed     Outcome = iota
	Throttled           // it is refused for want of capacity
	Lost                // it does not arrive, and no reply does
	LostReply           // it arrives, and its reply does not
	Killed              // it is not made
	KilledAfter         // it arrives, and nobody is there for the reply
)

// A Call is one that was made.
type Call struct {
	Operation  string
	Start, End time.Time
}

// Faults decides what becomes of calls, and counts them. The zero value lets all proceed. Safe for concurrent use.
type Faults struct {
	// Latency that each call has in addition.
	Latency time.Duration
	// Decide says what becomes of the n-th call, from 0. Default: it proceeds.
	Decide func(n int, operation string) Outcome

	mu    sync.Mutex
	made  int
	calls []Call
	kept  bool
}

// Record begins to keep the calls made from now on.
func (f *Faults) Record() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept, f.calls = true, nil
}

// Calls returns those kept.
func (f *Faults) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call{}, f.calls...)
}

// Made returns how many calls there have been.
func (f *Faults) Made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

// Sequential returns how many of the calls were made one after the other: the most of which each began when the one before it
// had ended. Calls made at the same time count once.
func Sequential(calls []Call) int {
	n := 0
	for at := (time.Time{}); ; n++ {
		var next *Call // to end, of those that begin after at
		for i := range calls {
			if c := &calls[i]; !c.Start.Before(at) && (next == nil || c.End.Before(next.End)) {
				next = c
			}
		}
		if next == nil {
			return n
		}
		at = next.End
	}
}

// around makes a call, unless it is decided otherwise.
func (f *Faults) around(ctx context.Context, operation string, call func() error) error {
	start := time.Now()
	f.mu.Lock()
	n := f.made
	f.made++
	f.mu.Unlock()
	outcome := Proceed
	if f.Decide != nil {
		outcome = f.Decide(n, operation)
	}
	if outcome == Killed {
		return ErrKilled
	}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.kept {
			f.calls = append(f.calls, Call{operation, start, time.Now()})
		}
	}()
	if f.Latency > 0 {
		// The call takes effect in the middle.
		if err := sleep(ctx, f.Latency/2); err != nil {
			return err
		}
		defer sleep(ctx, f.Latency/2)
	}
	switch outcome {
	case Throttled:
		return &types.ProvisionedThroughputExceededException{}
	case Lost:
		return &smithyhttp.RequestSendError{Err: io.ErrUnexpectedEOF}
	}
	err := call()
	switch outcome {
	case LostReply:
		return &smithyhttp.RequestSendError{Err: io.ErrUnexpectedEOF}
	case KilledAfter:
		return ErrKilled
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Random returns a decision that lets one call in oneIn fail, of whichever kind that leaves the process alive. The same seed
// gives the same kinds in the same order.
func Random(seed uint64, oneIn int) func(int, string) Outcome {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, seed))
	return func(int, string) Outcome {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(oneIn) != 0 {
			return Proceed
		}
		return Throttled + Outcome(rng.IntN(3))
	}
}

// Kill returns a decision under which call n is the last: it is not made, or it arrives, and all after it are not made.
func Kill(n int, arrives bool) func(int, string) Outcome {
	return func(i int, _ string) Outcome {
		switch {
		case i < n:
			return Proceed
		case i == n && arrives:
			return KilledAfter
		}
		return Killed
	}
}

// Option puts the faults into a client of the SDK: each try of a call is one, so that the SDK's retries see them.
func (f *Faults) Option(options *sdk.Options) {
	options.APIOptions = append(options.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("PeerlessFaults",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
				err = f.around(ctx, awsmiddleware.GetOperationName(ctx), func() (err error) {
					out, metadata, err = next.HandleFinalize(ctx, in)
					return err
				})
				return out, metadata, err
			}), "Retry", middleware.After)
	})
}

// Client puts the faults between a client and whoever uses the one that is returned. Nobody tries again.
func (f *Faults) Client(client dynamodb.Client) dynamodb.Client { return &faulty{client, f} }

type faulty struct {
	client dynamodb.Client
	faults *Faults
}

func through[In, Out any](ctx context.Context, f *Faults, operation string, in *In, call func(context.Context, *In, ...func(*sdk.Options)) (*Out, error)) (out *Out, err error) {
	err = f.around(ctx, operation, func() (err error) {
		out, err = call(ctx, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *faulty) GetItem(ctx context.Context, in *sdk.GetItemInput, _ ...func(*sdk.Options)) (*sdk.GetItemOutput, error) {
	return through(ctx, c.faults, "GetItem", in, c.client.GetItem)
}

func (c *faulty) BatchGetItem(ctx context.Context, in *sdk.BatchGetItemInput, _ ...func(*sdk.Options)) (*sdk.BatchGetItemOutput, error) {
	return through(ctx, c.faults, "BatchGetItem", in, c.client.BatchGetItem)
}

func (c *faulty) Query(ctx context.Context, in *sdk.QueryInput, _ ...func(*sdk.Options)) (*sdk.QueryOutput, error) {
	return through(ctx, c.faults, "Query", in, c.client.Query)
}

func (c *faulty) PutItem(ctx context.Context, in *sdk.PutItemInput, _ ...func(*sdk.Options)) (*sdk.PutItemOutput, error) {
	return through(ctx, c.faults, "PutItem", in, c.client.PutItem)
}

func (c *faulty) UpdateItem(ctx context.Context, in *sdk.UpdateItemInput, _ ...func(*sdk.Options)) (*sdk.UpdateItemOutput, error) {
	return through(ctx, c.faults, "UpdateItem", in, c.client.UpdateItem)
}

func (c *faulty) BatchWriteItem(ctx context.Context, in *sdk.BatchWriteItemInput, _ ...func(*sdk.Options)) (*sdk.BatchWriteItemOutput, error) {
	return through(ctx, c.faults, "BatchWriteItem", in, c.client.BatchWriteItem)
}
