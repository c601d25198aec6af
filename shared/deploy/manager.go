package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// Errors of a manager, wrapped with names.
var (
	// ErrNotFound: no such package, or nothing is bound to the name. It is a ledger.ErrNotFound.
	ErrNotFound = fmt.Errorf("not installed: %w", ledger.ErrNotFound)
	// ErrInUse: the package is bound to a channel. Unbind it first.
	ErrInUse = errors.New("package is in use")
	// ErrDamaged: what was stored is not what was written. It is a ledger.ErrDamaged.
	ErrDamaged = fmt.Errorf("deployment: %w", ledger.ErrDamaged)
)

// Config says how a manager runs chaincodes. The zero value works.
type Config struct {
	// Build says how golang packages are built. Its cache is not used.
	Build BuildConfig
	// Env adds to the environment of programs, "NAME=value"; they inherit nothing.
	Env []string
	// Transport, StartTimeout, StopTimeout, IdleTimeout and LogRate are chaincode.ProcessConfig's.
	Transport    chaincode.Transport
	StartTimeout time.Duration
	StopTimeout  time.Duration
	IdleTimeout  time.Duration
	LogRate      int
	// Logger takes the output of programs, and what happens to them. Nil discards it.
	Logger *slog.Logger
}

// A Manager keeps packages, binds them to names on channels, and runs one host for each package that is bound. Packages and
// bindings survive a restart. It is safe for concurrent use, by one process.
type Manager struct {
	dir    string
	config Config

	changes sync.Mutex // held while bindings are written and then replaced

	mu       sync.Mutex
	closed   bool
	bindings map[binding]*runner // replaced, never changed
	hosts    map[binding]*bound  // of the bindings; those of one chaincode that lead to one runner share a host
	runners  map[string]*runner  // of bound packages, by id
	closing  sync.WaitGroup
}

// A Name is a chaincode of a channel.
type Name struct{ Channel, Chaincode string }

func (n Name) check() error {
	if err := wire.ChannelName.Check(n.Channel); err != nil {
		return err
	}
	return wire.ChaincodeName.Check(n.Chaincode)
}

func (n Name) String() string { return n.Channel + "/" + n.Chaincode }

// A binding is a name as one organisation's endorser runs it.
type binding struct {
	Name
	mspID string // empty: every organisation that has no binding of its own
}

// Open opens the deployments in a directory, which it makes if need be. Nothing is started before it is called.
func Open(dir string, config Config) (*Manager, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open deployments: %w", err)
	}
	m := &Manager{dir: dir, config: config, bindings: map[binding]*runner{}, runners: map[string]*runner{}}
	for _, sub := range []string{m.packagesDir(), m.programsDir()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("open deployments: %w", err)
		}
	}
	saved, err := m.loadBindings()
	if err != nil {
		return nil, fmt.Errorf("open deployments: %w", err)
	}
	services := map[Name][]*runner{}
	for _, b := range saved {
		r := m.runnerOf(Target{b.Package, b.Service}, services[b.binding().Name])
		if r.service != nil {
			services[b.binding().Name] = append(services[b.binding().Name], r)
		}
		m.bindings[b.binding()] = r
	}
	m.hosts = m.hostsOf(m.bindings)
	return m, nil
}

// packageRunner returns the runner of a bound package, one for all its bindings. It needs mu, except in Open.
func (m *Manager) packageRunner(id string) *runner {
	r := m.runners[id]
	if r == nil {
		r = m.newRunner(id, nil)
		m.runners[id] = r
	}
	return r
}

// A Target is what a binding leads to: an installed package, or a service.
type Target struct {
	Package string      // id; empty for a service
	Service *Connection // nil for a package
}

// Equal reports whether two targets are the same package, or the same service reached in the same way.
func (t Target) Equal(other Target) bool {
	if t.Service == nil || other.Service == nil {
		return t.Service == other.Service && t.Package == other.Package
	}
	return *t.Service == *other.Service
}

