package deploy

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes files in a new directory, or in one given before.
func write(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// greeter is a program in two packages of a module of its own.
func greeter(t testing.TB, greeting string) string {
	return write(t, "", map[string]string{
		"go.mod":               "module example.org/greeter\n\ngo 1.24\n",
		"cmd/greet/main.go":    "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.org/greeter/words\"\n)\n\nfunc main() { fmt.Println(words.Greeting()) }\n",
		"words/words.go":       "package words\n\nimport _ \"embed\"\n\n//go:embed greeting.txt\nvar greeting string\n\nfunc Greeting() string { return greeting }\n",
		"words/greeting.txt":   greeting,
		"words/words_test.go":  "package words\n",
		"unused/unused.go":     "package unused\n",
		"META-INF/ignored.txt": "",
		"cmd/greet/META-INF/statedb/couchdb/indexes/i.json": `{"index":{"fields":["a"]}}`,
	})
}

func output(t testing.TB, program string) string {
	t.Helper()
	out, err := exec.Command(program).CombinedOutput()
	if err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestBuildOnce(t *testing.T) {
	t.Parallel()
	dir := greeter(t, "hello")
	before := tree(t, dir)
	config := BuildConfig{CacheDir: t.TempDir()}
	build := func() *Program {
		t.Helper()
		program, err := Build(t.Context(), filepath.Join(dir, "cmd", "greet"), config)
		if err != nil {
			t.Fatal(err)
		}
		return program
	}
	first := build()
	if got := output(t, first.Path); first.Cached || got != "hello" {
		t.Errorf("first build: %+v says %q", first, got)
	}
	if second := build(); !second.Cached || second.Path != first.Path {
		t.Errorf("second build: %+v", second)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("the build changed the directory: %s, then %s", before, after)
	}
	write(t, dir, map[string]string{"unused/unused.go": "package unused\n\nconst X = 1\n", "words/words_test.go": "package words\n\nconst X = 1\n"})
	if third := build(); !third.Cached {
		t.Errorf("built again after a change that does not matter: %+v", third)
	}
	write(t, dir, map[string]string{"words/greeting.txt": "good morning"})
	fourth := build()
	if got := output(t, fourth.Path); fourth.Cached || got != "good morning" {
		t.Errorf("after a change of an embedded file: %+v says %q", fourth, got)
	}
}

func TestBuildError(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		says  string
	}{
		"does not compile": {map[string]string{"go.mod": "module x\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { undefinedThing() }\n"}, "main.go:3:15: undefined: undefinedThing"},
		"syntax":           {map[string]string{"go.mod": "module x\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() {\n"}, "main.go:4:1: syntax error: unexpected EOF"},
		"missing module":   {map[string]string{"go.mod": "module x\n\ngo 1.24\n", "main.go": "package main\n\nimport _ \"example.org/absent\"\n\nfunc main() {}\n"}, "no required module provides package example.org/absent"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Build(t.Context(), write(t, "", test.files), BuildConfig{CacheDir: t.TempDir()})
			var failed *BuildError
			if !errors.As(err, &failed) || !strings.Contains(failed.Output, test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	dir := greeter(t, "hello")
	if _, err := Build(t.Context(), filepath.Join(dir, "words"), BuildConfig{CacheDir: t.TempDir()}); !errors.Is(err, ErrNoContract) {
		t.Errorf("a library: %v, want %v", err, ErrNoContract)
	}
	if _, err := Build(t.Context(), dir, BuildConfig{Go: "no-such-go"}); !errors.Is(err, ErrNoToolchain) {
		t.Errorf("without Go: %v, want %v", err, ErrNoToolchain)
	}
	if _, err := Build(t.Context(), dir, BuildConfig{Platform: "-x"}); !errors.Is(err, ErrUnsupportedPackage) {
		t.Errorf("odd platform: %v, want %v", err, ErrUnsupportedPackage)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, filepath.Join(dir, "cmd", "greet"), BuildConfig{CacheDir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestToolchainEnvironment(t *testing.T) {
	t.Parallel()
	tool, err := newToolchain(BuildConfig{Environ: []string{"HOME=/home/x", "GOFLAGS=-mod=mod", "AWS_SECRET_ACCESS_KEY=secret", "PEERLESS_KEY=secret", "CGO_ENABLED=1"}, Platform: "linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(tool.env, " "), "HOME=/home/x GOOS=linux GOARCH=arm64 CGO_ENABLED=0 GOFLAGS=-buildvcs=false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPackIsDeterministic(t *testing.T) {
	t.Parallel()
	pack := func() []byte {
		t.Helper()
		raw, err := Pack(t.Context(), filepath.Join(greeter(t, "hello"), "cmd", "greet"), "greeter_1", BuildConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	first, second := pack(), pack()
	if !bytes.Equal(first, second) {
		t.Error("the same source makes two packages")
	}
	p, err := ParsePackage(first)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := p.extract(dir); err != nil {
		t.Fatal(err)
	}
	want := "META-INF/statedb/couchdb/indexes/i.json src/cmd/greet/main.go src/go.mod src/words/greeting.txt src/words/words.go"
	if got := tree(t, dir); got != want {
		t.Errorf("holds %s, want %s", got, want)
	}
	output := filepath.Join(t.TempDir(), "greet")
	if err := buildPackage(t.Context(), dir, p.Path, output, BuildConfig{}); err != nil {
		t.Error(err)
	}
}

// The layouts that Fabric's golang platform takes.
func TestBuildPackageLayouts(t *testing.T) {
	t.Parallel()
	const program = "package main\n\nfunc main() { println(\"hello\") }\n"
	tests := map[string]struct {
		files map[string]string
		path  string
	}{
		"module at src":        {map[string]string{"src/go.mod": "module example.org/m\n\ngo 1.24\n", "src/main.go": program}, "example.org/m"},
		"module at its path":   {map[string]string{"src/example.org/m/go.mod": "module example.org/m\n\ngo 1.24\n", "src/example.org/m/main.go": program}, "example.org/m"},
		"a GOPATH":             {map[string]string{"src/example.org/m/main.go": program}, "example.org/m"},
		"vendored, dependency": {vendored, "example.org/m"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "program")
			if err := buildPackage(t.Context(), write(t, "", test.files), test.path, path, BuildConfig{}); err != nil {
				t.Fatal(err)
			}
			if got := output(t, path); got != "hello" {
				t.Errorf("says %q", got)
			}
		})
	}
}

var vendored = map[string]string{
	"src/go.mod":                           "module example.org/m\n\ngo 1.24\n\nrequire example.org/dep v1.0.0\n",
	"src/go.sum":                           "",
	"src/main.go":                          "package main\n\nimport \"example.org/dep\"\n\nfunc main() { println(dep.Word) }\n",
	"src/vendor/modules.txt":               "# example.org/dep v1.0.0\n## explicit; go 1.24\nexample.org/dep\n",
	"src/vendor/example.org/dep/dep.go":    "package dep\n\nconst Word = \"hello\"\n",
	"src/vendor/example.org/dep/LICENSE":   "",
	"META-INF/statedb/couchdb/indexes/a.x": "",
}

// A package must not reach source that was there before it.
func TestBuildPackageStaysInside(t *testing.T) {
	t.Parallel()
	outside := write(t, "", map[string]string{"go.mod": "module example.org/secret\n\ngo 1.24\n", "secret.go": "package secret\n\nconst Word = \"secret\"\n"})
	inside := write(t, "", map[string]string{
		"src/go.mod":  "module example.org/m\n\ngo 1.24\n\nrequire example.org/secret v1.0.0\n\nreplace example.org/secret => " + outside + "\n",
		"src/main.go": "package main\n\nimport \"example.org/secret\"\n\nfunc main() { println(secret.Word) }\n",
	})
	err := buildPackage(t.Context(), inside, "example.org/m", filepath.Join(t.TempDir(), "program"), BuildConfig{})
	if !errors.Is(err, ErrInvalidPackage) || !strings.Contains(err.Error(), "example.org/secret lies outside") {
		t.Errorf("got %v", err)
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	const program, library = "package main\n", "package library\n"
	tests := map[string]struct {
		files map[string]string
		dir   string // of the contract
		says  string // or the error
	}{
		"at the top":           {map[string]string{"main.go": program, "chaincode/c.go": library}, ".", ""},
		"in chaincode":         {map[string]string{"chaincode/main.go": program}, "chaincode", ""},
		"in chaincode-go":      {map[string]string{"chaincode-go/main.go": program, "lib.go": library}, "chaincode-go", ""},
		"the only command":     {map[string]string{"cmd/a/main.go": program, "cmd/b/b.go": library}, "cmd/a", ""},
		"two commands":         {map[string]string{"cmd/a/main.go": program, "cmd/b/main.go": program}, "", "several programs"},
		"a library":            {map[string]string{"lib.go": library}, "", "want Go files of package main"},
		"tests alone":          {map[string]string{"main_test.go": program}, "", "want Go files"},
		"nothing":              {map[string]string{"README.md": ""}, "", filepath.Join("chaincode-go")},
		"Node":                 {map[string]string{"package.json": `{"scripts":{"start":"fabric-chaincode-node start"},"dependencies":{"fabric-contract-api":"2.5.8"}}`}, ".", ""},
		"Node in a sample":     {map[string]string{"chaincode-javascript/package.json": `{"scripts":{"start":"x"},"dependencies":{"fabric-shim":"2.5.8"}}`, "chaincode-java/pom.xml": "fabric-chaincode-shim"}, "chaincode-javascript", ""},
		"another Node program": {map[string]string{"package.json": `{"scripts":{"start":"x"},"dependencies":{"express":"5"}}`}, "", "package.json that depends on"},
		"Java":                 {map[string]string{"pom.xml": "<artifactId>fabric-chaincode-shim</artifactId>"}, ".", ""},
		"another Java project": {map[string]string{"pom.xml": "<artifactId>spring</artifactId>"}, "", "pom.xml"},
		"Go before Node":       {map[string]string{"main.go": program, "package.json": `{"scripts":{"start":"x"},"dependencies":{"fabric-shim":"2.5.8"}}`}, ".", ""},
		"a program with typo":  {map[string]string{"main.go": "package main\n\nfunc main( {\n"}, ".", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, filepath.Join(t.TempDir(), "My Contract!"), test.files)
			got, err := Detect(dir)
			if test.says != "" {
				if !errors.Is(err, ErrNoContract) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %q", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != "My-Contract" || got.Dir != filepath.Join(dir, test.dir) {
				t.Errorf("got %+v", got)
			}
		})
	}
	if _, err := Detect(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent directory: %v", err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	module := write(t, "", map[string]string{
		"go.mod": "module m", "c/main.go": "package main", "c/.git/HEAD": "", "c/sub/a.go": "", "c/asset/x.txt": "", "lib/l.go": "", "lib/below/b.go": "", "data/d.txt": "",
	})
	dir := filepath.Join(module, "c")
	ctx, cancel := context.WithCancel(t.Context())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	w, err := NewWatcher(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Follow(&Sources{
		Dirs:     []string{dir, module, filepath.Join(module, "lib"), filepath.Join(module, "absent")},
		Embedded: []string{filepath.Join(dir, "asset"), filepath.Join(module, "data")},
	}); err != nil {
		t.Fatal(err)
	}
	changes, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- w.Run(ctx, func() {
			select {
			case changes <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	told := func(within time.Duration) bool {
		select {
		case <-changes:
			return true
		case err := <-ended:
			t.Fatalf("ended: %v", err)
		case <-time.After(within):
		}
		return false
	}
	for name, matters := range map[string]bool{
		"c/main.go": true, "c/sub/a.go": true, "c/go.mod": true, "c/new/deep/b.go": true, "c/.git/HEAD": false, "c/.git/objects/x": false,
		"c/sub/a_test.go": false, "c/sub/a.go~": false, "c/.main.go.swp": false, "c/node_modules/x/index.js": false, "c/notes.txt": false,
		"c/asset/x.txt": true, "c/asset/y": true, "data/d.txt": true,
		"lib/l.go": true, "lib/new.go": true, "lib/l_test.go": false, "lib/below/b.go": false, "lib/made/later.go": false, "go.sum": true, "dev.log": false,
	} {
		write(t, module, map[string]string{name: "change"})
		wait := 4 * WatchDelay
		if matters {
			wait = 20 * time.Second
		}
		if got := told(wait); got != matters {
			t.Errorf("change of %s told: %t", name, got)
		}
		for told(2 * WatchDelay) { // what the last write may still cause
		}
	}
	write(t, module, map[string]string{"c/new/deep/b.go": "again"})
	if !told(20 * time.Second) {
		t.Error("a change in a new directory is not told")
	}
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(module, "moved")); err != nil {
		t.Fatal(err)
	}
	if !told(20 * time.Second) {
		t.Error("a directory that is moved away is not told")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := NewWatcher(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent directory: %v", err)
	}
}

func TestFindSources(t *testing.T) {
	t.Parallel()
	dir := write(t, "", map[string]string{
		"go.mod":              "module m\n\ngo 1.26\n\nrequire other v1.0.0\n\nreplace other => ./near\n",
		"near/go.mod":         "module other\n\ngo 1.26\n",
		"near/o.go":           "package other\n",
		"contract/main.go":    "package main\n\nimport (\n\t_ \"embed\"\n\t_ \"m/lib\"\n\t_ \"m/none\"\n\t_ \"other\"\n)\n\n//go:embed text/a.txt\nvar a string\n\nfunc main() { undefined() }\n",
		"contract/text/a.txt": "a",
		"lib/lib.go":          "package lib\n\nfunc (",
		"unrelated/u.go":      "package unrelated\n",
	})
	got, err := FindSources(t.Context(), filepath.Join(dir, "contract"), BuildConfig{})
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &Sources{Dirs: []string{real, filepath.Join(real, "contract"), filepath.Join(real, "lib"), filepath.Join(real, "near")}, Embedded: []string{filepath.Join(real, "contract", "text")}}
	slices.Sort(got.Dirs)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// tree returns the files below a directory, sorted.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}
