package simulate

import (
	"context"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"

	"peerless/shared/ledger"
	"peerless/shared/simulate/rangequery"
)

const (
	// MaxRows is the most rows that one query returns: a peer's ledger.state.totalQueryLimit. A page ends there with its
	// bookmark, a query without pages with ErrTooManyRows.
	MaxRows = 100_000

	// firstFetch rows are read from the view at first: what a peer sends a contract with the first answer, and one to see
	// if there are more. After that, nextFetch at a time: ledger.state.couchDBConfig.internalQueryLimit.
	firstFetch = 101
	nextFetch  = 1000
)

// An Iterator returns the rows of a range, in byte order of the keys. Like its Tx it may be used from several goroutines.
//
// It records what it has returned, and that it has come to the end once Next has said so: what lies beyond does not
// conflict.
type Iterator struct {
	tx         *Tx
	ns         string
	start, end string
	limit      int         // rows to return
	paged      bool        // the limit is a page's: reaching it is no error
	private    *Collection // of a private query, which is recorded apart

	// Of tx.mu:
	rows     []ledger.KV // fetched, not returned
	next     string      // where to fetch on
	last     bool        // the view has no more
	fetched  bool
	returned int
	closed   bool

	results   *rangequery.Results
	lastKey   string
	exhausted bool
}

// Range opens a query for the keys with start ≤ key < end; the empty end is open.
func (t *Tx) Range(ctx context.Context, ns, start, end string) (*Iterator, error) {
	return t.open(ctx, &Iterator{ns: ns, start: start, end: end, limit: MaxRows})
}

// RangePage opens a query that returns one page of at most pageSize rows (MaxRows if it is 0, less or more), from the
// bookmark on if there is one. A transaction with such a query may not write.
func (t *Tx) RangePage(ctx context.Context, ns, start, end string, pageSize int32, bookmark string) (*Iterator, error) {
	it := &Iterator{ns: ns, start: start, end: end, limit: MaxRows, paged: true}
	if bookmark != "" {
		it.start = bookmark
	}
	if pageSize > 0 && pageSize < MaxRows {
		it.limit = int(pageSize)
	}
	return t.open(ctx, it)
}

func (t *Tx) open(_ context.Context, it *Iterator) (*Iterator, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.done:
		return nil, ErrDone
	case it.paged && t.wrote:
		return nil, fmt.Errorf("txid [%s]: %w", t.txID, ErrHasWritten)
	case it.paged:
		t.paged = true
	}
	it.tx = t
	it.next = it.start
	it.results = rangequery.NewResults(rangequery.MaxDegree)
	if it.private != nil {
		t.private = append(t.private, it)
		return it, nil
	}
	space := t.namespace(it.ns)
	space.ranges = append(space.ranges, it)
	return it, nil
}

// Next returns the next row, or false if there is none.
func (it *Iterator) Next(ctx context.Context) (ledger.KV, bool, error) {
	it.tx.mu.Lock()
	defer it.tx.mu.Unlock()
	if it.closed || it.tx.done || it.paged && it.returned == it.limit {
		return ledger.KV{}, false, nil
	}
	more, err := it.fill(ctx)
	switch {
	case err != nil:
		return ledger.KV{}, false, err
	case !more && it.returned < it.limit:
		it.exhausted = true
		return ledger.KV{}, false, nil
	case !more:
		return ledger.KV{}, false, nil
	case it.returned == it.limit:
		return ledger.KV{}, false, ErrTooManyRows
	}
	row := it.rows[0]
	it.rows = it.rows[1:]
	it.returned++
	it.lastKey = row.Key
	if err := it.results.Add(read(row.Key, row.Item)); err != nil {
		return ledger.KV{}, false, it.tx.failed(fmt.Errorf("range of %s: %w", it.ns, err))
	}
	if it.private != nil {
		opened, err := it.private.row(row)
		if err != nil {
			return ledger.KV{}, false, it.tx.failed(fmt.Errorf("range of %s: %w", it.ns, err))
		}
		row = opened
	}
	return row, true, nil
}

// Bookmark returns the key of the row after the last that was returned, empty if there is none. Asking is not recorded.
func (it *Iterator) Bookmark(ctx context.Context) (string, error) {
	it.tx.mu.Lock()
	defer it.tx.mu.Unlock()
	if it.closed || it.tx.done {
		return "", nil
	}
	more, err := it.fill(ctx)
	if err != nil || !more {
		return "", err
	}
	return it.rows[0].Key, nil
}

// Close lets go of the rows. What was recorded stays.
func (it *Iterator) Close() {
	it.tx.mu.Lock()
	defer it.tx.mu.Unlock()
	it.rows, it.closed = nil, true
}

// fill makes sure that there is a row at hand, and reports false if there are no more. It needs tx.mu.
func (it *Iterator) fill(ctx context.Context) (bool, error) {
	if len(it.rows) > 0 {
		return true, nil
	}
	if it.last || it.end != "" && it.next >= it.end {
		it.last = true
		return false, nil
	}
	limit := nextFetch
	if !it.fetched {
		limit = firstFetch
	}
	if left := it.limit - it.returned + 1; left < limit {
		limit = left
	}
	rows, err := it.tx.view.Range(ctx, it.ns, it.next, it.end, limit)
	if err != nil {
		return false, it.tx.failed(fmt.Errorf("range of %s: %w", it.ns, err))
	}
	it.fetched, it.rows, it.last = true, rows, len(rows) < limit
	if len(rows) > 0 {
		it.next = rows[len(rows)-1].Key + "\x00"
	}
	return len(rows) > 0, nil
}

// info is what the read-write set says of the query. It needs tx.mu and may be called once.
func (it *Iterator) info() (*kvrwset.RangeQueryInfo, error) {
	info := &kvrwset.RangeQueryInfo{StartKey: it.start, EndKey: it.lastKey, ItrExhausted: it.exhausted}
	if it.exhausted {
		info.EndKey = it.end
	}
	raw, merkle, err := it.results.Done()
	switch {
	case err != nil:
		return nil, err
	case merkle != nil:
		info.ReadsInfo = &kvrwset.RangeQueryInfo_ReadsMerkleHashes{ReadsMerkleHashes: merkle}
	case raw != nil:
		info.ReadsInfo = &kvrwset.RangeQueryInfo_RawReads{RawReads: &kvrwset.QueryReads{KvReads: raw}}
	}
	return info, nil
}

// read is the record of a key's version.
func read(key string, item *ledger.Item) *kvrwset.KVRead {
	if item == nil {
		return &kvrwset.KVRead{Key: key}
	}
	return &kvrwset.KVRead{Key: key, Version: &kvrwset.Version{BlockNum: item.Version.Block, TxNum: item.Version.Tx}}
}