// Bind makes a chaincode of a channel run an installed package for every organisation: see BindEach.
func (m *Manager) Bind(ctx context.Context, channel, name, packageID string) error {
	return m.BindEach(ctx, channel, name, map[string]Target{"": {Package: packageID}})
}

// BindService makes a chaincode of a channel run as the service at an address, for every organisation: see BindEach. The service
// may register with any name.
func (m *Manager) BindService(ctx context.Context, channel, name string, connection Connection) error {
	return m.BindEach(ctx, channel, name, map[string]Target{"": {Service: &connection}})
}

// BindEach makes a chaincode of a channel run these targets, and returns when they run and services have answered. They are by
// MSP id, and the one under "" is for every organisation without its own. What the name ran before finishes its transactions and is
// closed when nothing else uses it. If a target does not start, the name keeps what it has. Bindings survive a restart.
func (m *Manager) BindEach(ctx context.Context, channel, name string, targets map[string]Target) error {
	key := Name{channel, name}
	if err := key.check(); err != nil {
		return err
	}
	runners := make(map[string]*runner, len(targets))
	var services []*runner // two organisations may be served by one
	for _, mspID := range slices.Sorted(maps.Keys(targets)) {
		r, err := m.targetRunner(targets[mspID], services)
		if err != nil {
			m.unuseAll(runners)
			return fmt.Errorf("bind %s: %w", key, err)
		}
		if r.service != nil {
			services = append(services, r)
		}
		runners[mspID] = r
	}
	return m.bind(ctx, key, runners)
}

// targetRunner returns the runner of a target, which counts as used.
func (m *Manager) targetRunner(t Target, services []*runner) (*runner, error) {
	if t.Service != nil {
		if err := t.Service.check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidPackage, err)
		}
	} else if !exists(m.packagePath(t.Package)) {
		return nil, fmt.Errorf("package %q: %w", t.Package, ErrNotFound)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	return m.runnerOf(t, services), nil
}

// runnerOf returns the runner of a target, which counts as used: one for each package, and one of services for each service. It
// needs mu, except in Open.
func (m *Manager) runnerOf(t Target, services []*runner) *runner {
	var r *runner
	if t.Service == nil {
		r = m.packageRunner(t.Package)
	} else if i := slices.IndexFunc(services, func(r *runner) bool { return *r.service == *t.Service }); i >= 0 {
		r = services[i]
	} else {
		r = m.newRunner("", t.Service)
	}
	r.users++
	return r
}

// unuseAll takes back a use of each runner.
func (m *Manager) unuseAll(runners map[string]*runner) {
	for _, r := range runners {
		m.unuse(r)
	}
}

// BindHost makes a chaincode of a channel run on a host, a contract linked into this program. The host is the manager's
// from now on, which closes it when its last binding is gone; the same host may be bound several times. Such a binding
// does not survive a restart.
func (m *Manager) BindHost(channel, name string, host chaincode.Host, label string) error {
	key := Name{channel, name}
	if err := key.check(); err != nil {
		return err
	}
	m.mu.Lock()
	r := m.hostRunner(host)
	if r == nil {
		r = m.newRunner("", nil)
		r.label = label
		r.opened(host)
	}
	r.users++
	m.mu.Unlock()
	return m.bind(context.Background(), key, map[string]*runner{"": r})
}

// hostRunner returns the runner that a host has already, nil if it has none. It needs mu.
func (m *Manager) hostRunner(host chaincode.Host) *runner {
	if !reflect.TypeOf(host).Comparable() {
		return nil
	}
	for _, r := range m.bindings {
		if other := r.current(); other != nil && reflect.TypeOf(other).Comparable() && other == host {
			return r
		}
	}
	return nil
}

