// Package kms keeps secrets under keys that never leave AWS KMS: a Sealer for what is stored, and the keys of authorities.
//
// Cost: a process that opens what one data key sealed asks KMS once, however much it opens and seals after that. An authority's
// key is asked when a certificate is issued: never while transactions run.
package kms

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"peerless/shared/secret"
)

// version of what Seal writes: it, the length of the encrypted data key in two bytes, that key, and what AES-GCM makes of the
// secret. So each says by itself how to open it.
const version = 2

// A Sealer seals under data keys of KMS, and keeps those that it met in memory. It seals under the first that it met, so that
// what many processes write is opened with few keys; it has one generated if it met none.
type Sealer struct {
	client  *kms.Client
	keyID   string
	context map[string]string

	mu    sync.Mutex // held while KMS is asked, so that it is asked once
	first string     // the encrypted data key that seals; "" if there is none yet
	keys  map[string]cipher.AEAD
}

var _ secret.Sealer = (*Sealer)(nil)

// keysKept is how many data keys a Sealer remembers. There is one for each process that found the store empty.
const keysKept = 256

// NewSealer returns a sealer under a symmetric key, named by its id, ARN or alias. KMS gives a data key only for the same
// encryption context that it was made with: what the stage or the table is called, for instance. It sends nothing.
func NewSealer(client *kms.Client, keyID string, encryptionContext map[string]string) (*Sealer, error) {
	if client == nil || keyID == "" {
		return nil, errors.New("seal with KMS: a client and the id of a key are required")
	}
	return &Sealer{client: client, keyID: keyID, context: maps.Clone(encryptionContext), keys: map[string]cipher.AEAD{}}, nil
}

// Seal asks KMS to generate a data key if this sealer met none.
func (s *Sealer) Seal(ctx context.Context, plain []byte, purpose string) ([]byte, error) {
	encrypted, aead, err := s.sealing(ctx)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	sealed := binary.BigEndian.AppendUint16([]byte{version}, uint16(len(encrypted)))
	return aead.Seal(append(sealed, encrypted...), nil, plain, secret.Additional(version, purpose)), nil
}

func (s *Sealer) sealing(ctx context.Context) (string, cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != "" {
		return s.first, s.keys[s.first], nil
	}
	out, err := s.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &s.keyID, KeySpec: types.DataKeySpecAes256, EncryptionContext: s.context})
	if err != nil {
		return "", nil, explain("have a data key generated under", s.keyID, err)
	}
	if len(out.CiphertextBlob) == 0 || len(out.CiphertextBlob) > 6144 { // KMS's own limit of a blob
		return "", nil, fmt.Errorf("KMS returned an encrypted data key of %d bytes", len(out.CiphertextBlob))
	}
	aead, err := s.rememberLocked(string(out.CiphertextBlob), out.Plaintext)
	return s.first, aead, err
}

// rememberLocked wipes the data key's bytes: the cipher has what it needs.
func (s *Sealer) rememberLocked(encrypted string, plain []byte) (cipher.AEAD, error) {
	aead, err := secret.NewAEAD(plain)
	clear(plain)
	if err != nil {
		return nil, fmt.Errorf("KMS returned an unusable data key: %w", err)
	}
	if len(s.keys) >= keysKept {
		s.keys = map[string]cipher.AEAD{s.first: s.keys[s.first]}
	}
	s.keys[encrypted] = aead
	if s.first == "" {
		s.first = encrypted
	}
	return aead, nil
}

// Open asks KMS to decrypt the data key if this sealer did not meet it before.
func (s *Sealer) Open(ctx context.Context, sealed []byte, purpose string) ([]byte, error) {
	const head = 3
	if len(sealed) < head || sealed[0] != version {
		return nil, fmt.Errorf("open %s: %w", purpose, secret.ErrBroken)
	}
	length := int(binary.BigEndian.Uint16(sealed[1:]))
	if length == 0 || len(sealed)-head < length {
		return nil, fmt.Errorf("open %s: %w", purpose, secret.ErrBroken)
	}
	aead, err := s.opening(ctx, string(sealed[head:head+length]))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", purpose, err)
	}
	plain, err := aead.Open(nil, nil, sealed[head+length:], secret.Additional(version, purpose))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", purpose, secret.ErrBroken)
	}
	return plain, nil
}

func (s *Sealer) opening(ctx context.Context, encrypted string) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if aead := s.keys[encrypted]; aead != nil {
		return aead, nil
	}
	out, err := s.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &s.keyID, CiphertextBlob: []byte(encrypted), EncryptionContext: s.context})
	var other *types.IncorrectKeyException
	var broken *types.InvalidCiphertextException
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("%w than %s: %w", secret.ErrOtherKey, s.keyID, err)
	case errors.As(err, &broken):
		return nil, fmt.Errorf("%w: %w", secret.ErrBroken, err)
	case err != nil:
		return nil, explain("decrypt a data key with", s.keyID, err)
	}
	return s.rememberLocked(encrypted, out.Plaintext)
}

// explain names the setting where the set-up is wrong.
func explain(operation, keyID string, err error) error {
	var missing *types.NotFoundException
	var disabled *types.DisabledException
	var state *types.KMSInvalidStateException
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("%s the KMS key %s: there is no such key in this account and region: %w", operation, keyID, err)
	case errors.As(err, &disabled), errors.As(err, &state):
		return fmt.Errorf("%s the KMS key %s: it is disabled or is to be deleted: %w", operation, keyID, err)
	}
	return fmt.Errorf("%s the KMS key %s: %w", operation, keyID, err)
}
