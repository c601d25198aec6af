package gateway

import (
	"context"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// Events are a channel's chaincode events from a block on, in the order of the chain: of valid transactions only, and without
// end.
type Events struct {
	channel *ledger.Channel
	request EventsRequest
	next    uint64  // block to read
	ready   []Event // of blocks read
}

// Events begins to read a channel's events.
func (s *Service) Events(ctx context.Context, request EventsRequest) (*Events, error) {
	channel, err := s.Channel(ctx, request.Channel)
	if err != nil {
		return nil, err
	}
	return &Events{channel: channel, request: request, next: request.FromBlock}, nil
}

// Next returns the next event. It waits for one until ctx ends, whose error it then returns.
func (e *Events) Next(ctx context.Context) (*Event, error) {
	for len(e.ready) == 0 {
		if err := e.channel.Wait(ctx, e.next); err != nil {
			return nil, err
		}
		if err := e.read(ctx); err != nil {
			return nil, err
		}
	}
	event := e.ready[0]
	e.ready = e.ready[1:]
	return &event, nil
}

// Before returns the next event of the blocks before the one with this number, all of which must exist, or nil if there is none left.
func (e *Events) Before(ctx context.Context, block uint64) (*Event, error) {
	for len(e.ready) == 0 && e.next < block {
		if err := e.read(ctx); err != nil {
			return nil, err
		}
	}
	if len(e.ready) == 0 || e.ready[0].Block >= block {
		return nil, nil
	}
	return e.Next(ctx)
}

// Position returns the block that Next reads when it has no event left: a request from there on misses nothing that comes after
// the events returned so far.
func (e *Events) Position() uint64 { return e.next }

// read takes the events out of the next block.
func (e *Events) read(ctx context.Context) error {
	events, err := blockEvents(ctx, e.channel, e.next)
	if err != nil {
		return storeError("events", "events", err)
	}
	for _, event := range events {
		seen := e.request.AfterTx != nil && e.next == e.request.FromBlock && event.Tx <= *e.request.AfterTx
		if !seen && (e.request.Chaincode == "" || event.Chaincode == e.request.Chaincode) {
			e.ready = append(e.ready, event)
		}
	}
	e.next++
	return nil
}

// blockEvents returns the events of a block's valid transactions, in order.
func blockEvents(ctx context.Context, channel *ledger.Channel, number uint64) ([]Event, error) {
	block, err := channel.Block(ctx, number)
	if err != nil {
		return nil, err
	}
	codes, err := wire.ValidationCodes(block)
	if err != nil {
		return nil, err
	}
	var events []Event
	for i, raw := range block.Data.Data {
		if codes[i] != peer.TxValidationCode_VALID {
			continue
		}
		tx, _ := wire.ParseEnvelope(raw)
		if tx == nil || tx.Event == nil {
			continue
		}
		events = append(events, Event{
			Block: number, Tx: uint64(i), TransactionID: tx.TxID, Chaincode: tx.Chaincode, Name: tx.Event.EventName, Payload: tx.Event.Payload,
		})
	}
	return events, nil
}

// ChaincodeEvents sends a chaincode's events, one response for each block that has any, until ctx ends or send fails.
func (e *Endpoint) ChaincodeEvents(ctx context.Context, signed *gateway.SignedChaincodeEventsRequest, send func(*gateway.ChaincodeEventsResponse) error) error {
	const stage = "events"
	var request gateway.ChaincodeEventsRequest
	if err := proto.Unmarshal(signed.GetRequest(), &request); err != nil || len(signed.GetRequest()) == 0 {
		return invalidArgument(stage, "invalid chaincode events request")
	}
	channel, err := e.readable(ctx, stage, request.GetChannelId(), request.GetIdentity(), signed.GetRequest(), signed.GetSignature())
	if err != nil {
		return err
	}
	next, err := startBlock(ctx, channel, request.GetStartPosition())
	if err != nil {
		return storeError(stage, "channel "+channel.Name(), err)
	}
	// Events up to and including those of this transaction are left out of the first block, Fabric's core of a checkpoint.
	after := request.GetAfterTransactionId()
	for {
		if err := channel.Wait(ctx, next); err != nil {
			return storeError(stage, "events", err)
		}
		events, err := blockEvents(ctx, channel, next)
		if err != nil {
			return storeError(stage, "events", err)
		}
		response := &gateway.ChaincodeEventsResponse{BlockNumber: next}
		if after != "" {
			if events, err = eventsAfter(ctx, channel, next, after, events); err != nil {
				return storeError(stage, "events", err)
			}
			after = ""
		}
		for _, event := range events {
			if event.Chaincode == request.GetChaincodeId() {
				response.Events = append(response.Events, &peer.ChaincodeEvent{
					ChaincodeId: event.Chaincode, TxId: event.TransactionID, EventName: event.Name, Payload: event.Payload,
				})
			}
		}
		if len(response.Events) > 0 {
			if err := send(response); err != nil {
				return err
			}
		}
		next++
	}
}

// eventsAfter leaves out a block's events up to a transaction's. If the block does not hold the transaction, all are left out.
func eventsAfter(ctx context.Context, channel *ledger.Channel, number uint64, txID string, events []Event) ([]Event, error) {
	entry, err := channel.Entry(ctx, txID)
	if err != nil || entry.Version.Block != number {
		return nil, ignoreNotFound(err)
	}
	for i := range events {
		if events[i].Tx > entry.Version.Tx {
			return events[i:], nil
		}
	}
	return nil, nil
}

// startBlock returns the number of the block that a seek position means; the next block if there is none.
func startBlock(ctx context.Context, channel *ledger.Channel, position *orderer.SeekPosition) (uint64, error) {
	height, err := channel.Height(ctx)
	if err != nil {
		return 0, err
	}
	switch p := position.GetType().(type) {
	case *orderer.SeekPosition_Specified:
		return p.Specified.GetNumber(), nil
	case *orderer.SeekPosition_Oldest:
		return 0, nil
	case *orderer.SeekPosition_Newest:
		return height - 1, nil
	}
	return height, nil
}