// bind gives a name to runners, by MSP id, that count the bindings as users already.
func (m *Manager) bind(ctx context.Context, key Name, runners map[string]*runner) error {
	var err error
	for _, mspID := range slices.Sorted(maps.Keys(runners)) {
		if err = runners[mspID].start(ctx); err != nil {
			break
		}
	}
	if err == nil {
		err = m.change(func(bindings map[binding]*runner) ([]*runner, error) {
			old := take(bindings, key)
			for mspID, r := range runners {
				bindings[binding{key, mspID}] = r
			}
			return old, nil
		})
	}
	if err != nil {
		m.unuseAll(runners)
		return fmt.Errorf("bind %s: %w", key, err)
	}
	return nil
}

// take removes a name's bindings and returns their runners.
func take(bindings map[binding]*runner, key Name) []*runner {
	var taken []*runner
	for b, r := range bindings {
		if b.Name == key {
			taken = append(taken, r)
			delete(bindings, b)
		}
	}
	return taken
}

// Unbind takes a name off its channel. Running transactions finish. ErrNotFound if nothing is bound to it.
func (m *Manager) Unbind(_ context.Context, channel, name string) error {
	key := Name{channel, name}
	return m.change(func(bindings map[binding]*runner) ([]*runner, error) {
		old := take(bindings, key)
		if len(old) == 0 {
			return nil, fmt.Errorf("unbind %s: %w", key, ErrNotFound)
		}
		return old, nil
	})
}

// change replaces the bindings: what edit makes of a copy is durable first, then in use. The runners that edit returns have
// lost a binding each.
func (m *Manager) change(edit func(map[binding]*runner) ([]*runner, error)) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return errClosed
	}
	bindings := make(map[binding]*runner, len(m.bindings)+1)
	maps.Copy(bindings, m.bindings)
	m.mu.Unlock()
	old, err := edit(bindings)
	if err != nil {
		return err
	}
	if err := m.saveBindings(bindings); err != nil {
		return fmt.Errorf("save the bindings: %w", err)
	}
	m.mu.Lock()
	m.bindings, m.hosts = bindings, m.hostsOf(bindings)
	m.mu.Unlock()
	for _, r := range old {
		m.unuse(r)
	}
	return nil
}

// hostsOf returns the hosts of bindings.
func (m *Manager) hostsOf(bindings map[binding]*runner) map[binding]*bound {
	type program struct {
		Name
		runner *runner
	}
	hosts, known := make(map[binding]*bound, len(bindings)), make(map[program]*bound)
	for b, r := range bindings {
		host := known[program{b.Name, r}]
		if host == nil {
			host = &bound{m, b}
			known[program{b.Name, r}] = host
		}
		hosts[b] = host
	}
	return hosts
}

// Host returns what runs a chaincode of a channel for an organisation, the same host for organisations that run the same. It is
// always the latest binding, which is looked up at each execution. Its Close does nothing. ErrNotFound if nothing is bound to the
// name.
func (m *Manager) Host(_ context.Context, channel, name, mspID string) (chaincode.Host, error) {
	key := Name{channel, name}
	m.mu.Lock()
	defer m.mu.Unlock()
	host := m.hosts[binding{key, mspID}]
	if host == nil {
		host = m.hosts[binding{Name: key}]
	}
	if host == nil {
		return nil, fmt.Errorf("chaincode %s: %w", key, ErrNotFound)
	}
	return host, nil
}

// bound is a binding as a host.
type bound struct {
	manager *Manager
	binding binding
}

var _ chaincode.Host = (*bound)(nil)

func (b *bound) Close() error { return nil }

func (b *bound) Execute(ctx context.Context, inv *chaincode.Invocation) (*chaincode.Result, error) {
	r, err := b.manager.use(b.binding)
	if err != nil {
		return nil, err
	}
	defer b.manager.unuse(r)
	host, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	return host.Execute(ctx, inv)
}

// use returns the runner of a binding and keeps it from being closed until unuse.
func (m *Manager) use(b binding) (*runner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	r := m.bindings[b]
	if r == nil {
		r = m.bindings[binding{Name: b.Name}]
	}
	if r == nil {
		return nil, fmt.Errorf("chaincode %s: %w", b.Name, ErrNotFound)
	}
	r.users++
	return r, nil
}

