package msp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Errors about identities and signatures.
var (
	// ErrUnknownMSP: the identity names an MSP that is not among those asked. A peer tells the client no more than that
	// the identity is malformed.
	ErrUnknownMSP = errors.New("unknown MSP")
	// ErrMalformedIdentity: the identity is no certificate, or none that the MSP's authorities issued.
	ErrMalformedIdentity = errors.New("malformed identity")
	// ErrInvalidIdentity: the MSP issued the certificate and does not accept it: it is revoked, or has not exactly one role.
	ErrInvalidIdentity = errors.New("invalid identity")
	// ErrSignature: the signature is not the identity's over this message, or it is but has a high S.
	ErrSignature = errors.New("the signature is invalid")
)

// An Identity is a certificate under an MSP. One that a Manager or an MSP returned is verified. It is immutable.
type Identity struct {
	MSPID      string
	Cert       *x509.Certificate
	Serialized []byte // marshalled msp.SerializedIdentity, as it was presented

	msp        *MSP            // nil if nobody has verified the identity
	good       *goodSignatures // nil but for a Manager's identities
	certifiers [32]byte        // SHA-256 of the certificates above this one, the nearest first
}

// Serialize returns the marshalled msp.SerializedIdentity of a certificate in PEM.
func Serialize(mspID string, certPEM []byte) ([]byte, error) {
	serialized, err := proto.Marshal(&msp.SerializedIdentity{Mspid: mspID, IdBytes: certPEM})
	if err != nil {
		return nil, fmt.Errorf("serialize identity of %q: %w", mspID, err)
	}
	return serialized, nil
}

// Verify checks the identity's signature over SHA-256 of the message, or over the message itself if the key is Ed25519.
// It returns ErrSignature if it does not hold. Of the two forms that every ECDSA signature has, only that with the low S
// is accepted: otherwise anybody could make a second envelope of the same transaction.
func (id *Identity) Verify(message, signature []byte) error {
	switch key := id.Cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		var parsed struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &parsed); err != nil {
			return fmt.Errorf("%w: %w", ErrSignature, err)
		}
		if parsed.R.Sign() <= 0 || parsed.S.Sign() <= 0 {
			return fmt.Errorf("%w: R and S must be positive", ErrSignature)
		}
		if parsed.S.Cmp(halfOrder(key)) > 0 {
			return fmt.Errorf("%w: S is high", ErrSignature)
		}
		digest := sha256.Sum256(message)
		if id.good == nil {
			if !ecdsa.Verify(key, digest[:], parsed.R, parsed.S) {
				return ErrSignature
			}
			return nil
		}
		known := goodKey(id, digest, signature)
		if id.good.has(known) {
			return nil
		}
		if !ecdsa.Verify(key, digest[:], parsed.R, parsed.S) {
			return ErrSignature
		}
		id.good.add(known)
		return nil
	case ed25519.PublicKey:
		if !ed25519.Verify(key, message, signature) {
			return ErrSignature
		}
		return nil
	default:
		return fmt.Errorf("%w: no signatures by %s keys", ErrSignature, id.Cert.PublicKeyAlgorithm)
	}
}

func halfOrder(key *ecdsa.PublicKey) *big.Int {
	return new(big.Int).Rsh(key.Params().N, 1)
}

// NewIdentity returns the identity of a certificate in PEM, which nobody has verified. The error is ErrMalformedIdentity.
func NewIdentity(mspID string, certPEM []byte) (*Identity, error) {
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("identity of %s: %w", mspID, err)
	}
	serialized, err := Serialize(mspID, encodeCert(cert.Raw))
	if err != nil {
		return nil, err
	}
	return &Identity{MSPID: mspID, Cert: cert, Serialized: serialized}, nil
}

// attributeOID is the extension that Fabric CA keeps an identity's attributes in.
var attributeOID = asn1.ObjectIdentifier{1, 2, 3, 4, 5, 6, 7, 8, 1}

type attributeExtension struct {
	Attributes map[string]string `json:"attrs"`
}

// Attributes returns the attributes that the authority put into the certificate, empty if there are none. Chaincode
// reads them with package attrmgr of fabric-chaincode-go.
func (id *Identity) Attributes() (map[string]string, error) {
	for _, extension := range id.Cert.Extensions {
		if !extension.Id.Equal(attributeOID) {
			continue
		}
		var parsed attributeExtension
		if err := json.Unmarshal(extension.Value, &parsed); err != nil {
			return nil, fmt.Errorf("read attributes of %s: %w", id.Cert.Subject.CommonName, err)
		}
		return parsed.Attributes, nil
	}
	return nil, nil
}

// Same reports whether two identities are one: of the same MSP, with the same certificate.
func (id *Identity) Same(other *Identity) bool {
	return id.MSPID == other.MSPID && sameCert(id.Cert, other.Cert)
}

// Certified reports whether the identity's certificate is this one, in PEM.
func (id *Identity) Certified(certPEM []byte) bool {
	cert, err := parseCert(certPEM)
	return err == nil && bytes.Equal(cert.Raw, id.Cert.Raw)
}

// Distinct returns the identities without repetitions, in their order: what a policy is to be evaluated over, so that
// nobody counts twice.
func Distinct(ids []*Identity) []*Identity {
	kept := make([]*Identity, 0, len(ids))
next:
	for _, id := range ids {
		for _, k := range kept {
			if k == id || k.Same(id) {
				continue next
			}
		}
		kept = append(kept, id)
	}
	return kept
}

// sameCert compares what was signed: an authority's signature has two forms, and Fabric takes them for one.
func sameCert(a, b *x509.Certificate) bool {
	return string(a.RawTBSCertificate) == string(b.RawTBSCertificate)
}

// ParseCertificate reads a certificate in PEM. The error is ErrMalformedIdentity.
func ParseCertificate(certPEM []byte) (*x509.Certificate, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedIdentity, err)
	}
	return cert, nil
}

func parseCert(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
