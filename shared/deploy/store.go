package deploy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"peerless/shared/sealed"
)

// A manager's directory:
//
//	packages/LABEL.SHA256.tar.gz   as they came
//	programs/SHA256/chaincode      built or unpacked from the package with this hash: a program, or a directory for Node and Java
//	programs/SHA256/sha256         of that, in hex
//	bindings.json
//
// Packages and bindings are durable when the call that made them returns. Programs are made again from their package
// whenever they are missing or not what their hash says.

func (m *Manager) packagesDir() string { return filepath.Join(m.dir, "packages") }

func (m *Manager) programsDir() string { return filepath.Join(m.dir, "programs") }

const packageSuffix = ".tar.gz"

// packagePath is where a package is; of what is no package id, nowhere.
func (m *Manager) packagePath(id string) string {
	label, hash, ok := splitPackageID(id)
	if !ok {
		return filepath.Join(m.packagesDir(), "none")
	}
	return filepath.Join(m.packagesDir(), label+"."+hash+packageSuffix)
}

// Install checks a package, makes it ready to run, which for source means to build it, and keeps it. Installing it again is
// fine. The errors are those of ParsePackage, ErrUnsupportedPackage, ErrNoToolchain, or a *BuildError.
func (m *Manager) Install(ctx context.Context, raw []byte) (packageID string, err error) {
	p, err := ParsePackage(raw)
	if err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	if err := p.supported(); err != nil {
		return "", fmt.Errorf("install %s: %w", p.ID, err)
	}
	if _, err := m.prepare(ctx, p); err != nil {
		return "", fmt.Errorf("install %s: %w", p.ID, err)
	}
	path := m.packagePath(p.ID)
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, raw) {
		return p.ID, nil
	}
	if err := writeFile(path, raw); err != nil {
		return "", fmt.Errorf("install %s: %w", p.ID, err)
	}
	return p.ID, nil
}

// Uninstall forgets a package. ErrInUse if it is bound, ErrNotFound if it is not there.
func (m *Manager) Uninstall(_ context.Context, packageID string) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runners[packageID] != nil {
		return fmt.Errorf("uninstall %s: %w", packageID, ErrInUse)
	}
	err := os.Remove(m.packagePath(packageID))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("uninstall %q: %w", packageID, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("uninstall %s: %w", packageID, err)
	}
	_, hash, _ := splitPackageID(packageID)
	if err := os.RemoveAll(filepath.Join(m.programsDir(), hash)); err != nil {
		return fmt.Errorf("uninstall %s: %w", packageID, err)
	}
	return nil
}

// Packages returns the ids of the packages that are installed, sorted.
func (m *Manager) Packages() ([]string, error) {
	entries, err := os.ReadDir(m.packagesDir())
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		name, found := strings.CutSuffix(entry.Name(), packageSuffix)
		dot := strings.LastIndexByte(name, '.')
		if !found || dot < 0 {
			continue
		}
		if id := name[:dot] + ":" + name[dot+1:]; filepath.Base(m.packagePath(id)) == entry.Name() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Package returns the bytes of an installed package. ErrNotFound if it is not there, ErrDamaged if they are not what was
// installed.
func (m *Manager) Package(packageID string) ([]byte, error) {
	raw, err := os.ReadFile(m.packagePath(packageID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("package %q: %w", packageID, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", packageID, err)
	}
	if _, hash, _ := splitPackageID(packageID); !equalHash(raw, hash) {
		return nil, fmt.Errorf("package %s: %w", packageID, ErrDamaged)
	}
	return raw, nil
}

// packageType returns the type of an installed package, empty if it cannot be read.
func (m *Manager) packageType(id string) Type {
	raw, err := m.Package(id)
	if err != nil {
		return ""
	}
	kind, err := packageType(raw)
	if err != nil {
		return ""
	}
	return kind
}

// Verify reads all that is stored and returns an error for each package or program that is not what was written, joined.
func (m *Manager) Verify(ctx context.Context) error {
	ids, err := m.Packages()
	if err != nil {
		return err
	}
	_, err = m.loadBindings()
	problems := []error{err}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := m.Package(id)
		problems = append(problems, err)
		_, hash, _ := splitPackageID(id)
		if _, err := m.readyProgram(hash); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Errorf("program of %s: %w", id, err))
		}
	}
	return errors.Join(problems...)
}

// A ready package can be run.
type ready struct {
	program    string      // path of a program, or of a Node or Java contract's directory, or
	connection *Connection // of a service
}

// prepared returns an installed package ready to run.
func (m *Manager) prepared(ctx context.Context, id string) (*ready, error) {
	if _, hash, ok := splitPackageID(id); ok {
		if program, err := m.readyProgram(hash); err == nil {
			return &ready{program: program}, nil
		}
	}
	raw, err := m.Package(id)
	if err != nil {
		return nil, err
	}
	p, err := ParsePackage(raw)
	if err != nil {
		return nil, err
	}
	if err := p.supported(); err != nil {
		return nil, err
	}
	return m.prepare(ctx, p)
}

