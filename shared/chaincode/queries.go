package chaincode

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"peerless/shared/ledger"
	"peerless/shared/simulate"
)

const (
	rowsPerMessage = 100  // rows of a query without pages in one answer, as Fabric's
	maxOpenQueries = 1000 // iterators that a transaction may have open at once

	// bytesPerMessage ends an answer with rows of a query without pages before it has rowsPerMessage of them: so many values of a mebibyte
	// would be over MaxMessage.
	bytesPerMessage = 16 << 20

	// A contract elsewhere waits longer for an answer than for a row: it gets more rows in one.
	rowsElsewhere  = 10_000
	bytesElsewhere = 1 << 20
)

var errTooManyQueries = fmt.Errorf("transaction has %d open iterators: close some", maxOpenQueries)

// A query is an open iterator of a transaction.
type query struct {
	next    func(context.Context) (proto.Message, bool, error)
	close   func()
	pending []*peer.QueryResultBytes // read and not sent: the first row of the next answer
	size    int                      // of those, in bytes
}

func (e *execution) getRange(ctx context.Context, m *peer.GetStateByRange) ([]byte, error) {
	page, err := pageOf(m.Metadata)
	if err != nil {
		return nil, err
	}
	c, err := e.forReading(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	ns := e.inv.Chaincode
	if page == nil || c != nil { // private data has no pages
		if len(e.queries) == maxOpenQueries {
			return nil, errTooManyQueries
		}
		it, err := e.rangeOf(ctx, c, m.StartKey, m.EndKey)
		if err != nil {
			return nil, err
		}
		return e.open(ctx, &query{next: rows(ns, it), close: it.Close})
	}
	it, err := e.inv.Tx.RangePage(ctx, ns, m.StartKey, m.EndKey, page.PageSize, page.Bookmark)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	return e.page(ctx, it)
}

func (e *execution) rangeOf(ctx context.Context, c *Collection, start, end string) (*simulate.Iterator, error) {
	if c != nil {
		return e.inv.Tx.PrivateRange(ctx, e.inv.Chaincode, c.Collection, start, end)
	}
	return e.inv.Tx.Range(ctx, e.inv.Chaincode, start, end)
}

// pageOf reads the wish for a page, nil if there is none.
func pageOf(metadata []byte) (*peer.QueryMetadata, error) {
	page := &peer.QueryMetadata{}
	if err := proto.Unmarshal(metadata, page); err != nil {
		return nil, fmt.Errorf("unmarshal failed: %w", err)
	}
	if page.PageSize == 0 && page.Bookmark == "" {
		return nil, nil
	}
	return page, nil
}

// An iterator returns the rows of a range or of a rich query.
type iterator interface {
	Next(context.Context) (ledger.KV, bool, error)
	// Bookmark is where the next page begins.
	Bookmark(context.Context) (string, error)
	Close()
}

var (
	_ iterator = (*simulate.Iterator)(nil)
	_ iterator = (*simulate.Documents)(nil)
)

// page answers with a whole page. Its iterator needs no closing, though the shim asks for it.
func (e *execution) page(ctx context.Context, it iterator) ([]byte, error) {
	e.queryID++
	response := &peer.QueryResponse{Id: strconv.Itoa(e.queryID)}
	next, size := rows(e.inv.Chaincode, it), 0
	for {
		row, ok, err := next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		raw, err := encoded(row)
		if err != nil {
			return nil, err
		}
		if size += len(raw); size > maxAnswer {
			return nil, fmt.Errorf("the page has more than %d bytes after %d rows: ask for smaller pages", maxAnswer, len(response.Results))
		}
		response.Results = append(response.Results, &peer.QueryResultBytes{ResultBytes: raw})
	}
	bookmark, err := it.Bookmark(ctx)
	if err != nil {
		return nil, err
	}
	response.Metadata, err = encoded(&peer.QueryResponseMetadata{FetchedRecordsCount: int32(len(response.Results)), Bookmark: bookmark})
	if err != nil {
		return nil, err
	}
	return encoded(response)
}

func rows(ns string, it iterator) func(context.Context) (proto.Message, bool, error) {
	return func(ctx context.Context) (proto.Message, bool, error) {
		row, ok, err := it.Next(ctx)
		if err != nil || !ok {
			return nil, false, err
		}
		return &queryresult.KV{Namespace: ns, Key: row.Key, Value: row.Item.Value}, true, nil
	}
}

func (e *execution) getHistory(ctx context.Context, m *peer.GetHistoryForKey) ([]byte, error) {
	if len(e.queries) == maxOpenQueries {
		return nil, errTooManyQueries
	}
	it, err := e.inv.Tx.History(ctx, e.inv.Chaincode, m.Key)
	if err != nil {
		return nil, err
	}
	next := func(ctx context.Context) (proto.Message, bool, error) {
		change, ok, err := it.Next(ctx)
		if err != nil || !ok {
			return nil, false, err
		}
		return &queryresult.KeyModification{
			TxId:      change.TxID,
			Value:     change.Value,
			Timestamp: timestamppb.New(change.Timestamp),
			IsDelete:  change.IsDelete,
		}, true, nil
	}
	return e.open(ctx, &query{next: next, close: it.Close})
}

// getQueryResult answers a rich query, or refuses it as a peer with LevelDB does.
func (e *execution) getQueryResult(ctx context.Context, m *peer.GetQueryResult) ([]byte, error) {
	page, err := pageOf(m.Metadata)
	if err != nil {
		return nil, err
	}
	c, err := e.forReading(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	ns := e.inv.Chaincode
	if c != nil {
		return e.privateQuery(ctx, c, m.Query)
	}
	switch {
	case e.inv.LevelDB && page != nil:
		return nil, errRichPage
	case e.inv.LevelDB:
		return nil, errRichQuery
	case page != nil:
		it, err := e.inv.Tx.QueryPage(ctx, ns, m.Query, page.PageSize, page.Bookmark)
		if err != nil {
			return nil, err
		}
		defer e.endScan(it)
		return e.page(ctx, it)
	case len(e.queries) == maxOpenQueries:
		return nil, errTooManyQueries
	}
	it, err := e.inv.Tx.Query(ctx, ns, m.Query)
	if err != nil {
		return nil, err
	}
	return e.open(ctx, &query{next: rows(ns, it), close: func() { e.endScan(it) }})
}

// scanLogged is from how many documents on a rich query without an index is worth a line in the log.
const scanLogged = 1000

// endScan closes a rich query, and says so if it looked at many documents for want of an index.
func (e *execution) endScan(it *simulate.Documents) {
	documents, indexed := it.Scanned()
	if x := it.Awaited(); x != nil {
		e.session.config.Logger.Info("a rich query looked at every document: its index is still being built, with each block that has transactions of the chaincode",
			"channel", e.inv.Channel, "chaincode", e.inv.Chaincode, "tx", e.inv.Proposal.TxID, "documents", documents, "index", x.DesignDocument+"/"+x.Name)
	} else if !indexed && documents >= scanLogged {
		e.session.config.Logger.Info("a rich query looked at every document: an index of the fields that it selects by would spare that",
			"channel", e.inv.Channel, "chaincode", e.inv.Chaincode, "tx", e.inv.Proposal.TxID, "documents", documents)
	}
	it.Close()
}

// privateQuery answers a rich query of private data, which has no pages.
func (e *execution) privateQuery(ctx context.Context, c *Collection, text string) ([]byte, error) {
	if len(e.queries) == maxOpenQueries {
		return nil, errTooManyQueries
	}
	if e.inv.LevelDB {
		if err := e.inv.Tx.QueryPrivate(); err != nil {
			return nil, err
		}
		return nil, errRichQuery
	}
	it, err := e.inv.Tx.PrivateQuery(ctx, e.inv.Chaincode, c.Collection, text)
	if err != nil {
		return nil, err
	}
	return e.open(ctx, &query{next: rows(e.inv.Chaincode, it), close: it.Close})
}

// open enters an iterator and answers with its first rows.
func (e *execution) open(ctx context.Context, q *query) ([]byte, error) {
	if e.queries == nil {
		e.queries = map[string]*query{}
	}
	e.queryID++
	id := strconv.Itoa(e.queryID)
	if e.elsewhere {
		id = elsewhereID + id
	}
	e.queries[id] = q
	return e.batch(ctx, id, q)
}

func (e *execution) queryNext(ctx context.Context, m *peer.QueryStateNext) ([]byte, error) {
	q := e.queries[m.Id]
	if q == nil {
		return nil, errors.New("query iterator not found")
	}
	return e.batch(ctx, m.Id, q)
}

func (e *execution) queryClose(_ context.Context, m *peer.QueryStateClose) ([]byte, error) {
	e.closeQuery(m.Id)
	return encoded(&peer.QueryResponse{Id: m.Id})
}

// batch answers with the next rows. That there are more is known once one more has been read: it counts as read by the
// transaction, as in Fabric.
func (e *execution) batch(ctx context.Context, id string, q *query) ([]byte, error) {
	for {
		row, ok, err := q.next(ctx)
		if err != nil {
			e.closeQuery(id)
			return nil, err
		}
		if !ok {
			e.closeQuery(id)
			return encoded(&peer.QueryResponse{Results: q.pending, Id: id})
		}
		raw, err := encoded(row)
		if err != nil {
			e.closeQuery(id)
			return nil, err
		}
		result := &peer.QueryResultBytes{ResultBytes: raw}
		if e.full(q, len(raw)) {
			response := &peer.QueryResponse{Results: q.pending, HasMore: true, Id: id}
			q.pending, q.size = []*peer.QueryResultBytes{result}, len(raw)
			return encoded(response)
		}
		q.pending, q.size = append(q.pending, result), q.size+len(raw)
	}
}

// full reports whether what is pending is an answer, and so many bytes more belong to the next.
func (e *execution) full(q *query, more int) bool {
	rows, bytes := rowsPerMessage, bytesPerMessage
	if e.elsewhere {
		rows, bytes = rowsElsewhere, bytesElsewhere
	}
	return len(q.pending) == rows || q.size > 0 && q.size+more > bytes
}

func (e *execution) closeQuery(id string) {
	if q := e.queries[id]; q != nil {
		q.close()
		delete(e.queries, id)
	}
}

func (e *execution) closeQueries() {
	for id := range e.queries {
		e.closeQuery(id)
	}
}
