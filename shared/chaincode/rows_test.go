package chaincode_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// madeUp is a state that has keys k0000000, k0000001 and so on in namespace test, with values that are made when they are read.
type madeUp struct {
	ledger.View // of an empty channel
	keys        int
	value       []byte
}

func (v madeUp) item(i int) *ledger.Item {
	return &ledger.Item{Value: append([]byte(nil), v.value...), Version: ledger.Version{Block: uint64(i / 1000), Tx: uint64(i % 1000)}}
}

func (v madeUp) Range(_ context.Context, ns, start, end string, limit int) ([]ledger.KV, error) {
	if ns != "test" {
		return nil, nil
	}
	first := 0
	if digits, ok := strings.CutPrefix(start, "k"); ok {
		digits, after := strings.CutSuffix(digits, "\x00")
		first, _ = strconv.Atoi(digits)
		if after {
			first++
		}
	}
	var rows []ledger.KV
	for i := first; i < v.keys && len(rows) < limit; i++ {
		key := fmt.Sprintf("k%07d", i)
		if end != "" && key >= end {
			break
		}
		rows = append(rows, ledger.KV{Key: key, Item: v.item(i)})
	}
	return rows, nil
}

func (v madeUp) Get(ctx context.Context, ns string, keys []string) ([]*ledger.Item, error) {
	if ns != "test" {
		return v.View.Get(ctx, ns, keys)
	}
	items := make([]*ledger.Item, len(keys))
	for i, key := range keys {
		if n, err := strconv.Atoi(strings.TrimPrefix(key, "k")); err == nil && n < v.keys {
			items[i] = v.item(n)
		}
	}
	return items, nil
}

// over is an invocation on such a state.
func over(t *testing.T, keys int, value []byte, function string, args ...string) *chaincode.Invocation {
	t.Helper()
	state := simtest.NewState()
	inv := invocation(t, state, function, args...)
	inv.Tx = simulate.New(madeUp{state.View(t), keys, value}, inv.Proposal.TxID)
	return inv
}

// reading is a contract that reads much, and looks at the memory that is in use while it does.
type reading struct {
	quiet, most int64 // bytes of the heap, at the start and at most
}

func (r *reading) look() {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if r.quiet == 0 {
		r.quiet = int64(stats.HeapAlloc)
	}
	r.most = max(r.most, int64(stats.HeapAlloc)-r.quiet)
}

// all reads a query to its end, and looks every so many rows.
func (r *reading) all(it shim.StateQueryIteratorInterface, every int) (rows int, err error) {
	defer it.Close()
	for ; it.HasNext(); rows++ {
		if rows%every == every-1 {
			r.look()
		}
		if _, err := it.Next(); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func (r *reading) contract() contract {
	return contract{
		"pages": func(stub shim.ChaincodeStubInterface, _ []string) *peer.Response {
			r.look()
			total := 0
			for page, bookmark := 0, ""; ; page++ {
				it, metadata, err := stub.GetStateByRangeWithPagination("", "", 1000, bookmark)
				if err != nil {
					return fail(err)
				}
				rows, err := r.all(it, 1001)
				if err != nil {
					return fail(err)
				}
				if page%100 == 99 {
					r.look()
				}
				if total, bookmark = total+rows, metadata.Bookmark; bookmark == "" {
					return shim.Success([]byte(strconv.Itoa(total)))
				}
			}
		},
		"page": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
			size, _ := strconv.Atoi(args[0])
			it, _, err := stub.GetStateByRangeWithPagination("", "", int32(size), "")
			if err != nil {
				return fail(err)
			}
			rows, err := r.all(it, 1<<30)
			if err != nil {
				return fail(err)
			}
			return shim.Success([]byte(strconv.Itoa(rows)))
		},
		"range": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
			r.look()
			it, err := stub.GetStateByRange("", args[0])
			return r.whole(it, err)
		},
		"query": func(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
			r.look()
			it, err := stub.GetQueryResult(args[0])
			return r.whole(it, err)
		},
	}
}

