package main

import "github.com/cockroachdb/pebble/v2/vfs"

// scratchFS is the operating system's file system without waiting for the disk: for what is thrown away.
type scratchFS struct{ vfs.FS }

func (fs scratchFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(fs.FS.Create(name, category))
}

func (fs scratchFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return unsynced(fs.FS.OpenReadWrite(name, category, options...))
}

func (fs scratchFS) ReuseForWrite(old, now string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(fs.FS.ReuseForWrite(old, now, category))
}

func (fs scratchFS) OpenDir(name string) (vfs.File, error) { return unsynced(fs.FS.OpenDir(name)) }

type scratchFile struct{ vfs.File }

func unsynced(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return scratchFile{f}, nil
}

func (scratchFile) Sync() error                       { return nil }
func (scratchFile) SyncData() error                   { return nil }
func (scratchFile) SyncTo(int64) (full bool, _ error) { return true, nil }
