package docstore_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"peerless/shared/docstore"
	"peerless/shared/docstore/docstoretest"
)

func TestMem(t *testing.T) {
	t.Parallel()
	docstoretest.TestStore(t, func(*testing.T) func() docstore.Store {
		s := docstore.NewMem(0)
		return func() docstore.Store { return s }
	})
}

func openDir(t *testing.T, root string) *docstore.Dir {
	t.Helper()
	d, err := docstore.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDir(t *testing.T) {
	t.Parallel()
	docstoretest.TestStore(t, func(t *testing.T) func() docstore.Store {
		root := filepath.Join(t.TempDir(), "new", "documents [1]")
		return func() docstore.Store { return openDir(t, root) }
	})
}

func TestMemIsLimited(t *testing.T) {
	t.Parallel()
	s := docstore.NewMem(1)
	first, err := s.Put(t.Context(), docstore.Document{Kind: "key", ID: "a", Value: json.RawMessage(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), docstore.Document{Kind: "key", ID: "b", Value: json.RawMessage(`1`)}); !errors.Is(err, docstore.ErrFull) {
		t.Errorf("one more: %v, want %v", err, docstore.ErrFull)
	}
	if _, err := s.Put(t.Context(), first); err != nil {
		t.Errorf("another version of the one: %v", err)
	}
}

// A change of any byte, a file cut short, and one that was moved are noticed, and left alone.
func TestDamage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := openDir(t, root)
	for _, id := range []string{"a", "b"} {
		if _, err := d.Put(t.Context(), docstore.Document{Kind: "key", ID: id, Value: json.RawMessage(`{"n":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(root, "key", "a.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Get(t.Context(), "key", "a"); !errors.Is(err, docstore.ErrDamaged) {
			t.Errorf("%s: Get returned %v", what, err)
		}
		if _, _, err := d.List(t.Context(), "key", "", "", 0); !errors.Is(err, docstore.ErrDamaged) {
			t.Errorf("%s: List returned %v", what, err)
		}
		if _, err := d.Put(t.Context(), docstore.Document{Kind: "key", ID: "a", Value: json.RawMessage(`2`)}); !errors.Is(err, docstore.ErrDamaged) {
			t.Errorf("%s: Put returned %v", what, err)
		}
		if err := d.Verify(); !errors.Is(err, docstore.ErrDamaged) {
			t.Errorf("%s: Verify returned %v", what, err)
		}
		if err := d.Delete(t.Context(), "key", "a", ""); !errors.Is(err, docstore.ErrDamaged) {
			t.Errorf("%s: Delete returned %v", what, err)
		}
	}
	for i := range whole {
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 1
		check("a bit is flipped", flipped)
	}
	for i := range whole {
		check("cut short", whole[:i])
	}
	other, err := os.ReadFile(filepath.Join(root, "key", "b.json"))
	if err != nil {
		t.Fatal(err)
	}
	check("another's file", other)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(t.Context(), "key", "a"); err != nil {
		t.Errorf("restored: %v", err)
	}
	if err := d.Verify(); err != nil {
		t.Errorf("restored: Verify returned %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "key", "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.List(t.Context(), "key", "", "", 0); !errors.Is(err, docstore.ErrDamaged) {
		t.Errorf("with a file that is nobody's: %v", err)
	}
}

func TestFilesAreTheOwners(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "documents")
	if _, err := openDir(t, root).Put(t.Context(), docstore.Document{Kind: "key", ID: "a/b", Value: json.RawMessage(`1`)}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{"": 0o700, "key": 0o700, "key/a,b.json": 0o600} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", path, info.Mode(), err, want)
		}
	}
}

// What a killed process left is removed when it is old, and is no document before.
func TestAbandonedFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "key"), 0o700); err != nil {
		t.Fatal(err)
	}
	old, young := filepath.Join(root, "key", ".new-1"), filepath.Join(root, "key", ".new-2")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	page, _, err := openDir(t, root).List(t.Context(), "key", "", "", 0)
	if err != nil || len(page) != 0 {
		t.Errorf("listed %v, %v", page, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young file: %v", err)
	}
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := docstore.OpenDir(path); err == nil {
		t.Error("opened a file")
	}
}
