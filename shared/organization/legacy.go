package organization

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"peerless/shared/docstore"
	"peerless/shared/msp"
)

// Where platforms kept identities before they were documents: a directory msp-ID for each organisation, with a certificate and its key
// in each file, and the checkpoint key in a directory of its own. Every file began with a line that has the hash of the rest.
const (
	legacyPrefix     = "msp-"
	legacyTemporary  = "tmp"
	legacyCheckpoint = "ed25519.pem"
	checksumPrefix   = "sha256 "
	checksumLength   = len(checksumPrefix) + 2*sha256.Size + 1
)

// Import takes over the identities in the directories of an older data directory, seals their keys, and removes the directories
// when everything is in the store. It may be interrupted and run again. It is done before anything else makes an identity. Directories that are not there are
// none. The errors are ErrDamaged, of a file that is not what was written, and those of reading and writing: nothing is removed then.
func (r *Registry) Import(ctx context.Context, organizations, checkpoints string) error {
	i := &importer{ctx: ctx, registry: r}
	found := false
	for _, dir := range []string{organizations, checkpoints} {
		if _, err := os.Stat(dir); err == nil {
			found = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("import identities: %w", err)
		}
	}
	if found {
		if err := i.run(organizations, checkpoints); err != nil {
			return fmt.Errorf("import identities: %w", err)
		}
	}
	for _, dir := range []string{organizations, checkpoints} {
		// Whole or not at all: half of it would not be imported again.
		if err := os.Rename(dir, dir+imported); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove identities that were imported: %w", err)
		}
		if err := os.RemoveAll(dir + imported); err != nil {
			return fmt.Errorf("remove identities that were imported: %w", err)
		}
	}
	return nil
}

// imported is what is added to the name of a directory that is being removed.
const imported = ".imported"

type importer struct {
	ctx      context.Context
	registry *Registry
}

func (i *importer) run(organizations, checkpoints string) error {
	var checkpoint []byte
	encoded, err := legacyFile(filepath.Join(checkpoints, legacyCheckpoint))
	if err == nil {
		if checkpoint, err = checkpointDER(encoded); err != nil {
			return damaged(legacyCheckpoint, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(organizations)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		mspID, ok := strings.CutPrefix(entry.Name(), legacyPrefix)
		switch {
		case entry.Name() == legacyTemporary:
		case !ok || !entry.IsDir() || checkMSPID(mspID) != nil:
			return damaged(entry.Name(), errors.New("it is not the registry's"))
		default:
			if err := i.organization(mspID, filepath.Join(organizations, entry.Name()), checkpoint); err != nil {
				return err
			}
		}
	}
	if checkpoint == nil {
		return nil
	}
	kept, err := i.registry.CheckpointKey()
	if err != nil {
		return err
	}
	if der, err := x509.MarshalPKCS8PrivateKey(kept); err != nil || !bytes.Equal(der, checkpoint) {
		return damaged(legacyCheckpoint, errors.New("the platform has another key for checkpoints"))
	}
	return nil
}

// organization imports one. Its document comes last: users without it would be damage, but it with only some of them would lose
// the others' certificates if it were interrupted and not run again.
func (i *importer) organization(mspID, dir string, checkpoint []byte) error {
	var rec record
	made := false
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := legacyFile(file)
		if err != nil {
			return err
		}
		made = true
		relative, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		parts := map[string]**pair{"authority.pem": &rec.Authority, "endorser.pem": &rec.Endorser, "orderer.pem": &rec.Orderer}
		switch part := parts[name]; {
		case part != nil:
			*part, err = i.pair(mspID, content, purpose(KindOrganization, mspID, strings.TrimSuffix(name, ".pem")))
			return err
		case name == "config":
			rec.Config = content
			return nil
		case path.Dir(path.Dir(name)) == "users" && strings.HasSuffix(name, ".pem"):
			return i.user(mspID+"/"+path.Base(path.Dir(name))+strings.TrimSuffix(path.Base(name), ".pem"), content)
		}
		return damaged(name, errors.New("it is not the registry's"))
	})
	if err != nil || !made { // making it was interrupted
		return err
	}
	if mspID == OrdererMSP && checkpoint != nil {
		if rec.Checkpoint, err = i.registry.Sealer.Seal(i.ctx, checkpoint, checkpointPurpose); err != nil {
			return err
		}
	}
	if _, err := rec.config(mspID); err != nil {
		return err
	}
	_, err = docstore.Create(i.ctx, i.registry.Store, KindOrganization, mspID, rec)
	return storeError(err)
}

func (i *importer) user(id string, content []byte) error {
	mspID, _, _ := strings.Cut(id, "/")
	kept, err := i.pair(mspID, content, purpose(KindUser, id, partKey))
	if err != nil {
		return err
	}
	_, err = docstore.Create(i.ctx, i.registry.Store, KindUser, id, kept)
	return storeError(err)
}

func (i *importer) pair(mspID string, content []byte, purpose string) (*pair, error) {
	certificate, key := splitPEM(content)
	if _, err := msp.NewSigner(mspID, certificate, key); err != nil {
		return nil, damaged(purpose, err)
	}
	return i.registry.seal(i.ctx, certificate, key, purpose)
}

func legacyFile(name string) ([]byte, error) {
	stored, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(stored) < checksumLength || fmt.Sprintf("%s%x\n", checksumPrefix, sha256.Sum256(stored[checksumLength:])) != string(stored[:checksumLength]) {
		return nil, fmt.Errorf("%w: %s: its checksum is wrong", ErrDamaged, name)
	}
	return stored[checksumLength:], nil
}
