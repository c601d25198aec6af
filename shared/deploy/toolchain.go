package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// passedOn are the variables of the environment that reach the go command: they say where it is, where it keeps things and
// where it gets modules. GOFLAGS is not among them: it could change what is built, or a go.mod.
var passedOn = []string{
	"PATH", "HOME", "USERPROFILE", "LOCALAPPDATA", "SYSTEMROOT", "TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"GOROOT", "GOPATH", "GOENV", "GOCACHE", "GOMODCACHE", "GOTOOLCHAIN", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

// buildFlags make the same program of the same source wherever it lies.
var buildFlags = []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w"}

// maxBuildOutput bounds what is kept of the toolchain's words, in bytes.
const maxBuildOutput = 64 << 10

// A toolchain runs the go command in an environment of its own.
type toolchain struct {
	command  string
	env      []string
	platform string
	root     string // if not empty, where all source without a version must be
}

func newToolchain(config BuildConfig) (*toolchain, error) {
	t := &toolchain{command: config.Go, platform: config.Platform}
	if t.command == "" {
		t.command = "go"
	}
	path, err := find(t.command, "a Go contract")
	if err != nil {
		return nil, err
	}
	t.command = path
	if t.platform == "" {
		t.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	if !platforms.MatchString(t.platform) {
		return nil, fmt.Errorf("%w: platform %q", ErrUnsupportedPackage, t.platform)
	}
	t.env = environment(config.Environ, passedOn)
	goos, goarch, _ := strings.Cut(t.platform, "/")
	// A GOFLAGS of the user's go env file is overruled by any that is not empty.
	t.env = append(t.env, "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	return t, nil
}

// confined returns a toolchain for source of somebody else's: it looks at no workspace and no directory outside root, runs
// no version control, and is itself not replaced by the version the source asks for.
func (t *toolchain) confined(root string) *toolchain {
	return &toolchain{
		command:  t.command,
		env:      append(slices.Clip(t.env), "GOWORK=off", "GOTOOLCHAIN=local", "GOVCS=*:off"),
		platform: t.platform,
		root:     root,
	}
}

// with returns a toolchain with more in its environment.
func (t *toolchain) with(env ...string) *toolchain {
	other := *t
	other.env = append(slices.Clip(t.env), env...)
	return &other
}

// A listedPackage is what go list says of a package that goes into a program.
type listedPackage struct {
	Dir, ImportPath, Name                                    string
	Standard                                                 bool
	GoFiles, CgoFiles, SFiles, HFiles, SysoFiles, EmbedFiles []string
	Module                                                   *listedModule
}

type listedModule struct {
	Path, Version, Dir, GoMod string
	Main                      bool
	Replace                   *listedModule
}

func (m *listedModule) version() string {
	if m.Replace != nil {
		return m.Version + " => " + m.Replace.Path + " " + m.Replace.Version
	}
	return m.Version
}

// versioned reports whether the package comes from the module cache, where nothing changes.
func (p *listedPackage) versioned() bool {
	m := p.Module
	return m != nil && !m.Main && m.Dir != "" && m.Version != "" && (m.Replace == nil || m.Replace.Version != "")
}

// files are the paths of what is compiled and embedded.
func (p *listedPackage) files() []string {
	var files []string
	for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.SFiles, p.HFiles, p.SysoFiles, p.EmbedFiles} {
		for _, name := range names {
			files = append(files, filepath.Join(p.Dir, name))
		}
	}
	return files
}

// list returns the packages that go into the one named, which is the last. flags are more for go list.
func (t *toolchain) list(ctx context.Context, dir, name string, flags ...string) ([]listedPackage, error) {
	args := append([]string{"list", "-deps", "-json=Dir,ImportPath,Name,Standard,GoFiles,CgoFiles,SFiles,HFiles,SysoFiles,EmbedFiles,Module"}, flags...)
	out, err := t.run(ctx, dir, append(args, "--", name)...)
	if err != nil {
		return nil, err
	}
	var packages []listedPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says of %s: %w", dir, err)
		}
		if t.root != "" && !p.Standard && !p.versioned() && !inside(t.root, p.Dir) {
			return nil, fmt.Errorf("%w: package %s lies outside of it", ErrInvalidPackage, p.ImportPath)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		return nil, &BuildError{dir, "go list found no package " + name}
	}
	return packages, nil
}

func (t *toolchain) build(ctx context.Context, dir, name, output string) error {
	args := append([]string{"build", "-o", output}, buildFlags...)
	_, err := t.run(ctx, dir, append(args, "--", name)...)
	return err
}

func (t *toolchain) version(ctx context.Context) (string, error) {
	out, err := t.run(ctx, "", "env", "GOVERSION")
	return strings.TrimSpace(string(out)), err
}

// run returns the go command's output; what it says when it fails is a *BuildError.
func (t *toolchain) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	return runTool(ctx, t.command, t.env, dir, args...)
}

// inside reports whether a path is a directory or below it, links followed.
func inside(dir, path string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative)
}

// A head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), h.limit-h.Len())])
	return len(p), nil
}
