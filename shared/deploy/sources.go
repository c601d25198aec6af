package deploy

import (
	"context"
	"io/fs"
	"path/filepath"
)

// Sources are the directories that a program's source lies in: its own, those of the packages it imports from its own module
// or others on this machine, and those modules'. What the module cache holds is not among them, for it does not change.
type Sources struct {
	Dirs     []string // absolute, each once
	Embedded []string // those of embedded files, and of index definitions
}

// Sources lists the sources of a contract. Of a Node or Java contract all that lies in its directory is source.
func (c *Contract) Sources(ctx context.Context, config BuildConfig) (*Sources, error) {
	if c.Type == Golang {
		return FindSources(ctx, c.Dir, config)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	return &Sources{Dirs: []string{dir}}, nil
}

// FindSources lists the sources of the Go main package in a directory. It does so too for source with mistakes, as far as
// the toolchain understands it.
func FindSources(ctx context.Context, dir string, config BuildConfig) (*Sources, error) {
	tool, err := newToolchain(config)
	if err != nil {
		return nil, err
	}
	packages, err := tool.list(ctx, dir, ".", "-e")
	if err != nil {
		return nil, err
	}
	s, seen := &Sources{}, map[string]bool{}
	add := func(to *[]string, kind, dir string) {
		if !seen[kind+dir] {
			seen[kind+dir] = true
			*to = append(*to, dir)
		}
	}
	for _, p := range packages {
		if p.Standard || p.Dir == "" || p.versioned() {
			continue
		}
		add(&s.Dirs, "source ", p.Dir)
		if p.Module != nil && p.Module.GoMod != "" {
			add(&s.Dirs, "source ", filepath.Dir(p.Module.GoMod))
		}
		for _, file := range p.EmbedFiles {
			add(&s.Embedded, "embedded ", filepath.Dir(filepath.Join(p.Dir, file)))
		}
	}
	absolute, err := filepath.Abs(filepath.Join(dir, "META-INF"))
	if err != nil || !exists(absolute) {
		return s, err
	}
	return s, filepath.WalkDir(absolute, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			add(&s.Embedded, "embedded ", name)
		}
		return err
	})
}
