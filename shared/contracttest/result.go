package contracttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

// A Result is what became of a call.
type Result struct {
	// TransactionID is set if the transaction came so far as to have one. An evaluated one has none.
	TransactionID string
	// Block is the number of the block that holds it; 0 if none does.
	Block uint64
	// Code is the ledger's verdict: VALID for what was committed, and for what was evaluated; NOT_VALIDATED for what came to
	// no verdict.
	Code peer.TxValidationCode
	// Status is the contract's: 200 for success, 500 for an error, unless it chose another.
	Status int32
	// Message is the contract's: the text of its error, if it returned one.
	Message string
	// Payload is what the contract returned, or nil.
	Payload []byte
	// Err is nil if the call succeeded, all the way to the block. It is a *gateway.Error, whose Kind says what sort of failure
	// it is.
	Err error

	t    TB
	what string // the call, for messages
}

// MustSucceed ends the test if the call failed.
func (r *Result) MustSucceed() *Result {
	r.t.Helper()
	if r.Err != nil {
		r.t.Fatalf("%s failed: %s", r.what, r.reason())
	}
	return r
}

// MustFail ends the test unless the call failed and the text of its failure contains text: the contract's message, or what was
// wrong with the transaction and its validation code, as in MustFail("MVCC_READ_CONFLICT").
func (r *Result) MustFail(text string) *Result {
	r.t.Helper()
	switch {
	case r.Err == nil:
		r.t.Fatalf("%s succeeded and returned %q, want a failure that says %q", r.what, r.Payload, text)
	case !strings.Contains(r.reason(), text):
		r.t.Fatalf("%s failed: %s; want a failure that says %q", r.what, r.reason(), text)
	}
	return r
}

// String returns what the contract returned, as text.
func (r *Result) String() string { return string(r.Payload) }

// JSON decodes what the contract returned. The test ends if the call failed, or returned what does not decode.
func (r *Result) JSON(into any) {
	r.t.Helper()
	r.MustSucceed()
	if err := json.Unmarshal(r.Payload, into); err != nil {
		r.t.Fatalf("%s returned %q: %v", r.what, r.Payload, err)
	}
}

// reason is the contract's own message, if it is the contract that failed, and the verdict, if there is one.
func (r *Result) reason() string {
	if r.Message != "" {
		return r.Message
	}
	text := r.Err.Error()
	if r.Code != peer.TxValidationCode_NOT_VALIDATED && !strings.Contains(text, r.Code.String()) {
		text += " (" + r.Code.String() + ")"
	}
	return text
}

func (r *Result) succeeded(code peer.TxValidationCode, response *peer.Response) *Result {
	r.Code, r.Status, r.Message, r.Payload = code, response.GetStatus(), response.GetMessage(), response.GetPayload()
	return r
}

func (r *Result) failed(err error) *Result {
	r.Err = err
	var e *gateway.Error
	if !errors.As(err, &e) {
		return r
	}
	if e.TransactionID != "" {
		r.TransactionID = e.TransactionID
	}
	if e.TxCode != peer.TxValidationCode_VALID {
		r.Code = e.TxCode
	}
	if e.Kind == gateway.ChaincodeError {
		r.Status = e.ChaincodeStatus
		r.Message = contractMessage(e)
	}
	return r
}

// contractMessage takes the contract's message out of what its endorser said: "chaincode response 500, message".
func contractMessage(e *gateway.Error) string {
	text := e.Message
	if len(e.Details) > 0 {
		text = e.Details[0].Message
	}
	if _, message, ok := strings.Cut(text, fmt.Sprintf("chaincode response %d, ", e.ChaincodeStatus)); ok {
		return message
	}
	return text
}

func kindOf(code peer.TxValidationCode) gateway.Kind {
	switch code {
	case peer.TxValidationCode_MVCC_READ_CONFLICT:
		return gateway.MVCCReadConflict
	case peer.TxValidationCode_PHANTOM_READ_CONFLICT:
		return gateway.PhantomReadConflict
	case peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE:
		return gateway.EndorsementPolicyFailure
	}
	return gateway.TransactionInvalid
}

func isNotFound(err error) bool { return errors.Is(err, ledger.ErrNotFound) }
