package adapter

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// runnable returns why a program cannot be run here, nil if nothing speaks against it.
func runnable(path string) error {
	found, err := exec.LookPath(path)
	if err != nil {
		return fmt.Errorf("the function's Handler: %w: it must name an executable file of the function's package, zipped with mode 0755", err)
	}
	program, err := elfMachine(found)
	if err != nil || program == nil {
		return err
	}
	own, err := elfMachine("/proc/self/exe")
	if err != nil || own == nil || bytes.Equal(own, program) {
		return err
	}
	return fmt.Errorf("%s is for another processor: build it with GOARCH=arm64, or give the function the other architecture", path)
}

// elfMachine returns the field of an executable's header that says for which processor it is, nil if it is no ELF file.
func elfMachine(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var header [20]byte
	if _, err := io.ReadFull(file, header[:]); err != nil || !bytes.HasPrefix(header[:], []byte("\x7fELF")) {
		return nil, nil // a script, or so
	}
	return header[18:20], nil
}
