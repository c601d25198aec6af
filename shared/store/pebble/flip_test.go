package pebble_test

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
	"peerless/shared/store/pebble"
)

func sortRows(rows []ledger.KV) {
	slices.SortFunc(rows, func(a, b ledger.KV) int { return cmp.Compare(a.Key, b.Key) })
}

// small makes a store use many files of each kind.
var small = pebble.Config{CacheBytes: 1 << 20, MemTableBytes: 256 << 10, SegmentBytes: 100 << 10}

var flipChains = []chain{{"ch", 1}, {"ch2", 2}}

const flipBlocks = 120

// writeChains fills a store, and returns it still open.
func writeChains(t *testing.T, dir string) *pebble.Store {
	t.Helper()
	s := open(t, dir, small)
	for n := range uint64(flipBlocks) {
		for _, c := range flipChains {
			if err := c.append(t.Context(), s, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func readDirectory(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// inMemory makes a file system that holds the files in the folder data.
func inMemory(t *testing.T, files map[string][]byte) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	for _, dir := range []string{"data", "data/log", "data/state"} {
		if err := fs.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		f, err := fs.Create("data/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(slices.Clone(data)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// flips calls check with each flipped directory: some bits in each file, all of the last bytes of the log if tail is set.
func flips(t *testing.T, files map[string][]byte, perFile, tail int, check func(name string, offset int, fs vfs.FS)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	names := slices.Sorted(maps.Keys(files))
	last := ""
	for _, name := range names {
		if strings.HasPrefix(name, "log/") {
			last = name
		}
	}
	flip := func(name string, offset int) {
		original := files[name]
		files[name] = slices.Clone(original)
		files[name][offset] ^= 1 << rng.IntN(8)
		check(name, offset, inMemory(t, files))
		files[name] = original
	}
	for _, name := range names {
		size := len(files[name])
		for range min(perFile, size) {
			flip(name, rng.IntN(size))
		}
	}
	for i := range tail {
		flip(last, len(files[last])-1-i)
	}
}

func TestCheckNoticesFlipsInSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeChains(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := pebble.Check(dir); err != nil {
		t.Fatalf("check of a sound directory: %v", err)
	}
	files := readDirectory(t, dir)
	if _, ok := files["SEAL"]; !ok {
		t.Fatal("there is no seal")
	}
	count := 0
	flips(t, files, 20, 100, func(name string, offset int, fs vfs.FS) {
		count++
		if err := pebble.CheckFS(fs, "data"); err == nil {
			t.Errorf("check did not notice a flip of %s at %d", name, offset)
		}
	})
	t.Logf("%d flips in %d files", count, len(files))
	for name := range files {
		if name == "LOCK" || name == "state/LOCK" {
			continue
		}
		without := maps.Clone(files)
		delete(without, name)
		if err := pebble.CheckFS(inMemory(t, without), "data"); err == nil && name != "SEAL" {
			t.Errorf("check did not notice that %s is missing", name)
		}
	}
}

// TestFlipsInUnsealed flips bits in a directory as kill -9 leaves it.
func TestFlipsInUnsealed(t *testing.T) {
	t.Parallel()
	files := readDirectory(t, killed(t, flipBlocks))
	if _, ok := files["SEAL"]; ok {
		t.Fatal("a store that was not closed has a seal")
	}
	verify := func(fs vfs.FS) error {
		config := small
		config.FS = fs
		s, err := pebble.Open("data", config)
		if err != nil {
			return err
		}
		defer s.Close()
		var errs []error
		for _, c := range flipChains {
			errs = append(errs, c.verify(t.Context(), s, flipBlocks))
		}
		return errors.Join(errs...)
	}
	if err := verify(inMemory(t, files)); err != nil {
		t.Fatalf("a sound directory: %v", err)
	}
	count, noticed, harmless := 0, 0, 0
	flips(t, files, 10, 120, func(name string, offset int, fs vfs.FS) {
		count++
		checked := pebble.CheckFS(fs, "data")
		switch err := verify(fs); {
		case errors.Is(err, errWrong):
			t.Errorf("flip of %s at %d (check says %v): %v", name, offset, checked, err)
		case err != nil || checked != nil:
			noticed++
		default:
			harmless++
		}
	})
	t.Logf("%d flips in %d files: %d noticed, %d made no difference", count, len(files), noticed, harmless)
	if noticed < count/2 {
		t.Errorf("only %d of %d flips were noticed", noticed, count)
	}
}

// TestStateIsBuiltAgain deletes what can be derived.
func TestStateIsBuiltAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeChains(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, small)
	defer s.Close()
	for _, c := range flipChains {
		if err := c.verify(t.Context(), s, flipBlocks); err != nil {
			t.Error(err)
		}
	}
}

// TestTornTail cuts the last segment of an open store at every length: each is what a process that died while it wrote
// may leave, of a record that it never acknowledged.
func TestTornTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := chain{"ch", 3}
	s := open(t, dir, small)
	for n := range uint64(2) {
		if err := c.append(t.Context(), s, n); err != nil {
			t.Fatal(err)
		}
	}
	before := readDirectory(t, dir)
	if err := c.append(t.Context(), s, 2); err != nil {
		t.Fatal(err)
	}
	after := readDirectory(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const name = "log/000000000001.log"
	for size := len(before[name]); size < len(after[name])-24; size += 23 {
		files := maps.Clone(before)
		files[name] = after[name][:size]
		fs := inMemory(t, files)
		config := small
		config.FS = fs
		for range 2 { // the second time with a segment that voids what is torn
			s, err := pebble.Open("data", config)
			if err != nil {
				t.Fatalf("log of %d bytes: %v", size, err)
			}
			if height, err := s.Height(t.Context(), "ch"); err != nil || height < 2 {
				t.Fatalf("log of %d bytes: height %d, %v", size, height, err)
			} else if height == 2 {
				err = c.append(t.Context(), s, 2)
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := c.verify(t.Context(), s, 3); err != nil {
				t.Fatalf("log of %d bytes: %v", size, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := pebble.CheckFS(fs, "data"); err != nil {
			t.Fatalf("log of %d bytes: %v", size, err)
		}
	}
}
