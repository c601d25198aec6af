package chaincode

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Mode says which side opens the stream between Peerless and a child program.
type Mode string

const (
	// Dial: the program dials in at the address in its -peer.address argument, as a peer starts it.
	Dial Mode = "dial"
	// Serve: the program serves on CHAINCODE_SERVER_ADDRESS, as chaincode as a service does.
	Serve Mode = "serve"
)

// A Transport is what a program in Dial mode dials. In Serve mode it is always TCP on loopback: the shims offer no other.
type Transport string

const (
	// Unix is a socket in a directory that only this user can enter; on Linux only the program's process group can use it.
	// The Go shim takes such an address, others may not.
	Unix Transport = "unix"
	// TCP is a port on the loopback interface.
	TCP Transport = "tcp"
)

// How long a Process waits, unless its configuration says otherwise.
const (
	DefaultStartTimeout = 30 * time.Second
	DefaultStopTimeout  = 2 * time.Second
)

// ProcessConfig describes a child program. Name and Path are required.
type ProcessConfig struct {
	// Name labels its log lines and errors. With a secret appended it is the name the program registers with.
	Name string
	// Path is the program; a name without a slash is looked up in PATH.
	Path string
	// Args are its arguments, before the address that Dial mode appends.
	Args []string
	// AddressFlag precedes the address. Empty: -peer.address.
	AddressFlag string
	// Dir is its working directory. Empty: a private one, removed when it ends.
	Dir string
	// Env adds to its environment, "NAME=value". Besides, it has PATH, HOME and TMPDIR (the last two its private directory)
	// and what the shims read; it inherits nothing. CORE_PEER_LOCALMSPID is what shim.GetMSPID returns.
	Env []string
	// Mode is Dial if empty.
	Mode Mode
	// Transport is Unix if empty.
	Transport Transport
	// StartTimeout is the time it has to register. 0: DefaultStartTimeout.
	StartTimeout time.Duration
	// StopTimeout is the time between SIGTERM and SIGKILL. 0: DefaultStopTimeout.
	StopTimeout time.Duration
	// IdleTimeout stops a program that has executed nothing for about so long; the next execution starts it again. 0: never.
	IdleTimeout time.Duration
	// LogRate bounds the lines of output per second that reach Logger. 0: DefaultLogRate.
	LogRate int
	// Logger takes the program's output, a record for each line, and what happens to it. Nil discards it.
	Logger *slog.Logger
}

// A Process is a Host over a child program, an unmodified contract. The first Execute, or Start, starts it. When it ends by
// itself all its transactions return ErrCrashed and it is started again: after 100 ms, then twice as long each time up to
// 10 s. Executions that come meanwhile wait, as long as their context lets them. The program, and whatever it started, ends
// with Close, and on Linux the program also ends with this process.
type Process struct {
	config     ProcessConfig
	supervisor *supervisor
}

var _ Host = (*Process)(nil)

// NewProcess checks the configuration and returns a process that is not started yet.
func NewProcess(config ProcessConfig) (*Process, error) {
	config.Mode = cmp.Or(config.Mode, Dial)
	config.Transport = cmp.Or(config.Transport, Unix)
	config.AddressFlag = cmp.Or(config.AddressFlag, "-peer.address")
	config.StartTimeout = cmp.Or(config.StartTimeout, DefaultStartTimeout)
	config.StopTimeout = cmp.Or(config.StopTimeout, DefaultStopTimeout)
	config.LogRate = cmp.Or(config.LogRate, DefaultLogRate)
	switch {
	case config.Name == "":
		return nil, errors.New("chaincode process: no name")
	case config.Path == "":
		return nil, fmt.Errorf("chaincode process %s: no program", config.Name)
	case config.Mode != Dial && config.Mode != Serve:
		return nil, fmt.Errorf("chaincode process %s: unknown mode %q", config.Name, config.Mode)
	case config.Transport != Unix && config.Transport != TCP:
		return nil, fmt.Errorf("chaincode process %s: unknown transport %q", config.Name, config.Transport)
	}
	p := &Process{config: config}
	p.supervisor = newSupervisor(config.Name, config.IdleTimeout, config.Logger, p.connect)
	p.config.Logger = p.supervisor.logger
	return p, nil
}

// Execute runs an invocation, as Host says. ErrUnavailable if the program cannot be started: the text says why, with the
// last lines of its output.
func (p *Process) Execute(ctx context.Context, inv *Invocation) (*Result, error) {
	return p.supervisor.execute(ctx, inv)
}

// Start starts the program, if it does not run, and returns when it has registered. ErrUnavailable if it did not.
func (p *Process) Start(ctx context.Context) error { return p.supervisor.start(ctx) }

