package msp

import (
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
	key   *ecdsa.PrivateKey
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
	if err := checkID(mspID); err != nil {
		return nil, fmt.Errorf("new authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new authority of %s: %w", mspID, err)
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
	der, err := create(template, template, &key.PublicKey, key)
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
	if err := checkID(mspID); err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	cert, key, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority of %s: %w", mspID, err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("load authority of %s: %w: certificate of %s is not an authority's", mspID, ErrConfig, cert.Subject)
	}
	return &CA{mspID, cert, key}, nil
}

// PEM returns the authority's certificate and private key (PKCS #8), for LoadCA.
func (ca *CA) PEM() (certPEM, keyPEM []byte, err error) {
	keyPEM, err = encodeKey(ca.key)
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
	der, err := create(template, ca.cert, &key.PublicKey, ca.key)
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
func create(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) ([]byte, error) {
	uncompressed, err := public.ECDH()
	if err != nil {
		return nil, err
	}
	identifier := sha256.Sum256(uncompressed.Bytes())
	template.SubjectKeyId = identifier[:]
	template.SignatureAlgorithm = x509.ECDSAWithSHA256
	return x509.CreateCertificate(rand.Reader, template, parent, public, newLowS(key))
}

// Config returns the configuration of the organisation's MSP: identities are told apart by organisational units, and
// there are no explicit administrators.
func (ca *CA) Config() *msp.MSPConfig {
	root := encodeCert(ca.cert.Raw)
	unit := func(role string) *msp.FabricOUIdentifier {
		return &msp.FabricOUIdentifier{Certificate: root, OrganizationalUnitIdentifier: role}
	}
	config, err := proto.MarshalOptions{Deterministic: true}.Marshal(&msp.FabricMSPConfig{
		Name:         ca.mspID,
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
