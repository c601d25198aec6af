package deploy

import (
	"errors"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrNoContract: a directory holds no contract that can be built here. The text says what was looked for.
var ErrNoContract = errors.New("no contract found")

// A Contract is the source of a Go contract.
type Contract struct {
	// Name is what the directory suggests to call it: a valid chaincode name.
	Name string
	// Dir is where its main package is.
	Dir string
}

// subdirectories are where the main package may be, beside the directory itself: what the Fabric samples use.
var subdirectories = []string{"chaincode", "chaincode-go"}

// otherLanguages name a file that shows what else a contract may be written in.
var otherLanguages = map[string]string{
	"package.json": "Node",
	"pom.xml":      "Java", "build.gradle": "Java", "build.gradle.kts": "Java",
}

// Detect finds the contract in a directory: a Go main package in dir, in dir/chaincode or dir/chaincode-go, or the only one
// in a directory of dir/cmd. ErrNoContract if there is none.
func Detect(dir string) (*Contract, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look for a contract: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a directory", ErrNoContract, dir)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("look for a contract: %w", err)
	}
	contract := &Contract{Name: ChaincodeName(filepath.Base(absolute)), Dir: dir}
	if hasMain(dir) {
		return contract, nil
	}
	for _, sub := range subdirectories {
		if contract.Dir = filepath.Join(dir, sub); hasMain(contract.Dir) {
			return contract, nil
		}
	}
	var commands []string
	entries, err := os.ReadDir(filepath.Join(dir, "cmd"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for a contract: %w", err)
	}
	for _, entry := range entries {
		if command := filepath.Join(dir, "cmd", entry.Name()); entry.IsDir() && hasMain(command) {
			commands = append(commands, command)
		}
	}
	if len(commands) == 1 {
		contract.Dir = commands[0]
		return contract, nil
	}
	return nil, noContract(dir, commands)
}

func noContract(dir string, commands []string) error {
	if len(commands) > 1 {
		return fmt.Errorf("%w: %s has several programs, name one of %s", ErrNoContract, dir, strings.Join(commands, ", "))
	}
	looked := []string{dir}
	for _, sub := range append(subdirectories, filepath.Join("cmd", "*")) {
		looked = append(looked, filepath.Join(dir, sub))
	}
	for file, language := range otherLanguages {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return fmt.Errorf("%w: %s has a %s, and only Go contracts are built here: run a %s contract as a service and deploy a %s package",
				ErrNoContract, dir, file, language, Service)
		}
	}
	return fmt.Errorf("%w: want Go files of package main in one of %s", ErrNoContract, strings.Join(looked, ", "))
}

// hasMain reports whether a directory holds a Go program. One with mistakes counts: its compiler says what they are.
func hasMain(dir string) bool {
	pkg, err := build.ImportDir(dir, 0)
	if err == nil {
		return pkg.IsCommand() && len(pkg.GoFiles)+len(pkg.CgoFiles) > 0 // and not tests alone
	}
	var none *build.NoGoError
	if errors.As(err, &none) || errors.Is(err, os.ErrNotExist) {
		return false
	}
	return pkg != nil && pkg.Name == "main"
}

var notInNames = regexp.MustCompile(`[^a-zA-Z0-9]+`)

// ChaincodeName makes a valid chaincode name of any.
func ChaincodeName(name string) string {
	name = strings.Trim(notInNames.ReplaceAllString(name, "-"), "-")
	if name == "" {
		return "contract"
	}
	return name
}
