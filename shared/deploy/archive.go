package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a package. A Go contract's binary is 15 to 30 MB, its vendored source some 5,000 files of 60 MB together.
const (
	MaxPackage  = 100 << 20 // bytes, packed: the largest gRPC message a Fabric peer takes, so the largest package that can be installed there
	MaxUnpacked = 512 << 20 // bytes of each of the two archives, unpacked
	MaxFiles    = 20_000    // entries of an archive
	MaxRatio    = 200       // unpacked bytes for each packed one, beyond the first ratioFree
	maxName     = 1024      // bytes of a name
	ratioFree   = 1 << 20
)

// An entry is a file or directory of an archive.
type entry struct {
	name      string // clean, relative, with slashes
	directory bool
	mode      fs.FileMode
	body      io.Reader // of a file; what is not read is skipped, and counts too
}

// readArchive calls f with each entry of a gzipped tar and checks all of it: that names stay inside, that there are only
// files and directories, each once, and no file where a directory is; that it unpacks to what the limits allow; and that
// nothing follows.
func readArchive(raw []byte, f func(*entry) error) error {
	packed := bytes.NewReader(raw)
	unzipped, err := gzip.NewReader(packed)
	if err != nil {
		return fmt.Errorf("%w: not gzipped: %w", ErrInvalidPackage, err)
	}
	unzipped.Multistream(false)
	limited := &limitedReader{r: unzipped, limit: unpackedLimit(len(raw))}
	archive := tar.NewReader(limited)
	names := names{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalid("read the archive", err)
		}
		e, err := newEntry(header)
		if err != nil {
			return err
		}
		if err := names.add(e); err != nil {
			return err
		}
		e.body = archive
		if err := f(e); err != nil {
			return invalid(fmt.Sprintf("read %q", e.name), err)
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			return invalid(fmt.Sprintf("read %q", e.name), err)
		}
	}
	if err := onlyZeros(limited); err != nil {
		return invalid("read the end of the archive", err)
	}
	if packed.Len() > 0 {
		return fmt.Errorf("%w: %d bytes follow the archive", ErrInvalidPackage, packed.Len())
	}
	return nil
}

// invalid wraps an error of reading, unless it says already what is wrong with the package.
func invalid(operation string, err error) error {
	if errors.Is(err, ErrInvalidPackage) || errors.Is(err, ErrPackageTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrInvalidPackage, operation, err)
}

func newEntry(header *tar.Header) (*entry, error) {
	e := &entry{mode: fs.FileMode(header.Mode) & 0o111}
	switch header.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		e.directory = true
	default:
		return nil, fmt.Errorf("%w: %.200q is neither a file nor a directory (type %q)", ErrInvalidPackage, header.Name, header.Typeflag)
	}
	e.name = header.Name
	if e.directory {
		e.name = strings.TrimSuffix(e.name, "/")
	}
	e.name = strings.TrimPrefix(e.name, "./") // as tar writes it when it is given "."
	if e.directory && (e.name == "" || e.name == ".") {
		e.name = "."
		return e, nil
	}
	if reason := badName(e.name); reason != "" {
		return nil, fmt.Errorf("%w: name %.200q %s", ErrInvalidPackage, header.Name, reason)
	}
	return e, nil
}

// badName says what is wrong with a name, empty if nothing is.
func badName(name string) string {
	switch {
	case len(name) > maxName:
		return fmt.Sprintf("is longer than %d bytes", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "is not text"
	case strings.ContainsAny(name, `\:`):
		return `has a \ or : in it`
	case path.IsAbs(name):
		return "is absolute"
	case path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) || name == ".":
		return "leads out of the package, or is not in its shortest form"
	}
	return ""
}

// names are those of an archive so far: true for a directory, named or implied.
type names map[string]bool

func (n names) add(e *entry) error {
	if e.name == "." {
		return nil
	}
	if len(n) >= MaxFiles {
		return fmt.Errorf("%w: more than %d files and directories", ErrPackageTooLarge, MaxFiles)
	}
	if directory, there := n[e.name]; there && !(directory && e.directory) {
		return fmt.Errorf("%w: %q is there twice", ErrInvalidPackage, e.name)
	}
	n[e.name] = e.directory
	for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
		directory, there := n[dir]
		if there && !directory {
			return fmt.Errorf("%w: %q is a file and has %q in it", ErrInvalidPackage, dir, e.name)
		}
		if there {
			break
		}
		n[dir] = true
	}
	return nil
}

func unpackedLimit(packed int) int64 {
	return min(ratioFree+int64(packed)*MaxRatio, MaxUnpacked)
}

// A limitedReader fails when more is read than the limit.
type limitedReader struct {
	r     io.Reader
	limit int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.limit -= int64(n)
	if l.limit < 0 {
		return 0, fmt.Errorf("%w: it unpacks to more than %d bytes, or more than %d times its size", ErrPackageTooLarge, int64(MaxUnpacked), MaxRatio)
	}
	return n, err
}

// onlyZeros reads to the end: tar pads archives with zeros.
func onlyZeros(r io.Reader) error {
	buffer := make([]byte, 4096)
	for {
		n, err := r.Read(buffer)
		if len(bytes.Trim(buffer[:n], "\x00")) > 0 {
			return fmt.Errorf("%w: something follows the end of the archive", ErrInvalidPackage)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// extract writes the code of a package into a directory, which must be empty.
func (p *Package) extract(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the directory to unpack into: %w", err)
	}
	defer root.Close()
	var writeErr error
	err = readArchive(p.code, func(e *entry) error {
		writeErr = e.write(root)
		return writeErr
	})
	if writeErr != nil {
		return fmt.Errorf("unpack %s: %w", p.ID, writeErr)
	}
	return err
}

func (e *entry) write(root *os.Root) error {
	if e.directory {
		return root.MkdirAll(e.name, 0o700)
	}
	if err := root.MkdirAll(path.Dir(e.name), 0o700); err != nil {
		return err
	}
	file, err := root.OpenFile(e.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|e.mode&0o100)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, e.body)
	return errors.Join(err, file.Close())
}
