package organization

import (
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// keep holds named contents. Names are slash-separated and made by this package alone. Safe for concurrent use.
type keep interface {
	// load returns a content, fs.ErrNotExist, or ErrDamaged.
	load(name string) ([]byte, error)
	// create keeps what produce returns, once and for all, and returns what is kept: if another was faster, its content.
	// It is durable when the call returns.
	create(name string, produce func() ([]byte, error)) ([]byte, error)
	// replace keeps a content in place of whatever there was. A reader sees the one or the other.
	replace(name string, content []byte) error
}

// splitPEM parts a certificate from the key that follows it. What is not there is empty.
func splitPEM(encoded []byte) (certificate, key []byte) {
	block, rest := pem.Decode(encoded)
	if block == nil {
		return nil, nil
	}
	return pem.EncodeToMemory(block), rest
}

// temporary is the directory for files that have no name yet, beside the organisations'.
const temporary = "tmp"

// abandonedAfter is the age at which a temporary file is no longer being written.
const abandonedAfter = time.Hour

// directory keeps each content in a file of mode 0600, in directories of mode 0700.
type directory struct{ root string }

func openDirectory(root string) (*directory, error) {
	temporaries := filepath.Join(root, temporary)
	if err := os.MkdirAll(temporaries, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(temporaries)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		// Left by a process that was killed while it wrote. Another may be removing it too.
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter {
			if err := os.Remove(filepath.Join(temporaries, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return &directory{root}, nil
}

// Every file begins with a line that has the hash of the rest, so that a flipped bit does not become another certificate.
// Tools that read PEM skip it.
const (
	checksumPrefix = "sha256 "
	checksumLength = len(checksumPrefix) + 2*sha256.Size + 1
)

func checksum(content []byte) string {
	return fmt.Sprintf("%s%x\n", checksumPrefix, sha256.Sum256(content))
}

func (d *directory) load(name string) ([]byte, error) {
	stored, err := os.ReadFile(filepath.Join(d.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	if len(stored) < checksumLength || checksum(stored[checksumLength:]) != string(stored[:checksumLength]) {
		return nil, fmt.Errorf("%w: %s: its checksum is wrong", ErrDamaged, name)
	}
	return stored[checksumLength:], nil
}

func (d *directory) create(name string, produce func() ([]byte, error)) ([]byte, error) {
	content, err := produce()
	if err != nil {
		return nil, err
	}
	err = d.write(name, content, os.Link) // a link is refused where there is a file
	if errors.Is(err, fs.ErrExist) {
		return d.load(name)
	}
	return content, err
}

func (d *directory) replace(name string, content []byte) error {
	return d.write(name, content, os.Rename)
}

// write puts a content into a file without name, syncs it, gives it its name, and syncs that.
func (d *directory) write(name string, content []byte, give func(from, to string) error) error {
	target := filepath.Join(d.root, filepath.FromSlash(name))
	if err := d.makeDirectory(filepath.Dir(target)); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Join(d.root, temporary), "new-") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(append([]byte(checksum(content)), content...))
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = give(file.Name(), target)
	}
	if removed := os.Remove(file.Name()); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncDirectory(filepath.Dir(target))
}

// makeDirectory makes a directory below the root, and makes it last.
func (d *directory) makeDirectory(path string) error {
	if path == d.root {
		return nil
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if err := d.makeDirectory(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(parent)
}

func syncDirectory(path string) error {
	opened, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

// list returns the first elements of all names.
func (d *directory) list() ([]string, error) {
	entries, err := os.ReadDir(d.root)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}

// memoryLimit is how many contents memory holds, at about a kilobyte each: one more user is refused, none forgotten.
const memoryLimit = 100_000

// memory keeps contents as long as the process lives.
type memory struct {
	limit    int
	mu       sync.Mutex
	contents map[string][]byte
}

func newMemory() *memory { return &memory{limit: memoryLimit, contents: map[string][]byte{}} }

func (m *memory) load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, ok := m.contents[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return content, nil
}

func (m *memory) create(name string, produce func() ([]byte, error)) ([]byte, error) {
	content, err := produce()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if first, ok := m.contents[name]; ok {
		return first, nil
	}
	if len(m.contents) >= m.limit {
		return nil, ErrFull
	}
	m.contents[name] = content
	return content, nil
}

func (m *memory) replace(name string, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.contents[name] = content
	return nil
}
