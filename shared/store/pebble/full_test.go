package pebble_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
	"peerless/shared/store/pebble"
)

// quotaFS is a file system that can be full, and whose syncs can fail.
type quotaFS struct {
	vfs.FS
	mu       sync.Mutex
	quota    int // bytes that can still be written; -1 for no limit
	failSync func(name string) bool
}

// take takes up to n bytes of the quota.
func (q *quotaFS) take(n int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.quota < 0 {
		return n
	}
	n = min(n, q.quota)
	q.quota -= n
	return n
}

func (q *quotaFS) set(quota int, failSync func(string) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.quota, q.failSync = quota, failSync
}

func (q *quotaFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if q.take(1) == 0 {
		return nil, &os.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	f, err := q.FS.Create(name, c)
	return quotaFile{f, q, name}, err
}

type quotaFile struct {
	vfs.File
	fs   *quotaFS
	name string
}

func (f quotaFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b[:f.fs.take(len(b))])
	if err == nil && n < len(b) {
		err = &os.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	return n, err
}

func (f quotaFile) Sync() error     { return f.sync(f.File.Sync) }
func (f quotaFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f quotaFile) sync(sync func() error) error {
	f.fs.mu.Lock()
	fail := f.fs.failSync
	f.fs.mu.Unlock()
	if fail != nil && fail(f.name) {
		return &os.PathError{Op: "sync", Path: f.name, Err: syscall.EIO}
	}
	return sync()
}

// TestDiskFull fills the disk at random moments, in the middle of any write, and frees it again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for run := range uint64(12) {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, run))
			fs := &quotaFS{FS: vfs.Default, quota: -1}
			dir := t.TempDir()
			config := small
			config.FS = fs
			s := open(t, dir, config)
			c := chain{"ch", seed}
			height, failures := uint64(0), 0
			for range 4 {
				for range rng.IntN(60) {
					if err := c.append(t.Context(), s, height); err != nil {
						t.Fatalf("append block %d with space: %v", height, err)
					}
					height++
				}
				fs.set(rng.IntN(60_000), nil)
				var err error
				for err == nil {
					if err = c.append(t.Context(), s, height); err == nil {
						height++
					}
				}
				if !errors.Is(err, pebble.ErrDiskFull) {
					t.Fatalf("append block %d: got %v, want ErrDiskFull", height, err)
				}
				failures++
				// Whoever asks now is told the truth, or that it is not known.
				if _, err := s.Block(t.Context(), c.channel, height); err == nil || !errors.Is(err, ledger.ErrNotFound) && !errors.Is(err, pebble.ErrDiskFull) {
					t.Fatalf("block %d that failed: %v", height, err)
				}
				if err := c.verify(t.Context(), s, height); err != nil && !errors.Is(err, pebble.ErrDiskFull) {
					t.Fatal(err)
				}
				// What a crash here would leave has everything too.
				copied := t.TempDir()
				if err := os.CopyFS(filepath.Join(copied, "log"), os.DirFS(filepath.Join(dir, "log"))); err != nil {
					t.Fatal(err)
				}
				crashed := open(t, copied, small)
				if err := c.verify(t.Context(), crashed, height); err != nil {
					t.Fatal(err)
				}
				if err := crashed.Close(); err != nil {
					t.Fatal(err)
				}
				fs.set(-1, nil)
				if err := awaitSpace(t, c, s, height); errors.Is(err, pebble.ErrFailed) {
					reopenElsewhere(t, dir, c, height)
					return
				}
				height++
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := pebble.Check(dir); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, small)
			if err := c.verify(t.Context(), s, height); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// awaitSpace appends block n as soon as the store has noticed that there is space again: a flush that failed must have
// been repeated. It returns ErrFailed if the disk was full when Pebble wrote its manifest: then only a new process helps.
func awaitSpace(t *testing.T, c chain, s *pebble.Store, n uint64) error {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := c.append(t.Context(), s, n)
		if err == nil || errors.Is(err, pebble.ErrFailed) {
			return err
		}
		if !errors.Is(err, pebble.ErrDiskFull) || time.Now().After(deadline) {
			t.Fatalf("append block %d after space was freed: %v", n, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// reopenElsewhere opens a copy of a directory whose store has failed, as the next process opens the directory, and finds every
// block that was acknowledged.
func reopenElsewhere(t *testing.T, dir string, c chain, height uint64) {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s := open(t, copied, small)
	if err := c.verify(t.Context(), s, height); err != nil {
		t.Fatal(err)
	}
	if err := c.append(t.Context(), s, height); err != nil {
		t.Errorf("append block %d after a restart: %v", height, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSyncFails loses the sync of a block, and of the segment that would void it, for a while.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	fs := &quotaFS{FS: vfs.Default, quota: -1}
	dir := t.TempDir()
	config := small
	config.FS = fs
	s := open(t, dir, config)
	c, other := chain{"ch", 1}, chain{"ch", 2} // other makes different blocks of the same numbers
	for n := range uint64(3) {
		if err := c.append(t.Context(), s, n); err != nil {
			t.Fatal(err)
		}
	}

	// One sync fails: the record is voided at once.
	failed := false
	fs.set(-1, func(name string) bool { first := !failed; failed = true; return first })
	if err := other.append(t.Context(), s, 3); !errors.Is(err, syscall.EIO) {
		t.Fatalf("append: got %v, want EIO", err)
	}
	if err := c.verify(t.Context(), s, 3); err != nil {
		t.Fatal(err)
	}

	// All syncs fail: nobody can tell whether block 3 will count.
	fs.set(-1, func(name string) bool { return strings.HasSuffix(name, ".log") })
	if err := other.append(t.Context(), s, 3); !errors.Is(err, syscall.EIO) {
		t.Fatalf("append: got %v, want EIO", err)
	}
	if height, err := s.Height(t.Context(), "ch"); err == nil {
		t.Errorf("height while in doubt: got %d, want an error", height)
	}
	if _, err := s.Block(t.Context(), "ch", 3); err == nil || errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("block 3 while in doubt: got %v, want an error that is not ErrNotFound", err)
	}
	if _, err := s.Block(t.Context(), "ch", 2); err != nil {
		t.Errorf("block 2 while block 3 is in doubt: %v", err)
	}
	if height, err := s.Height(t.Context(), "another"); err != nil || height != 0 {
		t.Errorf("height of another channel: got %d, %v", height, err)
	}

	// They work again: it does not count, here and after a restart.
	fs.set(-1, nil)
	if err := c.verify(t.Context(), s, 3); err != nil {
		t.Fatal(err)
	}
	if err := c.append(t.Context(), s, 3); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, small)
	defer s.Close()
	if err := c.verify(t.Context(), s, 4); err != nil {
		t.Fatal(err)
	}
}

// TestStateFails fails what Pebble cannot go on without: the sync of its manifest.
func TestStateFails(t *testing.T) {
	t.Parallel()
	fs := &quotaFS{FS: vfs.Default, quota: -1}
	dir := t.TempDir()
	config := small
	config.FS = fs
	s := open(t, dir, config)
	c := chain{"ch", 1}
	fs.set(-1, func(name string) bool { return strings.Contains(name, "MANIFEST") })
	height := uint64(0)
	for ; height < 1000; height++ {
		if err := c.append(t.Context(), s, height); err != nil {
			if !errors.Is(err, pebble.ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("append: got %v, want ErrFailed and its cause", err)
			}
			break
		}
	}
	if height == 1000 {
		t.Fatal("the manifest was not written in 1000 blocks")
	}
	if _, err := s.Height(t.Context(), "ch"); !errors.Is(err, pebble.ErrFailed) {
		t.Errorf("height: got %v, want ErrFailed", err)
	}
	if _, err := s.Block(t.Context(), "ch", height); !errors.Is(err, pebble.ErrFailed) {
		t.Errorf("block: got %v, want ErrFailed", err)
	}
	if err := s.Close(); !errors.Is(err, pebble.ErrFailed) {
		t.Errorf("close: got %v, want ErrFailed", err)
	}
	if _, err := pebble.Open(dir, small); !errors.Is(err, pebble.ErrInUse) {
		t.Errorf("open by the same process: got %v, want ErrInUse", err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s = open(t, copied, small)
	defer s.Close()
	if err := c.verify(t.Context(), s, height); err != nil {
		t.Fatal(err)
	}
}
