package gateway_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/store/mem"
)

// operation is one call of the counters contract as its client saw it.
type operation struct {
	key string
	add int // 0: get
}

type result struct {
	value   int
	unknown bool // the store failed at the wrong moment: it happened or not
}

// counterModel says what a counter may answer: an add returns the new value, a get the present one.
var counterModel = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(operation).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{0} },
	Step: func(state, input, output any) []any {
		before, in, out := state.(int), input.(operation), output.(result)
		after := before + in.add
		switch {
		case out.unknown:
			return []any{before, after}
		case out.value == after:
			return []any{after}
		}
		return nil
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// TestLinearizable checks that concurrent submits and evaluates of a few hot keys, while the store fails at random, look to their
// clients as if they had happened one after the other.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	for name, config := range map[string]mem.Config{
		"fixed views":    {Hook: mem.RandomFaults(seed, 4)},
		"separate apply": {Hook: mem.RandomFaults(seed+1, 4), SeparateApply: true},
		"loose views":    {Hook: mem.RandomFaults(seed+2, 40), SeparateApply: true, Loose: true},
		"no faults":      {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			p := newPlatform(t, mem.New(config), &counters{}, service.Config{Attempts: 200})
			history := drive(t, []*platform{p}, seed, 6, 40)
			p.audit(t)
			checkLinearizable(t, history)
		})
	}
}

func checkLinearizable(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(counterModel.ToModel(), history, 2*time.Minute) {
	case porcupine.Illegal:
		t.Errorf("%d operations are not linearizable", len(history))
	case porcupine.Unknown:
		t.Errorf("%d operations could not be checked in time", len(history))
	}
}

// drive has clients call at random, each one of the processes, and returns what they saw.
func drive(t *testing.T, processes []*platform, seed uint64, clients, calls int) []porcupine.Operation {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var work sync.WaitGroup
	for client := range clients {
		work.Go(func() {
			random, p := rand.New(rand.NewPCG(seed, uint64(client))), processes[client%len(processes)]
			for range calls {
				op := operation{key: fmt.Sprint("k", random.IntN(3)), add: random.IntN(3)}
				called := time.Since(start)
				var text string
				var err error
				if op.add == 0 {
					text, err = p.evaluate(t.Context(), "get", op.key)
				} else {
					text, err = p.submit(t.Context(), "add", op.key, strconv.Itoa(op.add))
				}
				var said *service.Error
				if errors.As(err, &said) && said.Kind == service.Unavailable {
					continue // it did not happen, and it is said so
				}
				out := result{unknown: errors.Is(err, ledger.ErrOutcomeUnknown)}
				if err != nil && !out.unknown {
					t.Errorf("%+v: %v", op, err)
					return
				}
				returned := time.Since(start)
				if out.unknown {
					returned = time.Hour // it may take effect at any later time
				} else if out.value, err = strconv.Atoi(text); err != nil {
					t.Error(err)
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: op, Output: out, Call: int64(called), Return: int64(returned)})
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return history
}
