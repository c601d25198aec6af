package msp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// ErrKey: a private key cannot be read, is not ECDSA, or is not the certificate's.
var ErrKey = errors.New("unusable private key")

// A Signer is an identity with its private key. The identity is not verified by any MSP; a Manager does that with
// Serialized, as for everybody else.
type Signer struct {
	*Identity
	key lowS
}

// NewSigner returns the signer of a certificate and its private key, PKCS #8 or SEC 1, both in PEM.
func NewSigner(mspID string, certPEM, keyPEM []byte) (*Signer, error) {
	cert, key, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("new signer of %s: %w", mspID, err)
	}
	serialized, err := Serialize(mspID, encodeCert(cert.Raw))
	if err != nil {
		return nil, fmt.Errorf("new signer: %w", err)
	}
	return &Signer{&Identity{MSPID: mspID, Cert: cert, Serialized: serialized}, newLowS(key, &key.PublicKey)}, nil
}

// PEM returns the signer's certificate and private key (PKCS #8), for NewSigner and for Fabric's clients. ErrKey if the key is not in this
// process.
func (s *Signer) PEM() (certPEM, keyPEM []byte, err error) {
	key, ok := s.key.Signer.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("encode the key of %s: %w: it is held elsewhere", s.Cert.Subject.CommonName, ErrKey)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key of %s: %w", s.Cert.Subject.CommonName, err)
	}
	return encodeCert(s.Cert.Raw), keyPEM, nil
}

// Sign returns the ECDSA signature over SHA-256 of the message: ASN.1, with a low S.
func (s *Signer) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	signature, err := s.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign as %s: %w", s.Cert.Subject.CommonName, err)
	}
	return signature, nil
}

// lowS is a private key whose signatures all have the low one of the two values that S may have. Those of a key in this process
// are deterministic (RFC 6979): a signature's nonce depends on no source of randomness, and it costs a tenth less.
type lowS struct {
	crypto.Signer
	order, half *big.Int // of the curve
}

func newLowS(key crypto.Signer, public *ecdsa.PublicKey) lowS {
	return lowS{key, public.Params().N, halfOrder(public)}
}

func (k lowS) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := k.Signer.Sign(nil, digest, opts)
	if err != nil {
		return nil, err
	}
	var parsed struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &parsed); err != nil {
		return nil, err
	}
	if parsed.S.Cmp(k.half) <= 0 {
		return signature, nil
	}
	parsed.S.Sub(k.order, parsed.S)
	return asn1.Marshal(parsed)
}

func keyPair(certPEM, keyPEM []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformedIdentity, err)
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, nil, fmt.Errorf("%w: no PEM block", ErrKey)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%w: it is not the certificate's", ErrKey)
	}
	return cert, key, nil
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%T", parsed)
	}
	return key, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
