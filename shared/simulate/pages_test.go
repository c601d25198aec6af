package simulate_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// counted is a state of a million keys, which are made when they are read.
type counted struct{ ledger.View }

func (counted) Range(_ context.Context, _, start, _ string, limit int) ([]ledger.KV, error) {
	digits, after := strings.CutSuffix(start, "\x00")
	first, _ := strconv.Atoi(digits)
	if after {
		first++
	}
	rows := make([]ledger.KV, 0, limit)
	for i := first; i < 1_000_000 && len(rows) < limit; i++ {
		rows = append(rows, ledger.KV{Key: fmt.Sprintf("%06d", i), Item: &ledger.Item{Value: make([]byte, 1000), Version: ledger.Version{Block: 7}}})
	}
	return rows, nil
}

// TestMillionRows reads a gigabyte in one transaction, page after page. It measures memory, and so runs alone.
func TestMillionRows(t *testing.T) {
	const page = 1000
	tx := simulate.New(counted{simtest.NewState().View(t)}, "tx")
	heap := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	quiet, most, rows := heap(), int64(0), 0
	for pages, bookmark := 1, ""; ; pages++ {
		it, err := tx.RangePage(t.Context(), "cc", "", "", page, bookmark)
		if err != nil {
			t.Fatal(err)
		}
		rows += len(take(t, it, page+1))
		if bookmark, err = it.Bookmark(t.Context()); err != nil {
			t.Fatal(err)
		}
		it.Close()
		if pages%100 == 0 {
			most = max(most, heap()-quiet)
		}
		if bookmark == "" {
			break
		}
	}
	if rows != 1_000_000 {
		t.Errorf("got %d rows", rows)
	}
	// A page's summary has at most MaxDegree hashes or keys with their versions: 10 KB or so for each of the thousand.
	if limit := int64(32 << 20); most > limit {
		t.Errorf("%d KiB were in use, want %d at most", most>>10, limit>>10)
	}
	t.Logf("%d KiB", most>>10)
	set, err := tx.Results()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(set.Namespaces[0].KV.RangeQueriesInfo); got != 1000 {
		t.Errorf("%d queries are recorded, want 1000", got)
	}
}
