package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Where several processes append to a channel, each append but one is in vain, and so is each judging for it. So a process that has
// met another leaves its transactions in the inbox of the next block. The first to leave something there writes the block: it
// waits a little for others' letters, judges them after its own, and says beside the block what became of each. The others look
// for the block. Whoever is not in it leaves his transactions for the one after: a letter can get into its own block and no
// other, so that what is not in it is known never to come.
//
// Nothing rests on this. Who is to write is not locked: whoever has waited long enough writes too, and Append decides. A letter's
// signatures are verified like a client's, so an inbox carries no trust.

// contendedTime is how long after meeting another writer a process takes it to be still there.
const contendedTime = time.Second

// contend notes that another process writes to the channel.
func (c *Channel) contend() { c.contended = time.Now().Add(contendedTime) }

// takeTurn leaves transactions in the inbox of the block to come, and waits until they are in a block, in which case they are
// settled, or until it is for this process to write it. It returns those that are left.
func (c *Channel) takeTurn(ctx context.Context, batch []*pending) []*pending {
	shared := c.ledger.shared
	for next := max(c.tip.height, c.height.Load()); ; next = max(next+1, c.height.Load()) {
		number := next
		var letters []Letter
		for _, p := range batch {
			if len(p.Envelope) <= MaxLetter && c.stageLetter(ctx, p) == nil {
				p.left = &number
				letters = append(letters, Letter{Envelope: p.Envelope, Trusted: p.Trusted})
			}
		}
		var outcomes []Outcome
		var there error
		var look sync.WaitGroup
		look.Go(func() { outcomes, there = shared.Outcomes(ctx, c.name, number) })
		claimed, err := shared.Leave(ctx, c.name, number, letters)
		look.Wait()
		if there != nil && (claimed || err != nil) {
			c.prepare(ctx)
			return batch
		}
		if !claimed {
			c.contend()
		}
		patience := c.ledger.InboxPatience + rand.N(c.ledger.InboxPatience)
		for pause, began := firstLook, time.Now(); there != nil; pause = min(pause+pause/4, 5*firstLook) {
			if time.Since(began) > patience || sleep(ctx, pause) != nil {
				return batch
			}
			outcomes, there = shared.Outcomes(ctx, c.name, number)
		}
		c.stale = true
		c.saw(Position{Height: number + 1})
		if batch = settleLetters(batch, number, outcomes); len(batch) == 0 {
			return nil
		}
	}
}

// prepare waits for letters, and meanwhile reads the end of the chain.
func (c *Channel) prepare(ctx context.Context) {
	var reading sync.WaitGroup
	reading.Go(func() {
		if c.stale || c.tip.height < c.height.Load() {
			c.stale = c.readTip(ctx) != nil
		}
	})
	sleep(ctx, c.ledger.InboxPause) // ends early only with ctx, which what follows will see
	reading.Wait()
}

// outstanding returns the block in whose inbox transactions were left, if it is below height: it has to be learnt first what
// became of them there.
func outstanding(batch []*pending, height uint64) (uint64, bool) {
	for _, p := range batch {
		if p.left != nil && *p.left < height {
			return *p.left, true
		}
	}
	return 0, false
}

// learn settles the transactions that were left in the inbox of a block and that its writer took along, and returns the others.
func (c *Channel) learn(ctx context.Context, batch []*pending, number uint64) []*pending {
	if n, ok := outstanding(batch, number+1); !ok || n != number {
		return batch
	}
	wait := c.ledger.RetryPause
	for attempt := 0; ; attempt++ {
		outcomes, err := c.ledger.shared.Outcomes(ctx, c.name, number)
		if err == nil {
			c.saw(Position{Height: number + 1})
			return settleLetters(batch, number, outcomes)
		}
		if attempt == c.ledger.AppendRetries || sleep(ctx, wait) != nil {
			var others []*pending
			for _, p := range batch {
				if p.left == nil {
					others = append(others, p)
					continue
				}
				p.settle(Verdict{}, fmt.Errorf("outcomes of block %d of channel %s: %w: %w", number, c.name, ErrOutcomeUnknown, err))
			}
			return others
		}
		wait *= 2
	}
}

// settleLetters settles the transactions that have an outcome, and returns the others.
func settleLetters(batch []*pending, number uint64, outcomes []Outcome) []*pending {
	byDigest := make(map[[32]byte]Outcome, len(outcomes))
	for _, o := range outcomes {
		byDigest[o.Digest] = o
	}
	var left []*pending
	for _, p := range batch {
		o, ok := byDigest[p.checked.digest]
		if !ok {
			p.left = nil
			left = append(left, p)
			continue
		}
		v := Verdict{Code: o.Code, Recorded: o.Recorded}
		if o.Recorded {
			v.Version = Version{number, o.Tx}
		}
		p.settle(v, nil)
	}
	return left
}

// An inbox is the committer's look into the inbox of the block that it cuts. A nil one is of a channel that has none.
type inbox struct {
	channel *Channel
	number  uint64
	done    chan struct{} // closed when the others are set
	left    []Letter
	err     error
}

// openInbox begins to read the inbox of the next block, if another process may have left something there.
func (c *Channel) openInbox(ctx context.Context) *inbox {
	if c.ledger.shared == nil {
		return nil
	}
	i := &inbox{channel: c}
	if time.Now().Before(c.contended) {
		i.read(ctx, max(c.tip.height, c.height.Load()))
	}
	return i
}

func (i *inbox) read(ctx context.Context, number uint64) {
	i.number, i.done = number, make(chan struct{})
	go func() {
		defer close(i.done)
		i.left, i.err = i.channel.ledger.shared.Letters(ctx, i.channel.name, number)
	}()
}

// letters returns the letters for a block, but for those that are the committer's own.
func (i *inbox) letters(ctx context.Context, number uint64, own []*pending) ([]*pending, error) {
	if i == nil || i.done == nil {
		return nil, nil
	}
	if <-i.done; i.number != number {
		i.read(ctx, number)
		<-i.done
	}
	if i.err != nil {
		return nil, i.err
	}
	seen := make(map[[32]byte]bool, len(own)+len(i.left))
	size, count := 0, len(own)
	for _, p := range own {
		seen[p.checked.digest] = true
		size += len(p.Envelope)
	}
	var letters []*pending
	for _, letter := range i.left {
		if size += len(letter.Envelope); size > i.channel.ledger.MaxBytes || count >= i.channel.ledger.MaxTransactions {
			break
		}
		c := check(i.channel.config.Load(), letter.Envelope)
		if seen[c.digest] || c.isConfig() {
			continue
		}
		seen[c.digest] = true
		count++
		letters = append(letters, &pending{Submission: &Submission{Envelope: letter.Envelope, Trusted: letter.Trusted}, checked: c, done: make(chan struct{})})
	}
	if len(letters) > 0 {
		i.channel.contend()
	}
	return letters, nil
}

// close waits until nothing is being read.
func (i *inbox) close() {
	if i != nil && i.done != nil {
		<-i.done
	}
}

// peek looks into the inbox while the block is appended, where it was not looked into before. The function that it returns says
// whether there was something.
func (i *inbox) peek(ctx context.Context, number uint64) func() bool {
	if i == nil || i.done != nil {
		return func() bool { return false }
	}
	i.read(ctx, number)
	return func() bool {
		<-i.done
		return len(i.left) > 0
	}
}
