package docstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"peerless/shared/sealed"
)

// Dir keeps each document in a file of its own, KIND/ID.json with a comma for each slash of the id, of mode 0600. A file appears
// whole or not at all, is synced, and holds its checksum and its own name (package sealed): a torn file, a flipped bit and a file
// that was moved are noticed. Processes exclude each other by a lock on each kind, which ends with its holder.
type Dir struct {
	root string
	made sync.Map // kinds whose directory is known to last
}

var _ Store = (*Dir)(nil)

// Beside the documents of a kind. No document has such a name.
const (
	lockName        = ".lock"
	temporaryPrefix = ".new-"
	suffix          = ".json"
)

// abandonedAfter is the age at which a temporary file is no longer being written.
const abandonedAfter = time.Hour

// OpenDir opens the store in a directory, which is made, with mode 0700, by the first Put.
func OpenDir(root string) (*Dir, error) {
	info, err := os.Stat(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open documents: %w", err)
	}
	if err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open documents: %s is not a directory", root)
	}
	d := &Dir{root: root}
	d.clean()
	return d, nil
}

// file is a document as it is written.
type file struct {
	Kind    string          `json:"kind"`
	ID      string          `json:"id"`
	Version string          `json:"version"`
	Expires time.Time       `json:"expires,omitzero"`
	Value   json.RawMessage `json:"value"`
}

func fileName(id string) string { return strings.ReplaceAll(id, "/", ",") + suffix }

// idOf is the id in a file's name, or "" if it is not a document's.
func idOf(fileName string) string {
	id, ok := strings.CutSuffix(fileName, suffix)
	if id = strings.ReplaceAll(id, ",", "/"); !ok || !validID.MatchString(id) {
		return ""
	}
	return id
}

func (d *Dir) path(kind, id string) string { return filepath.Join(d.root, kind, fileName(id)) }

func (d *Dir) Get(_ context.Context, kind, id string) (Document, error) {
	if err := CheckName(kind, id); err != nil {
		return Document{}, err
	}
	doc, err := d.read(kind, id)
	if err == nil && doc.Expired(time.Now()) {
		err = fmt.Errorf("%s %s: %w", kind, id, ErrNotFound)
	}
	if err != nil {
		return Document{}, err
	}
	return doc, nil
}

