package invocation

import (
	"errors"

	"peerless/shared/chaincode"
	"peerless/shared/simulate"
)

// sentinels are the conditions that go from a function to its caller.
var sentinels = []struct {
	code Code
	err  error
}{
	{Crashed, chaincode.ErrCrashed},
	{Timeout, chaincode.ErrTimeout},
	{Protocol, chaincode.ErrProtocol},
	{Unavailable, chaincode.ErrUnavailable},
	{Failed, chaincode.ErrFailed},
	{Duplicate, chaincode.ErrDuplicate},
	{TooLarge, chaincode.ErrTooLarge},
	{Diverged, ErrDiverged},
	{Stale, simulate.ErrStale},
	{StateFailed, ErrState},
}

var (
	// ErrDiverged: repeated with the answers to its calls, a contract made another call than before. It is not deterministic.
	ErrDiverged = errors.New("the contract does not repeat its calls")
	// ErrState: the function could not read the committed state.
	ErrState = errors.New("the function cannot read the state")
)

// FormatError returns an error of an execution as it goes to the caller.
func FormatError(err error) *Error {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return &Error{Code: s.code, Message: err.Error()}
		}
	}
	return &Error{Code: Refused, Message: err.Error()}
}

// Err returns the error that FormatError was given: the same text, and the same condition.
func (e *Error) Err() error {
	for _, s := range sentinels {
		if s.code == e.Code {
			return &remoteError{e.Message, s.err}
		}
	}
	return &remoteError{e.Message, chaincode.ErrProtocol}
}

type remoteError struct {
	text      string
	condition error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.condition }
