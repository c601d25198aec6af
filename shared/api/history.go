package api

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"
)

type keyRef struct {
	target
	key string
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
	return &keyRef{target{q.channel, q.chaincode}, key}, nil
}

type historyView struct {
	Key     string       `json:"key"`
	History []changeView `json:"history"` // newest first
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
	changes, err := h.Gateway.History(ctx, in.channel, in.chaincode, in.key)
	if err != nil {
		return nil, err
	}
	view := &historyView{Key: in.key, History: make([]changeView, len(changes))}
	for i, c := range changes {
		v := changeView{TransactionID: c.TxID, BlockNumber: c.Version.Block, TransactionIndex: c.Version.Tx, Timestamp: c.Timestamp, IsDelete: c.IsDelete}
		v.Value, v.ValueEncoding = payloadJSON(c.Value)
		view.History[i] = v
	}
	return view, nil
}
