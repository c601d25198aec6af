// Package toolbox finds and runs the programs, other than Go's, that tests need. `.ci/setup` installs them in .ci/tools, or as
// packages of the system. A test whose tool is missing is skipped and says which; under PEERLESS_TEST_REQUIRE=all it fails.
//
// Every program that it starts listens on loopback, and is ended, with its children, by the process group that it leads.
package toolbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Root returns the directory of the project's source.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Need returns the path of a tool: of a file below .ci/tools, or of a program on the PATH if name has no slash. Without it the
// test ends here.
func Need(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(), ".ci", "tools", filepath.FromSlash(name))
	_, err := os.Stat(path)
	if err != nil && filepath.Base(name) == name {
		path, err = exec.LookPath(name)
	}
	if err != nil {
		Missing(t, "%s is not installed: run .ci/setup", name)
	}
	return path
}

// Missing ends a test that cannot run on this machine, for the reason given.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("PEERLESS_TEST_REQUIRE") == "all" {
		t.Fatalf("PEERLESS_TEST_REQUIRE=all: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Port returns a TCP port of 127.0.0.1 that was free a moment ago.
func Port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A Program is one running for a test.
type Program struct {
	*exec.Cmd
	output output
	done   chan struct{}
	err    error // of Wait; set before done is closed
}

// Start starts cmd and waits until ready returns nil, for a minute at most; a nil ready waits for nothing. The program is ended with the test, and what it
// printed is logged if the test failed.
func Start(t testing.TB, cmd *exec.Cmd, ready func(context.Context) error) *Program {
	t.Helper()
	p := &Program{Cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.output
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", cmd.Path, p.Output())
		}
	})
	if ready == nil {
		return p
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended before it was ready: %v\n%s", cmd.Path, p.err, p.Output())
		case <-ctx.Done():
			t.Fatalf("%s is not ready after a minute: %v\n%s", cmd.Path, err, p.Output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Output returns the last of what the program printed.
func (p *Program) Output() string { return p.output.String() }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Stop ends the program and its children, in 5 s at most, and returns how it ended.
func (p *Program) Stop() error {
	select {
	case <-p.done:
	default:
		syscall.Kill(-p.Process.Pid, syscall.SIGTERM)
	}
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
	}
	// What is left of the group goes too, its leader's end notwithstanding.
	if err := syscall.Kill(-p.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end %s: %w", p.Path, err)
	}
	<-p.done
	return p.err
}

// output keeps the last 64 KiB that were written to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	if extra := o.buf.Len() - 64<<10; extra > 0 {
		o.buf.Next(extra)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
