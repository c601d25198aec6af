//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package docstore

// lockFile does nothing here: only one process at a time may write.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }
