package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	bindings map[Name]*runner
	runners  map[string]*runner // of bound packages, by id
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

// Open opens the deployments in a directory, which it makes if need be. Nothing is started before it is called.
func Open(dir string, config Config) (*Manager, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open deployments: %w", err)
	}
	m := &Manager{dir: dir, config: config, bindings: map[Name]*runner{}, runners: map[string]*runner{}}
	for _, sub := range []string{m.packagesDir(), m.programsDir()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("open deployments: %w", err)
		}
	}
	saved, err := m.loadBindings()
	if err != nil {
		return nil, fmt.Errorf("open deployments: %w", err)
	}
	for _, b := range saved {
		r := m.newRunner(b.Package, b.Service)
		if b.Package != "" {
			r = m.packageRunner(b.Package)
		}
		r.users++
		m.bindings[b.Name()] = r
	}
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

// Bind makes a chaincode of a channel run an installed package, and returns when the package runs. What the name ran before
// finishes its transactions and is closed when nothing else uses it. If the package does not start, the name keeps what it
// has.
func (m *Manager) Bind(ctx context.Context, channel, name, packageID string) error {
	key := Name{channel, name}
	if err := key.check(); err != nil {
		return err
	}
	if !exists(m.packagePath(packageID)) {
		return fmt.Errorf("bind %s: package %q: %w", key, packageID, ErrNotFound)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return errClosed
	}
	r := m.packageRunner(packageID)
	r.users++
	m.mu.Unlock()
	return m.bind(ctx, key, r)
}

// BindService makes a chaincode of a channel run as the service at an address, and returns when it has answered. Bindings
// to services survive a restart as those to packages do. The service may register with any name.
func (m *Manager) BindService(ctx context.Context, channel, name string, connection Connection) error {
	key := Name{channel, name}
	if err := key.check(); err != nil {
		return err
	}
	if err := connection.check(); err != nil {
		return fmt.Errorf("bind %s: %w: %w", key, ErrInvalidPackage, err)
	}
	r := m.newRunner("", &connection)
	r.users++
	return m.bind(ctx, key, r)
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
	return m.bind(context.Background(), key, r)
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

// bind gives a name to a runner that counts the binding as a user already.
func (m *Manager) bind(ctx context.Context, key Name, r *runner) error {
	err := r.start(ctx)
	if err == nil {
		err = m.change(func(bindings map[Name]*runner) (*runner, error) {
			old := bindings[key]
			bindings[key] = r
			return old, nil
		})
	}
	if err != nil {
		m.unuse(r)
		return fmt.Errorf("bind %s: %w", key, err)
	}
	return nil
}

// Unbind takes a name off its channel. Running transactions finish. ErrNotFound if nothing is bound to it.
func (m *Manager) Unbind(_ context.Context, channel, name string) error {
	key := Name{channel, name}
	return m.change(func(bindings map[Name]*runner) (*runner, error) {
		old := bindings[key]
		if old == nil {
			return nil, fmt.Errorf("unbind %s: %w", key, ErrNotFound)
		}
		delete(bindings, key)
		return old, nil
	})
}

// change replaces the bindings: what edit makes of a copy is durable first, then in use. The runner that edit returns has
// lost a binding.
func (m *Manager) change(edit func(map[Name]*runner) (*runner, error)) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return errClosed
	}
	bindings := make(map[Name]*runner, len(m.bindings)+1)
	for key, r := range m.bindings {
		bindings[key] = r
	}
	m.mu.Unlock()
	old, err := edit(bindings)
	if err != nil {
		return err
	}
	if err := m.saveBindings(bindings); err != nil {
		return fmt.Errorf("save the bindings: %w", err)
	}
	m.mu.Lock()
	m.bindings = bindings
	m.mu.Unlock()
	if old != nil {
		m.unuse(old)
	}
	return nil
}

// Host returns what runs a chaincode of a channel: always the latest binding of the name, which is looked up at each
// execution. Its Close does nothing. ErrNotFound if nothing is bound to the name.
func (m *Manager) Host(_ context.Context, channel, name string) (chaincode.Host, error) {
	key := Name{channel, name}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bindings[key] == nil {
		return nil, fmt.Errorf("chaincode %s: %w", key, ErrNotFound)
	}
	return &bound{m, key}, nil
}

// bound is a name as a host.
type bound struct {
	manager *Manager
	name    Name
}

var _ chaincode.Host = (*bound)(nil)

func (b *bound) Close() error { return nil }

func (b *bound) Execute(ctx context.Context, inv *chaincode.Invocation) (*chaincode.Result, error) {
	r, err := b.manager.use(b.name)
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

// use returns the runner of a name and keeps it from being closed until unuse.
func (m *Manager) use(key Name) (*runner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	r := m.bindings[key]
	if r == nil {
		return nil, fmt.Errorf("chaincode %s: %w", key, ErrNotFound)
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
	for key, r := range bindings {
		i := installed[r]
		if i == nil {
			i = r.installation()
			installed[r] = i
			all = append(all, i)
		}
		i.Bindings = append(i.Bindings, key)
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

// Binding returns what is bound to a name, ErrNotFound if nothing is.
func (m *Manager) Binding(channel, name string) (Installation, error) {
	key := Name{channel, name}
	m.mu.Lock()
	r := m.bindings[key]
	m.mu.Unlock()
	if r == nil {
		return Installation{}, fmt.Errorf("chaincode %s: %w", key, ErrNotFound)
	}
	i := r.installation()
	i.Bindings = []Name{key}
	return *i, nil
}

// Reaches reports whether a name is bound to the service with this connection, without a package.
func (m *Manager) Reaches(channel, name string, connection Connection) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.bindings[Name{channel, name}]
	return r != nil && r.service != nil && *r.service == connection
}
