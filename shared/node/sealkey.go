package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"peerless/shared/organization"
	"peerless/shared/secret"
)

// SealKey returns the key that seals what a data directory keeps secret: the one in a file, or in data/seal.key if none is named. It is
// made if there is no such file and nothing is sealed yet. A key beside the data protects it where the key is left out of the copy, of a
// backup for instance; one that lies elsewhere also protects it from who takes the disk.
func SealKey(data, file string) (*secret.Key, error) {
	if file == "" {
		file = filepath.Join(data, SealKeyFile)
	}
	key, err := secret.LoadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, sealed := os.Stat(filepath.Join(data, DocumentsDir, organization.KindOrganization))
	switch {
	case errors.Is(sealed, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, fmt.Errorf("make the sealing key: %w", err)
		}
		return secret.EnsureKey(file)
	case sealed != nil:
		return nil, fmt.Errorf("look for what is sealed: %w", sealed)
	}
	return nil, fmt.Errorf("%w: %s, under which the identities in %s are sealed, is not there: restore it, or say where it is with --seal-key",
		secret.ErrKeyFile, file, data)
}
