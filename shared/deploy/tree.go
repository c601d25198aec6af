package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// treeHash names a file, or a directory with all that is in it: names, contents, links and what can be executed.
func treeHash(top string) (string, error) {
	info, err := os.Lstat(top)
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() {
		return fileHash(top)
	}
	h := sha256.New()
	err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if entry.Type() == fs.ModeSymlink {
			to, err := os.Readlink(path)
			fmt.Fprintf(h, "%q -> %q\n", relative, to)
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		hash, err := fileHash(path)
		fmt.Fprintf(h, "%q %v %s\n", relative, info.Mode()&0o100 != 0, hash)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// copyTree copies a directory to where none is. Links stay links.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		place := filepath.Join(to, relative)
		switch {
		case entry.IsDir():
			return os.MkdirAll(place, 0o700)
		case entry.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, place)
		case !entry.Type().IsRegular():
			return nil
		}
		return copyFile(path, place, entry)
	})
}

func copyFile(from, to string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	copied, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|info.Mode()&0o100)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, source)
	return errors.Join(err, copied.Close())
}
