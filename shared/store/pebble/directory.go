package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
)

// formatVersion is the version of all that doc.go describes.
const formatVersion = 1

const (
	versionFile   = "PEERLESS"
	versionPrefix = "Peerless data directory, format "
	lockFile      = "LOCK"
	sealFile      = "SEAL"
	logDir        = "log"
	recordsDir    = "queue"
	stateDir      = "state"
)

// directory is a data directory that this process has locked.
type directory struct {
	fs   vfs.FS
	path string
	lock io.Closer
}

func (d *directory) file(name string) string { return d.fs.PathJoin(d.path, name) }
func (d *directory) log() string             { return d.file(logDir) }
func (d *directory) state() string           { return d.file(stateDir) }
func (d *directory) records() string         { return d.file(recordsDir) }
func (d *directory) private() string         { return d.file(privateDir) }

// lockDirectory checks that path is a data directory of this format, and locks it. An empty or absent directory is made one if
// create is set.
func lockDirectory(fs vfs.FS, path string, create bool) (*directory, error) {
	d := &directory{fs: fs, path: path}
	names, err := fs.List(path)
	if errors.Is(err, os.ErrNotExist) && create {
		err = fs.MkdirAll(path, 0o700)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, versionFile) && !d.unfinished(names) {
		return nil, ErrNotStore
	}
	if d.lock, err = fs.Lock(d.file(lockFile)); err != nil {
		if errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS) || isReadOnly(err) {
			return nil, err
		}
		if errors.Is(classify(err), ErrDiskFull) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err := d.prepare(create); err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	return d, nil
}

// isReadOnly tells the refusal to open the lock file from the refusal of the lock, which can be the same number.
func isReadOnly(err error) bool {
	var p *os.PathError
	return errors.As(err, &p) && errors.Is(err, os.ErrPermission)
}

// unfinished reports whether names are those of an empty directory, or of one whose making was interrupted.
func (d *directory) unfinished(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		return name != lockFile && name != versionFile+".new" && name != logDir && name != "lost+found"
	})
}

// prepare checks the format, or makes the directory.
func (d *directory) prepare(create bool) error {
	text, err := readFile(d.fs, d.file(versionFile))
	if errors.Is(err, os.ErrNotExist) && create {
		return d.make()
	} else if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(string(text), versionPrefix)
	number, ok2 := strings.CutSuffix(rest, "\n")
	version, err := strconv.ParseUint(number, 10, 32)
	switch {
	case !ok || !ok2 || err != nil || strconv.FormatUint(version, 10) != number || version == 0:
		return damaged("%s does not name a format", versionFile)
	case version > formatVersion:
		return fmt.Errorf("%w: %d, this program knows %d", ErrNewerFormat, version, formatVersion)
	}
	return nil
}

// make makes the directory a data directory. The version file comes last.
func (d *directory) make() error {
	if err := d.fs.MkdirAll(d.log(), 0o700); err != nil {
		return err
	}
	return writeFile(d.fs, d.path, versionFile, fmt.Appendf(nil, "%s%d\n", versionPrefix, formatVersion))
}

func (d *directory) unlock() error { return d.lock.Close() }

