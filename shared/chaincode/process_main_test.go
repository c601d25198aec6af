package chaincode

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/simulate"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// programs builds the chaincode programs that the tests run, once, and returns their directory.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "peerless-test-")
	if err != nil {
		return "", err
	}
	programsDir = dir
	build := exec.Command("go", "build", "-o", dir, "./testdata/contract", "./testdata/rogue")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the test programs: %w\n%s", err, out)
	}
	return dir, nil
})

// programsDir is empty if no test has needed them.
var programsDir string

// RemovePrograms ends the test run: goleak calls it last.
func RemovePrograms(code int) {
	if programsDir != "" {
		os.RemoveAll(programsDir)
	}
	os.Exit(code)
}

// startProcess returns a process over a test program, closed when the test ends.
func startProcess(t testing.TB, program string, change func(*ProcessConfig)) *Process {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	config := ProcessConfig{Name: program, Path: filepath.Join(dir, program), StartTimeout: 20 * time.Second}
	if change != nil {
		change(&config)
	}
	p, err := NewProcess(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// invocation is a transaction of its own on an empty channel.
func invocation(t testing.TB, args ...string) *Invocation {
	t.Helper()
	nonce := make([]byte, 24)
	rand.Read(nonce)
	input := &peer.ChaincodeInput{}
	for _, arg := range args {
		input.Args = append(input.Args, []byte(arg))
	}
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: "main", Chaincode: "contract", Args: input.Args, Creator: []byte("creator"), Nonce: nonce, Timestamp: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	store := mem.New(mem.Config{})
	view, err := store.View(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	return &Invocation{Channel: "main", Chaincode: "contract", Proposal: proposal, Input: input, Tx: simulate.New(view, proposal.TxID)}
}

// mustCall returns the payload of a call that must succeed.
func mustCall(t testing.TB, host Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := host.Execute(ctx, invocation(t, args...))
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if result.Response.Status != 200 {
		t.Fatalf("%v: status %d %s", args, result.Response.Status, result.Response.Message)
	}
	return string(result.Response.Payload)
}

// call returns the error of a call.
func call(t testing.TB, host Host, timeout time.Duration, args ...string) error {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := host.Execute(ctx, invocation(t, args...))
	return err
}

// A logCapture keeps log records as lines of text.
type logCapture struct {
	mu    sync.Mutex
	lines []string
	wrote chan struct{} // gets something after each record, if there is room
}

func captureLog() (*logCapture, *slog.Logger) {
	c := &logCapture{wrote: make(chan struct{}, 1)}
	return c, slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (c *logCapture) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.lines = append(c.lines, string(p))
	c.mu.Unlock()
	select {
	case c.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (c *logCapture) matching(text string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for _, line := range c.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// wait returns the first line that contains text.
func (c *logCapture) wait(t testing.TB, text string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		if found := c.matching(text); len(found) > 0 {
			return found[0]
		}
		select {
		case <-c.wrote:
		case <-timeout:
			t.Fatalf("no log line with %q", text)
		}
	}
}

// slowLogger returns a logger whose first record waits for release.
func slowLogger(release <-chan struct{}) *slog.Logger {
	return slog.New(slog.NewTextHandler(blocked(release), nil))
}

type blocked <-chan struct{}

func (b blocked) Write(p []byte) (int, error) {
	<-b
	return len(p), nil
}
