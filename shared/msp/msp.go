package msp

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// ErrConfig: an MSP's configuration cannot be used.
var ErrConfig = errors.New("unusable MSP configuration")

// An MSP verifies the identities of one organisation. It is immutable.
type MSP struct {
	id       string
	verify   x509.VerifyOptions // roots and intermediates
	internal map[string]bool    // by DER: authorities that have authorities below them issue no identities
	revoked  []*x509.RevocationList
	admins   []*x509.Certificate
	units    map[string][][32]byte              // organisational units of which an identity needs one, by certifiers; empty: none
	roles    map[msp.MSPRole_MSPRoleType]nodeOU // nil unless identities are told apart by their units
}

// nodeOU is the organisational unit that stands for a role.
type nodeOU struct {
	name       string
	certifiers *[32]byte // nil: any of the MSP's authorities may give it
}

// New makes the verifier of a Fabric MSP's configuration, or returns ErrConfig.
func New(config *msp.MSPConfig) (*MSP, error) {
	parsed := &msp.FabricMSPConfig{}
	if config.GetType() != 0 {
		return nil, fmt.Errorf("%w: type %d is not X.509", ErrConfig, config.GetType())
	}
	if err := proto.Unmarshal(config.GetConfig(), parsed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	m := &MSP{id: parsed.GetName(), internal: map[string]bool{}, units: map[string][][32]byte{}}
	for _, set := range []func(*msp.FabricMSPConfig) error{
		m.setCrypto, m.setAuthorities, m.setRevoked, m.setUnits, m.setRoles, m.setAdmins,
	} {
		if err := set(parsed); err != nil {
			return nil, fmt.Errorf("%w of %q: %w", ErrConfig, m.id, err)
		}
	}
	return m, nil
}

// ID returns the MSP's id.
func (m *MSP) ID() string { return m.id }

func (m *MSP) setCrypto(config *msp.FabricMSPConfig) error {
	if m.id == "" {
		return errors.New("it has no name")
	}
	family, hash := config.GetCryptoConfig().GetSignatureHashFamily(), config.GetCryptoConfig().GetIdentityIdentifierHashFunction()
	if family != "" && family != "SHA2" || hash != "" && hash != "SHA256" {
		return fmt.Errorf("no hashing with %s and %s", family, hash)
	}
	return nil
}

func (m *MSP) setAuthorities(config *msp.FabricMSPConfig) error {
	if len(config.GetRootCerts()) == 0 {
		return errors.New("it has no root certificate")
	}
	m.verify.Roots, m.verify.Intermediates = x509.NewCertPool(), x509.NewCertPool()
	roots, err := authorities(config.GetRootCerts(), m.verify.Roots)
	if err != nil {
		return err
	}
	intermediates, err := authorities(config.GetIntermediateCerts(), m.verify.Intermediates)
	if err != nil {
		return err
	}
	for _, root := range roots {
		if _, err := m.chain(root); err != nil {
			return fmt.Errorf("root certificate of %s: %w", root.Subject, err)
		}
	}
	for _, intermediate := range intermediates {
		chain, err := m.chain(intermediate)
		if err != nil {
			return fmt.Errorf("intermediate certificate of %s: %w", intermediate.Subject, err)
		}
		for _, above := range chain[1:] {
			m.internal[string(above.Raw)] = true
		}
	}
	return nil
}

func authorities(pems [][]byte, pool *x509.CertPool) ([]*x509.Certificate, error) {
	certs := make([]*x509.Certificate, len(pems))
	for i, encoded := range pems {
		cert, err := parseCert(encoded)
		if err != nil {
			return nil, fmt.Errorf("authority %d: %w", i, err)
		}
		if !cert.IsCA || len(cert.SubjectKeyId) == 0 {
			return nil, fmt.Errorf("certificate of %s is not an authority's with a subject key identifier", cert.Subject)
		}
		pool.AddCert(cert)
		certs[i] = cert
	}
	return certs, nil
}

// chain returns the certificate's only chain to a root, itself first. It is verified as of the second after the
// certificate begins to be valid.
func (m *MSP) chain(cert *x509.Certificate) ([]*x509.Certificate, error) {
	options := m.verify
	options.CurrentTime = cert.NotBefore.Add(time.Second)
	chains, err := cert.Verify(options)
	if err != nil {
		return nil, err
	}
	if len(chains) != 1 {
		return nil, fmt.Errorf("%d chains lead to it, not one", len(chains))
	}
	return chains[0], nil
}

func certifiersOf(authorities []*x509.Certificate) (identifier [32]byte) {
	hash := sha256.New()
	for _, cert := range authorities {
		hash.Write(cert.Raw)
	}
	hash.Sum(identifier[:0])
	return identifier
}

// certifiers returns the identifier of the chain from one of the MSP's own authorities up.
func (m *MSP) certifiers(certPEM []byte) (*[32]byte, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, err
	}
	chain, err := m.chain(cert)
	if err != nil {
		return nil, err
	}
	identifier := certifiersOf(chain)
	return &identifier, nil
}

