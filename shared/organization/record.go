package organization

import (
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"fmt"

	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
)

// The kinds of this package's documents. Their ids are an MSP id, and an MSP id, a slash and the hash of a user.
const (
	KindOrganization = "organization"
	KindUser         = "user"
)

// A record is the document of an organisation.
type record struct {
	Config     []byte  `json:"config,omitempty"`    // msp.MSPConfig that a member brought
	Authority  *pair   `json:"authority,omitempty"` // nil if it is elsewhere
	Endorser   *pair   `json:"endorser,omitempty"`
	Remote     *remote `json:"remote,omitempty"`     // who endorses elsewhere, instead of Endorser
	Orderer    *pair   `json:"orderer,omitempty"`    // of OrdererMSP
	Checkpoint []byte  `json:"checkpoint,omitempty"` // of OrdererMSP: an Ed25519 key, PKCS #8, sealed
}

// A pair is a certificate and its key as they are stored; the document of a user is one.
type pair struct {
	Certificate string `json:"certificate"`     // PEM
	Key         []byte `json:"key,omitempty"`   // PEM, sealed
	KeyID       string `json:"keyId,omitempty"` // of a key that is elsewhere: an authority's in KMS
}

// purpose names what a secret is for, so that it opens nowhere else.
func purpose(kind, id, part string) string { return kind + " " + id + " " + part }

// The parts of documents that are sealed.
const (
	partAuthority  = "authority"
	partEndorser   = "endorser"
	partClientKey  = "endorser client key"
	partOrderer    = "orderer"
	partCheckpoint = "checkpoint"
	partKey        = "key"
)

func (r *Registry) seal(ctx context.Context, certificate, key []byte, purpose string) (*pair, error) {
	sealed, err := r.Sealer.Seal(ctx, key, purpose)
	if err != nil {
		return nil, err
	}
	return &pair{Certificate: string(certificate), Key: sealed}, nil
}

// open returns the signer of a pair. The errors are ErrDamaged, secret.ErrOtherKey, and those of KMS.
func (r *Registry) open(ctx context.Context, mspID string, p *pair, purpose string) (*msp.Signer, error) {
	key, err := r.unseal(ctx, p.Key, purpose)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	signer, err := msp.NewSigner(mspID, []byte(p.Certificate), key)
	if err != nil {
		return nil, damaged(purpose, err)
	}
	return signer, nil
}

func (r *Registry) unseal(ctx context.Context, sealed []byte, purpose string) ([]byte, error) {
	key, err := r.Sealer.Open(ctx, sealed, purpose)
	if errors.Is(err, secret.ErrBroken) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return key, err
}

// issue has an authority issue a certificate, and seals its key.
func (r *Registry) issue(ctx context.Context, authority *msp.CA, request msp.IssueRequest, purpose string) (*pair, error) {
	certificate, key, err := authority.Issue(request)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return r.seal(ctx, certificate, key, purpose)
}

// newAuthority makes one, with a key in Authorities if there are any.
func (r *Registry) newAuthority(ctx context.Context, mspID string) (*msp.CA, *pair, error) {
	if r.Authorities != nil {
		keyID := r.Authorities.Key()
		signer, err := r.Authorities.Signer(ctx, keyID, nil)
		if err != nil {
			return nil, nil, err
		}
		ca, err := msp.NewCAWithKey(mspID, signer)
		if err != nil {
			return nil, nil, err
		}
		return ca, &pair{Certificate: string(ca.CertificatePEM()), KeyID: keyID}, nil
	}
	ca, err := msp.NewCA(mspID)
	if err != nil {
		return nil, nil, err
	}
	certificate, key, err := ca.PEM()
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	kept, err := r.seal(ctx, certificate, key, purpose(KindOrganization, mspID, partAuthority))
	return ca, kept, err
}

// openAuthority returns an authority that issues while ctx lasts.
func (r *Registry) openAuthority(ctx context.Context, mspID string, p *pair) (*msp.CA, error) {
	name := purpose(KindOrganization, mspID, partAuthority)
	if p.KeyID == "" {
		key, err := r.unseal(ctx, p.Key, name)
		if err != nil {
			return nil, err
		}
		defer clear(key)
		ca, err := msp.LoadCA(mspID, []byte(p.Certificate), key)
		if err != nil {
			return nil, damaged(name, err)
		}
		return ca, nil
	}
	if r.Authorities == nil {
		return nil, fmt.Errorf("%w: its key is %s, and no such keys are configured", ErrNoAuthority, p.KeyID)
	}
	certificate, err := msp.ParseCertificate([]byte(p.Certificate))
	if err != nil {
		return nil, damaged(name, err)
	}
	public, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, damaged(name, msp.ErrKey)
	}
	signer, err := r.Authorities.Signer(ctx, p.KeyID, public)
	if err != nil {
		return nil, err
	}
	ca, err := msp.LoadCAWithKey(mspID, []byte(p.Certificate), signer)
	if err != nil {
		return nil, damaged(name, err)
	}
	return ca, nil
}

func damaged(name string, err error) error { return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err) }

// storeError gives the store's errors this package's names.
func storeError(err error) error {
	switch {
	case errors.Is(err, docstore.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case errors.Is(err, docstore.ErrFull):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// splitPEM parts a certificate from the key that follows it. What is not there is empty.
func splitPEM(encoded []byte) (certificate, key []byte) {
	block, rest := pem.Decode(encoded)
	if block == nil {
		return nil, nil
	}
	return pem.EncodeToMemory(block), rest
}
