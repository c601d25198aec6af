package mem

import (
	"errors"
	"math/rand/v2"
	"sync"
)

// ErrInjected is the error of a write that the hook failed. It says nothing about whether the write happened.
var ErrInjected = errors.New("injected fault")

// An Op is a kind of write.
type Op uint8

// The writes a hook is asked about. OpApply stands for the whole call; the others below it are the points within Apply,
// and come only where Apply is not atomic (Config.Loose).
const (
	OpAppend    Op = iota // the block, with its effects unless Config.SeparateApply is set
	OpApply               // all of one Apply
	OpItem                // one key's state
	OpHistory             // one entry of history
	OpTx                  // one transaction's place
	OpHash                // the look-up by hash
	OpSavepoint           // the savepoint: the last write of Apply
)

func (op Op) String() string {
	return [...]string{"append", "apply", "item", "history", "tx", "hash", "savepoint"}[op]
}

// A Write is what a hook is asked about.
type Write struct {
	Op      Op
	Channel string
	Block   uint64
	Index   int // position among the batch's writes of this kind, from 0
}

// An Outcome is a hook's decision.
type Outcome uint8

const (
	Proceed        Outcome = iota // the write happens
	FailNotApplied                // the write does not happen; the call returns ErrInjected
	FailApplied                   // the write happens; the call returns ErrInjected at once
)

// RandomFaults returns a hook that fails one write in every oneIn, on average, applied or not with equal chance. It is
// safe for concurrent use. The same seed and the same sequence of writes give the same faults.
func RandomFaults(seed uint64, oneIn int) func(Write) Outcome {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, seed))
	return func(Write) Outcome {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(oneIn) != 0 {
			return Proceed
		}
		return FailNotApplied + Outcome(rng.IntN(2))
	}
}