func (m *MSP) setRevoked(config *msp.FabricMSPConfig) error {
	for i, raw := range config.GetRevocationList() {
		if block, _ := pem.Decode(raw); block != nil {
			raw = block.Bytes
		}
		list, err := x509.ParseRevocationList(raw)
		if err != nil {
			return fmt.Errorf("revocation list %d: %w", i, err)
		}
		if len(list.AuthorityKeyId) == 0 {
			return fmt.Errorf("revocation list %d has no authority key identifier", i)
		}
		m.revoked = append(m.revoked, list)
	}
	return nil
}

func (m *MSP) setUnits(config *msp.FabricMSPConfig) error {
	for _, unit := range config.GetOrganizationalUnitIdentifiers() {
		certifiers, err := m.certifiers(unit.GetCertificate())
		if err != nil {
			return fmt.Errorf("organisational unit %q: %w", unit.GetOrganizationalUnitIdentifier(), err)
		}
		name := unit.GetOrganizationalUnitIdentifier()
		m.units[name] = append(m.units[name], *certifiers)
	}
	return nil
}

func (m *MSP) setRoles(config *msp.FabricMSPConfig) error {
	ous := config.GetFabricNodeOus()
	roles := map[msp.MSPRole_MSPRoleType]nodeOU{}
	for role, unit := range map[msp.MSPRole_MSPRoleType]*msp.FabricOUIdentifier{
		msp.MSPRole_CLIENT:  ous.GetClientOuIdentifier(),
		msp.MSPRole_PEER:    ous.GetPeerOuIdentifier(),
		msp.MSPRole_ADMIN:   ous.GetAdminOuIdentifier(),
		msp.MSPRole_ORDERER: ous.GetOrdererOuIdentifier(),
	} {
		if unit == nil {
			continue
		}
		ou := nodeOU{name: unit.GetOrganizationalUnitIdentifier()}
		if len(unit.GetCertificate()) > 0 {
			certifiers, err := m.certifiers(unit.GetCertificate())
			if err != nil {
				return fmt.Errorf("organisational unit of role %s: %w", role, err)
			}
			ou.certifiers = certifiers
		}
		roles[role] = ou
	}
	if ous.GetEnable() && len(roles) > 0 {
		m.roles = roles
	}
	return nil
}

func (m *MSP) setAdmins(config *msp.FabricMSPConfig) error {
	for i, encoded := range config.GetAdmins() {
		cert, err := parseCert(encoded)
		if err != nil {
			return fmt.Errorf("administrator %d: %w", i, err)
		}
		id := &Identity{MSPID: m.id, Cert: cert, msp: m}
		if m.roles == nil {
			if err := m.validate(id); err != nil {
				return fmt.Errorf("administrator %d: %w", i, err)
			}
		} else if !id.hasRole(msp.MSPRole_CLIENT) && !id.hasRole(msp.MSPRole_ADMIN) {
			return fmt.Errorf("administrator %d is neither client nor admin", i)
		}
		m.admins = append(m.admins, cert)
	}
	if _, told := m.roles[msp.MSPRole_ADMIN]; !told && len(m.admins) == 0 {
		return errors.New("it has neither administrators nor an organisational unit for them")
	}
	return nil
}