// readyProgram returns the path of a package's program if it is there, and whole.
func (m *Manager) readyProgram(hash string) (string, error) {
	dir := filepath.Join(m.programsDir(), hash)
	want, err := os.ReadFile(filepath.Join(dir, "sha256"))
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "chaincode")
	got, err := treeHash(path)
	if err != nil {
		return "", err
	}
	if got != string(want) {
		return "", ErrDamaged
	}
	return path, nil
}

func fileHash(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// prepare makes a package ready to run.
func (m *Manager) prepare(ctx context.Context, p *Package) (*ready, error) {
	if p.Type == Service {
		return &ready{connection: p.Connection}, nil
	}
	_, hash, _ := splitPackageID(p.ID)
	if program, err := m.readyProgram(hash); err == nil {
		return &ready{program: program}, nil
	}
	temporary, err := os.MkdirTemp(m.programsDir(), "new-")
	if err != nil {
		return nil, fmt.Errorf("make its program: %w", err)
	}
	defer os.RemoveAll(temporary)
	code, result := filepath.Join(temporary, "code"), filepath.Join(temporary, "result")
	if err := errors.Join(os.Mkdir(code, 0o700), os.Mkdir(result, 0o700)); err != nil {
		return nil, fmt.Errorf("make its program: %w", err)
	}
	if err := p.extract(code); err != nil {
		return nil, err
	}
	program := filepath.Join(result, "chaincode")
	build := m.config.Build
	build.Platform = "" // it runs here
	switch p.Type {
	case Golang:
		err = buildPackage(ctx, code, p.Path, program, build)
	case Node:
		err = prepareNode(ctx, code, program, build)
	case Java:
		err = prepareJava(ctx, code, program, build)
	default:
		err = os.Rename(filepath.Join(code, filepath.FromSlash(programFile)), program)
	}
	if err != nil {
		return nil, err
	}
	if err := seal(program); err != nil {
		return nil, fmt.Errorf("make its program: %w", err)
	}
	if program, err := m.readyProgram(hash); err == nil { // made by another call meanwhile
		return &ready{program: program}, nil
	}
	place := filepath.Join(m.programsDir(), hash)
	if err := os.RemoveAll(place); err != nil {
		return nil, fmt.Errorf("make its program: %w", err)
	}
	if err := os.Rename(result, place); err != nil {
		if program, other := m.readyProgram(hash); other == nil { // made by another call
			return &ready{program: program}, nil
		}
		return nil, fmt.Errorf("make its program: %w", err)
	}
	return &ready{program: filepath.Join(place, "chaincode")}, nil
}

// seal makes a program executable, or a directory readable, and writes its hash beside it.
func seal(program string) error {
	if err := os.Chmod(program, 0o500); err != nil {
		return err
	}
	hash, err := treeHash(program)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(program), "sha256"), []byte(hash), 0o600)
}

// A binding as it is written: one of Package and Service is there.
type savedBinding struct {
	Channel      string      `json:"channel"`
	Chaincode    string      `json:"chaincode"`
	Organization string      `json:"organization,omitempty"` // MSP id; left out: of every one without its own
	Package      string      `json:"package,omitempty"`
	Service      *Connection `json:"service,omitempty"`
}

func (b savedBinding) binding() binding { return binding{Name{b.Channel, b.Chaincode}, b.Organization} }

type savedBindings struct {
	Version  int            `json:"version"`
	Bindings []savedBinding `json:"bindings"`
}

// The forms of bindings.json. One in which organisations have bindings of their own is not to be read by a program that does not know
// of them.
const (
	bindingsVersion             = 2
	bindingsVersionOrganization = 3
)

func (m *Manager) bindingsPath() string { return filepath.Join(m.dir, "bindings.json") }

func (m *Manager) loadBindings() ([]savedBinding, error) {
	raw, err := os.ReadFile(m.bindingsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var saved savedBindings
	err = sealed.Unmarshal(raw, &saved)
	if saved.Version != 0 && saved.Version != bindingsVersion && saved.Version != bindingsVersionOrganization {
		return nil, fmt.Errorf("%s has version %d, this program knows %d", m.bindingsPath(), saved.Version, bindingsVersionOrganization)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, m.bindingsPath(), err)
	}
	return saved.Bindings, nil
}

func (m *Manager) saveBindings(bindings map[binding]*runner) error {
	saved := savedBindings{Version: bindingsVersion, Bindings: []savedBinding{}}
	for key, r := range bindings {
		if r.id != "" || r.service != nil {
			if key.mspID != "" {
				saved.Version = bindingsVersionOrganization
			}
			saved.Bindings = append(saved.Bindings, savedBinding{key.Channel, key.Chaincode, key.mspID, r.id, r.service})
		}
	}
	slices.SortFunc(saved.Bindings, func(a, b savedBinding) int {
		return cmp.Or(strings.Compare(a.binding().String(), b.binding().String()), strings.Compare(a.Organization, b.Organization))
	})
	raw, err := sealed.Marshal(saved)
	if err != nil {
		return err
	}
	return writeFile(m.bindingsPath(), raw)
}

// writeFile replaces a file in one step. It is durable when writeFile returns.
func writeFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a directory's entries durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
