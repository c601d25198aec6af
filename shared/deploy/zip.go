package deploy

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A function zip is what AWS Lambda takes: the program of a contract at bin/chaincode, for the adapter of a layer, or of the
// zip itself, to start; or a bootstrap alone, a contract that was linked with the adapter. Other files may be beside them.
const bootstrapFile = "bootstrap"

// PackFunction makes a function zip of a contract's program. With an adapter, which may be nil, the zip needs no layer. The same
// programs make the same bytes.
func PackFunction(program, adapter []byte) ([]byte, error) {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, f := range []file{{name: programFile, content: program}, {name: bootstrapFile, content: adapter}} {
		if f.content == nil {
			continue
		}
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		header.SetMode(0o755)
		w, err := archive.CreateHeader(header)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("pack the function: %w", err)
	}
	return out.Bytes(), nil
}

// IsFunction reports whether the bytes are a zip, and so may be a function.
func IsFunction(raw []byte) bool { return bytes.HasPrefix(raw, []byte("PK\x03\x04")) }

// A FunctionZip is what is in one.
type FunctionZip struct {
	Program  []byte // the contract, linked with an adapter or not
	Platform string // of the program: GOOS/GOARCH
	Handler  string // of the function: what an adapter starts, or bootstrap
	Adapter  bool   // there is a bootstrap: the function needs no layer
}

// ParseFunction reads a function zip. The errors are ErrInvalidPackage, ErrPackageTooLarge and ErrUnsupportedPackage.
func ParseFunction(raw []byte) (*FunctionZip, error) {
	if len(raw) > MaxPackage {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrPackageTooLarge, len(raw), MaxPackage)
	}
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, fmt.Errorf("%w: not a zip: %w", ErrInvalidPackage, err)
	}
	var program, bootstrap *zip.File
	for _, f := range archive.File {
		switch strings.TrimPrefix(f.Name, "./") {
		case programFile:
			program = f
		case bootstrapFile:
			bootstrap = f
		}
	}
	if program == nil && bootstrap == nil {
		return nil, fmt.Errorf("%w: the zip has neither %s nor %s", ErrInvalidPackage, programFile, bootstrapFile)
	}
	f := &FunctionZip{Adapter: bootstrap != nil}
	f.Handler = programFile
	if program == nil {
		program, f.Handler = bootstrap, bootstrapFile
	}
	if program.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("%w: %s is not executable in the zip: chmod +x before it is packed", ErrInvalidPackage, program.Name)
	}
	if f.Program, err = readZipped(program, unpackedLimit(len(raw))); err != nil {
		return nil, err
	}
	f.Platform, err = programPlatform(f.Program)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program.Name, err)
	}
	return f, nil
}

func readZipped(f *zip.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: read %s: %w", ErrInvalidPackage, f.Name, err)
	}
	content, err := io.ReadAll(&limitedReader{r: r, limit: limit})
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, invalid("read "+f.Name, err)
	}
	return content, nil
}

// programPlatform says what an executable is built for: of those that Lambda runs.
func programPlatform(program []byte) (string, error) {
	executable, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("%w: it is no Linux executable: build it with GOOS=linux", ErrUnsupportedPackage)
	}
	switch executable.Machine {
	case elf.EM_AARCH64:
		return "linux/arm64", nil
	case elf.EM_X86_64:
		return "linux/amd64", nil
	}
	return "", fmt.Errorf("%w: it is built for %s: want arm64 or amd64", ErrUnsupportedPackage, executable.Machine)
}

// FromFunction makes of a function zip the package of its program, for a server that is not Lambda. A contract that was linked with the
// adapter runs there if its main is an ordinary chaincode's where AWS_LAMBDA_RUNTIME_API is not set.
func FromFunction(label string, raw []byte) ([]byte, error) {
	f, err := ParseFunction(raw)
	if err != nil {
		return nil, err
	}
	return PackBinary(label, f.Platform, f.Program, "")
}
