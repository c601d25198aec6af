// Package gateway is the service that all entrances share: evaluate, endorse, submit, commit status, events.
//
// There are two ways in. A Request is a call by a user whose key the platform holds: the gateway proposes, endorses, signs and
// submits, simulates again what lost a race, and answers with the outcome. The client-signed calls take and give the messages
// of Fabric's gateway service, one per protocol step; what a client signed is recorded whatever its verdict, as in Fabric.
package gateway

import (
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"peerless/shared/msp"
)

// A Request is a call of a chaincode's function by a user whose key the platform holds.
type Request struct {
	Channel, Chaincode string
	Function           string
	Args               [][]byte          // without the function's name
	Transient          map[string][]byte // seen by the contract, never recorded
	Init               bool              // call the chaincode's Init, which its definition requires first
	User               *msp.Signer       // who calls

	// IdempotencyKey makes the transaction's nonce, and so its id: a repeat by the same user gets the first outcome. Empty:
	// a random nonce. SubmitTransaction only.
	IdempotencyKey string

	// Organizations whose endorsers sign, by MSP id. Empty: what the endorsement policy needs. SubmitTransaction only.
	Organizations []string
}

// An Outcome is what became of a submitted transaction: it is committed and valid.
type Outcome struct {
	TransactionID string
	Block         uint64
	Code          peer.TxValidationCode
	Response      *peer.Response // the contract's: status, message, payload
}

// An Answer is what an evaluated transaction returned.
type Answer struct {
	Response *peer.Response
	Height   uint64 // the number of blocks of the channel at which it is true
}

// A Definition is a chaincode as a channel agreed on it.
type Definition struct {
	Name     string
	Version  string
	Sequence int64 // 1 for the first definition, one more for each change
	// Policy endorses the chaincode's transactions: a signature policy in Fabric's notation, or the path of a channel policy.
	// Empty: /Channel/Application/Endorsement, the channel's majority.
	Policy string
	// Collections of private data, as collection.Parse reads them; nil if there are none.
	Collections *peer.CollectionConfigPackage
	// Indexes of the public state for rich queries, each a definition as Fabric packages have them.
	Indexes []string
	// InitRequired: the first transaction must be the chaincode's Init.
	InitRequired bool
}

// An Event is one that a chaincode set in a valid transaction.
type Event struct {
	Block         uint64
	Tx            uint64 // position in the block, from 0
	TransactionID string
	Chaincode     string
	Name          string
	Payload       []byte
}

// An EventsRequest selects the events of a channel.
type EventsRequest struct {
	Channel   string
	Chaincode string // empty: of every chaincode
	FromBlock uint64 // the first block looked at, from 0
	// AfterTx, if not nil, leaves out what stands in block FromBlock up to and including this position.
	AfterTx *uint64
}

// A Kind says what sort of failure an Error is. Entrances map it to their own codes.
type Kind int

const (
	Internal Kind = iota
	InvalidRequest
	NotFound
	AlreadyExists
	Unauthenticated
	Forbidden
	ChaincodeError           // the contract returned a status of 400 or more
	MVCCReadConflict         // lost the race after all retries
	PhantomReadConflict      // a range changed, after all retries
	EndorsementPolicyFailure // the endorsements do not satisfy the policy
	TransactionInvalid       // another validation code: TxCode says which
	TooLarge                 // an argument, value, event or transaction is over its limit
	ChaincodeCrashed         // the contract's process ended or broke the protocol
	ChaincodeTimeout         // the contract took too long
	ChaincodeUnavailable     // the contract cannot be started
	OutcomeUnknown           // the store failed while committing: ask about TransactionID
	IdempotencyKeyReused     // the key was used before, for another request
	Unavailable              // cannot be done now; try again
)

// names are the stable names of kinds, which callers decide on. A kind that is not listed is INTERNAL.
var names = map[Kind]string{
	InvalidRequest:           "INVALID_REQUEST",
	NotFound:                 "NOT_FOUND",
	AlreadyExists:            "ALREADY_EXISTS",
	Unauthenticated:          "UNAUTHENTICATED",
	Forbidden:                "FORBIDDEN",
	ChaincodeError:           "CHAINCODE_ERROR",
	MVCCReadConflict:         "MVCC_READ_CONFLICT",
	PhantomReadConflict:      "PHANTOM_READ_CONFLICT",
	EndorsementPolicyFailure: "ENDORSEMENT_POLICY_FAILURE",
	TransactionInvalid:       "TRANSACTION_INVALID",
	TooLarge:                 "TOO_LARGE",
	ChaincodeCrashed:         "CHAINCODE_CRASHED",
	ChaincodeTimeout:         "CHAINCODE_TIMEOUT",
	ChaincodeUnavailable:     "CHAINCODE_CRASHED",
	OutcomeUnknown:           "OUTCOME_UNKNOWN",
	IdempotencyKeyReused:     "IDEMPOTENCY_KEY_REUSED",
	Unavailable:              "UNAVAILABLE",
}

// String returns the kind's stable name, such as CHAINCODE_ERROR.
func (k Kind) String() string {
	if name, ok := names[k]; ok {
		return name
	}
	return "INTERNAL"
}

// A Detail is what one organisation's endorser said.
type Detail struct {
	MSPID   string
	Message string
	Address string // of an endorser that runs elsewhere, host:port
}

// Error is what every method of the service returns for a failure that a caller can be told about. Message, Code and Details
// are Fabric's where Fabric has the same failure.
type Error struct {
	Kind             Kind
	Stage            string // evaluate, endorse, submit, commitStatus, events, or empty
	Code             codes.Code
	Message          string
	Details          []Detail
	TransactionID    string
	ChaincodeStatus  int32                 // the contract's status, of a ChaincodeError
	ChaincodeMessage string                // and its message
	TxCode           peer.TxValidationCode // of a transaction that was judged invalid
	Limit            int                   // of TooLarge, in bytes
	Cause            error
}

func (e *Error) Error() string {
	if len(e.Details) > 0 {
		return fmt.Sprintf("%s: %s: %s", e.Message, e.Details[0].MSPID, e.Details[0].Message)
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// GRPCStatus gives the status that Fabric's gateway sends, with its gateway.ErrorDetails.
func (e *Error) GRPCStatus() *status.Status {
	st := status.New(e.Code, e.Message)
	if len(e.Details) == 0 {
		return st
	}
	details := make([]protoadapt.MessageV1, len(e.Details))
	for i, d := range e.Details {
		details[i] = protoadapt.MessageV1Of(&gateway.ErrorDetail{Address: d.Address, MspId: d.MSPID, Message: d.Message})
	}
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}
