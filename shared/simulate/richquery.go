package simulate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"

	"peerless/shared/ledger"
	"peerless/shared/mango"
)

// A Documents iterator returns the documents that a rich query selects. Like its Tx it may be used from several goroutines.
//
// Every document that is returned is recorded as read: its change is a conflict. What the query did not return is not recorded,
// as in Fabric: a document that would be selected now is no conflict.
type Documents struct {
	tx    *Tx
	ns    string
	query *mango.Query
	plan  mango.Plan
	limit int  // documents to return
	paged bool // the limit is a page's: reaching it is no error

	awaited *mango.Index // the one it would go by if that held every document yet: only what it is to hold is found

	private *Collection           // of private data, which is sealed and so has no entries of indexes in the state
	entries ledger.PrivateEntries // of the plan's index of it; nil: they are not kept

	// Of tx.mu:
	next     string // where the plan's entries, or the keys, are read on
	last     bool   // there are no more of them
	ready    []document
	sorted   bool // ready holds all that there is
	skip     int  // documents still to leave out
	before   int  // documents left out or returned before the first of these, where they had to be sorted
	returned int
	position string // of the last document returned
	closed   bool

	scanned int // documents looked at
}

// A document is one that matched.
type document struct {
	entry string // where it stands: an index's entry, or its key
	row   ledger.KV
	doc   mango.Document
}

// Query opens a rich query: CouchDB's JSON, package mango. Without a limit of its own it returns MaxRows documents at most.
func (t *Tx) Query(ctx context.Context, ns, query string) (*Documents, error) {
	q, err := mango.ParseQuery([]byte(query))
	if err != nil {
		return nil, err
	}
	d := &Documents{ns: ns, query: q, limit: MaxRows}
	if q.Limit >= 0 && q.Limit <= MaxRows {
		d.limit, d.paged = q.Limit, true
	}
	return t.find(ctx, d)
}

// QueryPage opens a rich query for one page of at most pageSize documents (MaxRows if it is 0, less or more), behind the bookmark
// if there is one. Both take the place of what the query says. A transaction with such a query may not write.
func (t *Tx) QueryPage(ctx context.Context, ns, query string, pageSize int32, bookmark string) (*Documents, error) {
	q, err := mango.ParseQuery([]byte(query))
	if err != nil {
		return nil, err
	}
	if bookmark != "" {
		q.Bookmark = bookmark
	}
	d := &Documents{ns: ns, query: q, limit: MaxRows, paged: true}
	if pageSize > 0 && pageSize < MaxRows {
		d.limit = int(pageSize)
	}
	t.mu.Lock()
	switch {
	case t.done:
		err = ErrDone
	case t.wrote:
		err = fmt.Errorf("txid [%s]: %w", t.txID, ErrHasWritten)
	default:
		t.paged = true
	}
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return t.find(ctx, d)
}

func (t *Tx) find(ctx context.Context, d *Documents) (*Documents, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil, ErrDone
	}
	var indexes, building []*mango.Index
	var err error
	if d.private != nil {
		indexes = d.private.Indexes
	} else {
		if indexes, building, err = ledger.ReadIndexes(ctx, t.view, d.ns); err != nil {
			return nil, t.failed(err)
		}
	}
	if err := d.choose(indexes, building); err != nil {
		return nil, err
	}
	if d.private != nil && d.private.Entries != nil && d.private.Open != nil && d.plan.Index != nil {
		if d.entries, err = d.private.Entries(ctx, t.view, d.plan.Index); err != nil {
			return nil, t.failed(err)
		}
	}
	d.tx, d.next, d.skip = t, d.plan.Start, d.query.Skip
	if d.query.Bookmark != "" {
		if err := d.resume(d.query.Bookmark); err != nil {
			return nil, err
		}
	}
	d.before = d.skip
	d.last = d.private != nil && d.private.Open == nil
	return d, nil
}

// choose plans the query. One that would go by an index that does not hold every document yet does without, also where it then has to
// sort.
func (d *Documents) choose(indexes, building []*mango.Index) (err error) {
	d.plan, err = d.query.Plan(indexes)
	if len(building) == 0 || err == nil && d.plan.Index != nil {
		return err
	}
	if later, unfit := d.query.Plan(slices.Concat(indexes, building)); unfit == nil && later.Index != nil {
		d.plan, d.awaited, err = d.query.Scan(), later.Index, nil
	}
	return err
}

