package mango

import "fmt"

// An Error is a query or an index that cannot be used: what CouchDB answers with status 400. Its text is what a Fabric peer makes
// of that.
type Error struct {
	Code   string // CouchDB's: bad_arg, invalid_operator, no_usable_index…
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("error handling CouchDB request. Error:%s,  Status Code:400,  Reason:%s", e.Code, e.Reason)
}

func invalid(code, format string, args ...any) error {
	return &Error{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// badArgument refuses what an operator was given.
func badArgument(operator string, argument any) error {
	return invalid("bad_arg", "Bad argument for operator %s: %s", operator, text(argument))
}
