package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A file of an archive to be.
type file struct {
	name       string
	executable bool
	content    []byte
}

// Pack makes a golang package of the Go contract in a directory, which a Fabric peer takes too: the files of its module that
// go into the program, go.mod and go.sum, the module's vendor directory as far as it is used, and the contract's META-INF.
// Modules that are neither vendored nor part of the module are fetched when the package is built. The same source makes the
// same bytes.
func Pack(ctx context.Context, dir, label string, config BuildConfig) ([]byte, error) {
	tool, err := newToolchain(config)
	if err != nil {
		return nil, err
	}
	packages, err := tool.list(ctx, dir, ".")
	if err != nil {
		return nil, err
	}
	contract := packages[len(packages)-1]
	if contract.Name != "main" {
		return nil, fmt.Errorf("%w: %s is a library, package %s", ErrNoContract, dir, contract.Name)
	}
	if contract.Module == nil {
		return nil, fmt.Errorf("%w: %s is in no Go module", ErrNoContract, dir)
	}
	root := contract.Module.Dir
	sources := map[string]bool{}
	for _, p := range packages {
		if p.Standard || p.versioned() {
			continue
		}
		if !inside(root, p.Dir) {
			return nil, fmt.Errorf("%w: package %s lies outside the module in %s; vendor it (go mod vendor)", ErrNoContract, p.ImportPath, root)
		}
		for _, file := range p.files() {
			sources[file] = true
		}
		if p.Module != nil && p.Module.GoMod != "" {
			sources[p.Module.GoMod] = true
		}
	}
	for _, name := range []string{"go.sum", filepath.Join("vendor", "modules.txt")} {
		if path := filepath.Join(root, name); exists(path) {
			sources[path] = true
		}
	}
	files, err := readSources(root, sources)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	metainf, err := readMetaInf(contract.Dir)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	raw, err := pack(Metadata{Type: Golang, Label: label, Path: contract.ImportPath}, append(files, metainf...), gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := ParsePackage(raw); err != nil { // a directory can hold what a package cannot
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	return raw, nil
}

// PackBinary makes a package of a program that was built for a platform, GOOS/GOARCH. dir is the directory of its source, whose
// META-INF goes with it; empty: none does.
func PackBinary(label, platform string, program []byte, dir string) ([]byte, error) {
	files := []file{{name: programFile, executable: true, content: program}}
	if dir != "" {
		metainf, err := readMetaInf(dir)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", label, err)
		}
		files = append(files, metainf...)
	}
	return pack(Metadata{Type: Binary, Label: label, Platform: platform}, files, gzip.BestSpeed)
}

// PackService makes a ccaas package, which a Fabric peer takes too.
func PackService(label string, connection Connection) ([]byte, error) {
	if err := connection.check(); err != nil {
		return nil, fmt.Errorf("pack service %s: %w: %w", label, ErrInvalidPackage, err)
	}
	content, err := json.Marshal(connection)
	if err != nil {
		return nil, fmt.Errorf("pack service %s: %w", label, err)
	}
	return pack(Metadata{Type: Service, Label: label}, []file{{name: connectionFile, content: content}}, gzip.DefaultCompression)
}

// pack writes a package.
func pack(metadata Metadata, files []file, level int) ([]byte, error) {
	about, err := json.Marshal(metadata)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", metadata.Label, err)
	}
	if err := parseMetadata(about, &metadata); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	code, err := writeArchive(files, level)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", metadata.Label, err)
	}
	raw, err := writeArchive([]file{{name: metadataFile, content: about}, {name: codeFile, content: code}}, gzip.NoCompression)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", metadata.Label, err)
	}
	if len(raw) > MaxPackage {
		return nil, fmt.Errorf("pack %s: %w: %d bytes, at most %d", metadata.Label, ErrPackageTooLarge, len(raw), MaxPackage)
	}
	return raw, nil
}

// writeArchive writes a gzipped tar that depends on names, contents and the executable bit alone.
func writeArchive(files []file, level int) ([]byte, error) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var out bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		mode := int64(0o644)
		if f.executable {
			mode = 0o755
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: mode, Size: int64(len(f.content)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func readSources(root string, sources map[string]bool) ([]file, error) {
	var files []file
	for source := range sources {
		relative, err := filepath.Rel(root, source)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: path.Join(sourceDir, filepath.ToSlash(relative)), content: content})
	}
	return files, nil
}

// readMetaInf returns the files below META-INF, where Fabric contracts keep their CouchDB indexes.
func readMetaInf(dir string) ([]file, error) {
	if !exists(filepath.Join(dir, "META-INF")) {
		return nil, nil
	}
	var files []file
	fsys := os.DirFS(dir)
	err := fs.WalkDir(fsys, "META-INF", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		content, err := fs.ReadFile(fsys, name)
		files = append(files, file{name: name, content: content})
		return err
	})
	return files, err
}

// ReadIndexes returns what the package of the contract in a directory brings as Package.Indexes.
func ReadIndexes(dir string) ([]string, error) {
	files, err := readMetaInf(dir)
	if err != nil {
		return nil, fmt.Errorf("read indexes of %s: %w", dir, err)
	}
	indexes := make(map[string][]byte)
	for _, f := range files {
		if isIndex(f.name) {
			indexes[f.name] = f.content
		}
	}
	all, err := definitions(indexes)
	if err != nil {
		return nil, fmt.Errorf("read indexes of %s: %w", dir, err)
	}
	return all, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