// Status says whether the program runs.
func (p *Process) Status() Status { return p.supervisor.status() }

// Close ends the program with SIGTERM, after StopTimeout with SIGKILL, and returns when it is gone. Executions under way
// return ErrCrashed, later ones ErrUnavailable.
func (p *Process) Close() error {
	p.supervisor.close()
	return nil
}

// connect starts the program and waits until it has registered.
func (p *Process) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.config.StartTimeout, fmt.Errorf("it did not register within %s", p.config.StartTimeout))
	defer cancel()
	private, err := os.MkdirTemp("", "peerless-")
	if err != nil {
		return nil, fmt.Errorf("make its directory: %w", err)
	}
	// Whoever knows the name is the program: it is told to nobody else.
	name := p.config.Name + ":" + strings.ToLower(rand.Text())
	run := &run{Process: p, private: private, name: name}
	if p.config.Mode == Serve {
		err = run.serve(ctx)
	} else {
		err = run.dial(ctx)
	}
	if err != nil {
		return nil, run.failed(err)
	}
	return &connection{session: run.session, ended: run.watch(), close: run.close}, nil
}

// A run is one life of the program.
type run struct {
	*Process
	private string // directory
	name    string // that it must register with
	child   *child
	session *Session
	hangUp  func()       // ends the stream
	ended   <-chan error // gets why the session ended, when its handler has returned
}

// spawn starts the program with what its mode adds to arguments and environment.
func (r *run) spawn(args []string, env ...string) error {
	base := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME=" + r.private,
		"TMPDIR=" + r.private,
		"CORE_CHAINCODE_LOGGING_LEVEL=info",
		"CORE_CHAINCODE_LOGGING_SHIM=warning",
	}
	base = append(base, r.config.Env...)
	base = append(base,
		"CORE_CHAINCODE_ID_NAME="+r.name,
		"CORE_PEER_TLS_ENABLED=false",
	)
	dir := cmp.Or(r.config.Dir, r.private)
	path := r.config.Path
	if strings.ContainsRune(path, filepath.Separator) {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("find the program: %w", err)
		}
		path = absolute
	}
	log := newChildLog(r.config.Logger, r.config.LogRate)
	child, err := startChild(path, append(r.config.Args[:len(r.config.Args):len(r.config.Args)], args...), dir, append(base, env...), log)
	if err != nil {
		return err
	}
	r.child = child
	r.config.Logger.Debug("chaincode started", "pid", child.pid())
	return nil
}

// register decides on the name that came with a stream.
func (r *run) register(name string) error {
	if name != r.name {
		return fmt.Errorf("want the name in CORE_CHAINCODE_ID_NAME, which begins with %s", r.config.Name)
	}
	return nil
}

// registered waits for the registration of a session whose end is announced on r.ended.
func (r *run) registered(ctx context.Context) error {
	select {
	case <-r.session.Registered():
		return nil
	case err := <-r.ended:
		return fmt.Errorf("its stream ended: %w", err)
	case <-r.child.exited:
		return errExited
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errExited means that the program's own end is the reason.
var errExited = errors.New("it ended")

// watch returns a channel that is closed when the session or the program has ended.
func (r *run) watch() <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-r.session.Done():
		case <-r.child.exited:
		}
	}()
	return over
}

// failed clears up after a start that failed and says why, in the program's own words if it has any.
func (r *run) failed(err error) error {
	if r.hangUp != nil {
		r.hangUp()
	}
	if r.child != nil {
		select {
		case <-r.child.exited:
			err = r.child.describe()
		default:
			r.child.stop(r.config.StopTimeout)
			err = fmt.Errorf("%w%s", err, r.child.lastWords())
		}
	}
	r.remove()
	return err
}

// close ends the program and its stream. The error says what came first: its own end, or its stream's.
func (r *run) close() error {
	exited := r.exitedByItself()
	r.hangUp()
	r.child.stop(r.config.StopTimeout)
	err := <-r.ended
	r.remove()
	if !exited {
		return fmt.Errorf("its stream ended: %w", err)
	}
	return r.child.describe()
}

// exitedByItself reports whether the program has ended. Its stream's end is often seen a moment earlier.
func (r *run) exitedByItself() bool {
	var patience <-chan time.Time
	select {
	case <-r.session.Done():
		patience = time.After(outputDelay)
	default:
	}
	if patience == nil {
		select {
		case <-r.child.exited:
			return true
		default:
			return false
		}
	}
	select {
	case <-r.child.exited:
		return true
	case <-patience:
		return false
	}
}

func (r *run) remove() {
	if err := os.RemoveAll(r.private); err != nil {
		r.config.Logger.Warn("chaincode's private directory stays", "error", err)
	}
}
