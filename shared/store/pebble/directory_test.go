package pebble_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
	"peerless/shared/store/pebble"
)

// readOnlyFS is a file system mounted without the right to write.
type readOnlyFS struct{ vfs.FS }

func (readOnlyFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, &os.PathError{Op: "create", Path: name, Err: syscall.EROFS}
}

func (readOnlyFS) Lock(name string) (io.Closer, error) {
	return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EROFS}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		fresh  bool // the directory is empty before spoil
		spoil  func(*testing.T, string)
		fs     vfs.FS
		want   error
		remedy string
	}{
		"newer":            {spoil: write("PEERLESS", "Peerless data directory, format 2\n"), want: pebble.ErrNewerFormat, remedy: "later"},
		"damaged version":  {spoil: write("PEERLESS", "Peerless data directory, format 01\n"), want: ledger.ErrDamaged, remedy: "backup"},
		"version cut off":  {spoil: write("PEERLESS", ""), want: ledger.ErrDamaged, remedy: "backup"},
		"other files":      {fresh: true, spoil: write("letters.txt", "Dear"), want: pebble.ErrNotStore, remedy: "empty directory"},
		"no version":       {spoil: remove("PEERLESS"), want: pebble.ErrNotStore, remedy: "empty directory"},
		"no log":           {spoil: remove("log/000000000001.log"), want: ledger.ErrDamaged, remedy: "backup"},
		"damaged log":      {spoil: write("log/000000000001.log", strings.Repeat("x", 1000)), want: ledger.ErrDamaged, remedy: "backup"},
		"read-only":        {spoil: func(*testing.T, string) {}, fs: readOnlyFS{vfs.Default}, want: pebble.ErrReadOnly, remedy: "permission"},
		"full":             {fresh: true, spoil: func(*testing.T, string) {}, fs: &quotaFS{FS: vfs.Default}, want: pebble.ErrDiskFull, remedy: "free"},
		"full, state gone": {spoil: remove("state"), fs: &quotaFS{FS: vfs.Default}, want: pebble.ErrDiskFull, remedy: "free"},
		"damaged state": {spoil: func(t *testing.T, dir string) {
			manifests, err := filepath.Glob(filepath.Join(dir, "state", "*.sst"))
			if err != nil || len(manifests) == 0 {
				t.Fatalf("no tables: %v", err)
			}
			for _, m := range manifests {
				if err := os.Remove(m); err != nil {
					t.Fatal(err)
				}
			}
		}, want: ledger.ErrDamaged, remedy: "delete its folder state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if !test.fresh {
				s := open(t, dir, small)
				if err := flipChains[0].append(t.Context(), s, 0); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			test.spoil(t, dir)
			config := small
			config.FS = test.fs
			s, err := pebble.Open(dir, config)
			if err == nil {
				_ = s.Close()
			}
			var path *pebble.PathError
			if !errors.Is(err, test.want) || !errors.As(err, &path) || path.Dir != dir || !strings.Contains(path.Remedy, test.remedy) {
				t.Fatalf("open: got %v, want %v and what to do", err, test.want)
			}
			t.Log(err)
			// A refusal leaves the directory to the next who tries.
			if _, err := pebble.Open(dir, config); errors.Is(err, pebble.ErrInUse) {
				t.Errorf("open again: %v", err)
			}
		})
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, small)
	if _, err := pebble.Open(dir, small); !errors.Is(err, pebble.ErrInUse) {
		t.Errorf("open twice: got %v, want ErrInUse", err)
	}
	if err := pebble.Check(dir); !errors.Is(err, pebble.ErrInUse) {
		t.Errorf("check of an open store: got %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	cmd, lines := startChild(t, dir, 3)
	for lines.Scan() && lines.Text() != "full" {
		continue
	}
	if _, err := pebble.Open(dir, small); !errors.Is(err, pebble.ErrInUse) {
		t.Errorf("open what another process has open: got %v, want ErrInUse", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	s = open(t, dir, small)
	if err := flipChains[0].verify(t.Context(), s, 3); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), small)
	c := flipChains[0]
	if err := c.append(t.Context(), s, 0); err != nil {
		t.Fatal(err)
	}
	v, err := s.View(t.Context(), c.channel)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	_, errs := s.Height(t.Context(), c.channel)
	_, errb := s.Block(t.Context(), c.channel, 0)
	_, errv := s.View(t.Context(), c.channel)
	_, errg := v.Get(t.Context(), "ns", []string{"key 0"})
	for name, err := range map[string]error{"append": c.append(t.Context(), s, 1), "height": errs, "block": errb, "view": errv, "get": errg} {
		if !errors.Is(err, pebble.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Errorf("close of a view after the store: %v", err)
	}
}
