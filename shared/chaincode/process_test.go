package chaincode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// modes are the ways to reach a program.
var modes = map[string]func(*ProcessConfig){
	"dial over a unix socket": nil,
	"dial over TCP":           func(c *ProcessConfig) { c.Transport = TCP },
	"serve":                   func(c *ProcessConfig) { c.Mode = Serve },
}

func TestProcessExecutes(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProcess(t, "contract", mode)
			if got, want := p.Status(), (Status{State: Stopped}); got != want {
				t.Errorf("before the first call: %+v, want %+v", got, want)
			}
			inv := invocation(t, "put", "colour", "blue")
			result, err := p.Execute(t.Context(), inv)
			if err != nil {
				t.Fatal(err)
			}
			if result.Response.Status != 200 {
				t.Fatalf("put: %v", result.Response)
			}
			set, err := inv.Tx.Results()
			if err != nil {
				t.Fatal(err)
			}
			writes := set.Namespaces[0].KV.Writes
			if len(writes) != 1 || writes[0].Key != "colour" || string(writes[0].Value) != "blue" {
				t.Errorf("writes %v", writes)
			}
			if got := mustCall(t, p, "get", "colour"); got != "" {
				t.Errorf("get in another transaction: %q", got)
			}
			large := strings.Repeat("x", 8<<20)
			if got := mustCall(t, p, "echo", large); got != large {
				t.Errorf("echo of 8 MiB: %d bytes", len(got))
			}
			if got, want := p.Status(), (Status{State: Running}); got != want {
				t.Errorf("status %+v, want %+v", got, want)
			}
		})
	}
}

func TestProcessFirstCallsShareOneStart(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "contract", nil)
	var calls sync.WaitGroup
	pids := make([]string, 16)
	for i := range pids {
		calls.Go(func() { pids[i] = mustCall(t, p, "pid") })
	}
	calls.Wait()
	if distinct := slices.Compact(slices.Sorted(slices.Values(pids))); len(distinct) != 1 {
		t.Errorf("started %v", distinct)
	}
}

func TestProcessCrash(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			capture, logger := captureLog()
			p := startProcess(t, "contract", func(c *ProcessConfig) {
				if mode != nil {
					mode(c)
				}
				c.Logger = logger
			})
			before := mustCall(t, p, "pid")
			hanging := make(chan error, 1)
			go func() { hanging <- call(t, p, time.Minute, "hang") }()
			capture.wait(t, "hanging")
			if err := call(t, p, 20*time.Second, "crash", "because"); !errors.Is(err, ErrCrashed) {
				t.Errorf("the transaction that crashes: %v, want %v", err, ErrCrashed)
			}
			if err := <-hanging; !errors.Is(err, ErrCrashed) {
				t.Errorf("another in flight: %v, want %v", err, ErrCrashed)
			}
			if after := mustCall(t, p, "pid"); after == before {
				t.Errorf("still process %s", after)
			}
			line := capture.wait(t, "boom: because")
			if !strings.Contains(line, "chaincode=contract") {
				t.Errorf("a line of output without its label: %s", line)
			}
			capture.wait(t, "exit status 2")
			status := p.Status()
			if status.State != Running || status.Restarts != 1 || !strings.Contains(status.Reason, "exit status 2") || !strings.Contains(status.Reason, "boom: because") {
				t.Errorf("status %+v", status)
			}
		})
	}
}

func TestProcessRestartsWithBackoff(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "contract", func(c *ProcessConfig) { c.Env = []string{"FAIL_AT_START=no licence"} })
	begun := time.Now()
	for range 4 { // waits 0, 100, 200, 400 ms
		err := call(t, p, 20*time.Second, "pid")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "cannot start: no licence") || !strings.Contains(err.Error(), "exit status 3") {
			t.Fatalf("got %v", err)
		}
	}
	if took := time.Since(begun); took < 700*time.Millisecond || took > 5*time.Second {
		t.Errorf("four starts took %s", took)
	}
	if status := p.Status(); status.State != Failing || status.Restarts != 3 {
		t.Errorf("status %+v", status)
	}
	// The next start is 800 ms away.
	err := call(t, p, 50*time.Millisecond, "pid")
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("a call that cannot wait: %v", err)
	}
}

func TestProcessHang(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "contract", nil)
	before := mustCall(t, p, "pid")
	hanging := make(chan error, 1)
	go func() { hanging <- call(t, p, 500*time.Millisecond, "hang") }()
	for range 20 {
		mustCall(t, p, "put", "k", "v")
	}
	if err := <-hanging; !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want %v", err, ErrTimeout)
	}
	if after := mustCall(t, p, "pid"); after != before {
		t.Errorf("process %s became %s", before, after)
	}
}

func TestProcessFloodsItsLog(t *testing.T) {
	t.Parallel()
	capture, logger := captureLog()
	p := startProcess(t, "contract", func(c *ProcessConfig) { c.Logger, c.LogRate = logger, 10 })
	mustCall(t, p, "flood", "20000")
	mustCall(t, p, "pid")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	capture.wait(t, "lines were dropped")
	long := capture.matching("long xxx")
	if len(long) != 1 || len(long[0]) > maxLogLine+200 || !strings.Contains(long[0], "(cut)") {
		t.Errorf("%d long lines", len(long))
	}
	if n := len(capture.matching("flood ")); n < 50 || n > 1000 {
		t.Errorf("%d of 20000 lines passed", n)
	}
}

