package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"peerless/shared/docstore"
	"peerless/shared/sealed"
)

// ErrDamagedKeys: an older file of keys is not what was written. It is left as it is.
var ErrDamagedKeys = errors.New("the file of keys is damaged")

// keysFile is where servers kept keys before they were documents.
type keysFile struct {
	Version int   `json:"version"`
	Keys    []Key `json:"keys"`
}

const keysVersion = 2

// Import takes over the keys in a file of an older data directory, and removes it. It may be interrupted and run again. A file
// that is not there is none.
func (k *Keys) Import(ctx context.Context, path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("import keys: %w", err)
	}
	keys, err := parseKeysFile(raw)
	if err != nil {
		return fmt.Errorf("import keys: %w: %s: %w: restore it from a backup, or remove it and make new keys", ErrDamagedKeys, path, err)
	}
	for _, key := range keys {
		if _, err := docstore.Create(ctx, k.store, KindKey, key.Hash, key); err != nil {
			return fmt.Errorf("import keys: %w", err)
		}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the file of keys, which were imported: %w", err)
	}
	return nil
}

func parseKeysFile(raw []byte) ([]Key, error) {
	var file keysFile
	err := sealed.Unmarshal(raw, &file)
	if err == nil && file.Version != keysVersion {
		err = fmt.Errorf("it has format %d, this program knows %d", file.Version, keysVersion)
	}
	if err != nil {
		return nil, err
	}
	for i := range file.Keys {
		key := &file.Keys[i]
		if hash, err := hex.DecodeString(key.Hash); err != nil || len(hash) != 32 || key.ID != keyID(key.Hash) {
			return nil, fmt.Errorf("the hash of %q is not a SHA-256 in hex", key.ID)
		}
		if err := checkKey(key); err != nil {
			return nil, err
		}
	}
	return file.Keys, nil
}
