package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// environment returns the variables of environ, "NAME=value", that a build tool is passed: those with these names, and those whose
// names begin so.
func environment(environ, names []string, prefixes ...string) []string {
	if environ == nil {
		environ = os.Environ()
	}
	var passed []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if slices.Contains(names, name) || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			passed = append(passed, variable)
		}
	}
	return passed
}

// runTool runs a build tool and returns its output; what it says when it fails is a *BuildError.
func runTool(ctx context.Context, command string, env []string, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Dir = dir
	cmd.Env = env
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	said := &head{limit: maxBuildOutput}
	cmd.Stdout, cmd.Stderr = &out, said
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s %s in %s: %w", filepath.Base(command), args[0], dir, ctx.Err())
	case errors.As(err, &exit):
		words := strings.TrimSpace(said.String())
		if words == "" {
			words = strings.TrimSpace(out.String()) // Maven and tsc complain there
		}
		return nil, &BuildError{dir, words}
	}
	return nil, fmt.Errorf("run %s %s in %s: %w", filepath.Base(command), args[0], dir, err)
}

// find looks a tool up. ErrNoToolchain if it is not there.
func find(tool, what string) (string, error) {
	path, err := exec.LookPath(tool)
	if err != nil {
		return "", fmt.Errorf("%w: %s needs %s: %w", ErrNoToolchain, what, tool, err)
	}
	return path, nil
}
