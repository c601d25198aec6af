package chaincode

import (
	"context"
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// Collections answers what a contract that runs somewhere else asks of its collections of private data: as an execution of the
// invocation here would, over the same Tx, with the same checks and the same errors. It is not safe for concurrent use.
type Collections struct{ execution *execution }

// NewCollections returns what answers for an invocation, whose own Private is not looked at.
func NewCollections(inv *Invocation) *Collections {
	own := *inv
	own.Private = nil
	return &Collections{&execution{inv: &own, elsewhere: true}}
}

// Answer answers a message of the chaincode's that names one of its collections, or goes on with a query of one. Its error is for
// the contract, except for ErrProtocol: it is no such message.
func (c *Collections) Answer(ctx context.Context, kind peer.ChaincodeMessage_Type, request []byte) ([]byte, error) {
	if _, ok := ofCollections[kind]; !ok {
		return nil, fmt.Errorf("%w: message of type %s about a collection", ErrProtocol, kind)
	}
	return requests[kind](c.execution, ctx, request)
}

// Close closes the queries that are open.
func (c *Collections) Close() { c.execution.closeQueries() }

// ofCollections are the kinds of messages that can be about a collection.
var ofCollections = map[peer.ChaincodeMessage_Type]struct{ writes bool }{
	peer.ChaincodeMessage_GET_STATE:             {},
	peer.ChaincodeMessage_GET_STATE_MULTIPLE:    {},
	peer.ChaincodeMessage_GET_STATE_METADATA:    {},
	peer.ChaincodeMessage_GET_STATE_BY_RANGE:    {},
	peer.ChaincodeMessage_GET_QUERY_RESULT:      {},
	peer.ChaincodeMessage_QUERY_STATE_NEXT:      {},
	peer.ChaincodeMessage_GET_PRIVATE_DATA_HASH: {},
	peer.ChaincodeMessage_PUT_STATE:             {writes: true},
	peer.ChaincodeMessage_DEL_STATE:             {writes: true},
	peer.ChaincodeMessage_PUT_STATE_METADATA:    {writes: true},
	peer.ChaincodeMessage_PURGE_PRIVATE_DATA:    {writes: true},
}

// WritesPrivate reports whether a message about a collection is a write: one that goes well is answered with nothing.
func WritesPrivate(kind peer.ChaincodeMessage_Type) bool { return ofCollections[kind].writes }

// elsewhereID begins the ids of queries that are answered elsewhere: of collections, by Invocation.Private.
const elsewhereID = "c"

// A named is a request that may name a collection.
type named interface {
	proto.Message
	GetCollection() string
}

// collected lets Invocation.Private answer a request that names a collection. An execution elsewhere answers no other.
func collected[M named](kind peer.ChaincodeMessage_Type, handler func(*execution, context.Context, M) ([]byte, error)) func(*execution, context.Context, M) ([]byte, error) {
	return func(e *execution, ctx context.Context, m M) ([]byte, error) {
		switch private := m.GetCollection() != ""; {
		case e.elsewhere && !private:
			return nil, fmt.Errorf("%w: %s names no collection", ErrProtocol, kind)
		case e.inv.Private != nil && private:
			return e.ask(ctx, kind, m)
		}
		return handler(e, ctx, m)
	}
}

// What may name a collection, by itself or in a batch of writes.
var (
	putState    = collected(peer.ChaincodeMessage_PUT_STATE, (*execution).putState)
	delState    = collected(peer.ChaincodeMessage_DEL_STATE, (*execution).delState)
	purge       = collected(peer.ChaincodeMessage_PURGE_PRIVATE_DATA, (*execution).purge)
	putMetadata = collected(peer.ChaincodeMessage_PUT_STATE_METADATA, (*execution).putMetadata)
)

// queryNext goes on with a query, wherever it was begun.
func queryNext(e *execution, ctx context.Context, m *peer.QueryStateNext) ([]byte, error) {
	if e.inv.Private != nil && strings.HasPrefix(m.Id, elsewhereID) {
		return e.ask(ctx, peer.ChaincodeMessage_QUERY_STATE_NEXT, m)
	}
	return e.queryNext(ctx, m)
}

func (e *execution) ask(ctx context.Context, kind peer.ChaincodeMessage_Type, m proto.Message) ([]byte, error) {
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal failed: %w", err)
	}
	return e.inv.Private(ctx, kind, request)
}
