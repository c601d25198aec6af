package contracttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// page is how many rows are read at a time.
const page = 1000

// Key returns a composite key, as the stub's CreateCompositeKey makes it. It panics if a part of it is not UTF-8, or holds one of
// the characters that separate the parts.
func Key(objectType string, attributes ...string) string {
	key, err := shim.CreateCompositeKey(objectType, attributes)
	if err != nil {
		panic(fmt.Sprintf("contracttest: composite key: %v", err)) // the test names it itself: its mistake
	}
	return key
}

// State returns what the chaincode keeps under a key, nil if nothing.
func (l *Ledger) State(key string) []byte {
	l.t.Helper()
	var value []byte
	l.read("state of "+l.chaincode, func(ctx context.Context, view ledger.View) error {
		items, err := view.Get(ctx, l.chaincode, []string{key})
		if err == nil && items[0] != nil {
			value = items[0].Value
		}
		return err
	})
	return value
}

// StateJSON decodes what the chaincode keeps under a key. The test ends if that is nothing, or does not decode.
func (l *Ledger) StateJSON(key string, into any) {
	l.t.Helper()
	value := l.State(key)
	if value == nil {
		l.t.Fatalf("%s keeps nothing under %q", l.chaincode, key)
	}
	if err := json.Unmarshal(value, into); err != nil {
		l.t.Fatalf("%s keeps %q under %q: %v", l.chaincode, value, key, err)
	}
}

// Keys returns every key that the chaincode keeps something under, in byte order.
func (l *Ledger) Keys() []string {
	l.t.Helper()
	var keys []string
	l.read("keys of "+l.chaincode, func(ctx context.Context, view ledger.View) error {
		for start := ""; ; {
			rows, err := view.Range(ctx, l.chaincode, start, "", page)
			if err != nil {
				return err
			}
			for _, row := range rows {
				keys = append(keys, row.Key)
			}
			if len(rows) < page {
				return nil
			}
			start = keys[len(keys)-1] + "\x00"
		}
	})
	return keys
}

// A Change is one entry of a key's history.
type Change struct {
	TransactionID string
	Time          time.Time // the transaction's timestamp
	Value         []byte    // nil if Deleted
	Deleted       bool
}

// History returns what transactions did to a key of the chaincode, newest first.
func (l *Ledger) History(key string) []Change {
	l.t.Helper()
	var history []Change
	l.read("history of "+l.chaincode, func(ctx context.Context, view ledger.View) error {
		for before := (ledger.Version{}); ; {
			changes, err := view.History(ctx, l.chaincode, key, before, page)
			if err != nil {
				return err
			}
			for _, c := range changes {
				history = append(history, Change{c.TxID, c.Timestamp, c.Value, c.IsDelete})
			}
			if len(changes) < page {
				return nil
			}
			before = changes[len(changes)-1].Version
		}
	})
	return history
}

// An Event is one that the chaincode set in a valid transaction.
type Event struct {
	Name          string
	Payload       []byte
	TransactionID string
	Block         uint64
}

// Events returns the chaincode's events since the ledger was made, in the order of the chain.
func (l *Ledger) Events() []Event {
	l.t.Helper()
	events, err := l.events(context.Background())
	if err != nil {
		l.t.Fatalf("contracttest: events of %s: %v", l.chaincode, err)
	}
	return events
}

func (l *Ledger) events(ctx context.Context) ([]Event, error) {
	channel, err := l.ledger.Channel(ctx, l.channel)
	if err != nil {
		return nil, err
	}
	height, err := channel.Height(ctx)
	if err != nil {
		return nil, err
	}
	var events []Event
	for number := range height {
		block, err := channel.Block(ctx, number)
		if err != nil {
			return nil, err
		}
		codes, err := wire.ValidationCodes(block)
		if err != nil {
			return nil, err
		}
		for i, raw := range block.Data.Data {
			tx, _ := wire.ParseEnvelope(raw)
			if codes[i] == peer.TxValidationCode_VALID && tx != nil && tx.Event != nil && tx.Chaincode == l.chaincode {
				events = append(events, Event{tx.Event.EventName, tx.Event.Payload, tx.TxID, number})
			}
		}
	}
	return events, nil
}

// read calls f with a view of the state. The test ends if that fails.
func (l *Ledger) read(what string, f func(context.Context, ledger.View) error) {
	l.t.Helper()
	err := func() error {
		ctx := context.Background()
		channel, err := l.ledger.Channel(ctx, l.channel)
		if err != nil {
			return err
		}
		view, err := channel.View(ctx)
		if err != nil {
			return err
		}
		return errors.Join(f(ctx, view), view.Close())
	}()
	if err != nil {
		l.t.Fatalf("contracttest: %s: %v", what, err)
	}
}
