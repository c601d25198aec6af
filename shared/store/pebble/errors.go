package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"peerless/shared/ledger"
)

// Errors of Open and, where it makes sense, of every other call. The text that wraps them says what to do.
var (
	// ErrInUse: another process, or another Store of this one, has the directory open.
	ErrInUse = errors.New("data directory is in use")
	// ErrNewerFormat: a newer version of Peerless wrote the directory.
	ErrNewerFormat = errors.New("data directory has a newer format")
	// ErrNotStore: the directory holds files, and they are not Peerless's.
	ErrNotStore = errors.New("not a Peerless data directory")
	// ErrReadOnly: the directory or its file system cannot be written.
	ErrReadOnly = errors.New("data directory cannot be written")
	// ErrDiskFull: there is no space, or no quota, left.
	ErrDiskFull = errors.New("disk is full")
	// ErrFailed: an earlier write failed in a way that only another process can mend. Nothing that was acknowledged is lost.
	ErrFailed = errors.New("store has failed")
	// ErrClosed: the store or the view was closed before the call.
	ErrClosed = errors.New("store is closed")
)

// A PathError is an error of Open or Check with the directory and the remedy.
type PathError struct {
	Dir    string
	Remedy string // what to do about it; can be empty
	Err    error
}

func (e *PathError) Error() string {
	if e.Remedy == "" {
		return fmt.Sprintf("data directory %s: %v", e.Dir, e.Err)
	}
	return fmt.Sprintf("data directory %s: %v: %s", e.Dir, e.Err, e.Remedy)
}

func (e *PathError) Unwrap() error { return e.Err }

// remedies says what to do about each sentinel.
var remedies = []struct {
	err    error
	remedy string
}{
	{ErrInUse, "stop the other process, or use another directory"},
	{ErrNewerFormat, "run the version of Peerless that wrote it, or a later one"},
	{ErrNotStore, "use an empty directory, or one that Peerless made"},
	{ErrReadOnly, "give this user write permission, or use another directory"},
	{ErrDiskFull, "free some space: nothing that was acknowledged is lost"},
	{errDamagedState, "delete its folder state: the next start builds it again from the log"},
	{ledger.ErrDamaged, "restore it from a backup"},
}

// pathError classifies err and adds the remedy.
func pathError(dir string, err error) error {
	err = classify(err)
	for _, r := range remedies {
		if errors.Is(err, r.err) {
			return &PathError{Dir: dir, Remedy: r.remedy, Err: err}
		}
	}
	return &PathError{Dir: dir, Err: err}
}

// errDamagedState: damage in what can be built again from the log. It comes with ledger.ErrDamaged.
var errDamagedState = errors.New("the state is damaged")

// classify joins to err the sentinel of its cause.
func classify(err error) error {
	for _, c := range []struct {
		sentinel error
		is       bool
	}{
		{ErrDiskFull, errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)},
		{ErrReadOnly, errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)},
		{ledger.ErrDamaged, pebble.IsCorruptionError(err)},
	} {
		if c.is && !errors.Is(err, c.sentinel) {
			return fmt.Errorf("%w: %w", c.sentinel, err)
		}
	}
	return err
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ledger.ErrDamaged, fmt.Errorf(format, args...))
}
