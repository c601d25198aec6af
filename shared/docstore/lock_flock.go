//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package docstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile waits for the lock of the file at path, which it creates. The lock ends with the process.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}