// A logger that does not come back must not hold the program up.
func TestProcessSlowLogger(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	log := newChildLog(slowLogger(release), 1_000_000)
	line := []byte(strings.Repeat("x", 100) + "\n")
	for range 10 * logQueue {
		if n, err := log.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if dropped := log.dropped.Load(); dropped < 8*logQueue {
		t.Errorf("%d lines dropped", dropped)
	}
	log.close()
}

func TestProcessRogues(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		timeout time.Duration
		want    string
	}{
		"noise":    {2 * time.Second, "it did not register within 2s"},
		"silent":   {time.Second, "it did not register within 1s"},
		"impostor": {20 * time.Second, "register chaincode somebody-else: want the name"},
		"unknown":  {20 * time.Second, `unknown manner "unknown"`},
	}
	for manner, test := range tests {
		t.Run(manner, func(t *testing.T) {
			t.Parallel()
			p := startProcess(t, "rogue", func(c *ProcessConfig) {
				c.Env = []string{"ROGUE=" + manner}
				c.StartTimeout = test.timeout
				c.StopTimeout = 100 * time.Millisecond
			})
			err := p.Start(t.Context())
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestProcessGarbageEndsTheSession(t *testing.T) {
	t.Parallel()
	capture, logger := captureLog()
	p := startProcess(t, "rogue", func(c *ProcessConfig) { c.Env, c.Logger = []string{"ROGUE=garbage"}, logger })
	if err := call(t, p, 20*time.Second, "anything"); !errors.Is(err, ErrCrashed) {
		t.Errorf("got %v, want %v", err, ErrCrashed)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Errorf("started again: %v", err)
	}
	capture.wait(t, "chaincode ended")
	if status := p.Status(); status.Restarts != 1 {
		t.Errorf("status %+v", status)
	}
}

func TestProcessEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("PEERLESS_KEY", "secret")
	p := startProcess(t, "contract", func(c *ProcessConfig) { c.Env = []string{"CORE_PEER_LOCALMSPID=Org1MSP"} })
	var names []string
	for line := range strings.SplitSeq(mustCall(t, p, "environment"), "\n") {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"CORE_CHAINCODE_ID_NAME", "CORE_CHAINCODE_LOGGING_LEVEL", "CORE_CHAINCODE_LOGGING_SHIM", "CORE_PEER_LOCALMSPID",
		"CORE_PEER_TLS_ENABLED", "HOME", "PATH", "TMPDIR",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestProcessIdleStop(t *testing.T) {
	t.Parallel()
	capture, logger := captureLog()
	p := startProcess(t, "contract", func(c *ProcessConfig) { c.IdleTimeout, c.Logger = 200*time.Millisecond, logger })
	before := mustCall(t, p, "pid")
	if err := call(t, p, 600*time.Millisecond, "hang"); !errors.Is(err, ErrTimeout) {
		t.Errorf("a transaction longer than the idle time: %v, want %v", err, ErrTimeout)
	}
	capture.wait(t, "it was idle")
	if got, want := p.Status(), (Status{State: Stopped}); got != want {
		t.Errorf("status %+v, want %+v", got, want)
	}
	if after := mustCall(t, p, "pid"); after == before {
		t.Errorf("still process %s", after)
	}
}

func TestProcessClose(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "contract", nil)
	pid, offspring := mustCall(t, p, "pid"), mustCall(t, p, "offspring")
	hanging := make(chan error, 1)
	go func() { hanging <- call(t, p, time.Minute, "hang") }()
	mustCall(t, p, "pid")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-hanging; !errors.Is(err, ErrCrashed) && !errors.Is(err, ErrUnavailable) {
		t.Errorf("in flight: %v, want %v", err, ErrCrashed)
	}
	if err := call(t, p, time.Second, "pid"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v, want %v", err, ErrUnavailable)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	for _, id := range []string{pid, offspring} {
		if !gone(t, id) {
			t.Errorf("process %s lives", id)
		}
	}
}

func TestProcessCloseKillsTheStubborn(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "rogue", func(c *ProcessConfig) {
		c.Env = []string{"ROGUE=stubborn"}
		c.StopTimeout = 100 * time.Millisecond
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("close took %s", took)
	}
}

func TestProcessCloseDuringStart(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "rogue", func(c *ProcessConfig) { c.Env = []string{"ROGUE=silent"} })
	started := make(chan error, 1)
	go func() { started <- p.Start(t.Context()) }()
	for p.Status().State != Starting {
		time.Sleep(time.Millisecond)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-started; !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want %v", err, ErrUnavailable)
	}
}

func TestProcessMissingProgram(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "absent", nil)
	if err := p.Start(t.Context()); !errors.Is(err, ErrUnavailable) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, ErrUnavailable)
	}
}

func TestNewProcessRefuses(t *testing.T) {
	t.Parallel()
	for _, config := range []ProcessConfig{
		{Path: "contract"},
		{Name: "contract"},
		{Name: "contract", Path: "contract", Mode: "both"},
		{Name: "contract", Path: "contract", Transport: "pigeon"},
	} {
		if _, err := NewProcess(config); err == nil {
			t.Errorf("%+v is fine", config)
		}
	}
}

// gone waits until a process that is not our child any more has ended.
func gone(t *testing.T, id string) bool {
	t.Helper()
	pid, err := strconv.Atoi(id)
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone) || zombie(pid) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// zombie reports whether a process has ended and nobody has asked how: what a killed program's orphans may stay.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
