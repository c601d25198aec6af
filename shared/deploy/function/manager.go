// Package function knows which Lambda function runs which chaincode of a channel: the serverless form's counterpart of package
// deploy's Manager. Functions are made outside, by `peerless deploy --stack` (package stack); here they are bound.
//
// A binding is a document, so that every process of the platform sees it: kind "binding", id CHANNEL/CHAINCODE. What it names does not
// change: an alias that stays with one version, or a version. A process trusts a binding that it has read for some seconds; until
// then it may run the version before, as a process does whose execution began earlier.
//
// # Tenants
//
// A function belongs to one chaincode of one channel, from its first binding on and for good, also when it is removed: kind "function", id its
// name, created once. So nobody has a function bound that holds, or held, somebody else's contract, whose process might be
// warm. Functions whose names do not have the stack's prefix cannot be bound at all.
package function

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"peerless/shared/chaincode"
	"peerless/shared/docstore"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

// DefaultTrust is how long a process goes on with a binding that it has read.
const DefaultTrust = 5 * time.Second

// Errors of a Manager, wrapped with names.
var (
	// ErrNotFound: nothing is bound to the chaincode. It is a ledger.ErrNotFound.
	ErrNotFound = fmt.Errorf("no function is bound: %w", ledger.ErrNotFound)
	// ErrForeign: the function is not one of this stack's, or belongs to another chaincode.
	ErrForeign = errors.New("the function is not this chaincode's")
)

// Kinds of documents.
const (
	kindBinding  = "binding"
	kindFunction = "function"
)

// A Binding says what runs a chaincode.
type Binding struct {
	Function  string `json:"function"`
	Qualifier string `json:"qualifier"`           // an alias or a version
	PackageID string `json:"packageId,omitempty"` // what it was made of, for people
}

// An owner is the chaincode that a function belongs to.
type owner struct {
	Channel   string `json:"channel"`
	Chaincode string `json:"chaincode"`
}

// A Config says how bindings are kept. All but Trust and Clock is required.
type Config struct {
	Documents docstore.Store
	// Prefix of the names of this stack's functions.
	Prefix string
	// Open returns the host of a function. It makes no call.
	Open func(channel, chaincode string, b Binding) (chaincode.Host, error)
	// Trust is how long a binding is not read again. Default DefaultTrust.
	Trust time.Duration
	Clock func() time.Time // default time.Now
}

// A Manager is safe for concurrent use.
type Manager struct {
	Config

	mu     sync.Mutex
	bound  map[owner]*bound
	closed bool
}

var (
	_ gateway.Chaincodes = (*Manager)(nil)
	_ gateway.Packages   = (*Manager)(nil)
)

// bound is a binding as it was read, with its host.
type bound struct {
	binding Binding
	host    chaincode.Host
	read    time.Time
}

// New returns a manager.
func New(config Config) (*Manager, error) {
	if config.Documents == nil || config.Prefix == "" || config.Open == nil {
		return nil, errors.New("functions: documents, a prefix and a way to open hosts are required")
	}
	config.Trust = cmp.Or(config.Trust, DefaultTrust)
	if config.Clock == nil {
		config.Clock = time.Now
	}
	return &Manager{Config: config, bound: make(map[owner]*bound)}, nil
}

// PackageID returns what a chaincode's function was made of, empty if it has none or does not say.
func (m *Manager) PackageID(ctx context.Context, channel, name, _ string) (string, error) {
	binding, err := m.Binding(ctx, channel, name)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return binding.PackageID, err
}

// Host returns what runs a chaincode: one function for every organisation. The error is ErrNotFound if nothing is bound to it.
func (m *Manager) Host(ctx context.Context, channel, name, _ string) (chaincode.Host, error) {
	key := owner{channel, name}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errClosed
	}
	if b := m.bound[key]; b != nil && m.Clock().Before(b.read.Add(m.Trust)) {
		m.mu.Unlock()
		return b.host, nil
	}
	m.mu.Unlock()
	read := m.Clock()
	binding, err := m.Binding(ctx, channel, name)
	if errors.Is(err, ErrNotFound) {
		m.forget(key)
	}
	if err != nil {
		return nil, err
	}
	return m.use(key, binding, read)
}

// use returns the host of a binding that was read at a time, the one that there is if it is still the same.
func (m *Manager) use(key owner, binding Binding, read time.Time) (chaincode.Host, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	old := m.bound[key]
	if old != nil && old.read.After(read) { // somebody read it later
		return old.host, nil
	}
	if old != nil && old.binding == binding {
		old.read = read
		return old.host, nil
	}
	host, err := m.Open(key.Channel, key.Chaincode, binding)
	if err != nil {
		return nil, fmt.Errorf("open the function of chaincode %s on %s: %w", key.Chaincode, key.Channel, err)
	}
	m.bound[key] = &bound{binding, host, read}
	if old != nil {
		m.retire(old.host)
	}
	return host, nil
}

