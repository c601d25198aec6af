package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"peerless/shared/ledger"
)

type keyRef struct {
	target
	key    string
	before ledger.Version // zero: from the newest
	limit  int
}

// decodeKey reads the key, the rest of the path: percent-encoded, any UTF-8.
func decodeKey(q *request) (*keyRef, error) {
	key := q.PathValue("key")
	switch {
	case key == "":
		return nil, invalid("key", "the key is missing: …/history/{key}")
	case !utf8.ValidString(key):
		return nil, invalid("key", "the key must be UTF-8, percent-encoded")
	}
	query, err := parseQuery(q.Request, "before", "limit")
	if err != nil {
		return nil, err
	}
	in := &keyRef{target: target{q.channel, q.chaincode}, key: key, limit: DefaultHistory}
	if query.Has("before") {
		cursor, err := ParseCursor(query.Get("before"))
		if err != nil || cursor.After == nil {
			return nil, invalid("before", "before must be a change's place, BLOCK.TRANSACTION, as next gives it")
		}
		in.before = ledger.Version{Block: cursor.Block, Tx: *cursor.After}
	}
	if query.Has("limit") {
		if in.limit, err = strconv.Atoi(query.Get("limit")); err != nil || in.limit < 1 || in.limit > MaxHistory {
			return nil, invalid("limit", fmt.Sprintf("limit must be a number from 1 to %d", MaxHistory))
		}
	}
	return in, nil
}

type historyView struct {
	Key     string       `json:"key"`
	History []changeView `json:"history"`        // newest first
	Next    string       `json:"next,omitempty"` // give it as before, for the older ones
}

type changeView struct {
	TransactionID    string          `json:"transactionId"`
	BlockNumber      uint64          `json:"blockNumber"`
	TransactionIndex uint64          `json:"transactionIndex"`
	Timestamp        time.Time       `json:"timestamp"`
	IsDelete         bool            `json:"isDelete"`
	Value            json.RawMessage `json:"value"` // as a result
	ValueEncoding    string          `json:"valueEncoding,omitempty"`
}

func (h *Handler) showHistory(ctx context.Context, _ *Principal, in *keyRef) (*historyView, error) {
	changes, err := h.Gateway.History(ctx, in.channel, in.chaincode, in.key, in.before, in.limit)
	if err != nil {
		return nil, err
	}
	view := &historyView{Key: in.key, History: []changeView{}}
	size := 0
	for _, c := range changes {
		v := changeView{TransactionID: c.TxID, BlockNumber: c.Version.Block, TransactionIndex: c.Version.Tx, Timestamp: c.Timestamp, IsDelete: c.IsDelete}
		v.Value, v.ValueEncoding = payloadJSON(c.Value)
		view.History = append(view.History, v)
		size += len(c.Value)
		if len(view.History) == in.limit || size >= maxPage {
			view.Next = Cursor{c.Version.Block, &c.Version.Tx}.String()
			break
		}
	}
	return view, nil
}
