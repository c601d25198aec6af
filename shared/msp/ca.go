package msp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// ErrRole: a certificate was asked for with a role that no MSP knows.
var ErrRole = errors.New("no such role")

// Roles that a CA gives: the organisational units that stand for them.
const (
	RoleClient  = "client"
	RolePeer    = "peer"
	RoleAdmin   = "admin"
	RoleOrderer = "orderer"
)

// authorityValidity is how long a CA's own certificate is valid. What it issues is valid as long unless asked otherwise.
const authorityValidity = 10 * 365 * 24 * time.Hour

// clockSkew is how far back a new certificate's validity begins.
const clockSkew = 5 * time.Minute

// A CA is the certificate authority of one organisation: ECDSA keys on P-256, no intermediates. It is immutable and safe
// for concurrent use.
type CA struct {
	mspID string
	cert  *x509.Certificate
	key   crypto.Signer
}

// validID is what an MSP id may be: what policies can name.
var validID = regexp.MustCompile(`^[[:alnum:].-]+$`)

func checkID(id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("%w: an MSP id is of letters, digits, dots and hyphens, not %q", ErrConfig, id)
	}
	return nil
}

// NewCA makes an authority with a new key. It returns ErrConfig if the id is not one that policies can name.
func NewCA(mspID string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new authority of %s: %w", mspID, err)
	}
	return NewCAWithKey(mspID, key)
}

// NewCAWithKey makes an authority with a key that may be elsewhere, in AWS KMS for instance. It returns ErrConfig as NewCA does,
// and ErrKey if the key is not ECDSA on P-256.
func NewCAWithKey(mspID string, key crypto.Signer) (*CA, error) {
	if err := checkID(mspID); err != nil {
		return nil, fmt.Errorf("new authority: %w", err)
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, fmt.Errorf("new authority of %s: %w: it is not ECDSA on P-256", mspID, ErrKey)
	}
	from := time.Now().Add(-clockSkew)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "ca." + mspID, Organization: []string{mspID}},
		NotBefore:             from,
		NotAfter:              from.Add(authorityValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := create(template, template, public, key, public)
	if err != nil {
		return nil, fmt.Errorf("new authority of %s: %w", mspID, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("new authority of %s: %w", mspID, err)
	}
	return &CA{mspID, cert, key}, nil
}

// LoadCA returns the authority of a certificate and its private key, in PEM.
func LoadCA(mspID string, certPEM, keyPEM []byte) (*CA, error) {
	_, key, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority of %s: %w", mspID, err)
	}
	return LoadCAWithKey(mspID, certPEM, key)
}

// LoadCAWithKey returns the authority of a certificate in PEM and of its key, which may be elsewhere. It returns ErrKey if the key
// is not the certificate's.
func LoadCAWithKey(mspID string, certPEM []byte, key crypto.Signer) (*CA, error) {
	if err := checkID(mspID); err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority of %s: %w: %w", mspID, ErrMalformedIdentity, err)
	}
	if public, ok := key.Public().(*ecdsa.PublicKey); !ok || !public.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("load authority of %s: %w: it is not the certificate's", mspID, ErrKey)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("load authority of %s: %w: certificate of %s is not an authority's", mspID, ErrConfig, cert.Subject)
	}
	return &CA{mspID, cert, key}, nil
}

// CertificatePEM returns the authority's certificate.
func (ca *CA) CertificatePEM() []byte { return encodeCert(ca.cert.Raw) }

// PEM returns the authority's certificate and private key (PKCS #8), for LoadCA. It returns ErrKey if the key is elsewhere.
func (ca *CA) PEM() (certPEM, keyPEM []byte, err error) {
	key, ok := ca.key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("encode authority of %s: %w: it is not in this process", ca.mspID, ErrKey)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode authority of %s: %w", ca.mspID, err)
	}
	return encodeCert(ca.cert.Raw), keyPEM, nil
}

// An IssueRequest says what a certificate is to say.
type IssueRequest struct {
	CommonName string
	Role       string            // RoleClient, RolePeer, RoleAdmin or RoleOrderer
	Attributes map[string]string // read by chaincode; beside them stands nothing else
	NotBefore  time.Time         // zero: five minutes ago. Never before the authority's own
	NotAfter   time.Time         // zero: as long as the authority's own, and never longer
}