// A bookmark says where a page ended. Its form is nobody's business but ours.
type bookmark struct {
	Index string `json:"i,omitempty"` // the index's namespace, empty without one
	After []byte `json:"a,omitempty"` // the last document's entry or key
	Count int    `json:"n,omitempty"` // documents returned so far, where they had to be sorted
}

func (d *Documents) resume(text string) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	var b bookmark
	if err == nil {
		err = json.Unmarshal(raw, &b)
	}
	if err != nil || b.Index != d.source() || b.Count < 0 {
		return &mango.Error{Code: "invalid_bookmark", Reason: "Invalid bookmark value: " + text}
	}
	d.skip = b.Count
	if len(b.After) > 0 {
		d.next = max(d.next, string(b.After)+"\x00")
	}
	return nil
}

// source is the namespace of the index, empty without one.
func (d *Documents) source() string {
	if d.plan.Index == nil {
		return ""
	}
	return ledger.IndexNamespace(d.ns, d.plan.Index)
}

// Bookmark returns what a query for the documents behind those returned is to be given; "nil" if none was returned, as CouchDB says.
func (d *Documents) Bookmark(context.Context) (string, error) {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	if d.returned == 0 {
		return "nil", nil
	}
	b := bookmark{Index: d.source(), After: []byte(d.position)}
	if !d.plan.Sorted {
		b.After, b.Count = nil, d.before+d.returned
	}
	raw, err := json.Marshal(b)
	return base64.RawURLEncoding.EncodeToString(raw), err
}

// Next returns the next document, or false if there is none.
func (d *Documents) Next(ctx context.Context) (ledger.KV, bool, error) {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	if d.closed || d.tx.done || d.paged && d.returned == d.limit {
		return ledger.KV{}, false, nil
	}
	found, more, err := d.take(ctx)
	if err != nil || !more {
		return ledger.KV{}, false, err
	}
	if d.returned == d.limit {
		return ledger.KV{}, false, ErrTooManyRows
	}
	value, err := d.query.Project(found.doc, found.row.Item.Value)
	if err != nil {
		return ledger.KV{}, false, err
	}
	d.returned++
	d.position = found.entry
	if d.private != nil {
		d.tx.see(d.ns, found.row)
	} else {
		d.tx.note(d.ns, found.row)
	}
	item := *found.row.Item
	item.Value = value
	return ledger.KV{Key: found.row.Key, Item: &item}, true, nil
}

// note records a row as read, unless its key was read before. It does not keep the value: there may be many. It needs mu.
func (t *Tx) note(ns string, row ledger.KV) {
	space := t.namespace(ns)
	if _, known := space.reads[row.Key]; known {
		return
	}
	if space.versions == nil {
		space.versions = make(map[string]*kvrwset.Version)
	}
	if _, known := space.versions[row.Key]; !known {
		space.versions[row.Key] = read(row.Key, row.Item).Version
	}
}

// Close lets go of the documents. What was recorded stays.
func (d *Documents) Close() {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	d.ready, d.closed = nil, true
}

// Awaited returns the index by which the query would have gone if it held every document yet, nil if there is none.
func (d *Documents) Awaited() *mango.Index { return d.awaited }

// Scanned tells how many documents were looked at, and whether it was by an index.
func (d *Documents) Scanned() (documents int, indexed bool) {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	return d.scanned, d.plan.Index != nil && (d.private == nil || d.entries != nil)
}

// take returns the next document that matches. It needs tx.mu.
func (d *Documents) take(ctx context.Context) (document, bool, error) {
	if !d.plan.Sorted && !d.sorted {
		if err := d.sort(ctx); err != nil {
			return document{}, false, err
		}
	}
	for {
		for len(d.ready) == 0 {
			if d.last {
				return document{}, false, nil
			}
			if err := d.read(ctx); err != nil {
				return document{}, false, err
			}
		}
		found := d.ready[0]
		d.ready = d.ready[1:]
		if d.skip == 0 {
			return found, true, nil
		}
		d.skip--
	}
}

