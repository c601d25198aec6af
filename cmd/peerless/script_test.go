package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a test waits for something that must happen; pollPause the time between two looks.
const (
	patience  = 90 * time.Second
	pollPause = 20 * time.Millisecond
)

// programCache is where the contracts that tests build are kept, for all tests of one run.
var programCache string

func TestMain(m *testing.M) {
	testscript.Main(cleanUp{m}, map[string]func(){
		"peerless":              func() { main() },
		"peerless-unprivileged": unprivileged,
	})
}

// cleanUp makes the directory that the tests share, and removes it.
type cleanUp struct{ *testing.M }

func (c cleanUp) Run() int {
	dir, err := os.MkdirTemp("", "peerless-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programCache = dir
	return c.M.Run()
}

// unprivileged is peerless without the rights of the super-user, who may write to everything.
func unprivileged() {
	const nobody = 65534
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(70)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		Setup:              setupScript,
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":         scriptStart,
			"finish":        scriptFinish,
			"ready":         scriptReady,
			"await":         scriptAwait,
			"fails":         scriptFails,
			"until":         scriptUntil,
			"flip":          scriptFlip,
			"capture":       scriptCapture,
			"arglist":       scriptArgList,
			"contract":      scriptContract,
			"gatewayclient": scriptGatewayClient,
			"ended":         scriptEnded,
			"until-fails":   scriptUntilFails,
			"package":       scriptPackage,
			"request":       scriptRequest,
			"paste":         scriptPaste,
			"certificate":   scriptCertificate,
		},
	})
}

// setupScript gives scripts the Go toolchain with its caches, and a module that has what contracts import.
func setupScript(env *testscript.Env) error {
	settings, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	values := strings.Split(strings.TrimRight(string(settings), "\n"), "\n")
	for i, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB"} {
		env.Setenv(name, values[i])
	}
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("XDG_CACHE_HOME", programCache)
	env.Values[processesKey{}] = &processes{running: make(map[string]*process)}
	env.Defer(env.Values[processesKey{}].(*processes).killAll)
	if err := os.Chmod(filepath.Dir(env.WorkDir), 0o755); err != nil { // so that an unprivileged process reaches it
		return err
	}
	return writeModule(env.WorkDir)
}

// writeModule makes a directory a module that requires what this one requires, so that contracts in it build offline.
func writeModule(dir string) error {
	root := filepath.Join("..", "..")
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	mod = []byte(strings.Replace(string(mod), "module peerless", "module example", 1))
	return errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o644), os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644))
}

// A process is peerless in the background, with its output in files.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error
}

type processesKey struct{}

type processes struct{ running map[string]*process }

func (p *processes) killAll() {
	for _, process := range p.running {
		process.cmd.Process.Kill()
		<-process.done
	}
}

func processesOf(ts *testscript.TestScript) *processes {
	return ts.Value(processesKey{}).(*processes)
}

// start NAME COMMAND ARGS… runs a command in the background, with its output in NAME.out and NAME.err.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND ARGS…")
	}
	cmd := command(ts, args[1:])
	stdout, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	processesOf(ts).running[args[0]] = p
}

// command is a program with the script's environment and directory.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "XDG_CACHE_HOME", "PEERLESS_URL", "PEERLESS_KEY", "PEERLESS_CONFIG"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

// finish NAME [SIGNAL] ends a process and waits for it. Without !, it must end with status 0, unless the signal is KILL.
func scriptFinish(ts *testscript.TestScript, neg bool, args []string) {
	p := processesOf(ts).running[args[0]]
	if p == nil {
		ts.Fatalf("nothing is called %s", args[0])
	}
	signal := os.Signal(syscall.SIGTERM)
	if len(args) > 1 {
		signal = map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}[args[1]]
	}
	ts.Check(p.cmd.Process.Signal(signal))
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s did not end", args[0])
	}
	delete(processesOf(ts).running, args[0])
	ts.Logf("[%s.err]\n%s", args[0], ts.ReadFile(args[0]+".err"))
	if failed := p.err != nil; failed != neg && signal != os.Kill {
		ts.Fatalf("%s ended: %v", args[0], p.err)
	}
}

// ended NAME waits until a process has ended by itself, with status 0.
func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	p := processesOf(ts).running[args[0]]
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s did not end", args[0])
	}
	delete(processesOf(ts).running, args[0])
	ts.Check(p.err)
}

// ready NAME waits until NAME.ready is there, and makes the URL in it the server that commands talk to.
func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	var url string
	ended := processesOf(ts).running[args[0]].done
	poll(ts, args[0]+" to be ready", func() bool {
		select {
		case <-ended:
			ts.Fatalf("%s ended: %s", args[0], ts.ReadFile(args[0]+".err"))
		default:
		}
		raw, err := os.ReadFile(ts.MkAbs(args[0] + ".ready"))
		url = strings.TrimSpace(string(raw))
		return err == nil
	})
	ts.Check(os.Remove(ts.MkAbs(args[0] + ".ready")))
	ts.Setenv("PEERLESS_URL", url)
	ts.Setenv("ADDRESS", strings.TrimPrefix(url, "http://"))
}

// await FILE PATTERN waits until a file has a match.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	pattern := compile(ts, args[1])
	poll(ts, fmt.Sprintf("%s to match %s", args[0], args[1]), func() bool {
		raw, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && pattern.Match(raw)
	})
}

// until PATTERN COMMAND ARGS… repeats a command until its standard output has a match.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	pattern := compile(ts, args[0])
	poll(ts, fmt.Sprintf("%v to print %s", args[1:], args[0]), func() bool {
		out, err := command(ts, args[1:]).Output()
		return err == nil && pattern.Match(out)
	})
}

// until-fails PATTERN COMMAND ARGS… repeats a command until it fails, with a match in its standard error.
func scriptUntilFails(ts *testscript.TestScript, neg bool, args []string) {
	pattern := compile(ts, args[0])
	poll(ts, fmt.Sprintf("%v to fail with %s", args[1:], args[0]), func() bool {
		_, err := command(ts, args[1:]).Output()
		var exit *exec.ExitError
		return errors.As(err, &exit) && pattern.Match(exit.Stderr)
	})
}

// poll looks until something holds.
func poll(ts *testscript.TestScript, what string, holds func() bool) {
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			ts.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(pollPause)
	}
}

func compile(ts *testscript.TestScript, pattern string) *regexp.Regexp {
	compiled, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	return compiled
}

// fails STATUS COMMAND ARGS… wants the exit status, nothing on standard output, and on standard error one line.
func scriptFails(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("got %v, want exit status %d", err, want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output has %q", out)
	}
	if lines := strings.Count(ts.ReadFile("stderr"), "\n"); lines != 1 {
		ts.Fatalf("standard error has %d lines, want 1", lines)
	}
}
