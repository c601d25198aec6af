package lambda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
)

// apartTime is how long nothing is batched after a contract was slow.
const apartTime = time.Minute

// overhead is what a request takes besides its proposals, in bytes: credentials, names.
const overhead = 16 << 10

// A job is a proposal on its way.
type job struct {
	ctx      context.Context
	txID     string
	proposal *invocation.Proposal
	size     int  // in the request, about
	alone    bool // it was in a batch that went wrong
	done     chan outcome
}

type outcome struct {
	result *invocation.Result
	err    error
}

// submit has a proposal run and returns its result; one that is an error of the contract's is a result.
func (h *Host) submit(ctx context.Context, txID string, p *invocation.Proposal) (*invocation.Result, error) {
	j := &job{ctx: ctx, txID: txID, proposal: p, size: size(p), done: make(chan outcome, 1)}
	if j.size+overhead > invocation.MaxPayload {
		return nil, fmt.Errorf("%w: the proposal, with what is not in the table yet, takes %d bytes in an invocation, which holds %d", chaincode.ErrTooLarge, j.size, invocation.MaxPayload-overhead)
	}
	h.enqueue(j)
	select {
	case o := <-j.done:
		if o.err != nil && ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		return o.result, o.err
	case <-ctx.Done():
		return nil, interrupted(ctx)
	}
}

func (h *Host) enqueue(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, j)
	if h.active < h.Concurrency {
		h.active++
		go h.work()
	}
}

// work sends what waits until nothing does.
func (h *Host) work() {
	for batch := h.take(); batch != nil; batch = h.take() {
		h.send(batch)
	}
}

// take returns the jobs that go next together, nil if there are none: then one invocation less is under way.
func (h *Host) take() []*job {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := h.MaxBatch
	if time.Now().Before(h.apart) {
		limit = 1
	}
	var batch, left []*job
	total := overhead
	for _, j := range h.queue {
		switch {
		case j.ctx.Err() != nil: // nobody waits for it
		case len(batch) == 0:
			batch, total = append(batch, j), total+j.size
		case j.alone || batch[0].alone || len(batch) >= limit || total+j.size > invocation.MaxPayload:
			left = append(left, j)
		default:
			batch, total = append(batch, j), total+j.size
		}
	}
	h.queue = left
	if batch == nil {
		h.active--
	}
	return batch
}

// send makes one invocation and hands out its results.
func (h *Host) send(batch []*job) {
	ctx, cancel := h.context(batch)
	results, err := h.invoke(ctx, batch)
	cancel()
	together := len(batch) > 1
	if together && errors.Is(err, chaincode.ErrTimeout) {
		h.mu.Lock()
		h.apart = time.Now().Add(apartTime)
		h.mu.Unlock()
	}
	for i, j := range batch {
		switch {
		case err == nil && !(together && spoiled(&results[i])):
			j.done <- outcome{result: &results[i]}
		case together && (err == nil || apart(err)):
			j.alone = true
			h.enqueue(j)
		default:
			j.done <- outcome{err: err}
		}
	}
}

// apart reports whether an invocation that failed may go better for its proposals alone.
func apart(err error) bool {
	return errors.Is(err, chaincode.ErrCrashed) || errors.Is(err, chaincode.ErrTimeout) || errors.Is(err, chaincode.ErrTooLarge)
}

// spoiled reports whether a result may be the fault of another one of the batch.
func spoiled(r *invocation.Result) bool {
	if r.Error == nil {
		return false
	}
	switch r.Error.Code {
	case invocation.Crashed, invocation.TooLarge, invocation.Timeout:
		return true
	}
	return false
}

// context lives as long as one of the jobs' does, and the host.
func (h *Host) context(batch []*job) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(h.life)
	var waiting atomic.Int64
	waiting.Store(int64(len(batch)))
	var stops []func() bool
	for _, j := range batch {
		stops = append(stops, context.AfterFunc(j.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// size estimates what a proposal takes in a request: bytes are in base64, and everything has a name.
func size(p *invocation.Proposal) int {
	n := 512 + len(p.Signed) + len(p.Input)
	for _, l := range p.Layers {
		for _, w := range slices.Concat(l.Writes, l.Indexes) {
			n += 96 + 2*len(w.Key) + len(w.Binary) + len(w.Value) + len(w.Metadata)
		}
		for _, c := range l.History {
			n += 256 + 2*len(c.Key) + len(c.Value)
		}
	}
	for _, c := range p.Calls {
		n += 256 + len(c.Input) + len(c.Response) + len(c.Error)
	}
	return n * 4 / 3
}