// retireAfter is longer than an execution takes that began on a host before it was replaced.
const retireAfter = time.Minute

// retire closes a host when nothing can be under way on it any more.
func (m *Manager) retire(host chaincode.Host) {
	time.AfterFunc(retireAfter, func() { _ = host.Close() }) // it ends invocations, of which there are none
}

func (m *Manager) forget(key owner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.bound[key]; old != nil {
		delete(m.bound, key)
		m.retire(old.host)
	}
}

// Binding reads what runs a chaincode. The error is ErrNotFound if nothing does.
func (m *Manager) Binding(ctx context.Context, channel, name string) (Binding, error) {
	var binding Binding
	doc, err := m.Documents.Get(ctx, kindBinding, bindingID(channel, name))
	if errors.Is(err, docstore.ErrNotFound) {
		return binding, fmt.Errorf("chaincode %s on %s: %w", name, channel, ErrNotFound)
	}
	if err == nil {
		err = doc.Decode(&binding)
	}
	if err != nil {
		return binding, fmt.Errorf("read what runs chaincode %s on %s: %w", name, channel, err)
	}
	return binding, nil
}

// A starter is a host that can be asked whether it is there.
type starter interface{ Start(context.Context) error }

// Bind makes a function what runs a chaincode, after it has answered where its host can ask. The error is ErrForeign if it may not be, and
// then the chaincode keeps what it has.
func (m *Manager) Bind(ctx context.Context, channel, name string, binding Binding) error {
	if !strings.HasPrefix(binding.Function, m.Prefix) {
		return fmt.Errorf("bind %s on %s to %s: %w: names of this stack's functions begin with %s", name, channel, binding.Function, ErrForeign, m.Prefix)
	}
	if err := m.claim(ctx, binding.Function, owner{channel, name}); err != nil {
		return fmt.Errorf("bind %s on %s to %s: %w", name, channel, binding.Function, err)
	}
	if err := m.try(ctx, channel, name, binding); err != nil {
		return err
	}
	read := m.Clock()
	_, err := docstore.Update(ctx, m.Documents, kindBinding, bindingID(channel, name), func(b *Binding, _ bool) error {
		*b = binding
		return nil
	})
	if err != nil {
		return fmt.Errorf("bind %s on %s to %s: %w", name, channel, binding.Function, err)
	}
	_, err = m.use(owner{channel, name}, binding, read)
	return err
}

// claim makes a function a chaincode's, once and for all.
func (m *Manager) claim(ctx context.Context, function string, o owner) error {
	doc, err := docstore.Create(ctx, m.Documents, kindFunction, function, o)
	if err != nil {
		return err
	}
	var is owner
	if err := doc.Decode(&is); err != nil {
		return err
	}
	if is != o { // whose it is, is nobody else's business
		return fmt.Errorf("%w: it belongs to another one", ErrForeign)
	}
	return nil
}

// try asks a function whether it is there, if its host can.
func (m *Manager) try(ctx context.Context, channel, name string, binding Binding) error {
	host, err := m.Open(channel, name, binding)
	if err != nil {
		return fmt.Errorf("open the function of chaincode %s on %s: %w", name, channel, err)
	}
	if s, ok := host.(starter); ok {
		err = s.Start(ctx)
	}
	if err := errors.Join(err, host.Close()); err != nil {
		return fmt.Errorf("start the function %s:%s: %w", binding.Function, binding.Qualifier, err)
	}
	return nil
}

// Unbind takes away what runs a chaincode. The error is ErrNotFound if nothing does.
func (m *Manager) Unbind(ctx context.Context, channel, name string) error {
	err := m.Documents.Delete(ctx, kindBinding, bindingID(channel, name), "")
	if errors.Is(err, docstore.ErrNotFound) {
		return fmt.Errorf("chaincode %s on %s: %w", name, channel, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("unbind chaincode %s on %s: %w", name, channel, err)
	}
	m.forget(owner{channel, name})
	return nil
}

var errClosed = fmt.Errorf("%w: the platform is stopping", chaincode.ErrUnavailable)

// Close closes the hosts.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var errs []error
	for key, b := range m.bound {
		errs = append(errs, b.host.Close())
		delete(m.bound, key)
	}
	return errors.Join(errs...)
}
