package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"peerless/shared/chaincode"
)

// A runner is the host of one package, service or in-process contract. It is opened when it is first needed.
type runner struct {
	manager *Manager
	id      string      // of the package, empty if there is none
	label   string      // for people
	service *Connection // of a service without a package

	users int // bindings and executions; the manager's mutex guards it

	host    atomic.Pointer[chaincode.Host] // nil until it is open
	opening chan struct{}                  // holds a token while it is being opened or closed
	closed  bool                           // for who has the token
	problem atomic.Pointer[string]         // why it could not be opened the last time
	kind    atomic.Pointer[Type]           // of the package, nil until it has been read
}

func (m *Manager) newRunner(id string, service *Connection) *runner {
	r := &runner{manager: m, id: id, service: service, opening: make(chan struct{}, 1)}
	if label, _, ok := splitPackageID(id); ok {
		r.label = label
	} else if service != nil {
		r.label = service.Address
	}
	return r
}

// Process and Service start before their first execution when they are told to, and say how they fare.
type (
	starter  interface{ Start(context.Context) error }
	reporter interface{ Status() chaincode.Status }
)

var (
	_ starter  = (*chaincode.Process)(nil)
	_ starter  = (*chaincode.Service)(nil)
	_ reporter = (*chaincode.Process)(nil)
	_ reporter = (*chaincode.Service)(nil)
)

// current returns the host if it is open.
func (r *runner) current() chaincode.Host {
	if host := r.host.Load(); host != nil {
		return *host
	}
	return nil
}

func (r *runner) opened(host chaincode.Host) { r.host.Store(&host) }

// open returns the host. Several callers wait for one opening; one that fails is repeated by the next caller.
func (r *runner) open(ctx context.Context) (chaincode.Host, error) {
	if host := r.current(); host != nil {
		return host, nil
	}
	select {
	case r.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s is being made ready: %w", chaincode.ErrUnavailable, r.label, ctx.Err())
	}
	defer func() { <-r.opening }()
	if r.closed {
		return nil, errClosed
	}
	if host := r.current(); host != nil {
		return host, nil
	}
	host, err := r.newHost(ctx)
	if err != nil {
		text := err.Error()
		r.problem.Store(&text)
		return nil, fmt.Errorf("%w: %w", chaincode.ErrUnavailable, err)
	}
	r.problem.Store(nil)
	r.opened(host)
	return host, nil
}

func (r *runner) newHost(ctx context.Context) (chaincode.Host, error) {
	if r.service != nil {
		return r.newService(r.service, "")
	}
	ready, err := r.manager.prepared(ctx, r.id)
	if err != nil {
		return nil, err
	}
	if ready.connection != nil {
		return r.newService(ready.connection, r.id)
	}
	config := r.manager.config
	process := chaincode.ProcessConfig{
		Name:         r.id,
		Env:          config.Env,
		Transport:    config.Transport,
		StartTimeout: config.StartTimeout,
		StopTimeout:  config.StopTimeout,
		IdleTimeout:  config.IdleTimeout,
		LogRate:      config.LogRate,
		Logger:       config.Logger.With(slog.String("label", r.label)),
	}
	if err := r.command(&process, ready.program); err != nil {
		return nil, err
	}
	return chaincode.NewProcess(process)
}

// javaStart is how long a Java contract may take to start at least: on a busy machine its virtual machine takes half a minute.
const javaStart = 2 * time.Minute

// command says how a program is run. The shims of Node and Java dial TCP alone, and have flags of their own.
func (r *runner) command(process *chaincode.ProcessConfig, program string) (err error) {
	switch r.packageType() {
	case Node:
		process.Path, process.Args, err = nodeCommand(program)
		process.Dir, process.Transport, process.AddressFlag = program, chaincode.TCP, "--peer.address"
		process.Env = append([]string{"CORE_CHAINCODE_LOGGING_LEVEL=warning"}, process.Env...) // at info the shim writes a line for each call
	case Java:
		process.Path, process.Args, err = javaCommand(program)
		process.Transport, process.AddressFlag = chaincode.TCP, "--peerAddress"
		process.StartTimeout = max(process.StartTimeout, javaStart)
	default:
		process.Path = program
	}
	return err
}

func (r *runner) newService(c *Connection, name string) (chaincode.Host, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	return chaincode.DialService(c.Address, chaincode.ServiceConfig{
		Name: name, DialTimeout: time.Duration(c.DialTimeout), TLS: config, Logger: r.manager.config.Logger,
	})
}

// start returns when the host is open and, if it can be started, runs.
func (r *runner) start(ctx context.Context) error {
	host, err := r.open(ctx)
	if err != nil {
		return err
	}
	if s, ok := host.(starter); ok {
		return s.Start(ctx)
	}
	return nil
}

func (r *runner) close() {
	r.opening <- struct{}{}
	defer func() { <-r.opening }()
	host := r.current()
	if host == nil || r.closed {
		r.closed = true
		return
	}
	r.closed = true
	if err := host.Close(); err != nil && !errors.Is(err, context.Canceled) {
		r.manager.config.Logger.Warn("close chaincode", "label", r.label, "error", err)
	}
}

// installation describes the runner, without its bindings.
func (r *runner) installation() *Installation {
	i := &Installation{Package: r.id, Type: r.packageType(), Label: cmp.Or(r.label, r.id), Status: chaincode.Status{State: chaincode.Stopped}}
	if r.service != nil {
		i.Address = r.service.Address
	}
	switch host := r.current().(type) {
	case nil:
		if problem := r.problem.Load(); problem != nil {
			i.Status = chaincode.Status{State: chaincode.Failing, Reason: *problem}
		}
	case reporter:
		i.Status = host.Status()
	default:
		i.Status.State = chaincode.Running
	}
	return i
}

// packageType reads the type of the runner's package, once. It is empty if that cannot be read.
func (r *runner) packageType() Type {
	if r.service != nil {
		return Service
	}
	if r.id == "" {
		return InProcess
	}
	if known := r.kind.Load(); known != nil {
		return *known
	}
	kind := r.manager.packageType(r.id)
	if kind != "" {
		r.kind.Store(&kind)
	}
	return kind
}