// sort reads all that matches and sorts it.
func (d *Documents) sort(ctx context.Context) error {
	for !d.last {
		if err := d.read(ctx); err != nil {
			return err
		}
		if len(d.ready) > MaxRows {
			return fmt.Errorf("%w to sort: make an index of the fields it sorts by, in its direction", ErrTooManyRows)
		}
	}
	slices.SortStableFunc(d.ready, func(a, b document) int { return d.query.Order(a.doc, b.doc) })
	d.sorted = true
	return nil
}

// read reads the next entries and keeps what matches.
func (d *Documents) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return d.tx.failed(err)
	}
	if d.private != nil && d.plan.Index != nil && d.entries == nil {
		return d.readPrivate(ctx)
	}
	limit := nextFetch
	if d.plan.Sorted && d.limit-d.returned+d.skip < limit && d.scanned == 0 {
		limit = d.limit - d.returned + d.skip + 1
	}
	if d.private != nil && d.entries == nil {
		limit = min(limit, MaxRows-d.scanned+1) // one more, to see whether there are more
	}
	namespace := d.ns
	if d.plan.Index != nil {
		namespace = d.source()
	}
	var entries []ledger.KV
	var err error
	if d.entries != nil {
		entries = d.entries(d.next, d.plan.End, limit)
	} else if entries, err = d.tx.view.Range(ctx, namespace, d.next, d.plan.End, limit); err != nil {
		return d.tx.failed(fmt.Errorf("query of %s: %w", d.ns, err))
	}
	if d.last = len(entries) < limit; !d.last {
		d.next = entries[len(entries)-1].Key + "\x00"
	}
	if d.private != nil && d.entries == nil && d.scanned+len(entries) > MaxRows {
		return ErrScan
	}
	rows := entries
	if d.plan.Index != nil {
		if rows, err = d.documents(ctx, entries); err != nil {
			return d.tx.failed(fmt.Errorf("query of %s: %w", d.ns, err))
		}
	}
	d.scanned += len(rows)
	for i, row := range rows {
		if row.Item == nil {
			continue
		}
		if d.private != nil {
			if row, err = d.private.row(row); err != nil {
				return d.tx.failed(fmt.Errorf("query of %s: %w", d.ns, err))
			}
		}
		doc := mango.ParseDocument(row.Key, row.Item.Value)
		if !d.query.Selector.Match(doc) {
			continue
		}
		if d.awaited != nil {
			if _, ok := d.awaited.Entry(doc); !ok {
				continue
			}
		}
		// An entry may be older than its document where the store writes them one after the other: the document has another then.
		if d.plan.Index != nil {
			if own, ok := d.plan.Index.Entry(doc); !ok || own != entries[i].Key {
				continue
			}
		}
		d.ready = append(d.ready, document{entries[i].Key, row, doc})
	}
	return nil
}

// readPrivate reads a whole collection and keeps what matches as an index of it would have it.
func (d *Documents) readPrivate(ctx context.Context) error {
	for start := ""; !d.last; {
		rows, err := d.tx.view.Range(ctx, d.ns, start, "", nextFetch)
		if err != nil {
			return d.tx.failed(fmt.Errorf("query of %s: %w", d.ns, err))
		}
		if d.last = len(rows) < nextFetch; !d.last {
			start = rows[len(rows)-1].Key + "\x00"
		}
		if d.scanned += len(rows); d.scanned > MaxRows {
			return ErrScan
		}
		for _, row := range rows {
			if row, err = d.private.row(row); err != nil {
				return d.tx.failed(fmt.Errorf("query of %s: %w", d.ns, err))
			}
			doc := mango.ParseDocument(row.Key, row.Item.Value)
			entry, ok := d.plan.Index.Entry(doc)
			if ok && entry >= d.next && (d.plan.End == "" || entry < d.plan.End) && d.query.Selector.Match(doc) {
				d.ready = append(d.ready, document{entry, row, doc})
			}
		}
	}
	slices.SortFunc(d.ready, func(a, b document) int { return strings.Compare(a.entry, b.entry) })
	return nil
}

// documents reads what an index's entries stand for, in their order; without an item where there is none any more.
func (d *Documents) documents(ctx context.Context, entries []ledger.KV) ([]ledger.KV, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = string(e.Item.Value)
	}
	items, err := d.tx.view.Get(ctx, d.ns, keys)
	if err != nil {
		return nil, err
	}
	rows := make([]ledger.KV, len(keys))
	for i, key := range keys {
		rows[i] = ledger.KV{Key: key, Item: items[i]}
	}
	return rows, nil
}