// whole answers with the number of rows, and an error behind them.
func (r *reading) whole(it shim.StateQueryIteratorInterface, err error) *peer.Response {
	if err != nil {
		return fail(err)
	}
	rows, err := r.all(it, 33_000)
	if err != nil {
		return shim.Error(fmt.Sprintf("%d rows, then %v", rows, err))
	}
	return shim.Success([]byte(strconv.Itoa(rows)))
}

// TestManyRows reads more than there may be at once. It measures memory, and so runs alone.
func TestManyRows(t *testing.T) {
	kilobyte, small := []byte(`{"text":"`+strings.Repeat("x", 1000)+`"}`), []byte(`{}`)
	const limit = simulate.MaxRows
	for _, test := range []struct {
		name, function string
		args           []string
		keys           int
		value          []byte
		payload        string // of what succeeds
		message        string // of what fails, behind the transaction's id
		bound          int64  // of memory, in bytes
	}{
		// 200 MB go through, page after page: what stays is a page on its way, and of each page the summary that the read-write set has.
		{name: "pages", function: "pages", keys: 2 * limit, value: kilobyte, payload: strconv.Itoa(2 * limit), bound: 16 << 20},
		// 100 MB go through: what stays is rows that were read ahead.
		{name: "a range", function: "range", args: []string{fmt.Sprintf("k%07d", limit)}, keys: limit + 1, value: small, payload: strconv.Itoa(limit), bound: 16 << 20},
		{name: "a larger range", function: "range", args: []string{""}, keys: limit + 1, value: kilobyte, message: "query returns more than 100000 rows", bound: 16 << 20},
		// Of each document its key and version stay: the read-write set names it.
		{name: "a query", function: "query", args: []string{`{"selector":{},"limit":100000}`}, keys: limit + 1, value: small, payload: strconv.Itoa(limit), bound: 32 << 20},
		{name: "a larger query", function: "query", args: []string{`{"selector":{}}`}, keys: limit + 1, value: kilobyte, message: "query returns more than 100000 rows", bound: 32 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &reading{}
			inv := over(t, test.keys, test.value, test.function, test.args...)
			response := must(t, start(t, r.contract()), inv).Response
			if test.payload != "" && (response.Status != shim.OK || string(response.Payload) != test.payload) {
				t.Errorf("got %d %s%s, want %s", response.Status, response.Message, response.Payload, test.payload)
			}
			if test.message != "" && (response.Status != shim.ERROR || !strings.HasSuffix(response.Message, inv.Proposal.TxID+": "+test.message)) {
				t.Errorf("got %d %s, want %s", response.Status, response.Message, test.message)
			}
			t.Logf("%d KiB at most", r.most>>10)
			if r.most > test.bound {
				t.Errorf("%d KiB were in use, want %d at most", r.most>>10, test.bound>>10)
			}
		})
	}
}

// TestLargeRows: rows that together are over the limit of a message come in several, and what would need to be one is refused.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	mebibyte := []byte(strings.Repeat("x", 1<<20))
	r := &reading{}
	host := start(t, r.contract())
	if response := must(t, host, over(t, 110, mebibyte, "range", "")).Response; string(response.Payload) != "110" {
		t.Errorf("110 rows of a mebibyte: %v", response.Message)
	}
	response := must(t, host, over(t, 110, mebibyte, "page", "110")).Response
	if want := "the page has more than 104853504 bytes after 99 rows: ask for smaller pages"; !strings.HasSuffix(response.Message, want) {
		t.Errorf("110 rows in a page: got %q, want %q", response.Message, want)
	}
	if response := must(t, host, over(t, 110, mebibyte, "page", "99")).Response; string(response.Payload) != "99" {
		t.Errorf("99 rows in a page: %v", response.Message)
	}
}
