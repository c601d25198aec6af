package main

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:embed template
var projectFiles embed.FS

// Packages that a new project imports: what they need is what its go.mod lists.
var projectImports = []string{
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi",
	"peerless/shared/contracttest",
}

// ownModule is this module's path.
const ownModule = "peerless"

func newInitCommand(a *app) *cobra.Command {
	var source string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a new contract project that runs, tests and deploys",
		Long: `Init makes the directory DIR with a small contract in Go, its test, and what it takes to build both: a place to start.
The project and its chaincode are called as the directory is. Its tests import Peerless from the source that this command was
built from, or from --peerless.`,
		Example: `  peerless init register
  cd register && go test ./... && peerless dev
  go run ./cmd/peerless init ../register`,
		Args: arguments(1, 1, "the project's directory"),
	}
	cmd.Flags().StringVar(&source, "peerless", "", "the directory of the Peerless source (default: where this command was built)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root, err := findSource(source)
		if err != nil {
			return err
		}
		files, err := initProject(cmd.Context(), args[0], root)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]any{"directory": args[0], "files": files})
		}
		for _, file := range files {
			fmt.Fprintln(a.out, filepath.Join(args[0], file))
		}
		if _, err := exec.LookPath("peerless"); err != nil {
			a.note("peerless is not in your PATH yet: go -C %s install ./cmd/peerless puts it into $(go env GOPATH)/bin", root)
		}
		a.note("next: cd %s && go test ./... && peerless dev", args[0])
		return nil
	}
	return cmd
}

// initProject makes a project, called as its directory is, and returns its files. The directory is empty or new.
func initProject(ctx context.Context, dir, source string) ([]string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("make the project: %w", err)
	}
	name := filepath.Base(absolute)
	if err := validProjectName(name); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case len(entries) > 0:
		return nil, fmt.Errorf("the directory %s is not empty: choose another name, or empty it", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("make the project: %w", err)
	}
	p, err := newProject(ctx, name, source)
	if err != nil {
		return nil, fmt.Errorf("make the project: %w", err)
	}
	files, err := p.files()
	if err != nil {
		return nil, fmt.Errorf("make the project: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("make the project: %w", err)
	}
	names := make([]string, 0, len(files))
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return nil, fmt.Errorf("make the project: %w", err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// standard are the first elements of the import paths that belong to the go command: no module can be named so.
var standard = strings.Fields(`all archive bufio builtin bytes cmd cmp compress container context crypto database debug embed encoding
	errors expvar flag fmt go hash html image index internal io iter log main maps math mime net os path plugin reflect regexp runtime
	slices sort std strconv strings structs sync syscall testing text time unicode unique unsafe vendor weak`)

// projectName is a chaincode's name that deploying the directory of that name leaves as it is.
var projectName = regexp.MustCompile(`^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$`)

// validProjectName says what is wrong with a project's name. It names a directory, a Go module and a chaincode.
func validProjectName(name string) error {
	switch {
	case !projectName.MatchString(name):
		return fmt.Errorf("%q cannot name a project: take letters and digits, with single dashes between them", name)
	case len(name) > 100:
		return fmt.Errorf("the name has %d characters: take 100 at most", len(name))
	case slices.Contains(standard, strings.ToLower(name)) || strings.EqualFold(name, ownModule):
		return fmt.Errorf("%q cannot name a project, because Go has another use for it: take another name", name)
	}
	return nil
}

// A project is what the templates are filled with.
type project struct {
	Name             string
	Go               string // the version in go.mod
	Peerless         string // directory of the source
	Direct, Indirect []moduleVersion
	sums             []byte // go.sum
}

type moduleVersion struct{ Path, Version string }

// newProject finds out what the project has to require: what the source itself does, so that nothing new is fetched.
func newProject(ctx context.Context, name, source string) (*project, error) {
	p := &project{Name: name, Peerless: quoteModFile(source)}
	goMod, err := goCommand(ctx, source, "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var parsed struct{ Go string }
	if err := json.Unmarshal(goMod, &parsed); err != nil {
		return nil, fmt.Errorf("read go.mod of %s: %w", source, err)
	}
	p.Go = parsed.Go
	listed, err := goCommand(ctx, source, append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", "--"}, projectImports...)...)
	if err != nil {
		return nil, err
	}
	lines := slices.Compact(slices.Sorted(strings.Lines(string(listed))))
	needed := make(map[moduleVersion]bool)
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue // of the standard library
		}
		m := moduleVersion{Path: fields[0], Version: "v0.0.0"}
		if len(fields) > 1 {
			m.Version = fields[1]
		}
		needed[m] = true
		if slices.ContainsFunc(projectImports, func(path string) bool { return strings.HasPrefix(path, m.Path+"/") }) {
			p.Direct = append(p.Direct, m)
		} else {
			p.Indirect = append(p.Indirect, m)
		}
	}
	p.sums, err = selectSums(filepath.Join(source, "go.sum"), needed)
	return p, err
}

// selectSums returns the lines of a go.sum for these modules, and those for the go.mod of any.
func selectSums(name string, needed map[moduleVersion]bool) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var sums bytes.Buffer
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 3 && (strings.HasSuffix(fields[1], "/go.mod") || needed[moduleVersion{fields[0], fields[1]}]) {
			fmt.Fprintln(&sums, scanner.Text())
		}
	}
	return sums.Bytes(), scanner.Err()
}

// files fills the templates.
func (p *project) files() (map[string][]byte, error) {
	files := map[string][]byte{"go.sum": p.sums}
	templates, err := template.ParseFS(projectFiles, "template/*")
	if err != nil {
		return nil, err
	}
	for _, t := range templates.Templates() {
		var content bytes.Buffer
		if err := t.Execute(&content, p); err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(t.Name(), ".tmpl")
		if name == "gitignore" {
			name = ".gitignore"
		}
		files[name] = content.Bytes()
	}
	return files, nil
}

// bareWord is what needs no quotes in a go.mod.
var bareWord = regexp.MustCompile(`^[-_./\\:~+@a-zA-Z0-9]+$`)

func quoteModFile(path string) string {
	if bareWord.MatchString(path) && !strings.Contains(path, "//") {
		return path
	}
	return fmt.Sprintf("%q", path)
}

// findSource returns the absolute path of the Peerless source: the directory given, or where this command was built.
func findSource(given string) (string, error) {
	if given != "" {
		if !isSource(given) {
			return "", fmt.Errorf("%s is not the Peerless source: --peerless wants the directory that holds its go.mod", given)
		}
		return filepath.Abs(given)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if root := filepath.Dir(filepath.Dir(filepath.Dir(file))); isSource(root) {
			return root, nil
		}
	}
	return "", errors.New("the Peerless source, which a project's tests import, is not where this command was built: name its directory with --peerless")
}

// isSource reports whether a directory holds this module.
func isSource(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	defer f.Close()
	scanner := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for scanner.Scan() {
		if word, ok := strings.CutPrefix(strings.TrimSpace(scanner.Text()), "module "); ok {
			return path.Clean(strings.Trim(strings.TrimSpace(word), `"`)) == ownModule
		}
	}
	return false
}

// goCommand runs the go command in a directory, where a workspace around it does not count, and returns its output.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the Go toolchain is not installed: a contract in Go needs it to build")
	}
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w: %s", args[0], dir, err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}
