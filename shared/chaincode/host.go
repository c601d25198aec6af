package chaincode

import (
	"context"
	"errors"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// Why an execution has no result, wrapped with the detail. Nothing of such a transaction may be endorsed.
var (
	// ErrCrashed: the chaincode, or the stream to it, ended before it answered.
	ErrCrashed = errors.New("chaincode stream terminated")
	// ErrTimeout: the context's deadline passed before the chaincode answered.
	ErrTimeout = errors.New("timeout expired while executing transaction")
	// ErrProtocol: the chaincode sent what the protocol does not allow.
	ErrProtocol = errors.New("chaincode broke the protocol")
	// ErrUnavailable: the chaincode cannot be started or reached, or has not registered.
	ErrUnavailable = errors.New("chaincode is not available")
	// ErrFailed: the chaincode answered with an ERROR message instead of a response, as the shim does when Init returns a
	// status of 500 or more. The message follows in the text.
	ErrFailed = errors.New("transaction returned with failure")
	// ErrDuplicate: this chaincode executes the same transaction of the same channel already. It is what a contract meets
	// that calls itself.
	ErrDuplicate = errors.New("exists")
	// ErrTooLarge: the invocation, or what came of it, is larger than the way to the chaincode carries.
	ErrTooLarge = errors.New("too large for a function")
	// ErrNoCalls is what a contract gets that calls another where there is no Invocation.Call.
	ErrNoCalls = errors.New("chaincode cannot be called from here")
)

// An Invocation is one execution of one chaincode within a transaction.
type Invocation struct {
	Channel   string               // whose state Tx reads
	Chaincode string               // the namespace of everything it reads and writes
	Proposal  *wire.Proposal       // the transaction's: of the first chaincode, when one calls another
	Input     *peer.ChaincodeInput // this execution's arguments, decorations inside
	Init      bool                 // calls Init instead of Invoke
	Tx        *simulate.Tx         // of Channel
	LevelDB   bool                 // refuse rich queries, as a peer with LevelDB does

	// Collection says what the transaction may do with one of the chaincode's collections, nil if there is none by the name. A
	// nil function has none.
	Collection func(ctx context.Context, name string) (*Collection, error)

	// Private, where it is set, answers in place of Tx and Collection what the contract asks of its collections: messages that name
	// one, and those that go on with a query that it has begun. The text of its error reaches the contract as it is.
	Private func(ctx context.Context, kind peer.ChaincodeMessage_Type, request []byte) ([]byte, error)

	// Call runs another chaincode within this transaction. channel is empty for the invocation's own, which shares Tx;
	// on another channel a call is read only. The text of its error reaches the contract as it is. Nil refuses all calls.
	Call func(ctx context.Context, channel, chaincode string, input *peer.ChaincodeInput) (*peer.Response, error)
}

// A Collection is one of private data, as a transaction may use it.
type Collection struct {
	simulate.Collection
	Read, Write bool // what the creator of the transaction is allowed
}

// A Result is what a chaincode answered: success or failure, as the response's status says.
type Result struct {
	Response *peer.Response       // never nil
	Event    *peer.ChaincodeEvent // nil if it set none; with the chaincode's name and the transaction's id
}

// A Host runs one chaincode. It may be used by several goroutines.
type Host interface {
	// Execute runs one invocation and returns at the latest when ctx ends. The error is one of this package's, or that of
	// ctx if it was cancelled. A chaincode that answered with a bad status is a Result.
	Execute(ctx context.Context, inv *Invocation) (*Result, error)

	// Close ends the chaincode. Executions under way return ErrCrashed.
	Close() error
}