// read returns what is there, expired or not. ErrNotFound or ErrDamaged.
func (d *Dir) read(kind, id string) (Document, error) {
	raw, err := os.ReadFile(d.path(kind, id))
	if errors.Is(err, fs.ErrNotExist) {
		return Document{}, fmt.Errorf("%s %s: %w", kind, id, ErrNotFound)
	}
	if err != nil {
		return Document{}, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	var f file
	if err := sealed.Unmarshal(raw, &f); err != nil {
		return Document{}, fmt.Errorf("%w: %s: %w", ErrDamaged, d.path(kind, id), err)
	}
	if f.Kind != kind || f.ID != id {
		return Document{}, fmt.Errorf("%w: %s: it is of %s %s", ErrDamaged, d.path(kind, id), f.Kind, f.ID)
	}
	value, err := json.Marshal(f.Value) // the file is indented
	if err != nil {
		return Document{}, fmt.Errorf("%w: %s: %w", ErrDamaged, d.path(kind, id), err)
	}
	return Document{f.Kind, f.ID, f.Version, value, f.Expires}, nil
}

func (d *Dir) Put(_ context.Context, doc Document) (Document, error) {
	next, err := Prepare(doc)
	if err != nil {
		return doc, err
	}
	if err := d.makeKind(doc.Kind); err != nil {
		return doc, fmt.Errorf("write %s %s: %w", doc.Kind, doc.ID, err)
	}
	if doc.Version == "" { // a link is refused where there is a file, so nothing need be locked
		if err := d.write(next, os.Link); !errors.Is(err, fs.ErrExist) {
			return next, err
		}
	}
	unlock, err := lockFile(filepath.Join(d.root, doc.Kind, lockName))
	if err != nil {
		return doc, fmt.Errorf("write %s %s: %w", doc.Kind, doc.ID, err)
	}
	defer unlock()
	stored, err := d.Get(context.Background(), doc.Kind, doc.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return doc, err
	}
	if stored.Version != doc.Version {
		return doc, fmt.Errorf("%s %s: %w", doc.Kind, doc.ID, ErrConflict)
	}
	return next, d.write(next, os.Rename)
}

func (d *Dir) Delete(_ context.Context, kind, id, version string) error {
	if err := CheckName(kind, id); err != nil {
		return err
	}
	dir := filepath.Join(d.root, kind)
	unlock, err := lockFile(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %s: %w", kind, id, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("delete %s %s: %w", kind, id, err)
	}
	defer unlock()
	stored, err := d.Get(context.Background(), kind, id)
	if err != nil {
		return err
	}
	if version != "" && stored.Version != version {
		return fmt.Errorf("%s %s: %w", kind, id, ErrConflict)
	}
	if err := os.Remove(d.path(kind, id)); err != nil {
		return fmt.Errorf("delete %s %s: %w", kind, id, err)
	}
	return syncDirectory(dir)
}

func (d *Dir) List(_ context.Context, kind, prefix, after string, limit int) ([]Document, string, error) {
	limit, err := CheckList(kind, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	ids, err := d.IDs(kind)
	if err != nil {
		return nil, "", err
	}
	var page []Document
	now := time.Now()
	for _, id := range ids {
		if id <= after || !strings.HasPrefix(id, prefix) {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].ID, nil
		}
		doc, err := d.read(kind, id)
		if errors.Is(err, ErrNotFound) || err == nil && doc.Expired(now) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		page = append(page, doc)
	}
	return page, "", nil
}

// IDs returns the ids of a kind, sorted, those of documents that have expired or are damaged included, and ErrDamaged for a file
// that is nobody's.
func (d *Dir) IDs(kind string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	ids := make([]string, 0, len(entries))
	var problems []error
	for _, entry := range entries {
		if entry.Name() == lockName || strings.HasPrefix(entry.Name(), temporaryPrefix) {
			continue
		}
		id := idOf(entry.Name())
		if id == "" {
			problems = append(problems, fmt.Errorf("list %s: %w: %s is no document", kind, ErrDamaged, filepath.Join(d.root, kind, entry.Name())))
			continue
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, errors.Join(problems...)
}

// Verify reads every document, and returns all that is damaged, joined, each ErrDamaged; other errors are those of reading. It makes
// and changes nothing. A directory that is not there holds.
func (d *Dir) Verify() error {
	entries, err := os.ReadDir(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify documents: %w", err)
	}
	var problems []error
	for _, entry := range entries {
		if !entry.IsDir() || !validKind.MatchString(entry.Name()) {
			problems = append(problems, fmt.Errorf("%w: %s is of no kind", ErrDamaged, filepath.Join(d.root, entry.Name())))
			continue
		}
		ids, err := d.IDs(entry.Name())
		if err != nil {
			problems = append(problems, err)
		}
		for _, id := range ids {
			if _, err := d.read(entry.Name(), id); err != nil && !errors.Is(err, ErrNotFound) {
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// write puts a document into a file without name, syncs it, gives it its name, and syncs that.
func (d *Dir) write(doc Document, give func(from, to string) error) error {
	fail := func(err error) error { return fmt.Errorf("write %s %s: %w", doc.Kind, doc.ID, err) }
	content, err := sealed.Marshal(file{doc.Kind, doc.ID, doc.Version, doc.Expires, doc.Value})
	if err != nil {
		return fail(err)
	}
	dir := filepath.Join(d.root, doc.Kind)
	temporary, err := os.CreateTemp(dir, temporaryPrefix) // mode 0600
	if err != nil {
		return fail(err)
	}
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = give(temporary.Name(), d.path(doc.Kind, doc.ID))
	}
	if removed := os.Remove(temporary.Name()); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	if err != nil {
		return fail(err)
	}
	return syncDirectory(dir)
}

// makeKind makes the directory of a kind, and makes it last: also one that another process made and did not get to sync.
func (d *Dir) makeKind(kind string) error {
	if _, made := d.made.Load(kind); made {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(d.root, kind), 0o700); err != nil {
		return err
	}
	if err := errors.Join(syncDirectory(d.root), syncDirectory(filepath.Dir(d.root))); err != nil {
		return err
	}
	d.made.Store(kind, true)
	return nil
}

// clean removes what processes left that were killed while they wrote. That it cannot be removed hurts nobody.
func (d *Dir) clean() {
	kinds, _ := os.ReadDir(d.root)
	for _, kind := range kinds {
		entries, _ := os.ReadDir(filepath.Join(d.root, kind.Name()))
		for _, entry := range entries {
			info, err := entry.Info()
			if err == nil && strings.HasPrefix(entry.Name(), temporaryPrefix) && time.Since(info.ModTime()) > abandonedAfter {
				os.Remove(filepath.Join(d.root, kind.Name(), entry.Name()))
			}
		}
	}
}

func syncDirectory(path string) error {
	opened, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}
