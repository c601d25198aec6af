package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// An Event is one that a contract set in a valid transaction.
type Event struct {
	ID               string          `json:"id"` // its place, for EventsRequest.From
	BlockNumber      uint64          `json:"blockNumber"`
	TransactionIndex uint64          `json:"transactionIndex"`
	TransactionID    string          `json:"transactionId"`
	Chaincode        string          `json:"chaincode"`
	Name             string          `json:"name"`
	Payload          json.RawMessage `json:"payload"`
	PayloadEncoding  string          `json:"payloadEncoding,omitempty"`
}

// An EventsRequest selects the events of a channel.
type EventsRequest struct {
	Channel   string
	Chaincode string // empty: of every chaincode
	From      string // a block's number, or an event's id to begin behind it; empty: what is committed from now on
}

// How long to wait before a stream is opened again, and at most. It doubles while nothing comes.
const firstPause, lastPause = 100 * time.Millisecond, 5 * time.Second

// maxLine is the length of one line of a stream: an event's payload is part of a transaction, and JSON may spend six
// bytes on one.
const maxLine = 32 << 20

// Events calls each with the events in the order of the chain, without gap or repeat, until ctx ends or each returns an
// error, which it returns. A connection that breaks is opened again where it broke; what the server refuses is returned.
func (c *Client) Events(ctx context.Context, request EventsRequest, each func(Event) error) error {
	place, opened := request.From, false
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		before := place
		err := c.stream(ctx, request, &place, &opened, each)
		var final *stopError
		var problem *Problem
		switch {
		case errors.As(err, &final):
			return final.cause
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &problem) && (problem.Status < 500 || !opened):
			return err
		case !opened:
			return err
		}
		if place != before {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// stopError is what the caller's function returned.
type stopError struct{ cause error }

func (e *stopError) Error() string { return e.cause.Error() }

// stream reads one connection. It moves place along.
func (c *Client) stream(ctx context.Context, request EventsRequest, place *string, opened *bool, each func(Event) error) error {
	query := make(url.Values)
	if request.Chaincode != "" {
		query.Set("chaincode", request.Chaincode)
	}
	if *place != "" {
		query.Set("from", *place)
	}
	path := channelPath(request.Channel) + "/events?" + query.Encode()
	response, err := c.send(ctx, call{http.MethodGet, path, nil, []string{"Accept", "text/event-stream"}})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var id, kind string
	var data []byte
	for lines.Scan() {
		*opened = true
		line := lines.Bytes()
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) > 0 && string(name) == "id":
			id = string(value)
		case len(line) > 0 && string(name) == "event":
			kind = string(value)
		case len(line) > 0 && string(name) == "data":
			data = append(data, value...)
		case len(line) == 0:
			if err := deliver(kind, data, each); err != nil {
				return err
			}
			if id != "" {
				*place = id
			}
			kind, data = "", data[:0]
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return io.ErrUnexpectedEOF
}

// deliver hands an event on, unless it is none.
func deliver(kind string, data []byte, each func(Event) error) error {
	if len(data) == 0 {
		return nil
	}
	if kind == "problem" {
		problem := &Problem{}
		if err := json.Unmarshal(data, problem); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		return problem
	}
	var event Event
	if err := json.Unmarshal(data, &event); err != nil {
		return &stopError{fmt.Errorf("read events: %w", err)}
	}
	if err := each(event); err != nil {
		return &stopError{err}
	}
	return nil
}
