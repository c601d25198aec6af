package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Node contract is a directory with a package.json whose start script runs the chaincode, as Fabric's fabric-chaincode-node does;
// in a package of type node it is src/. A peer installs what it depends on and runs npm start, and so does Peerless, with two
// differences: the packages' install scripts do not run, for they could do anything on this machine; and a start script that is
// fabric-chaincode-node alone is run without npm and a shell around it, which would stay in memory.

const (
	packageJSON = "package.json"
	modulesDir  = "node_modules"
	nodeStarter = "fabric-chaincode-node"
)

// lockFiles say exactly what a contract depends on, for npm ci.
var lockFiles = []string{"package-lock.json", "npm-shrinkwrap.json"}

// nodePackage is what is read of a package.json.
type nodePackage struct {
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
}

func readNodePackage(dir string) (*nodePackage, error) {
	raw, err := os.ReadFile(filepath.Join(dir, packageJSON))
	if err != nil {
		return nil, err
	}
	return parseNodePackage(raw)
}

func parseNodePackage(raw []byte) (*nodePackage, error) {
	var p nodePackage
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", packageJSON, err)
	}
	if p.Scripts["start"] == "" {
		return nil, fmt.Errorf(`%s has no "start" script: a contract's is %q`, packageJSON, nodeStarter+" start")
	}
	return &p, nil
}

// isContract tells a contract from another Node program.
func (p *nodePackage) isContract() bool {
	return p.Dependencies["fabric-shim"] != "" || p.Dependencies["fabric-contract-api"] != ""
}

// A nodeTool runs npm in an environment of its own.
type nodeTool struct {
	npm, node string
	env       []string
	cache     string
}

func newNodeTool(config BuildConfig) (*nodeTool, error) {
	npm, err := find("npm", "a Node contract")
	if err != nil {
		return nil, err
	}
	node, err := find("node", "a Node contract")
	if err != nil {
		return nil, err
	}
	cache, err := config.cacheDir()
	if err != nil {
		return nil, err
	}
	env := environment(config.Environ, passedOn, "npm_config_", "NPM_CONFIG_")
	return &nodeTool{npm: npm, node: node, cache: cache, env: append(env, "npm_config_update_notifier=false", "npm_config_audit=false", "npm_config_fund=false")}, nil
}

// install puts what a contract depends on into its directory. What was installed before for the same package.json and lock file
// is copied.
func (t *nodeTool) install(ctx context.Context, dir string, development bool) error {
	key, err := t.key(ctx, dir, development)
	if err != nil {
		return err
	}
	cached := filepath.Join(t.cache, key)
	if !exists(cached) {
		if err := t.installInto(ctx, cached, dir, development); err != nil {
			return err
		}
		prune(t.cache)
	}
	now := time.Now()
	_ = os.Chtimes(cached, now, now) // only says which to keep
	modules := filepath.Join(cached, modulesDir)
	if !exists(modules) {
		return nil // it depends on nothing
	}
	return copyTree(modules, filepath.Join(dir, modulesDir))
}

// key names what would be installed.
func (t *nodeTool) key(ctx context.Context, dir string, development bool) (string, error) {
	version, err := runTool(ctx, t.node, t.env, dir, "--version")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "node %s %v\n", version, development)
	for _, name := range append([]string{packageJSON}, lockFiles...) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(content))
	}
	return "node-" + hex.EncodeToString(h.Sum(nil)), nil
}

func (t *nodeTool) installInto(ctx context.Context, place, dir string, development bool) error {
	if err := os.MkdirAll(t.cache, 0o700); err != nil {
		return fmt.Errorf("make the build cache: %w", err)
	}
	temporary, err := os.MkdirTemp(t.cache, "new-")
	if err != nil {
		return fmt.Errorf("make the build cache: %w", err)
	}
	defer os.RemoveAll(temporary)
	verb := "install"
	for _, name := range append([]string{packageJSON}, lockFiles...) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(temporary, name), content, 0o600)
		}
		if err != nil {
			return fmt.Errorf("install what the contract depends on: %w", err)
		}
		if name != packageJSON {
			verb = "ci"
		}
	}
	args := []string{verb, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}
	if !development {
		args = append(args, "--omit=dev")
	}
	if _, err := runTool(ctx, t.npm, t.env, temporary, args...); err != nil {
		return err
	}
	if err := os.Rename(temporary, place); err != nil && !exists(place) {
		return fmt.Errorf("keep what was installed: %w", err)
	}
	return nil
}

// nodeSource returns the files of a Node contract for its package: its source, compiled if it is TypeScript with a build script.
func nodeSource(ctx context.Context, dir string, config BuildConfig) ([]file, error) {
	p, err := readNodePackage(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoContract, dir, err)
	}
	files, err := readTree(dir, func(name string) bool { return name == modulesDir || name == "META-INF" })
	if err != nil {
		return nil, err
	}
	if p.Scripts["build"] == "" || !exists(filepath.Join(dir, "tsconfig.json")) {
		return files, nil
	}
	tool, err := newNodeTool(config)
	if err != nil {
		return nil, err
	}
	cached := filepath.Join(tool.cache, "ts-"+hashOf(files))
	if raw, err := os.ReadFile(filepath.Join(cached, codeFile)); err == nil {
		return readFiles(raw)
	}
	if config.Compiling != nil {
		config.Compiling()
	}
	if files, err = tool.compile(ctx, dir, files); err != nil {
		return nil, err
	}
	return files, keepFiles(tool.cache, cached, files)
}

