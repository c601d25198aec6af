package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// many is a state with so many private keys, which are made when they are read.
type many struct {
	ledger.View
	keys int
	read *int // rows
}

func (m many) Range(_ context.Context, _, start, _ string, limit int) ([]ledger.KV, error) {
	digits, after := strings.CutSuffix(start, "\x00")
	first, _ := strconv.Atoi(digits)
	if after {
		first++
	}
	var rows []ledger.KV
	for i := first; i < m.keys && len(rows) < limit; i++ {
		rows = append(rows, ledger.KV{Key: fmt.Sprintf("%06d", i), Item: &ledger.Item{Value: fmt.Appendf(nil, `{"n":%d}`, i), Version: ledger.Version{Block: 7}}})
	}
	*m.read += len(rows)
	return rows, nil
}

// TestPrivateLimits: queries of private data end at their limit, and say so; what they look at is no more than that.
func TestPrivateLimits(t *testing.T) {
	t.Parallel()
	open := simulate.Collection{Name: "own", Open: func(_ string, sealed []byte) ([]byte, error) { return sealed, nil }}
	query := func(text string) func(*simulate.Tx) (iterator, error) {
		return func(tx *simulate.Tx) (iterator, error) { return tx.PrivateQuery(t.Context(), "cc", open, text) }
	}
	rows := func(tx *simulate.Tx) (iterator, error) { return tx.PrivateRange(t.Context(), "cc", open, "", "") }
	const limit = simulate.MaxRows
	for name, c := range map[string]struct {
		open  func(*simulate.Tx) (iterator, error)
		keys  int
		found int
		want  error
		looks int // at so many rows at most
	}{
		"a range of the limit":                       {rows, limit, limit, nil, limit},
		"a range of one more":                        {rows, limit + 1, limit, simulate.ErrTooManyRows, limit + 1},
		"a query for one of the limit":               {query(`{"selector":{"n":99999}}`), limit, 1, nil, limit},
		"a query for one of more":                    {query(`{"selector":{"n":99999}}`), limit + 1, 1, simulate.ErrScan, limit + 1},
		"a query for all of the limit":               {query(`{"selector":{"n":{"$gte":0}}}`), limit, limit, nil, limit},
		"a query for nothing of a million":           {query(`{"selector":{"n":-1}}`), 1_000_000, 0, simulate.ErrScan, limit + 1},
		"a query for the first of a million":         {query(`{"selector":{"n":{"$gte":0}},"limit":5}`), 1_000_000, 5, nil, 1000},
		"a query for the last of the limit, skipped": {query(`{"selector":{"n":{"$gte":0}},"limit":1,"skip":99999}`), limit, 1, nil, limit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := 0
			it, err := c.open(simulate.New(many{simtest.NewState().View(t), c.keys, &read}, "tx"))
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for {
				_, ok, err := it.Next(t.Context())
				if err != nil || !ok {
					if !errors.Is(err, c.want) || found != c.found {
						t.Errorf("%d rows, then %v, want %d and %v", found, err, c.found, c.want)
					}
					break
				}
				found++
			}
			if read > c.looks {
				t.Errorf("it looked at %d rows, want %d at most", read, c.looks)
			}
		})
	}
}

// An iterator is a range or a rich query.
type iterator interface {
	Next(context.Context) (ledger.KV, bool, error)
}