func readFile(fs vfs.FS, path string) (data []byte, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// writeFile makes the file appear in dir with all of data, durably, or not at all.
func writeFile(fs vfs.FS, dir, name string, data []byte) error {
	path := fs.PathJoin(dir, name)
	f, err := fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// Open opens the store in dir, an absent or empty directory at first. It fails with a *PathError: ErrInUse, ErrNewerFormat,
// ErrNotStore, ErrReadOnly, ErrDiskFull or ledger.ErrDamaged.
func Open(dir string, c Config) (*Store, error) {
	c = c.withDefaults()
	d, err := lockDirectory(c.FS, dir, true)
	if err != nil {
		return nil, pathError(dir, err)
	}
	s := &Store{config: c, dir: d, channels: make(map[string]*channel), views: make(map[*view]struct{})}
	if err := s.open(); err != nil {
		if s.db != nil {
			err = errors.Join(err, s.db.shut())
		}
		return nil, pathError(dir, errors.Join(err, d.unlock()))
	}
	return s, nil
}

func (s *Store) open() error {
	sums, err := breakSeal(s.dir)
	if err != nil {
		return err
	}
	s.db, err = openDatabase(s.config.FS, s.dir.state(), s.config, false)
	if err != nil {
		if !errors.Is(classify(err), ErrDiskFull) && !errors.Is(classify(err), ErrReadOnly) {
			err = fmt.Errorf("%w: %w: %w", errDamagedState, ledger.ErrDamaged, err)
		}
		return err
	}
	s.log = &log{fs: s.config.FS, dir: s.dir.log(), folder: logDir, size: s.config.SegmentBytes, sums: sums}
	s.private = newPrivateLog(s.config.FS, s.dir.path, s.dir.private(), s.config.Staged)
	private, err := s.private.open()
	if err != nil {
		return err
	}
	if err := s.replay(private); err != nil {
		return err
	}
	if len(s.private.segments) > 0 {
		if err := s.sweep(context.Background(), false); err != nil {
			return err
		}
	}
	s.records, err = openRecords(s, sums)
	return err
}

// replay puts into the database what only the logs have.
func (s *Store) replay(private map[blockWrites][]ledger.Write) error {
	savepoints, err := s.db.savepoints()
	if err != nil {
		return fmt.Errorf("%w: %w", errDamagedState, err)
	}
	from, err := s.db.replayPosition()
	if err != nil {
		return fmt.Errorf("%w: %w", errDamagedState, err)
	}
	var plain []byte
	s.log.previous, s.log.cut, err = scan(s.config.FS, s.dir.log(), whole, from, func(start, end position, payload []byte) error {
		r, err := parsePayload(payload, &plain)
		if err != nil {
			return err
		}
		height := savepoints[r.channel]
		if r.number < height {
			return nil
		}
		if r.number > height {
			return fmt.Errorf("%w: %w", errDamagedState, damaged("it has %d blocks of channel %q, and the log goes on with %d", height, r.channel, r.number))
		}
		batch, err := r.batch()
		if err != nil {
			return err
		}
		batch.Private = private[blockWrites{r.channel, r.number, string(batch.Hash)}]
		effects, err := s.db.effects(r.channel, batch, start, end, end)
		if err != nil {
			return err
		}
		if err := errors.Join(s.db.commit(effects), effects.Close()); err != nil {
			return err
		}
		savepoints[r.channel]++
		return nil
	})
	if err != nil {
		return err
	}
	for name, height := range savepoints {
		c := &channel{}
		c.height.Store(height)
		s.channels[name] = c
	}
	return nil
}

// Close releases the directory. Views that are open can no longer be read. It seals the directory: from now on Check
// notices a flip of any byte of any file. An error means that there is no seal; nothing that was acknowledged is lost.
func (s *Store) Close() error {
	s.lifetime.Lock()
	defer s.lifetime.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if len(s.private.segments) > 0 {
		errs = append(errs, s.sweep(context.Background(), false), s.private.close())
	}
	s.mu.Lock()
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
	for v := range s.views {
		errs = append(errs, v.release())
	}
	clear(s.views)
	s.mu.Unlock()
	errs = append(errs, s.log.close(), s.records.log.close(), s.db.shut())
	if errors.Join(errs...) == nil {
		maps.Copy(s.log.sums, s.records.log.sums)
		errs = append(errs, seal(s.dir, s.log.sums))
	}
	if s.db.failure() == nil { // else parts of Pebble may still be at work in there
		errs = append(errs, s.dir.unlock())
	}
	if err := errors.Join(errs...); err != nil {
		return pathError(s.dir.path, fmt.Errorf("close: %w", err))
	}
	return nil
}
