package deploy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"peerless/shared/ledger"
	"peerless/shared/mango"
)

// Errors of reading a package, wrapped with what is wrong and where.
var (
	// ErrInvalidPackage: the bytes are not a chaincode package.
	ErrInvalidPackage = errors.New("invalid chaincode package")
	// ErrPackageTooLarge: the package is larger than the limits allow, or unpacks to more.
	ErrPackageTooLarge = errors.New("chaincode package is too large")
	// ErrUnsupportedPackage: a valid package that cannot run here, because of its type or its platform.
	ErrUnsupportedPackage = errors.New("chaincode package is not supported here")
)

// A Type says what a package's code is.
type Type string

// The types of packages.
const (
	Golang  Type = "golang" // source under src/
	Node    Type = "node"   // package.json and what it needs under src/
	Java    Type = "java"   // a Maven or Gradle project, or jars, under src/
	Service Type = "ccaas"  // connection.json
	Binary  Type = "binary" // bin/chaincode, an executable for one platform
)

// InProcess is the type of an installation that is no package but a contract linked into this program.
const InProcess Type = "in-process"

// Names within a package.
const (
	metadataFile   = "metadata.json"
	codeFile       = "code.tar.gz"
	connectionFile = "connection.json"
	programFile    = "bin/chaincode"
	sourceDir      = "src/"
	couchdbDir     = "META-INF/statedb/couchdb/"
)

// MaxIndexes is the most indexes that a package may bring: each costs a write with every write.
const MaxIndexes = 64

// labels are what Fabric allows (core/chaincode/persistence, LabelRegexp).
var labels = regexp.MustCompile(`^[[:alnum:]][[:alnum:]_.+-]*$`)

// maxLabel is the longest label, in bytes; Fabric has no limit of its own but a file name's.
const maxLabel = 128

