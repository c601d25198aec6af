package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

// verdicts maps the validation codes that have a code of their own.
var verdicts = map[peer.TxValidationCode]Code{
	peer.TxValidationCode_MVCC_READ_CONFLICT:         CodeMVCCReadConflict,
	peer.TxValidationCode_PHANTOM_READ_CONFLICT:      CodePhantomReadConflict,
	peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE: CodeEndorsementPolicy,
}

// errClosing ends streams when the server shuts down.
var errClosing = errors.New("the server is shutting down")

// problemOf is the error map: every error that leaves the API passes here.
func problemOf(err error) *Problem {
	var problem *Problem
	var failure *gateway.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &failure):
		return problemOfGateway(failure)
	case errors.As(err, &tooLarge):
		return &Problem{Code: CodeTooLarge, Limit: tooLarge.Limit,
			Detail: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	case errors.Is(err, ledger.ErrNotFound):
		return &Problem{Code: CodeNotFound, Detail: err.Error()}
	case errors.Is(err, ledger.ErrNoCheckpoints):
		return &Problem{Code: CodeNotFound, Detail: "this server has no key for checkpoints, and gives no receipts"}
	case errors.Is(err, ledger.ErrDamaged):
		return &Problem{Code: CodeInternal, Detail: "stored data is damaged, and is not served: run peerless verify"}
	case errors.Is(err, errClosing), errors.Is(err, context.Canceled):
		return &Problem{Code: CodeUnavailable, Detail: "the request was cut short: try again"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return &Problem{Code: CodeUnavailable, Detail: "the request took too long: try again"}
	}
	return &Problem{Code: CodeInternal, Detail: "something went wrong in the server: its log has the request's id"}
}

func problemOfGateway(e *gateway.Error) *Problem {
	p := &Problem{Code: Code(e.Kind.String()), Detail: e.Error(), TransactionID: e.TransactionID, Limit: int64(e.Limit)}
	if e.Kind == gateway.ChaincodeError {
		p.ChaincodeStatus = e.ChaincodeStatus
		p.Detail = e.ChaincodeMessage
	}
	if e.TxCode != peer.TxValidationCode_VALID {
		p.ValidationCode = e.TxCode.String()
	}
	return p
}

// problemOfVerdict is the problem of a transaction that was recorded as invalid.
func problemOfVerdict(txID string, code peer.TxValidationCode) *Problem {
	p := &Problem{Code: CodeTransactionInvalid, TransactionID: txID, ValidationCode: code.String(),
		Detail: "the transaction was recorded as invalid: " + code.String()}
	if own, ok := verdicts[code]; ok {
		p.Code = own
	}
	return p
}

// AnswerTooLarge answers that an answer was larger than what carries it, which is limit bytes.
func AnswerTooLarge(limit int) http.Handler {
	return &Problem{Code: CodeTooLarge, Limit: int64(limit),
		Detail: fmt.Sprintf("the answer is larger than the %d bytes that can be carried here: ask for less at once, or for JSON instead of protobuf", limit)}
}
