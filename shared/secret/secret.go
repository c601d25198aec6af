// Package secret seals what must not lie about readable: private keys, and the secrets of webhooks. What is sealed says under
// which key, cannot be changed, and opens only for the purpose that it was sealed for.
//
// A Key seals under a key of this machine's, from a file or the environment; the subpackage kms under one of AWS KMS. Either is
// AES-256-GCM with random nonces: a key is good for 2^32 sealings.
package secret

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sealer seals secrets, and opens them again. It is safe for concurrent use.
type Sealer interface {
	// Seal returns what only Open of a sealer with the same key, and for the same purpose, makes secret again.
	Seal(ctx context.Context, secret []byte, purpose string) ([]byte, error)
	// Open returns ErrOtherKey, ErrBroken, or another error if the key cannot be asked now.
	Open(ctx context.Context, sealed []byte, purpose string) ([]byte, error)
}

// Errors of opening, wrapped with the purpose, and of reading a key.
var (
	// ErrOtherKey: it was sealed under another key. Give the key that this data was made with.
	ErrOtherKey = errors.New("it is sealed under another key")
	// ErrBroken: it is not what was sealed, or was sealed for another purpose.
	ErrBroken = errors.New("it is not what was sealed for this")
	// ErrKeyFile: a key, or the file that holds it, is not as it should be.
	ErrKeyFile = errors.New("not a usable sealing key")
)

// keyPrefix begins the text of a key, so that scanners find one that leaked.
const keyPrefix = "peerless-seal-"

// keySize is AES-256's, in bytes.
const keySize = 32

// A Key seals under a key that this process holds.
type Key struct {
	id   [8]byte // of the key's hash: says that another is wanted
	text string
	aead cipher.AEAD
}

var _ Sealer = (*Key)(nil)

// Sealed is a version, the key's id, and what AES-GCM makes of the secret: nonce, ciphertext and tag.
const version = 1

// NewKey makes a key of random bits.
func NewKey() *Key {
	raw := make([]byte, keySize)
	rand.Read(raw)
	return newKey(raw)
}

func newKey(raw []byte) *Key {
	aead, err := NewAEAD(raw)
	if err != nil {
		panic(err) // the length is AES-256's
	}
	k := &Key{text: keyPrefix + base64.RawURLEncoding.EncodeToString(raw), aead: aead}
	hash := sha256.Sum256(raw)
	copy(k.id[:], hash[:])
	return k
}

// NewAEAD returns AES-256-GCM that draws a nonce for each sealing, and puts it before the ciphertext.
func NewAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Additional is what AES-GCM authenticates beside the secret.
func Additional(version byte, purpose string) []byte {
	return append([]byte{'p', 'e', 'e', 'r', 'l', 'e', 's', 's', version}, purpose...)
}

// ParseKey reads a key's text, as Text wrote it. Spaces around it do not count. ErrKeyFile.
func ParseKey(text string) (*Key, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(raw) != keySize {
		return nil, fmt.Errorf("%w: it must be %s and 32 bytes in base64url", ErrKeyFile, keyPrefix)
	}
	return newKey(raw), nil
}

// Text is the key itself, for ParseKey: as secret as all that it seals.
func (k *Key) Text() string { return k.text }

// String tells keys apart, and gives nothing away.
func (k *Key) String() string { return fmt.Sprintf("sealing key %x", k.id) }

func (k *Key) GoString() string { return k.String() }

// Seal cannot fail.
func (k *Key) Seal(_ context.Context, secret []byte, purpose string) ([]byte, error) {
	sealed := append([]byte{version}, k.id[:]...)
	return k.aead.Seal(sealed, nil, secret, Additional(version, purpose)), nil
}

func (k *Key) Open(_ context.Context, sealed []byte, purpose string) ([]byte, error) {
	head := 1 + len(k.id)
	switch {
	case len(sealed) < head || sealed[0] != version:
		return nil, fmt.Errorf("open %s: %w", purpose, ErrBroken)
	case !bytes.Equal(sealed[1:head], k.id[:]):
		return nil, fmt.Errorf("open %s: %w: key %x, and this is %x", purpose, ErrOtherKey, sealed[1:head], k.id)
	}
	secret, err := k.aead.Open(nil, nil, sealed[head:], Additional(version, purpose))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", purpose, ErrBroken)
	}
	return secret, nil
}

// LoadKey reads the key in a file that only its owner may read. The error is ErrKeyFile, fs.ErrNotExist, or one of reading.
func LoadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s must be a file that only its owner can read: chmod 600 %s", ErrKeyFile, path, path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	k, err := ParseKey(string(content))
	if err == nil && string(content) != k.text+"\n" {
		err = fmt.Errorf("%w: there is more than a key and a newline", ErrKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// EnsureKey reads the key in a file, and makes one, durably, if there is no such file. Of many that make one, all return the first's.
func EnsureKey(path string) (*Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := writeKey(path, NewKey()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the sealing key: %w", err)
	}
	return LoadKey(path)
}

// writeKey gives the file its name when it is whole; fs.ErrExist if it has one.
func writeKey(path string, k *Key) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(k.text + "\n")
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		return err
	}
	opened, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}
