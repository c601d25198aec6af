package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// WatchDelay is how long a directory must be quiet before a change is told: an editor or a git checkout writes many files.
const WatchDelay = 150 * time.Millisecond

// Watch calls onChange after source below a directory has changed, once for each burst of changes, until ctx ends; then it
// returns nil. Directories made later are watched too. Hidden files and directories, node_modules, editors' temporary files
// and Go tests do not count. onChange is called by one goroutine at a time; what changes meanwhile is told after it.
func Watch(ctx context.Context, dir string, onChange func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	defer watcher.Close()
	if _, err := watchTree(watcher, dir); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	quiet := time.NewTimer(WatchDelay)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-quiet.C:
			onChange()
		case event, open := <-watcher.Events:
			if !open {
				return fmt.Errorf("watch %s: the watcher has ended", dir)
			}
			changed, err := relevant(watcher, dir, event)
			if err != nil {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			if changed {
				quiet.Reset(WatchDelay)
			}
		case err, open := <-watcher.Errors:
			if !open || !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			quiet.Reset(WatchDelay) // events were lost: something has changed
		}
	}
}

// relevant reports whether an event is a change of source. It watches a directory that is new.
func relevant(watcher *fsnotify.Watcher, dir string, event fsnotify.Event) (bool, error) {
	if event.Op == fsnotify.Chmod || ignored(dir, event.Name) {
		return false, nil
	}
	if event.Has(fsnotify.Create) {
		if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
			files, err := watchTree(watcher, event.Name)
			return files, err
		}
	}
	return true, nil
}

// watchTree watches a directory and those below it, and reports whether there are files. What vanishes meanwhile is no error.
func watchTree(watcher *fsnotify.Watcher, root string) (files bool, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != root:
			return nil
		case err != nil:
			return err
		case ignored(root, path):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case !entry.IsDir():
			files = true
			return nil
		}
		err = watcher.Add(path)
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil
		}
		return err
	})
	return files, err
}

// ignored reports whether a path below root is none of a contract's source.
func ignored(root, path string) bool {
	relative, err := filepath.Rel(root, path)
	if err != nil || relative == "." {
		return false
	}
	for name := range strings.SplitSeq(filepath.ToSlash(relative), "/") {
		if name == "node_modules" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") ||
			strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".tmp") || name == "4913" { // vim tries whether it can write this one
			return true
		}
	}
	return strings.HasSuffix(path, "_test.go")
}
