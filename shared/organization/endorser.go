package organization

import (
	"bytes"
	"context"
	"fmt"

	"peerless/shared/msp"
)

// An Endorser is who signs an organisation's endorsements: whose certificate counts for policies, and where its key is.
type Endorser struct {
	*msp.Identity // in the role of a peer; no MSP has verified it

	// Signer has the key. Nil: it is elsewhere, in a process of the organisation's own.
	Signer *msp.Signer

	Connection // to that process; zero if the key is here
}

// A Connection says how an endorser that runs elsewhere is reached, and how both ends prove themselves.
type Connection struct {
	Address               string // host:port, or an https URL
	RootCert              []byte // PEM, of who issued the endorser's TLS certificate; empty: plain text, or the system's for a URL
	ClientCert, ClientKey []byte // PEM, if the endorser wants a certificate of its callers
}

// Local reports whether the platform holds the endorser's key.
func (e *Endorser) Local() bool { return e.Signer != nil }

// Equal reports whether two connections are the same.
func (c Connection) Equal(other Connection) bool {
	return c.Address == other.Address && bytes.Equal(c.RootCert, other.RootCert) && bytes.Equal(c.ClientCert, other.ClientCert) && bytes.Equal(c.ClientKey, other.ClientKey)
}

// A RemoteEndorser endorses for an organisation away from the platform.
type RemoteEndorser struct {
	Certificate []byte // PEM, by which its endorsements are known
	Connection
}

// remote is a RemoteEndorser as it is stored.
type remote struct {
	Certificate string `json:"certificate"` // PEM
	Address     string `json:"address"`
	RootCert    string `json:"rootCert,omitempty"`   // PEM
	ClientCert  string `json:"clientCert,omitempty"` // PEM
	ClientKey   []byte `json:"clientKey,omitempty"`  // PEM, sealed
}

// sealRemote makes the stored form.
func (r *Registry) sealRemote(ctx context.Context, mspID string, e *RemoteEndorser) (*remote, error) {
	kept := &remote{Certificate: string(e.Certificate), Address: e.Address, RootCert: string(e.RootCert), ClientCert: string(e.ClientCert)}
	if len(e.ClientKey) == 0 {
		return kept, nil
	}
	var err error
	kept.ClientKey, err = r.Sealer.Seal(ctx, e.ClientKey, purpose(KindOrganization, mspID, partClientKey))
	return kept, err
}

// openRemote returns the endorser of the stored form.
func (r *Registry) openRemote(ctx context.Context, mspID string, kept *remote) (*Endorser, error) {
	name := purpose(KindOrganization, mspID, partClientKey)
	identity, err := msp.NewIdentity(mspID, []byte(kept.Certificate))
	if err != nil {
		return nil, damaged(name, err)
	}
	e := &Endorser{Identity: identity, Connection: Connection{Address: kept.Address, RootCert: []byte(kept.RootCert), ClientCert: []byte(kept.ClientCert)}}
	if len(kept.ClientKey) > 0 {
		if e.ClientKey, err = r.unseal(ctx, kept.ClientKey, name); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// checkRemote tells whether an MSP takes an endorser for one of its own.
func checkRemote(verifier *msp.MSP, mspID string, e *RemoteEndorser) error {
	if e.Address == "" {
		return fmt.Errorf("%w: an endorser that runs elsewhere has an address", ErrName)
	}
	identity, err := msp.NewIdentity(mspID, e.Certificate)
	if err != nil {
		return err
	}
	_, err = verifier.Identify(identity.Serialized)
	return err
}