// compile runs the build script in a copy of the source, and returns the files of that.
func (t *nodeTool) compile(ctx context.Context, dir string, files []file) ([]file, error) {
	copied, err := os.MkdirTemp("", "peerless-build-")
	if err != nil {
		return nil, fmt.Errorf("make a place to build: %w", err)
	}
	defer os.RemoveAll(copied)
	if err := writeTree(copied, files); err != nil {
		return nil, err
	}
	err = t.install(ctx, copied, true)
	if err == nil {
		_, err = runTool(ctx, t.npm, t.env, copied, "run", "build", "--silent")
	}
	var failed *BuildError
	if errors.As(err, &failed) {
		return nil, &BuildError{Dir: dir, Output: strings.ReplaceAll(failed.Output, copied+string(filepath.Separator), "")}
	}
	if err != nil {
		return nil, err
	}
	return readTree(copied, func(name string) bool { return name == modulesDir || name == "META-INF" })
}

// readTree reads the regular files of a directory, but hidden ones and those that skip names at the top, or anywhere if it is
// node_modules.
func readTree(dir string, skip func(name string) bool) ([]file, error) {
	var (
		files []file
		size  int64
	)
	fsys := os.DirFS(dir)
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if strings.HasPrefix(entry.Name(), ".") || entry.Name() == modulesDir || !strings.Contains(name, "/") && skip(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if size += info.Size(); size > MaxUnpacked || len(files) == MaxFiles {
			return fmt.Errorf("%w: %s has more than %d bytes or %d files", ErrPackageTooLarge, dir, MaxUnpacked, MaxFiles)
		}
		content, err := fs.ReadFile(fsys, name)
		files = append(files, file{name: name, content: content, executable: info.Mode()&0o100 != 0})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the source in %s: %w", dir, err)
	}
	return files, nil
}

func writeTree(dir string, files []file) error {
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if f.executable {
			mode = 0o700
		}
		if err := os.WriteFile(name, f.content, mode); err != nil {
			return err
		}
	}
	return nil
}

// hashOf names files by their contents.
func hashOf(files []file) string {
	h := sha256.New()
	byName := make(map[string]file, len(files))
	for _, f := range files {
		byName[f.name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		fmt.Fprintf(h, "%q %v %x\n", name, byName[name].executable, sha256.Sum256(byName[name].content))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// keepFiles puts files into the cache under a name, in one step.
func keepFiles(cache, place string, files []file) error {
	raw, err := writeArchive(slices.Clone(files), 1)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return fmt.Errorf("make the build cache: %w", err)
	}
	temporary, err := os.MkdirTemp(cache, "new-")
	if err == nil {
		defer os.RemoveAll(temporary)
		err = os.WriteFile(filepath.Join(temporary, codeFile), raw, 0o600)
	}
	if err == nil {
		err = os.Rename(temporary, place)
	}
	if err != nil && !exists(place) {
		return fmt.Errorf("keep what was built: %w", err)
	}
	prune(cache)
	return nil
}

// readFiles reads what keepFiles kept.
func readFiles(raw []byte) ([]file, error) {
	var files []file
	err := readArchive(raw, func(e *entry) error {
		content, err := io.ReadAll(e.body)
		files = append(files, file{name: e.name, content: content, executable: e.mode != 0})
		return err
	})
	return files, err
}

// prepareNode makes the code of a node package ready to run, in app.
func prepareNode(ctx context.Context, code, app string, config BuildConfig) error {
	tool, err := newNodeTool(config)
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(code, "src"), app); err != nil {
		return err
	}
	if _, err := readNodePackage(app); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPackage, err)
	}
	err = tool.install(ctx, app, false)
	var failed *BuildError
	if errors.As(err, &failed) {
		return &BuildError{Dir: path.Join("src", packageJSON), Output: failed.Output}
	}
	return err
}

// nodeCommand says how the contract in app is run. The address is appended.
func nodeCommand(app string) (command string, args []string, err error) {
	p, err := readNodePackage(app)
	if err != nil {
		return "", nil, err
	}
	starter := filepath.Join(app, modulesDir, ".bin", nodeStarter)
	if words := strings.Fields(p.Scripts["start"]); words[0] == nodeStarter && exists(starter) && !strings.ContainsAny(p.Scripts["start"], `&|;<>$"'\`) {
		command, err = find("node", "a Node contract")
		return command, append([]string{starter}, words[1:]...), err
	}
	command, err = find("npm", "a Node contract")
	return command, []string{"start", "--silent", "--"}, err
}
