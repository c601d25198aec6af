package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"peerless/shared/gateway"
)

const mediaEventStream = "text/event-stream"

// linger is how long a long poll that has an event waits for more of the same burst.
const linger = 10 * time.Millisecond

type eventsQuery struct {
	channel, chaincode string
	from               *Cursor // nil: what is committed from now on
	poll               bool    // answer once, in JSON
	wait               time.Duration
}

const headerLastEventID = "Last-Event-ID"

func decodeEvents(q *request) (*eventsQuery, error) {
	query, err := parseQuery(q.Request, "chaincode", "from", "wait")
	if err != nil {
		return nil, err
	}
	in := &eventsQuery{channel: q.channel, chaincode: query.Get("chaincode")}
	if query.Has("chaincode") {
		if err := checkChaincode("chaincode", in.chaincode); err != nil {
			return nil, err
		}
	}
	field, from := "from", query.Get("from")
	if id := q.Header.Get(headerLastEventID); id != "" {
		field, from = headerLastEventID, id
	}
	if from != "" || query.Has("from") {
		cursor, err := ParseCursor(from)
		if err != nil {
			return nil, invalid(field, err.Error())
		}
		in.from = &cursor
	}
	in.poll = !accepts(q.Request, mediaEventStream) && (query.Has("wait") || accepts(q.Request, "application/json"))
	if query.Has("wait") {
		in.wait, err = time.ParseDuration(query.Get("wait"))
		if err != nil || in.wait < 0 || in.wait > MaxWait {
			return nil, invalid("wait", fmt.Sprintf("wait must be a time from 0s to %v, such as 20s", MaxWait))
		}
	}
	return in, nil
}

// events opens the channel's events, and leaves it to the response to send them.
func (h *Handler) events(ctx context.Context, p *Principal, in *eventsQuery) (responder, error) {
	if len(p.Chaincodes) > 0 && (in.chaincode == "" || !p.seesChaincode(in.chaincode)) {
		return nil, forbidden("this key is for certain chaincodes: name one of them, ?chaincode=")
	}
	if !in.poll && h.NoStreams {
		return nil, invalid("wait", "server-sent events cannot be carried here: long-poll with ?wait=20s, and give the answer's cursor as from")
	}
	if in.from == nil {
		channel, err := h.Gateway.Channel(ctx, in.channel)
		if err != nil {
			return nil, err
		}
		height, err := channel.Height(ctx)
		if err != nil {
			return nil, fmt.Errorf("height of %s: %w", in.channel, err)
		}
		in.from = &Cursor{Block: height}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(h.closing, func() { cancel(errClosing) })
	events, err := h.Gateway.Events(ctx, gateway.EventsRequest{
		Channel: in.channel, Chaincode: in.chaincode, FromBlock: in.from.Block, AfterTx: in.from.After,
	})
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	feed := &feed{ctx: ctx, Events: events, cursor: *in.from, end: func() {
		stop()
		cancel(nil)
	}}
	if in.poll {
		return &poll{feed, in.wait}, nil
	}
	return &stream{feed, h.Heartbeat}, nil
}

// feed is a channel's events, and how far they have been read.
type feed struct {
	Events
	ctx    context.Context // ends with the client or the server
	cursor Cursor          // everything before it has been read
	end    func()
}

// next waits for an event, for at most patience: nil if there was none.
func (f *feed) next(patience time.Duration) (*eventView, error) {
	ctx, cancel := context.WithTimeout(f.ctx, patience)
	defer cancel()
	event, err := f.Next(ctx)
	if err != nil {
		if ctx.Err() != nil && f.ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			f.cursor = f.cursor.advance(f.Position())
			return nil, nil
		}
		return nil, err
	}
	f.cursor = cursorOf(event)
	return viewEvent(event), nil
}

// eventView is an event as the API shows it.
type eventView struct {
	ID               string          `json:"id"` // a Cursor
	BlockNumber      uint64          `json:"blockNumber"`
	TransactionIndex uint64          `json:"transactionIndex"`
	TransactionID    string          `json:"transactionId"`
	Chaincode        string          `json:"chaincode"`
	Name             string          `json:"name"`
	Payload          json.RawMessage `json:"payload"` // as a result
	PayloadEncoding  string          `json:"payloadEncoding,omitempty"`
}

func viewEvent(e *gateway.Event) *eventView {
	view := &eventView{
		ID: cursorOf(e).String(), BlockNumber: e.Block, TransactionIndex: e.Tx, TransactionID: e.TransactionID,
		Chaincode: e.Chaincode, Name: e.Name,
	}
	view.Payload, view.PayloadEncoding = payloadJSON(e.Payload)
	return view
}

// stream sends server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). The event that has
// been read is the only one held: a slow reader slows the reading down.
type stream struct {
	*feed
	heartbeat time.Duration
}

func (s *stream) respond(w http.ResponseWriter, r *http.Request) error {
	defer s.end()
	h := w.Header()
	h.Set("Content-Type", mediaEventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	until := func(patience time.Duration) error {
		if err := control.SetWriteDeadline(time.Now().Add(patience)); !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		return nil
	}
	// A reader that takes nothing does not hold up a server that ends.
	defer context.AfterFunc(s.ctx, func() { _ = until(closingWriteTimeout) })()
	send := func(text []byte) bool {
		if err := until(streamWriteTimeout); err != nil {
			return false
		}
		if s.ctx.Err() != nil && until(closingWriteTimeout) != nil {
			return false
		}
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	// An id without data is no event, but a reader that is cut off before the first one resumes from here.
	ok := send(fmt.Appendf(nil, "retry: 1000\nid: %s\n\n", s.cursor))
	for ok {
		before := s.cursor
		event, err := s.next(s.heartbeat)
		switch {
		case err != nil && s.ctx.Err() == nil:
			problem, _ := json.Marshal(problemOf(err))
			send(fmt.Appendf(nil, "event: problem\ndata: %s\n\n", problem))
			return nil
		case err != nil:
			return nil
		case event != nil:
			data, err := marshal(event)
			if err != nil {
				return nil
			}
			ok = send(fmt.Appendf(nil, "id: %s\ndata: %s\n\n", event.ID, data))
		case s.cursor != before:
			ok = send(fmt.Appendf(nil, ": still here\nid: %s\n\n", s.cursor))
		default:
			ok = send([]byte(": still here\n\n"))
		}
	}
	return nil
}

// poll answers once: with the events there are, or with none after the wait.
type poll struct {
	*feed
	wait time.Duration
}

type eventList struct {
	Events []*eventView `json:"events"`
	Cursor string       `json:"cursor"` // give it as from, to go on
}

func (p *poll) respond(w http.ResponseWriter, _ *http.Request) error {
	defer p.end()
	list := eventList{Events: []*eventView{}}
	for size, patience := 0, max(p.wait, linger); len(list.Events) < MaxEvents && size < maxPage; patience = linger {
		event, err := p.next(patience)
		if cause := context.Cause(p.ctx); cause != nil && len(list.Events) == 0 {
			return fmt.Errorf("wait for events: %w", cause)
		} else if err != nil && cause == nil {
			return fmt.Errorf("wait for events: %w", err)
		}
		if event == nil {
			break
		}
		list.Events = append(list.Events, event)
		size += len(event.Payload)
	}
	list.Cursor = p.cursor.String()
	body, err := marshal(list)
	if err != nil {
		return fmt.Errorf("encode events: %w", err)
	}
	w.Header().Set("Vary", "Accept")
	writeBody(w, http.StatusOK, "application/json", append(body, '\n'))
	return nil
}
