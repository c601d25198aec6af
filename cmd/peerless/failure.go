package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"peerless/shared/api/client"
	"peerless/shared/deploy"
	"peerless/shared/docstore"
	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/secret"
	"peerless/shared/store/pebble"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2 // the command was called in a wrong way
)

// A usageError is a command that was called in a wrong way.
type usageError struct {
	command string // with the commands above it
	text    string
}

func (e *usageError) Error() string { return e.text }

// fail reports a command's error and returns the exit status.
func (a *app) fail(err error) int {
	if err == nil {
		return 0
	}
	status := exitFailure
	var usage *usageError
	if errors.As(err, &usage) {
		status = exitUsage
	}
	if a.json {
		a.failJSON(err)
		return status
	}
	fmt.Fprintln(a.err, "peerless: "+lineOf(explain(err)))
	var build *deploy.BuildError
	if errors.As(err, &build) {
		fmt.Fprintln(a.err, strings.TrimRight(build.Output, "\n"))
	}
	return status
}

// failure is an error as --json shows it. Code is the server's (SURFACE: problem details), empty if no server said it.
type failure struct {
	Error           string `json:"error"`
	Code            string `json:"code,omitempty"`
	TransactionID   string `json:"transactionId,omitempty"`
	ChaincodeStatus int32  `json:"chaincodeStatus,omitempty"`
	Output          string `json:"output,omitempty"` // the compiler's
}

func (a *app) failJSON(err error) {
	f := failure{Error: explain(err)}
	var problem *client.Problem
	if errors.As(err, &problem) {
		f.Code, f.TransactionID, f.ChaincodeStatus = problem.Code, problem.TransactionID, problem.ChaincodeStatus
	}
	var build *deploy.BuildError
	if errors.As(err, &build) {
		f.Output = build.Output
	}
	e := json.NewEncoder(a.err)
	e.SetEscapeHTML(false)
	e.Encode(f)
}

// lineOf makes one line of what may have several.
func lineOf(s string) string {
	return oneLine(strings.Join(strings.FieldsFunc(s, func(c rune) bool { return c == '\n' || c == '\r' }), "; "))
}

// explain says what went wrong and what to do about it.
func explain(err error) string {
	var usage *usageError
	var problem *client.Problem
	var listening *listenError
	var store *pebble.PathError
	var build *deploy.BuildError
	switch {
	case errors.As(err, &usage):
		return usage.text + ": see " + usage.command + " --help"
	case errors.As(err, &problem):
		if applying := (*applyError)(nil); errors.As(err, &applying) {
			return applying.Error()
		}
		return problem.Error()
	case errors.As(err, &listening):
		return explainListen(listening)
	case errors.As(err, &store):
		return store.Error()
	case errors.As(err, &build):
		if build.Dir == "." {
			return "the contract in this directory does not compile"
		}
		return build.Dir + " does not compile"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return err.Error() + ": start one with peerless dev, or choose another with --url or PEERLESS_URL"
	case errors.Is(err, syscall.ENOSPC):
		return err.Error() + ": free some space, and try again"
	case errors.Is(err, deploy.ErrNoToolchain):
		return err.Error() + ": install it, or deploy a package that was built elsewhere"
	case errors.Is(err, secret.ErrOtherKey):
		return err.Error() + ": give the key that this data was made with, with --seal-key or " + sealKeyVariable
	case errors.Is(err, docstore.ErrDamaged), errors.Is(err, organization.ErrDamaged), errors.Is(err, deploy.ErrDamaged):
		return err.Error() + ": restore it from a backup"
	case errors.Is(err, ledger.ErrDamaged):
		return err.Error() + ": peerless verify says what is damaged"
	}
	return err.Error()
}

func explainListen(e *listenError) string {
	var dns *net.DNSError
	var address *net.AddrError
	switch {
	case errors.Is(e.err, syscall.EADDRINUSE):
		return fmt.Sprintf("the address %s is in use: stop what listens there, or choose another with %s, such as 127.0.0.1:0 for any free port", e.address, e.flag)
	case errors.Is(e.err, syscall.EACCES):
		return fmt.Sprintf("listening on %s is not permitted: choose a port above 1023 with %s", e.address, e.flag)
	case errors.As(e.err, &dns), errors.As(e.err, &address), errors.Is(e.err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("cannot listen on %q: %s wants an address of this machine and a port, such as %s", e.address, e.flag, defaultHTTP)
	}
	return e.Error()
}
