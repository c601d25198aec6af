package msp

import (
	"fmt"
	"slices"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// cacheSize is how many identities a generation of a Manager's cache holds: it keeps up to twice as many.
const cacheSize = 1024

// A Manager verifies the identities of several MSPs, such as a channel's. It is safe for concurrent use.
type Manager struct {
	msps map[string]*MSP

	mu           sync.RWMutex
	young, elder map[string]*Identity // by serialized identity; guarded by mu
}

// NewManager returns the manager of the MSPs. Of two with one id the later counts.
func NewManager(msps ...*MSP) *Manager {
	m := &Manager{msps: make(map[string]*MSP, len(msps)), young: map[string]*Identity{}}
	for _, one := range msps {
		m.msps[one.ID()] = one
	}
	return m
}

// MSP returns the MSP with the id, nil if there is none.
func (m *Manager) MSP(id string) *MSP { return m.msps[id] }

// IDs returns the ids of the MSPs, sorted.
func (m *Manager) IDs() []string {
	ids := make([]string, 0, len(m.msps))
	for id := range m.msps {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Identify parses and verifies a serialized identity. It returns ErrUnknownMSP, ErrMalformedIdentity or
// ErrInvalidIdentity. Identities seen lately are remembered: asking for one again costs a look-up.
func (m *Manager) Identify(serialized []byte) (*Identity, error) {
	if id := m.cached(serialized); id != nil {
		return id, nil
	}
	parsed := &msp.SerializedIdentity{}
	if err := proto.Unmarshal(serialized, parsed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedIdentity, err)
	}
	one := m.msps[parsed.GetMspid()]
	if one == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownMSP, parsed.GetMspid())
	}
	id, err := one.identify(parsed.GetIdBytes(), serialized)
	if err != nil {
		return nil, err
	}
	m.remember(id)
	return id, nil
}

func (m *Manager) cached(serialized []byte) *Identity {
	m.mu.RLock()
	id := m.young[string(serialized)]
	elder := id == nil && m.elder[string(serialized)] != nil
	if elder {
		id = m.elder[string(serialized)]
	}
	m.mu.RUnlock()
	if elder {
		m.remember(id)
	}
	return id
}

// remember puts the identity into the young generation. When that is full it becomes the elder one, and what nobody
// asked for since the last time is forgotten.
func (m *Manager) remember(id *Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= cacheSize {
		m.young, m.elder = make(map[string]*Identity, cacheSize), m.young
	}
	m.young[string(id.Serialized)] = id
}
