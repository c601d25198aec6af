package msp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Identify parses and verifies a serialized identity. It returns ErrUnknownMSP if it is of another MSP,
// ErrMalformedIdentity, or ErrInvalidIdentity.
func (m *MSP) Identify(serialized []byte) (*Identity, error) {
	parsed := &msp.SerializedIdentity{}
	if err := proto.Unmarshal(serialized, parsed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedIdentity, err)
	}
	if parsed.GetMspid() != m.id {
		return nil, fmt.Errorf("%w %q", ErrUnknownMSP, parsed.GetMspid())
	}
	return m.identify(parsed.GetIdBytes(), serialized)
}

func (m *MSP) identify(certPEM, serialized []byte) (*Identity, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrMalformedIdentity, m.id, err)
	}
	id := &Identity{MSPID: m.id, Cert: cert, Serialized: bytes.Clone(serialized), msp: m}
	if err := m.validate(id); err != nil {
		return nil, err
	}
	return id, nil
}

// validate makes the checks of Fabric's validateIdentity and sets the identity's certifiers.
func (m *MSP) validate(id *Identity) error {
	fail := func(condition, err error) error {
		return fmt.Errorf("%w of %s, %s: %w", condition, m.id, id.Cert.Subject.CommonName, err)
	}
	chain, err := m.chain(id.Cert)
	if err != nil {
		return fail(ErrMalformedIdentity, err)
	}
	switch id.Cert.PublicKeyAlgorithm {
	case x509.ECDSA, x509.Ed25519:
	default:
		return fail(ErrInvalidIdentity, fmt.Errorf("keys of %s are not supported", id.Cert.PublicKeyAlgorithm))
	}
	if id.Cert.IsCA || len(chain) < 2 {
		return fail(ErrInvalidIdentity, errors.New("an authority is no identity"))
	}
	if m.internal[string(chain[1].Raw)] {
		return fail(ErrInvalidIdentity, fmt.Errorf("authority %s issues no identities", chain[1].Subject))
	}
	if m.isRevoked(id.Cert, chain[1]) {
		return fail(ErrInvalidIdentity, errors.New("the certificate has been revoked"))
	}
	id.certifiers = certifiersOf(chain[1:])
	if err := m.checkUnits(id); err != nil {
		return fail(ErrInvalidIdentity, err)
	}
	return nil
}

// isRevoked: a list counts if the issuer signed it. Its dates do not count.
func (m *MSP) isRevoked(cert, issuer *x509.Certificate) bool {
	for _, list := range m.revoked {
		if !bytes.Equal(list.AuthorityKeyId, issuer.SubjectKeyId) {
			continue
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 && list.CheckSignatureFrom(issuer) == nil {
				return true
			}
		}
	}
	return false
}

// checkUnits: an identity has one of the units that the MSP names, if it names any, and exactly one role, if roles are
// told apart by units.
func (m *MSP) checkUnits(id *Identity) error {
	if len(m.units) > 0 && !m.isInUnits(id) {
		return errors.New("none of its organisational units is the MSP's")
	}
	if m.roles == nil {
		return nil
	}
	count := 0
	for _, unit := range id.Cert.Subject.OrganizationalUnit {
		ou, ok := m.roleOf(unit)
		if !ok {
			continue
		}
		if ou.certifiers != nil && *ou.certifiers != id.certifiers {
			return fmt.Errorf("another authority than this role's gave it the organisational unit %q", unit)
		}
		count++
	}
	if count != 1 {
		return fmt.Errorf("it has %d roles, not one", count)
	}
	return nil
}

func (m *MSP) isInUnits(id *Identity) bool {
	for _, unit := range id.Cert.Subject.OrganizationalUnit {
		for _, certifiers := range m.units[unit] {
			if certifiers == id.certifiers {
				return true
			}
		}
	}
	return false
}

func (m *MSP) roleOf(unit string) (nodeOU, bool) {
	for _, ou := range m.roles {
		if ou.name == unit {
			return ou, true
		}
	}
	return nodeOU{}, false
}