// platforms are what Go calls them: GOOS/GOARCH.
var platforms = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`)

// Metadata is a package's metadata.json.
type Metadata struct {
	Type  Type   `json:"type"`
	Label string `json:"label"`
	// Path is the import path of the program in a golang package.
	Path string `json:"path,omitempty"`
	// Platform is where a binary package runs: GOOS/GOARCH.
	Platform string `json:"platform,omitempty"`
}

// A Package is a chaincode package that has been checked from its first byte to its last.
type Package struct {
	Metadata
	// ID is label:sha256, the SHA-256 of the package in hex, as Fabric's package id.
	ID string
	// Connection is the service of a ccaas package, nil otherwise.
	Connection *Connection
	// Indexes are the definitions of indexes of its state, by file name: the package's META-INF/statedb/couchdb/indexes/*.json, and
	// collections/NAME/indexes/*.json beside.
	Indexes []string

	code []byte // code.tar.gz
}

// ParsePackage reads a package. It keeps a part of raw.
func ParsePackage(raw []byte) (*Package, error) {
	if len(raw) > MaxPackage {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrPackageTooLarge, len(raw), MaxPackage)
	}
	var metadata, code []byte
	err := readArchive(raw, func(e *entry) error {
		var into *[]byte
		switch e.name {
		case metadataFile:
			into = &metadata
		case codeFile:
			into = &code
		default:
			return fmt.Errorf("%w: unexpected %q beside %s and %s", ErrInvalidPackage, e.name, metadataFile, codeFile)
		}
		if e.directory {
			return fmt.Errorf("%w: %s is a directory", ErrInvalidPackage, e.name)
		}
		var err error
		*into, err = io.ReadAll(e.body)
		return err
	})
	if err != nil {
		return nil, err
	}
	if metadata == nil {
		return nil, fmt.Errorf("%w: there is no %s in it", ErrInvalidPackage, metadataFile)
	}
	if code == nil {
		return nil, fmt.Errorf("%w: there is no %s in it", ErrInvalidPackage, codeFile)
	}
	p := &Package{code: code}
	if err := parseMetadata(metadata, &p.Metadata); err != nil {
		return nil, err
	}
	if err := p.readCode(); err != nil {
		return nil, fmt.Errorf("%s: %w", codeFile, err)
	}
	sum := sha256.Sum256(raw)
	p.ID = p.Label + ":" + hex.EncodeToString(sum[:])
	return p, nil
}

// packageType returns the type that a package names, without a look at its code.
func packageType(raw []byte) (Type, error) {
	var metadata Metadata
	found := errors.New("found")
	err := readArchive(raw, func(e *entry) error {
		if e.name != metadataFile || e.directory {
			return nil
		}
		content, err := io.ReadAll(e.body)
		if err == nil {
			err = parseMetadata(content, &metadata)
		}
		return cmp.Or(err, found)
	})
	if errors.Is(err, found) {
		return metadata.Type, nil
	}
	return "", cmp.Or(err, fmt.Errorf("%w: there is no %s in it", ErrInvalidPackage, metadataFile))
}

func parseMetadata(raw []byte, m *Metadata) error {
	if err := json.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalidPackage, metadataFile, err)
	}
	m.Type = Type(strings.ToLower(string(m.Type)))
	if !labels.MatchString(m.Label) || len(m.Label) > maxLabel {
		return fmt.Errorf("%w: label %.140q: want letters, digits and _ . + -, the first a letter or digit, at most %d", ErrInvalidPackage, m.Label, maxLabel)
	}
	switch m.Type {
	case Service, Node, Java:
	case Golang:
		if !validImportPath(m.Path) {
			return fmt.Errorf("%w: path %q is no import path", ErrInvalidPackage, m.Path)
		}
	case Binary:
		if !platforms.MatchString(m.Platform) {
			return fmt.Errorf("%w: platform %q: want an operating system and an architecture, like linux/amd64", ErrInvalidPackage, m.Platform)
		}
	case "":
		return fmt.Errorf("%w: %s names no type", ErrInvalidPackage, metadataFile)
	default:
		return fmt.Errorf("%w: type %q: want %s, %s, %s, %s or %s", ErrUnsupportedPackage, m.Type, Golang, Node, Java, Service, Binary)
	}
	return nil
}

// importPaths are clean relative paths of the characters that Go allows in them. A dash does not come first: the path is
// an argument of the Go command.
var importPaths = regexp.MustCompile(`^[A-Za-z0-9_.~][A-Za-z0-9_.~+/-]*$`)

func validImportPath(p string) bool {
	return importPaths.MatchString(p) && path.Clean(p) == p && p != ".." && !strings.HasPrefix(p, "../") && !strings.Contains(p, "...")
}

// readCode checks the code of a package, and that it is what the type wants.
func (p *Package) readCode() error {
	var found bool
	indexes := make(map[string][]byte)
	err := readArchive(p.code, func(e *entry) error {
		if e.directory {
			return nil
		}
		switch {
		case isIndex(e.name):
			raw, err := io.ReadAll(e.body)
			if err != nil {
				return err
			}
			if _, err := mango.ParseIndex(raw); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrInvalidPackage, e.name, err)
			}
			if indexes[e.name] = raw; len(indexes) > MaxIndexes {
				return fmt.Errorf("%w: more than %d indexes in %s", ErrInvalidPackage, MaxIndexes, couchdbDir)
			}
		case p.Type == Service && e.name == connectionFile:
			found = true
			raw, err := io.ReadAll(e.body)
			if err != nil {
				return err
			}
			p.Connection, err = parseConnection(raw)
			return err
		case p.Type == Binary && e.name == programFile:
			found = true
		case p.Type == Golang && strings.HasPrefix(e.name, sourceDir) && strings.HasSuffix(e.name, ".go"):
			found = true
		case p.Type == Node && e.name == sourceDir+packageJSON:
			found = true
			raw, err := io.ReadAll(e.body)
			if err != nil {
				return err
			}
			if _, err := parseNodePackage(raw); err != nil {
				return fmt.Errorf("%w: %w", ErrInvalidPackage, err)
			}
		case p.Type == Java && isJavaSource(e.name):
			found = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if p.Indexes, err = definitions(indexes); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPackage, err)
	}
	if !found {
		want := map[Type]string{Service: connectionFile, Binary: programFile, Golang: "a Go file under " + sourceDir,
			Node: sourceDir + packageJSON, Java: "a pom.xml, build.gradle or jar in " + sourceDir}[p.Type]
		return fmt.Errorf("%w: it lacks %s, which type %s wants", ErrInvalidPackage, want, p.Type)
	}
	return nil
}

// isIndex reports whether a file of a package defines an index: indexes/*.json in couchdbDir for the public state, collections/NAME/indexes/*.json
// for a collection.
func isIndex(name string) bool {
	if path.Ext(name) != ".json" {
		return false
	}
	dir := path.Dir(name)
	return dir == couchdbDir+"indexes" || indexedCollection(name) != ""
}

// indexedCollection returns the collection that a file of a package defines an index of, empty if it is none's.
func indexedCollection(name string) string {
	below, ok := strings.CutPrefix(name, couchdbDir+"collections/")
	parts := strings.Split(below, "/")
	if !ok || len(parts) != 3 || parts[1] != "indexes" {
		return ""
	}
	return parts[0]
}

// definitions returns the indexes that files define, in the order of the files' names, as ledger.Definition has them.
func definitions(files map[string][]byte) ([]string, error) {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		definition := string(files[name])
		if collection := indexedCollection(name); collection != "" {
			var err error
			if definition, err = ledger.CollectionIndex(collection, files[name]); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		all = append(all, definition)
	}
	return all, nil
}

// supported returns an error if the package cannot run on this machine.
func (p *Package) supported() error {
	if here := runtime.GOOS + "/" + runtime.GOARCH; p.Type == Binary && p.Platform != here {
		return fmt.Errorf("%w: it is built for %s, this is %s", ErrUnsupportedPackage, p.Platform, here)
	}
	return nil
}

// A PackageID taken apart.
func splitPackageID(id string) (label, hash string, ok bool) {
	label, hash, ok = strings.Cut(id, ":")
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size || hash != strings.ToLower(hash) {
		return "", "", false
	}
	return label, hash, ok && labels.MatchString(label)
}

// equalHash reports whether bytes are those of a package id.
func equalHash(raw []byte, hash string) bool {
	sum := sha256.Sum256(raw)
	want, err := hex.DecodeString(hash)
	return err == nil && bytes.Equal(sum[:], want)
}
