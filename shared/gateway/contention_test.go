package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb/dynamodbtest"
	"peerless/shared/store/mem"
)

// callLatency is what a call of DynamoDB takes in the simulation.
const callLatency = 8 * time.Millisecond

// A load is submitters on channels, each a process of its own with a ledger of its own. Each updates a key of its own, calls times
// one after the other, over a table in memory each call to which takes callLatency.
type load struct{ channels, submitters, calls int }

// A measurement is what came of a load.
type measurement struct {
	throughput     float64 // transactions a second
	perAppend      float64 // transactions in a block
	callsEach      float64 // calls of DynamoDB for each transaction
	median, ninety time.Duration
	worst          time.Duration // of 99 in 100 transactions
}

func (m measurement) String() string {
	return fmt.Sprintf("%.0f tx/s, %.1f tx/append, %.1f calls/tx, p50 %v, p90 %v, p99 %v", m.throughput, m.perAppend, m.callsEach, m.median, m.ninety, m.worst)
}

// TestContention holds the protocol for many writers against its aims, on a clock that stands still while anything is computed:
// what is measured is what the calls and the waits take, whatever machine runs the test. Each load ends in an audit.
func TestContention(t *testing.T) {
	t.Parallel()
	measured := make(map[load]measurement)
	loads := []load{{1, 1, 10}, {1, 8, 10}, {1, 64, 6}, {1, 256, 2}, {10, 2, 4}, {100, 2, 2}}
	if raceDetector {
		loads = loads[:3]
	}
	for _, l := range loads {
		t.Run(fmt.Sprintf("%d channels, %d submitters each", l.channels, l.submitters), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { measured[l] = contend(t, l) })
			t.Log(measured[l])
		})
	}
	if t.Failed() {
		return
	}
	most := measured[load{1, 64, 6}]
	if most.throughput < 600 || most.perAppend < 10 || most.worst > 500*time.Millisecond {
		t.Errorf("64 submitters: got %v, want 600 tx/s, 10 tx/append and a p99 of 500 ms", most)
	}
	if raceDetector {
		return
	}
	if more := measured[load{1, 256, 2}]; more.throughput < most.throughput || more.worst > time.Second {
		t.Errorf("256 submitters: got %v, want no less than from 64: %v", more, most)
	}
	if few, many := measured[load{10, 2, 4}], measured[load{100, 2, 2}]; many.throughput < 8*few.throughput {
		t.Errorf("100 channels: got %v, want ten times what 10 do: %v", many, few)
	}
}

// BenchmarkContention is TestContention by the clock on the wall: the work of every submitter is done by this one machine. A
// double in a process of its own would be the limit: dynalite does 2,000 to 4,000 calls a second.
//
//	go test ./shared/gateway -run '^$' -bench Contention -benchtime 1x
func BenchmarkContention(b *testing.B) {
	for _, l := range []load{{1, 1, 20}, {1, 8, 20}, {1, 64, 20}, {1, 256, 20}, {10, 2, 20}, {100, 2, 20}} {
		b.Run(fmt.Sprintf("channels=%d/submitters=%d", l.channels, l.submitters), func(b *testing.B) {
			l.calls *= b.N
			m := contend(b, l)
			b.ReportMetric(m.throughput, "tx/s")
			b.ReportMetric(m.perAppend, "tx/append")
			b.ReportMetric(m.callsEach, "calls/tx")
			b.ReportMetric(float64(m.median.Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(m.worst.Microseconds())/1000, "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func contend(tb testing.TB, l load) measurement {
	double := dynamodbtest.NewDouble()
	p := newPlatform(tb, open(tb, double, "table"), &counters{}, service.Config{})
	names := []string{"main"}
	for i := 1; i < l.channels; i++ {
		names = append(names, p.addChannel(tb, fmt.Sprintf("main%d", i)))
	}
	faults := &dynamodbtest.Faults{Latency: callLatency}
	type submitter struct {
		*platform
		request service.Request
	}
	var all []submitter
	for _, name := range names {
		for i := range l.submitters {
			process := p.processWith(tb, open(tb, faults.Client(double), "table"), ledger.Config{})
			if _, err := process.Ledger.Channel(tb.Context(), name); err != nil { // loaded, as in a function that is warm
				tb.Fatal(err)
			}
			request := process.request("add", fmt.Sprint("k", i), "1")
			request.Channel = name
			all = append(all, submitter{process, request})
		}
	}
	made := faults.Made()
	latencies := make([][]time.Duration, len(all))
	var work sync.WaitGroup
	start := time.Now()
	for i, s := range all {
		work.Go(func() {
			for range l.calls {
				began := time.Now()
				if _, err := s.SubmitTransaction(context.Background(), s.request); err != nil {
					tb.Error(err)
					continue
				}
				latencies[i] = append(latencies[i], time.Since(began))
			}
		})
	}
	work.Wait()
	took := time.Since(start)
	made = faults.Made() - made
	blocks, transactions := 0, 0
	for _, name := range names {
		report, err := (&ledger.Audit{Store: p.store, Channel: name, Scratch: mem.New(mem.Config{})}).Run(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		blocks += int(report.Blocks) - 2 // without the channel's and the definition's
		transactions += int(report.Transactions) - 2
	}
	sorted := slices.Concat(latencies...)
	slices.Sort(sorted)
	if transactions != len(sorted) {
		tb.Errorf("%d transactions are recorded, %d were acknowledged", transactions, len(sorted))
	}
	at := func(q float64) time.Duration { return sorted[int(q*float64(len(sorted)-1))] }
	return measurement{
		throughput: float64(transactions) / took.Seconds(), perAppend: float64(transactions) / float64(blocks),
		callsEach: float64(made) / float64(transactions), median: at(0.5), ninety: at(0.9), worst: at(0.99),
	}
}
