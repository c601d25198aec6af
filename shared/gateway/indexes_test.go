package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb/dynamodbtest"
	"peerless/shared/store/pebble"
)

// documents is a contract of documents: fill FROM N, paint KEY COLOR, count QUERY.
type documents struct{}

func (documents) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (documents) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	switch function {
	case "fill":
		from, _ := strconv.Atoi(args[0])
		n, _ := strconv.Atoi(args[1])
		for i := from; i < from+n; i++ {
			if err := stub.PutState(fmt.Sprintf("d%06d", i), fmt.Appendf(nil, `{"color":"blue","size":%d,"owner":"owner %d"}`, i%100, i%1000)); err != nil {
				return shim.Error(err.Error())
			}
		}
		return shim.Success(nil)
	case "paint":
		if err := stub.PutState(args[0], fmt.Appendf(nil, `{"color":%q,"size":7,"owner":"painter"}`, args[1])); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(nil)
	case "count":
		rows, err := stub.GetQueryResult(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		defer rows.Close()
		n := 0
		for ; rows.HasNext(); n++ {
			if _, err := rows.Next(); err != nil {
				return shim.Error(err.Error())
			}
		}
		return shim.Success([]byte(strconv.Itoa(n)))
	}
	return shim.Error("no function " + function)
}

const colorIndex = `{"index":{"fields":["color","size"]},"ddoc":"color","name":"color","type":"json"}`

// building reports whether an index of the contract does not hold every document yet.
func (p *platform) building(tb testing.TB) bool {
	tb.Helper()
	channel, err := p.Ledger.Channel(tb.Context(), "main")
	if err != nil {
		tb.Fatal(err)
	}
	view, err := channel.View(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer view.Close()
	_, building, err := ledger.ReadIndexes(tb.Context(), view, "cc")
	if err != nil {
		tb.Fatal(err)
	}
	return len(building) > 0
}

// TestKilledIndexing kills a process at some of its calls, made or not, while its blocks build an index. Others find every document by
// a query while it is built and after, and the audit finds the entries that the chain says.
func TestKilledIndexing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const docs = 1_050 // more than a block moves
	killed := func(n int, arrives bool) (definition, calls int) {
		double := dynamodbtest.NewDouble()
		p := newPlatform(t, open(t, double, "table"), documents{}, service.Config{})
		if _, err := p.submit(t.Context(), "fill", "0", strconv.Itoa(docs)); err != nil {
			t.Fatal(err)
		}
		faults := &dynamodbtest.Faults{Decide: dynamodbtest.Kill(n, arrives)}
		victim := p.process(t, open(t, faults.Client(double), "table"))
		red := 0
		_, err := victim.Define(t.Context(), "main", p.user, service.Definition{Name: "cc", Version: "1", Indexes: []string{colorIndex}})
		defined := err == nil
		definition = faults.Made()
		if _, err := victim.submit(t.Context(), "paint", "d001020", "red"); err == nil {
			red++
		}
		finder := p.process(t, open(t, double, "table"))
		count := func(when string) {
			t.Helper()
			for query, want := range map[string]int{
				`{"selector":{"color":"blue","size":{"$gte":0}}}`: docs - red, `{"selector":{"color":{"$gt":"a"},"size":{"$gte":0}},"sort":[{"color":"asc"},{"size":"asc"}]}`: docs,
			} {
				got, err := finder.evaluate(t.Context(), "count", query)
				if err != nil && !defined && strings.Contains(err.Error(), "no_usable_index") {
					continue // it was killed before
				}
				found, _ := strconv.Atoi(got)
				if err != nil || found != want && !(red == 0 && found == want-1 && want == docs) {
					t.Errorf("killed at call %d, arrived %v: %s: %s finds %s documents, want %d: %v", n, arrives, when, query, got, want, err)
				}
			}
		}
		count("after the kill")
		if _, err := finder.submit(t.Context(), "paint", "d001020", "red"); err != nil {
			t.Fatal(err)
		}
		red = 1
		for range 2 {
			count("while it is built")
			if _, err := finder.submit(t.Context(), "paint", "d000900", "blue"); err != nil {
				t.Fatal(err)
			}
		}
		count("after it was built")
		if defined && finder.building(t) {
			t.Errorf("killed at call %d, arrived %v: the index is not built", n, arrives)
		}
		finder.audit(t)
		return definition, faults.Made()
	}
	definition, calls := killed(1<<30, true)
	t.Logf("%d calls, %d of them for the definition", calls, definition)
	points := []int{random.IntN(calls), random.IntN(calls), random.IntN(calls), random.IntN(calls)}
	for _, end := range []int{definition, calls} { // of an Apply
		for n := 1; n <= 5; n++ {
			points = append(points, end-n)
		}
	}
	for _, n := range points {
		if killed(n, random.IntN(2) == 0); t.Failed() {
			return
		}
	}
}

// BenchmarkAddIndex adds an index to a hundred thousand documents, on a disk, and reports how long the longest submit took while it was
// built.
func BenchmarkAddIndex(b *testing.B) {
	for range b.N {
		b.StopTimer()
		store, err := pebble.Open(b.TempDir(), pebble.Config{})
		if err != nil {
			b.Fatal(err)
		}
		p := newPlatform(b, store, documents{}, service.Config{})
		const docs, each = 100_000, 2_000
		for from := 0; from < docs; from += each {
			if _, err := p.submit(b.Context(), "fill", strconv.Itoa(from), strconv.Itoa(each)); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		var longest time.Duration
		timed := func(f func() error) {
			began := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
		timed(func() error {
			_, err := p.Define(b.Context(), "main", p.user, service.Definition{Name: "cc", Version: "1", Indexes: []string{colorIndex}})
			return err
		})
		blocks := 1
		for ; p.building(b); blocks++ {
			timed(func() error { _, err := p.submit(b.Context(), "paint", "d000001", "red"); return err })
		}
		b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
		b.ReportMetric(float64(blocks), "blocks")
	}
}
