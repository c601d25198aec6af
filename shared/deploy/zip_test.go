package deploy

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
)

// elfHeader is the beginning of a program for a machine: all that is looked at.
func elfHeader(machine byte) []byte {
	program := make([]byte, 64)
	copy(program, "\x7fELF\x02\x01\x01")
	program[16], program[18], program[20], program[52] = 2, machine, 1, 64
	return program
}

const (
	machineARM64, machineAMD64, machineRISCV = 183, 62, 243
)

// zipOf packs files as other tools do: name, mode, content.
func zipOf(t *testing.T, mode os.FileMode, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(mode)
		f, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPackFunction(t *testing.T) {
	t.Parallel()
	program := elfHeader(machineARM64)
	raw, err := PackFunction(program, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := PackFunction(program, nil)
	if err != nil || !bytes.Equal(raw, again) {
		t.Errorf("the same program makes other bytes, %v", err)
	}
	f, err := ParseFunction(raw)
	if err != nil || !bytes.Equal(f.Program, program) || f.Platform != "linux/arm64" || f.Adapter || f.Handler != "bin/chaincode" {
		t.Errorf("got %+v, %v", f, err)
	}
	if raw, err = PackFunction(program, elfHeader(machineAMD64)); err != nil {
		t.Fatal(err)
	}
	if f, err := ParseFunction(raw); err != nil || !f.Adapter || !bytes.Equal(f.Program, program) {
		t.Errorf("with an adapter: got %+v, %v", f, err)
	}
}

// TestFunctionProgram: a zip of this very program becomes a package that can run here.
func TestFunctionProgram(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"wrapped": zipOf(t, 0o755, map[string][]byte{"bin/chaincode": program, "bootstrap": elfHeader(machineARM64), "data.json": []byte("{}")}),
		"linked":  zipOf(t, 0o755, map[string][]byte{"bootstrap": program}),
	} {
		pkg, err := FromFunction("mine", raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := ParsePackage(pkg)
		if err != nil || p.Type != Binary || p.Label != "mine" || p.Platform != runtime.GOOS+"/"+runtime.GOARCH || p.supported() != nil {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

func TestBadFunctions(t *testing.T) {
	t.Parallel()
	good := zipOf(t, 0o755, map[string][]byte{"bootstrap": elfHeader(machineARM64)})
	for name, c := range map[string]struct {
		raw  []byte
		want error
		text string
	}{
		"not a zip":       {[]byte("PK\x03\x04 and no more"), ErrInvalidPackage, "not a zip"},
		"cut":             {good[:len(good)-5], ErrInvalidPackage, "not a zip"},
		"nothing to run":  {zipOf(t, 0o755, map[string][]byte{"index.js": []byte("x")}), ErrInvalidPackage, "neither bin/chaincode nor bootstrap"},
		"not executable":  {zipOf(t, 0o644, map[string][]byte{"bootstrap": elfHeader(machineARM64)}), ErrInvalidPackage, "chmod +x"},
		"a script":        {zipOf(t, 0o755, map[string][]byte{"bootstrap": []byte("#!/bin/sh\n")}), ErrUnsupportedPackage, "GOOS=linux"},
		"another machine": {zipOf(t, 0o755, map[string][]byte{"bootstrap": elfHeader(machineRISCV)}), ErrUnsupportedPackage, "EM_RISCV"},
		"a bomb":          {zipOf(t, 0o755, map[string][]byte{"bootstrap": make([]byte, 64<<20)}), ErrPackageTooLarge, "unpacks to more"},
		"too large":       {append([]byte("PK\x03\x04"), make([]byte, MaxPackage)...), ErrPackageTooLarge, ""},
	} {
		if _, err := ParseFunction(c.raw); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %v with %q", name, err, c.want, c.text)
		}
	}
}
