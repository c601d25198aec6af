// Command peerless runs Hyperledger Fabric chaincode as functions: a server for development and one for real use, and the
// commands that deploy contracts, call them, and read and verify the ledger.
//
// Results go to standard output, and everything else to standard error. A command that fails says in one line what went
// wrong and what to do about it, and ends with status 1, or 2 if it was called in a wrong way. With --json, output and
// error are JSON: for programs.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run runs one command and returns its exit status. The environment is read through getenv alone.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr, getenv: getenv}
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		a.json = a.json || slices.Contains(args, "--json") // the flags may be what is wrong
	}
	return a.fail(err)
}
