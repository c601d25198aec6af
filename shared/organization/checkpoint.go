package organization

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkpointFile is the name of the platform's key for checkpoints.
const checkpointFile = "ed25519.pem"

// CheckpointKey returns the key with which the platform signs the checkpoints of its channels (package receipt). It is made at the
// first call and is the same ever after: clients pin it. It lies in a directory of its own, under the terms of a registry's keys;
// if dir is empty it lasts as long as the caller keeps it. The error for one that cannot be read is ErrDamaged.
func CheckpointKey(dir string) (ed25519.PrivateKey, error) {
	kept := keep(newMemory())
	if dir != "" {
		var err error
		if kept, err = openDirectory(dir); err != nil {
			return nil, fmt.Errorf("key for checkpoints: %w", err)
		}
	}
	encoded, err := kept.load(checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		encoded, err = kept.create(checkpointFile, newCheckpointKey)
	}
	if err != nil {
		return nil, fmt.Errorf("key for checkpoints: %w", err)
	}
	return parseCheckpointKey(encoded)
}

// VerifyCheckpointKey checks that the key in a directory, if there is one, is what was written. It makes and changes nothing.
func VerifyCheckpointKey(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	encoded, err := (&directory{dir}).load(checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // making it was interrupted
	}
	if err == nil {
		_, err = parseCheckpointKey(encoded)
	}
	if err != nil {
		return fmt.Errorf("verify the key for checkpoints: %w", err)
	}
	return nil
}

func newCheckpointKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseCheckpointKey(encoded []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(encoded)
	if block == nil {
		return nil, fmt.Errorf("%w: %s: it is not PEM", ErrDamaged, checkpointFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, checkpointFile, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %s: it is not an Ed25519 key", ErrDamaged, checkpointFile)
	}
	return key, nil
}
