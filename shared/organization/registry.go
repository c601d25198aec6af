// Package organization keeps the organisations whose keys this platform holds: their authorities, the identities that
// endorse and order for them, and their users.
//
// Everything is made when it is first asked for and is the same ever after, also after a restart: a user's certificate is
// part of the creator, and so of every transaction id. An organisation may instead bring its own authority and endorser
// (Add). What is kept lies in a directory, each certificate with its key in one file, readable by the owner alone and
// written atomically and synced; or in memory, for tests and for what need not last. Keys are not encrypted at rest.
package organization

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
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

// Names of files in an organisation's directory, and the prefix of that directory's own name.
const (
	prefix        = "msp-"
	authorityFile = "authority.pem"
	configFile    = "config"
	endorserFile  = "endorser.pem"
	ordererFile   = "orderer.pem"
)

// A Registry is a set of organisations. It is safe for concurrent use, and several processes may open one directory.
type Registry struct {
	keep  keep
	cache *cache

	mu            sync.Mutex // guards what follows, and is held while an organisation is loaded or made
	organizations map[string]*Organization
	known         map[string]bool // MSP ids of those that are kept, without OrdererMSP
}

// Open returns the registry in a directory, which is made if need be. If dir is empty it is in memory.
func Open(dir string) (*Registry, error) {
	r := &Registry{cache: newCache(), organizations: map[string]*Organization{}, known: map[string]bool{}}
	if dir == "" {
		r.keep = newMemory()
		return r, nil
	}
	directory, err := openDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("open organisations: %w", err)
	}
	r.keep = directory
	names, err := directory.list()
	if err != nil {
		return nil, fmt.Errorf("open organisations: %w", err)
	}
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, prefix); ok && id != OrdererMSP {
			r.known[id] = true
		}
	}
	return r, nil
}

// Organization returns the organisation of an MSP id. If there is none, it makes one: an authority and an endorser. The
// errors are ErrName and ErrDamaged.
func (r *Registry) Organization(mspID string) (*Organization, error) {
	if err := checkMSPID(mspID); err != nil {
		return nil, fmt.Errorf("organisation %q: %w", mspID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	organization, err := r.organizationLocked(mspID)
	if err != nil {
		return nil, fmt.Errorf("organisation %s: %w", mspID, err)
	}
	return organization, nil
}

// Endorser returns the identity that endorses for an organisation that has been made or added. Unlike Organization it makes
// none: the errors are ErrNotFound, also if the organisation endorses by itself, and ErrDamaged.
func (r *Registry) Endorser(mspID string) (*msp.Signer, error) {
	r.mu.Lock()
	known := r.known[mspID]
	r.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("endorser of %q: %w", mspID, ErrNotFound)
	}
	organization, err := r.Organization(mspID)
	if err != nil {
		return nil, err
	}
	if organization.endorser == nil {
		return nil, fmt.Errorf("endorser of %q: %w", mspID, ErrNotFound)
	}
	return organization.endorser, nil
}

// Orderer returns the platform's ordering organisation. It has an orderer and no endorser.
func (r *Registry) Orderer() (*Organization, error) { return r.Organization(OrdererMSP) }

// Organizations returns the MSP ids of all organisations that have been made or added, sorted, without OrdererMSP. Of what
// another process did since Open it knows what has been asked for by name.
func (r *Registry) Organizations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.known))
}

// A KeyPair is a certificate and its private key, both in PEM.
type KeyPair struct{ Certificate, Key []byte }

// A Member is an organisation that brings what it has.
type Member struct {
	// Config of its MSP. Nil: that of Authority.
	Config *mspproto.MSPConfig
	// Authority issues the certificates of its users. Nil: they are issued elsewhere, and User and Admin return
	// ErrNoAuthority.
	Authority *KeyPair
	// Endorser signs endorsements for it. Nil: Authority issues one; without Authority there is none.
	Endorser *KeyPair
}

// Add keeps an organisation that brings its own configuration, authority or endorser; they must fit together. Adding it
// again with the same configuration replaces the authority's key and the endorser, if they are given, and changes nothing
// else; with another configuration it returns ErrExists.
func (r *Registry) Add(mspID string, member Member) (*Organization, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.addLocked(mspID, member); err != nil {
		return nil, fmt.Errorf("add organisation %q: %w", mspID, err)
	}
	delete(r.organizations, mspID)
	organization, err := r.organizationLocked(mspID)
	if err != nil {
		return nil, fmt.Errorf("add organisation %q: %w", mspID, err)
	}
	return organization, nil
}

func (r *Registry) addLocked(mspID string, member Member) error {
	if err := checkMSPID(mspID); err != nil {
		return err
	}
	config := member.Config
	var ca *msp.CA
	if member.Authority != nil {
		var err error
		if ca, err = msp.LoadCA(mspID, member.Authority.Certificate, member.Authority.Key); err != nil {
			return err
		}
		if config == nil {
			config = ca.Config()
		}
	}
	if config == nil {
		return fmt.Errorf("%w: neither a configuration nor an authority is given", ErrNoAuthority)
	}
	verifier, err := msp.New(config)
	if err != nil {
		return err
	}
	if verifier.ID() != mspID {
		return fmt.Errorf("%w: the configuration is of %q", ErrName, verifier.ID())
	}
	if ca != nil {
		if err := issuesFor(ca, verifier); err != nil {
			return fmt.Errorf("authority: %w", err)
		}
	}
	if member.Endorser != nil {
		if err := belongs(verifier, mspID, *member.Endorser); err != nil {
			return fmt.Errorf("endorser: %w", err)
		}
	}
	return r.keepMember(mspID, config, member)
}

// belongs tells whether an MSP takes a key pair for one of its own.
func belongs(verifier *msp.MSP, mspID string, pair KeyPair) error {
	signer, err := msp.NewSigner(mspID, pair.Certificate, pair.Key)
	if err != nil {
		return err
	}
	_, err = verifier.Identify(signer.Serialized)
	return err
}

// keepMember writes the configuration first: if it is interrupted, adding the same again completes it.
func (r *Registry) keepMember(mspID string, config *mspproto.MSPConfig, member Member) error {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(config)
	if err != nil {
		return err
	}
	directory := prefix + mspID
	existing, err := r.keep.load(path.Join(directory, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := r.keep.load(path.Join(directory, authorityFile)); !errors.Is(err, fs.ErrNotExist) {
			return ErrExists // made by the registry, which keeps no configuration
		}
		existing, err = r.keep.create(path.Join(directory, configFile), func() ([]byte, error) { return encoded, nil })
	}
	switch {
	case err != nil:
		return err
	case string(existing) != string(encoded):
		return ErrExists
	}
	for name, pair := range map[string]*KeyPair{authorityFile: member.Authority, endorserFile: member.Endorser} {
		if pair == nil {
			continue
		}
		if err := r.keep.replace(path.Join(directory, name), slices.Concat(pair.Certificate, pair.Key)); err != nil {
			return err
		}
	}
	return nil
}
