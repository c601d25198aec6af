package deploy

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
)

// A Prepared contract can be packed: a Go contract is built, of another the source is read, and compiled if it is TypeScript.
type Prepared struct {
	*Contract
	// Hash is of all that goes into the package, in hex.
	Hash string

	program *Program // of a Go contract
	files   []file   // of another
}

// Prepare makes a contract ready to be packed. Source that was built before, by the content of all its files, is not built again.
// A *BuildError carries what the compiler says.
func (c *Contract) Prepare(ctx context.Context, config BuildConfig) (*Prepared, error) {
	p := &Prepared{Contract: c}
	var err error
	switch c.Type {
	case Golang:
		if p.program, err = Build(ctx, c.Dir, config); err == nil {
			p.Hash = p.program.Hash
		}
		return p, err
	case Node:
		p.files, err = nodeSource(ctx, c.Dir, config)
	case Java:
		p.files, err = javaSource(c.Dir)
	default:
		err = errors.New("it has no type")
	}
	if err != nil {
		return nil, err
	}
	p.Hash = hashOf(p.files)
	return p, nil
}

// Program returns the program of a Go contract, and what it is built for. ErrUnsupportedPackage for another: it is no single program.
func (p *Prepared) Program() (program []byte, platform string, err error) {
	if p.program == nil {
		return nil, "", fmt.Errorf("%w: a function's zip holds one program, which a contract of type %s is not", ErrUnsupportedPackage, p.Type)
	}
	program, err = os.ReadFile(p.program.Path)
	return program, p.program.Platform, err
}

// Pack makes the package that runs the contract, with the META-INF beside its source: of a Go contract's program, or of the other's
// source, which a Fabric peer takes too.
func (p *Prepared) Pack(label string) ([]byte, error) {
	if p.program != nil {
		executable, platform, err := p.Program()
		if err != nil {
			return nil, fmt.Errorf("read the program of %s: %w", label, err)
		}
		return PackBinary(label, platform, executable, p.Dir)
	}
	files, err := readMetaInf(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", label, err)
	}
	for _, f := range p.files {
		f.name = path.Join(sourceDir, f.name)
		files = append(files, f)
	}
	raw, err := pack(Metadata{Type: p.Type, Label: label}, files, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := ParsePackage(raw); err != nil { // a directory can hold what a package cannot
		return nil, fmt.Errorf("pack %s: %w", p.Dir, err)
	}
	return raw, nil
}
