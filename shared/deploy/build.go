package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrNoToolchain: what builds or runs a contract's language is not installed on this machine.
var ErrNoToolchain = errors.New("a tool is not installed")

// A BuildError is what a language's tools say about source that they cannot build.
type BuildError struct {
	Dir    string // what was built
	Output string // the toolchain's own words, lines
}

func (e *BuildError) Error() string { return fmt.Sprintf("build %s:\n%s", e.Dir, e.Output) }

// BuildConfig says how contracts are built. The zero value builds for this machine.
type BuildConfig struct {
	// Go is the go command. Empty: the one in PATH.
	Go string
	// Environ is the environment to choose from, "NAME=value": what finds the toolchain, its caches and its proxy is passed
	// on, nothing else. Nil: this process's.
	Environ []string
	// CacheDir keeps what was built. Empty: peerless/build in the user's cache directory.
	CacheDir string
	// Platform is what to build for, GOOS/GOARCH. Empty: this machine.
	Platform string
	// Compiling is called before Build compiles, which it does not do for what was built before. Nil: nothing is.
	Compiling func()
}

// A Program is a contract that has been built.
type Program struct {
	Path     string // of the executable, in the cache
	Hash     string // of all that went into it, in hex
	Platform string // GOOS/GOARCH
	Cached   bool   // it was built before
}

// cachedPrograms is how many programs stay in the cache: the latest.
const cachedPrograms = 64

// Build compiles the Go main package in a directory: a module of its own, or a package of the module around it. Source that
// was built before, by the content of all its files, is not built again. It changes nothing in the directory. A
// *BuildError carries what the compiler says.
func Build(ctx context.Context, dir string, config BuildConfig) (*Program, error) {
	tool, err := newToolchain(config)
	if err != nil {
		return nil, err
	}
	packages, err := tool.list(ctx, dir, ".")
	if err != nil {
		return nil, err
	}
	if root := packages[len(packages)-1]; root.Name != "main" {
		return nil, fmt.Errorf("%w: %s is a library, package %s", ErrNoContract, dir, root.Name)
	}
	hash, err := tool.hash(ctx, packages)
	if err != nil {
		return nil, fmt.Errorf("hash the source in %s: %w", dir, err)
	}
	cache, err := config.cacheDir()
	if err != nil {
		return nil, err
	}
	program := &Program{Path: filepath.Join(cache, hash, "chaincode"), Hash: hash, Platform: tool.platform}
	if _, err := os.Stat(program.Path); err == nil {
		program.Cached = true
		now := time.Now()
		_ = os.Chtimes(filepath.Dir(program.Path), now, now) // only says which to keep
		return program, nil
	}
	if config.Compiling != nil {
		config.Compiling()
	}
	if err := tool.buildInto(ctx, cache, hash, dir); err != nil {
		return nil, err
	}
	prune(cache)
	return program, nil
}

// buildInto builds the package in dir and moves it to its place in the cache in one step.
func (t *toolchain) buildInto(ctx context.Context, cache, hash, dir string) error {
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return fmt.Errorf("make the build cache: %w", err)
	}
	temporary, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return fmt.Errorf("make the build cache: %w", err)
	}
	defer os.RemoveAll(temporary)
	if err := t.build(ctx, dir, ".", filepath.Join(temporary, "chaincode")); err != nil {
		return err
	}
	place := filepath.Join(cache, hash)
	if err := os.Rename(temporary, place); err != nil {
		if _, statErr := os.Stat(filepath.Join(place, "chaincode")); statErr == nil {
			return nil // somebody else built the same meanwhile
		}
		return fmt.Errorf("keep what was built: %w", err)
	}
	return nil
}

