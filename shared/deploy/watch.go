package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// WatchDelay is how long a directory must be quiet before a change is told: an editor or a git checkout writes many files.
const WatchDelay = 150 * time.Millisecond

// A Watcher tells when the source of a contract has changed: what its language's tools read, but for Go's tests, hidden files and
// editors' temporary files. It watches a directory with all below it, also what is made later, and the directories that it is
// told to follow. Follow is safe for concurrent use.
type Watcher struct {
	root    string // absolute, links followed
	watcher *fsnotify.Watcher

	mu       sync.Mutex
	embedded map[string]bool // directories of embedded files: every file in them counts
}

// NewWatcher begins to watch a directory. What changes from now on is told when Run runs, which must be called.
func NewWatcher(dir string) (*Watcher, error) {
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	w := &Watcher{root: root, watcher: watcher, embedded: map[string]bool{}}
	if _, err := w.watchTree(root); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), watcher.Close())
	}
	return w, nil
}

// Follow watches the directories of sources too, without what is below them. Those of earlier calls stay.
func (w *Watcher) Follow(s *Sources) error {
	for _, dir := range s.Embedded {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			w.mu.Lock()
			w.embedded[real] = true
			w.mu.Unlock()
		}
	}
	for _, dir := range slices.Concat(s.Dirs, s.Embedded) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil && !inside(w.root, real) {
			err = w.watcher.Add(real)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	return nil
}

// Run calls onChange after source has changed, once for each burst of changes, until ctx ends; then it returns nil. onChange
// is called by one goroutine at a time; what changes meanwhile is told after it. The watcher ends with it.
func (w *Watcher) Run(ctx context.Context, onChange func()) error {
	defer w.watcher.Close()
	quiet := time.NewTimer(WatchDelay)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-quiet.C:
			onChange()
		case event, open := <-w.watcher.Events:
			if !open {
				return fmt.Errorf("watch %s: the watcher has ended", w.root)
			}
			changed, err := w.relevant(event)
			if err != nil {
				return fmt.Errorf("watch %s: %w", w.root, err)
			}
			if changed {
				quiet.Reset(WatchDelay)
			}
		case err, open := <-w.watcher.Errors:
			if !open || !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch %s: %w", w.root, err)
			}
			quiet.Reset(WatchDelay) // events were lost: something has changed
		}
	}
}

// relevant reports whether an event is a change of source. It watches a directory that is new.
func (w *Watcher) relevant(event fsnotify.Event) (bool, error) {
	if event.Op == fsnotify.Chmod || w.ignored(event.Name) {
		return false, nil
	}
	if event.Has(fsnotify.Create) && inside(w.root, event.Name) {
		if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
			return w.watchTree(event.Name)
		}
	}
	if event.Has(fsnotify.Remove|fsnotify.Rename) && filepath.Ext(event.Name) == "" {
		return true, nil // it may have been a directory
	}
	return w.source(event.Name), nil
}

// watchTree watches a directory and those below it, and reports whether there is source. What vanishes meanwhile is no error.
func (w *Watcher) watchTree(top string) (source bool, err error) {
	err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != w.root:
			return nil
		case err != nil:
			return err
		case w.ignored(path):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case !entry.IsDir():
			source = source || w.source(path)
			return nil
		}
		err = w.watcher.Add(path)
		if errors.Is(err, fs.ErrNotExist) && path != w.root {
			return nil
		}
		return err
	})
	return source, err
}

// sourceSuffixes are of what the Go toolchain compiles, without cgo, or is told by, and of what Node and Java contracts are made.
var sourceSuffixes = []string{
	".go", ".s", ".h", ".syso", ".mod", ".sum", ".work",
	".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".json",
	".java", ".kt", ".xml", ".gradle", ".kts", ".properties",
}

// source reports whether a file is one that a build may read.
func (w *Watcher) source(path string) bool {
	if strings.HasSuffix(path, "_test.go") {
		return false
	}
	if slices.Contains(sourceSuffixes, filepath.Ext(path)) {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.embedded[filepath.Dir(path)]
}

// ignored reports whether a path is never source, by its name or that of a directory between it and the root.
func (w *Watcher) ignored(path string) bool {
	relative, err := filepath.Rel(w.root, path)
	if err != nil || !filepath.IsLocal(relative) {
		relative = filepath.Base(path)
	}
	if relative == "." {
		return false
	}
	for name := range strings.SplitSeq(filepath.ToSlash(relative), "/") {
		if name == modulesDir || name == "target" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") ||
			strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".tmp") || name == "4913" { // vim tries whether it can write this one
			return true
		}
	}
	return false
}