// unuse takes back a use or a binding. The last one closes the runner.
func (m *Manager) unuse(r *runner) {
	m.mu.Lock()
	r.users--
	last, late := r.users == 0, m.closed
	if last && m.runners[r.id] == r {
		delete(m.runners, r.id)
	}
	if last && !late {
		m.closing.Go(r.close)
	}
	m.mu.Unlock()
	if last && late { // Close may not know of it
		r.close()
	}
}

// errClosed: the manager is closed.
var errClosed = fmt.Errorf("%w: the server is stopping", chaincode.ErrUnavailable)

// Close ends all chaincodes and returns when they are gone. Transactions under way return chaincode.ErrCrashed.
func (m *Manager) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		closing := map[*runner]bool{}
		for _, r := range m.bindings {
			closing[r] = true
		}
		for _, r := range m.runners {
			closing[r] = true
		}
		for r := range closing {
			m.closing.Go(r.close)
		}
	}
	m.mu.Unlock()
	m.closing.Wait()
	return nil
}

// An Installation is a package, or a service or host without one, and how it fares.
type Installation struct {
	Package  string // id, empty if there is none
	Type     Type   // of the package, Service or InProcess; empty if the package cannot be read
	Label    string
	Address  string // of a service without a package
	Bindings []Name // sorted
	Status   chaincode.Status
}

// Installed returns the packages that are installed, and the bound services and hosts, sorted by label and id.
func (m *Manager) Installed() ([]Installation, error) {
	ids, err := m.Packages()
	if err != nil {
		return nil, err
	}
	installed := map[*runner]*Installation{}
	var all []*Installation
	m.mu.Lock()
	bindings := m.bindings // replaced, never changed
	m.mu.Unlock()
	for b, r := range bindings {
		i := installed[r]
		if i == nil {
			i = r.installation()
			installed[r] = i
			all = append(all, i)
		}
		if !slices.Contains(i.Bindings, b.Name) {
			i.Bindings = append(i.Bindings, b.Name)
		}
	}
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(i *Installation) bool { return i.Package == id }) {
			label, _, _ := splitPackageID(id)
			all = append(all, &Installation{Package: id, Type: m.packageType(id), Label: label, Status: chaincode.Status{State: chaincode.Stopped}})
		}
	}
	result := make([]Installation, 0, len(all))
	for _, i := range all {
		slices.SortFunc(i.Bindings, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
		result = append(result, *i)
	}
	slices.SortFunc(result, func(a, b Installation) int {
		return strings.Compare(a.Label+"\x00"+a.Package+a.Address, b.Label+"\x00"+b.Package+b.Address)
	})
	return result, nil
}

// Binding returns what is bound to a name for organisations without a binding of their own, ErrNotFound if nothing is.
func (m *Manager) Binding(channel, name string) (Installation, error) {
	key := Name{channel, name}
	m.mu.Lock()
	r := m.bindings[binding{Name: key}]
	m.mu.Unlock()
	if r == nil {
		return Installation{}, fmt.Errorf("chaincode %s: %w", key, ErrNotFound)
	}
	i := r.installation()
	i.Bindings = []Name{key}
	return *i, nil
}

// PackageID returns the id of the package that a name runs for an organisation, empty if there is none.
func (m *Manager) PackageID(_ context.Context, channel, name, mspID string) (string, error) {
	key := Name{channel, name}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.bindings[binding{key, mspID}]
	if r == nil {
		r = m.bindings[binding{Name: key}]
	}
	if r == nil {
		return "", nil
	}
	return r.id, nil
}

// Targets returns what a name runs, as BindEach was given it, empty if nothing is bound to it. A host that BindHost bound is the
// zero Target.
func (m *Manager) Targets(channel, name string) map[string]Target {
	key := Name{channel, name}
	targets := make(map[string]Target)
	m.mu.Lock()
	defer m.mu.Unlock()
	for b, r := range m.bindings {
		if b.Name == key {
			targets[b.mspID] = Target{Package: r.id, Service: r.service}
		}
	}
	return targets
}