// buildPackage compiles the code of a golang package, as Fabric's platform does (core/chaincode/platforms/golang): a module at
// src, or at its import path below src, or else a GOPATH of its own.
func buildPackage(ctx context.Context, code, importPath, output string, config BuildConfig) error {
	tool, err := newToolchain(config)
	if err != nil {
		return err
	}
	code, err = filepath.EvalSymlinks(code)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	tool = tool.confined(code)
	source := filepath.Join(code, "src")
	at := filepath.Join(source, filepath.FromSlash(importPath))
	dir, name := source, importPath
	switch {
	case exists(filepath.Join(source, "go.mod")):
	case exists(filepath.Join(at, "go.mod")):
		dir, name = at, "."
	default:
		tool = tool.with("GO111MODULE=off", "GOPATH="+code)
	}
	packages, err := tool.list(ctx, dir, name)
	if err == nil && packages[len(packages)-1].Name != "main" {
		err = &BuildError{importPath, "it is a library, package " + packages[len(packages)-1].Name}
	}
	if err == nil {
		err = tool.build(ctx, dir, name, output)
	}
	var failed *BuildError
	if errors.As(err, &failed) {
		return &BuildError{Dir: importPath, Output: strings.ReplaceAll(failed.Output, code+string(filepath.Separator), "")}
	}
	return err
}

// Program returns the program in a package, built for the configured platform if the package is source. ErrUnsupportedPackage if it is
// a program for another platform, or a service.
func (p *Package) Program(ctx context.Context, config BuildConfig) ([]byte, error) {
	if p.Type == Service {
		return nil, fmt.Errorf("%w: type %s runs elsewhere, it has no program", ErrUnsupportedPackage, Service)
	}
	if p.Type == Node || p.Type == Java {
		return nil, fmt.Errorf("%w: a function's zip holds one program, which a contract of type %s is not", ErrUnsupportedPackage, p.Type)
	}
	if p.Type == Binary && config.Platform != "" && p.Platform != config.Platform {
		return nil, fmt.Errorf("%w: it is built for %s, want %s", ErrUnsupportedPackage, p.Platform, config.Platform)
	}
	dir, err := os.MkdirTemp("", "peerless-program-")
	if err != nil {
		return nil, fmt.Errorf("make a place for the program of %s: %w", p.ID, err)
	}
	defer os.RemoveAll(dir)
	code := filepath.Join(dir, "code")
	if err := os.Mkdir(code, 0o700); err != nil {
		return nil, fmt.Errorf("make a place for the program of %s: %w", p.ID, err)
	}
	if err := p.extract(code); err != nil {
		return nil, err
	}
	program := filepath.Join(code, filepath.FromSlash(programFile))
	if p.Type == Golang {
		program = filepath.Join(dir, "chaincode")
		if err := buildPackage(ctx, code, p.Path, program, config); err != nil {
			return nil, err
		}
	}
	return os.ReadFile(program)
}

func (c BuildConfig) cacheDir() (string, error) {
	if c.CacheDir != "" {
		return filepath.Abs(c.CacheDir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the build cache: %w", err)
	}
	return filepath.Join(dir, "peerless", "build"), nil
}

// prune removes all but the latest programs. What it cannot remove stays.
func prune(cache string) {
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) <= cachedPrograms {
		return
	}
	var infos []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && !strings.HasPrefix(entry.Name(), "new-") {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range infos[min(cachedPrograms, len(infos)):] {
		_ = os.RemoveAll(filepath.Join(cache, info.Name()))
	}
}

// hash names what a build depends on: the toolchain, the platform, the versions of modules from outside, and the content of
// every other file.
func (t *toolchain) hash(ctx context.Context, packages []listedPackage) (string, error) {
	version, err := t.version(ctx)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", version, t.platform, strings.Join(buildFlags, " "))
	modules := map[string]bool{}
	for _, p := range packages {
		if p.Standard {
			continue
		}
		if p.versioned() {
			fmt.Fprintf(h, "package %s %s %s\n", p.ImportPath, p.Module.Path, p.Module.version())
			continue
		}
		fmt.Fprintf(h, "package %s\n", p.ImportPath)
		files := p.files()
		if p.Module != nil && p.Module.GoMod != "" && !modules[p.Module.GoMod] {
			modules[p.Module.GoMod] = true
			files = append(files, p.Module.GoMod)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "file %q %x\n", filepath.Base(file), sha256.Sum256(content))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
