package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"peerless/shared/api/client"
	"peerless/shared/deploy"
	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/store/pebble"
)

// TestFail wants of every kind of error one line that says what to do.
func TestFail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		status int
		want   string // in the line
	}{
		{nil, 0, ""},
		{&usageError{"peerless tx", "no id"}, exitUsage, "no id: see peerless tx --help"},
		{&client.Problem{Code: "CHAINCODE_ERROR", Detail: "first line\nsecond line"}, exitFailure, "first line second line (CHAINCODE_ERROR)"},
		{&client.Problem{Code: "OUTCOME_UNKNOWN", Detail: "lost", TransactionID: "ab12"}, exitFailure, "peerless tx ab12"},
		{&listenError{":8080", "--http", &net.OpError{Err: &os.SyscallError{Err: syscall.EADDRINUSE}}}, exitFailure, "choose another with --http"},
		{&listenError{":80", "--http", &net.OpError{Err: &os.SyscallError{Err: syscall.EACCES}}}, exitFailure, "choose a port above 1023"},
		{&pebble.PathError{Dir: "d", Err: pebble.ErrDiskFull, Remedy: "free some space"}, exitFailure, "disk is full: free some space"},
		{fmt.Errorf("write the ready file: %w", syscall.ENOSPC), exitFailure, "free some space, and try again"},
		{fmt.Errorf("build: %w", deploy.ErrNoToolchain), exitFailure, "install it"},
		{fmt.Errorf("read: %w", ledger.ErrDamaged), exitFailure, "peerless verify says what is damaged"},
		{fmt.Errorf("open: %w", organization.ErrDamaged), exitFailure, "restore it from a backup"},
		{fmt.Errorf("reach: %w", syscall.ECONNREFUSED), exitFailure, "start one with peerless dev"},
		{context.Canceled, exitFailure, "interrupted"},
		{fmt.Errorf("a\nb\x1b[31m"), exitFailure, "peerless: a; b\uFFFD[31m"},
	} {
		var stderr strings.Builder
		status := (&app{err: &stderr}).fail(test.err)
		line, rest, _ := strings.Cut(stderr.String(), "\n")
		if status != test.status || !strings.Contains(line, test.want) || rest != "" {
			t.Errorf("%v: status %d, %q, want status %d, one line with %q", test.err, status, stderr.String(), test.status, test.want)
		}
	}
}