// Issue makes a key and its certificate, both in PEM. It returns ErrRole if the role is none.
func (ca *CA) Issue(request IssueRequest) (certPEM, keyPEM []byte, err error) {
	fail := func(err error) ([]byte, []byte, error) {
		return nil, nil, fmt.Errorf("issue certificate of %s to %q: %w", ca.mspID, request.CommonName, err)
	}
	switch request.Role {
	case RoleClient, RolePeer, RoleAdmin, RoleOrderer:
	default:
		return fail(fmt.Errorf("%w: %q", ErrRole, request.Role))
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: request.CommonName, OrganizationalUnit: []string{request.Role}},
		NotBefore:             ca.notBefore(request.NotBefore),
		NotAfter:              ca.cert.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if !request.NotAfter.IsZero() && request.NotAfter.Before(ca.cert.NotAfter) {
		template.NotAfter = request.NotAfter
	}
	if len(request.Attributes) > 0 {
		value, err := json.Marshal(attributeExtension{request.Attributes})
		if err != nil {
			return fail(err)
		}
		template.ExtraExtensions = []pkix.Extension{{Id: attributeOID, Value: value}}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	der, err := create(template, ca.cert, &key.PublicKey, ca.key, ca.cert.PublicKey.(*ecdsa.PublicKey))
	if err != nil {
		return fail(err)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return fail(err)
	}
	return encodeCert(der), keyPEM, nil
}

func (ca *CA) notBefore(asked time.Time) time.Time {
	if asked.IsZero() {
		asked = time.Now().Add(-clockSkew)
	}
	if asked.Before(ca.cert.NotBefore) {
		return ca.cert.NotBefore
	}
	return asked
}

// create signs a certificate with a random serial number, which CreateCertificate chooses, and a low S, without which
// Fabric's peers would take it for another certificate than the one that was presented.
func create(template, parent *x509.Certificate, public *ecdsa.PublicKey, key crypto.Signer, signing *ecdsa.PublicKey) ([]byte, error) {
	uncompressed, err := public.ECDH()
	if err != nil {
		return nil, err
	}
	identifier := sha256.Sum256(uncompressed.Bytes())
	template.SubjectKeyId = identifier[:]
	template.SignatureAlgorithm = x509.ECDSAWithSHA256
	return x509.CreateCertificate(rand.Reader, template, parent, public, newLowS(key, signing))
}

// Config returns the configuration of the organisation's MSP: identities are told apart by organisational units, and
// there are no explicit administrators.
func (ca *CA) Config() *msp.MSPConfig { return authorityConfig(ca.mspID, encodeCert(ca.cert.Raw)) }

// AuthorityConfig returns what Config returns, of an authority of which only the certificate, in PEM, is at hand.
func AuthorityConfig(mspID string, certPEM []byte) (*msp.MSPConfig, error) {
	if err := checkID(mspID); err != nil {
		return nil, err
	}
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedIdentity, err)
	}
	return authorityConfig(mspID, encodeCert(cert.Raw)), nil
}

func authorityConfig(mspID string, root []byte) *msp.MSPConfig {
	unit := func(role string) *msp.FabricOUIdentifier {
		return &msp.FabricOUIdentifier{Certificate: root, OrganizationalUnitIdentifier: role}
	}
	config, err := proto.MarshalOptions{Deterministic: true}.Marshal(&msp.FabricMSPConfig{
		Name:         mspID,
		RootCerts:    [][]byte{root},
		CryptoConfig: &msp.FabricCryptoConfig{SignatureHashFamily: "SHA2", IdentityIdentifierHashFunction: "SHA256"},
		FabricNodeOus: &msp.FabricNodeOUs{
			Enable:              true,
			ClientOuIdentifier:  unit(RoleClient),
			PeerOuIdentifier:    unit(RolePeer),
			AdminOuIdentifier:   unit(RoleAdmin),
			OrdererOuIdentifier: unit(RoleOrderer),
		},
	})
	if err != nil {
		panic(err) // the only strings in it are constants and the MSP id, which checkID has seen
	}
	return &msp.MSPConfig{Config: config}
}
