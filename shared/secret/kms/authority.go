package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// Authorities signs certificates with a key of KMS, of the spec ECC_NIST_P256 and the usage SIGN_VERIFY.
//
// All authorities that a platform makes share the key. They differ in their names, which chains of certificates go by, and in who
// has them sign: this code alone, under the one permission kms:Sign. A key for each organisation would hold nobody else off,
// would cost a dollar a month while idle, and would need the permission to make keys in the function that serves requests.
type Authorities struct {
	client *kms.Client
	keyID  string
}

// NewAuthorities returns the authorities' key, named by its id or ARN: an alias could come to mean another. It sends nothing.
func NewAuthorities(client *kms.Client, keyID string) (*Authorities, error) {
	if client == nil || keyID == "" {
		return nil, errors.New("authorities in KMS: a client and the id of a key are required")
	}
	return &Authorities{client, keyID}, nil
}

// Key returns the id of the key for a new authority.
func (a *Authorities) Key() string { return a.keyID }

// Signer returns a key that signs while ctx lasts, by one request for each signature. If public is nil KMS is asked for it.
func (a *Authorities) Signer(ctx context.Context, keyID string, public *ecdsa.PublicKey) (crypto.Signer, error) {
	if public == nil {
		out, err := a.client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &keyID})
		if err != nil {
			return nil, explain("get the public key of", keyID, err)
		}
		parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("the public key of the KMS key %s: %w", keyID, err)
		}
		var ok bool
		if public, ok = parsed.(*ecdsa.PublicKey); !ok || public.Curve != elliptic.P256() {
			return nil, fmt.Errorf("the KMS key %s has the spec %s: authorities need one of ECC_NIST_P256", keyID, out.KeySpec)
		}
	}
	return &signer{ctx, a.client, keyID, public}, nil
}

// signer holds a context because crypto.Signer takes none; it lives for one certificate.
type signer struct {
	ctx    context.Context
	client *kms.Client
	keyID  string
	public *ecdsa.PublicKey
}

func (s *signer) Public() crypto.PublicKey { return s.public }

func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 {
		return nil, fmt.Errorf("sign with the KMS key %s: it signs hashes of SHA-256, not of %v", s.keyID, opts.HashFunc())
	}
	out, err := s.client.Sign(s.ctx, &kms.SignInput{KeyId: aws.String(s.keyID), Message: digest,
		MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	if err != nil {
		return nil, explain("sign with", s.keyID, err)
	}
	return out.Signature, nil
}
