// Package organization keeps the organisations whose keys this platform holds: their authorities, the identities that
// endorse and order for them, and their users.
//
// Everything is made when it is first asked for and is the same ever after, in every process that shares the store: a user's
// certificate is part of the creator, and so of every transaction id. An organisation may instead bring its own authority and
// endorser (Add). Each organisation and each user is one document (package docstore), made by compare-and-set, so that of many who
// make it at once all get the first's; private keys in it are sealed (package secret). An authority's key may be in KMS instead.
//
// Cost in the cloud: Open asks the store once for the first hundred organisations, and the first key that is opened asks KMS once for
// its data key. A user that this process did not meet lately costs one read; one that nobody met costs an issue: a read, a signature,
// a write. An organisation beyond the first hundred costs one read.
package organization

import (
	"context"
	"crypto"
	"crypto/cipher"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
)

// Errors that callers can decide on, wrapped with the operation.
var (
	// ErrName: a name, an attribute or an MSP id is empty, too long or has characters that it must not have.
	ErrName = errors.New("not a valid name")
	// ErrNoAuthority: the organisation has its own authority, whose key is not here; it issues its own certificates.
	ErrNoAuthority = errors.New("the organisation's authority is elsewhere")
	// ErrExists: there is an organisation of this id with another MSP configuration.
	ErrExists = errors.New("the organisation exists with another configuration")
	// ErrDamaged: what was kept cannot be read as what was written. It needs an operator: making it anew would change ids.
	ErrDamaged = errors.New("stored identity is damaged")
	// ErrNotFound: there is no such organisation, or the platform does not hold the key that is asked for.
	ErrNotFound = errors.New("no such organisation or key")
	// ErrFull: a registry in memory keeps no more users.
	ErrFull = errors.New("too many identities for a registry in memory")
)

// OrdererMSP is the MSP id of the platform's ordering organisation.
const OrdererMSP = "OrdererMSP"

const (
	// memoryLimit is how many documents a registry in memory keeps, at about a kilobyte each: one more user is refused, none forgotten.
	memoryLimit = 100_000
	// defaultTimeout bounds what loading or making one identity takes.
	defaultTimeout = 10 * time.Second
	// absentFor is how long a registry believes that it holds no key for an organisation, which another process may be adding.
	absentFor = 10 * time.Second
	// absentKept is how many such organisations it remembers.
	absentKept = 1024
)

// Authorities holds keys of authorities that never leave it: AWS KMS.
type Authorities interface {
	// Key returns the id of the key that a new authority is to sign with.
	Key() string
	// Signer returns a key on P-256 that signs while ctx lasts. If public is nil it is asked for.
	Signer(ctx context.Context, keyID string, public *ecdsa.PublicKey) (crypto.Signer, error)
}

// A Config says where identities are kept. The zero value keeps them in memory.
type Config struct {
	// Store keeps the documents. nil: memory.
	Store docstore.Store
	// Sealer seals private keys. It is required if Store is given.
	Sealer secret.Sealer
	// Authorities has the keys of authorities that are made from now on. nil: they are made here, and sealed.
	Authorities Authorities
	// Timeout bounds what loading or making one identity takes. Default 10 s. Loads are shared by all who ask meanwhile, so the
	// context of none of them ends one.
	Timeout time.Duration
}

// A Registry is a set of organisations. It is safe for concurrent use, and many processes may share one store.
type Registry struct {
	Config
	users         *cache[*msp.Signer]
	organizations *cache[*Organization]
	dataKeys      *cache[cipher.AEAD]

	mu     sync.Mutex
	listed map[string]docstore.Document // by MSP id: what Open read and nobody took yet
	known  map[string]bool              // MSP ids, without OrdererMSP
	after  string                       // where the list of known ones goes on; "" if it is complete
	absent map[string]time.Time         // MSP ids that Endorser did not find, and when
}

