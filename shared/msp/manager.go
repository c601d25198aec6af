package msp

import (
	"crypto/sha256"
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

	good goodSignatures
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
	id.good = &m.good
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

// Vouch takes a signature that was made in this process for a good one of the identity's, so that nobody need verify it.
func (m *Manager) Vouch(serialized, message, signature []byte) {
	if id, err := m.Identify(serialized); err == nil {
		digest := sha256.Sum256(message)
		m.good.add(goodKey(id, digest, signature))
	}
}

// goodSize is how many signatures a generation of goodSignatures holds.
const goodSize = 4096

// goodSignatures remembers signatures that were found good lately: a client's envelope is checked when it is accepted and when its
// block is cut, and an endorsement is checked by who made it. Verifying costs thirty times as much as looking here. It is safe for
// concurrent use.
type goodSignatures struct {
	mu           sync.Mutex
	young, elder map[[sha256.Size]byte]struct{}
}

// goodKey stands for one signature over one message by one certificate of one MSP.
func goodKey(id *Identity, digest [sha256.Size]byte, signature []byte) (key [sha256.Size]byte) {
	h := sha256.New()
	h.Write(digest[:])
	h.Write(id.Serialized)
	h.Write(signature)
	h.Sum(key[:0])
	return key
}

func (g *goodSignatures) has(key [sha256.Size]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, young := g.young[key]
	_, elder := g.elder[key]
	return young || elder
}

func (g *goodSignatures) add(key [sha256.Size]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.young == nil || len(g.young) >= goodSize {
		g.young, g.elder = make(map[[sha256.Size]byte]struct{}, goodSize), g.young
	}
	g.young[key] = struct{}{}
}