// Open returns the registry over a store. It reads the first page of organisations.
func Open(ctx context.Context, config Config) (*Registry, error) {
	switch {
	case config.Store == nil:
		config.Store = docstore.NewMem(memoryLimit)
		if config.Sealer == nil {
			config.Sealer = secret.NewKey()
		}
	case config.Sealer == nil:
		return nil, errors.New("open organisations: a sealer is required where there is a store")
	}
	if config.Timeout <= 0 {
		config.Timeout = defaultTimeout
	}
	r := &Registry{Config: config, users: newCache[*msp.Signer](), organizations: newCache[*Organization](), dataKeys: newCache[cipher.AEAD](),
		listed: map[string]docstore.Document{}, known: map[string]bool{}, absent: map[string]time.Time{}}
	page, next, err := r.Store.List(ctx, KindOrganization, "", "", 0)
	if err != nil && !errors.Is(err, docstore.ErrDamaged) { // one that is damaged is found when it is asked for, and the others go on
		return nil, fmt.Errorf("open organisations: %w", storeError(err))
	}
	for _, doc := range page {
		r.listed[doc.ID] = doc
		r.knowLocked(doc.ID)
	}
	r.after = next
	return r, nil
}

// context is that of a load, which belongs to nobody who waits for it.
func (r *Registry) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), r.Timeout)
}

// Organization returns the organisation of an MSP id. If there is none, it makes one: an authority and an endorser. The
// errors are ErrName and ErrDamaged.
func (r *Registry) Organization(mspID string) (*Organization, error) {
	return r.organization(mspID, true)
}

func (r *Registry) organization(mspID string, create bool) (*Organization, error) {
	if err := checkMSPID(mspID); err != nil {
		return nil, fmt.Errorf("organisation %q: %w", mspID, err)
	}
	name := mspID
	if !create {
		name = "?" + mspID // who only asks must not be told that another, who makes it, failed; nor keep it from being made
	}
	o, err := r.organizations.get(mspID, name, func() (*Organization, error) { return r.loadOrganization(mspID, create) })
	if err != nil {
		return nil, fmt.Errorf("organisation %s: %w", mspID, err)
	}
	return o, nil
}

// Endorser returns who endorses for an organisation that has been made or added. Unlike Organization it makes none: the errors
// are ErrNotFound, also if the organisation has no endorser, and ErrDamaged. One that another process adds is found ten seconds
// later at most.
func (r *Registry) Endorser(mspID string) (*Endorser, error) {
	notFound := func() (*Endorser, error) { return nil, fmt.Errorf("endorser of %q: %w", mspID, ErrNotFound) }
	if mspID == OrdererMSP || checkMSPID(mspID) != nil || r.isAbsent(mspID) {
		return notFound()
	}
	o, err := r.organization(mspID, false)
	if errors.Is(err, ErrNotFound) {
		r.setAbsent(mspID)
	}
	if err != nil {
		return nil, err
	}
	if o.endorser == nil {
		return notFound()
	}
	return o.endorser, nil
}

func (r *Registry) isAbsent(mspID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	since, known := r.absent[mspID]
	return known && time.Since(since) < absentFor
}

func (r *Registry) setAbsent(mspID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.absent) >= absentKept {
		clear(r.absent)
	}
	r.absent[mspID] = time.Now()
}

// Orderer returns the platform's ordering organisation. It has an orderer and no endorser.
func (r *Registry) Orderer() (*Organization, error) { return r.Organization(OrdererMSP) }

// Has reports whether an organisation has been made or added.
func (r *Registry) Has(mspID string) (bool, error) {
	if mspID == OrdererMSP || checkMSPID(mspID) != nil {
		return false, nil
	}
	_, err := r.organization(mspID, false)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Organizations returns the MSP ids of all organisations that have been made or added, sorted, without OrdererMSP. Of what another
// process did since Open it knows what has been asked for by name. Beyond the first hundred it asks the store, once; if that fails,
// it returns what it knows, and asks again the next time.
func (r *Registry) Organizations() []string {
	ctx, cancel := r.context()
	defer cancel()
	for {
		r.mu.Lock()
		after := r.after
		if after == "" {
			defer r.mu.Unlock()
			return slices.Sorted(maps.Keys(r.known))
		}
		r.mu.Unlock()
		page, next, err := r.Store.List(ctx, KindOrganization, "", after, 0)
		r.mu.Lock()
		if err != nil {
			defer r.mu.Unlock()
			return slices.Sorted(maps.Keys(r.known))
		}
		for _, doc := range page {
			r.knowLocked(doc.ID)
		}
		if r.after == after {
			r.after = next
		}
		r.mu.Unlock()
	}
}

func (r *Registry) knowLocked(mspID string) {
	delete(r.absent, mspID)
	if mspID != OrdererMSP {
		r.known[mspID] = true
	}
}
