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

// A Contract is the source of a contract.
type Contract struct {
	// Name is what the directory suggests to call it: a valid chaincode name.
	Name string
	// Dir is where its main package, its package.json or its project file is.
	Dir string
	// Type is of the language: Golang, Node or Java.
	Type Type
}

// subdirectories are where the contract may be, beside the directory itself: what the Fabric samples use.
var subdirectories = []string{"chaincode", "chaincode-go", "chaincode-javascript", "chaincode-typescript", "chaincode-java"}

// Detect finds the contract in a directory: in dir itself, in dir/chaincode, dir/chaincode-go and so on, or the only Go program in a
// directory of dir/cmd. A Go contract is a main package, a Node contract a package.json that depends on fabric-shim or
// fabric-contract-api, a Java contract a Maven or Gradle project. Go comes first where there are several. ErrNoContract if there is none.
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
	contract := &Contract{Name: ChaincodeName(filepath.Base(absolute))}
	places := []string{dir}
	for _, sub := range subdirectories {
		places = append(places, filepath.Join(dir, sub))
	}
	for _, has := range []struct {
		kind Type
		in   func(dir string) bool
	}{{Golang, hasMain}, {Node, hasNode}, {Java, hasJava}} {
		for _, place := range places {
			if has.in(place) {
				contract.Dir, contract.Type = place, has.kind
				return contract, nil
			}
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
		contract.Dir, contract.Type = commands[0], Golang
		return contract, nil
	}
	return nil, noContract(dir, commands)
}

func noContract(dir string, commands []string) error {
	if len(commands) > 1 {
		return fmt.Errorf("%w: %s has several programs, name one of %s", ErrNoContract, dir, strings.Join(commands, ", "))
	}
	return fmt.Errorf("%w: want Go files of package main, a package.json that depends on fabric-contract-api, or a pom.xml or build.gradle that names "+
		"fabric-chaincode-shim, in %s or in %s or cmd/* there", ErrNoContract, dir, strings.Join(subdirectories, ", "))
}

// hasNode reports whether a directory holds a Node contract. One with a broken package.json is taken for one: npm says what is wrong.
func hasNode(dir string) bool {
	raw, err := os.ReadFile(filepath.Join(dir, packageJSON))
	if err != nil {
		return false
	}
	p, err := parseNodePackage(raw)
	if err != nil {
		return strings.Contains(string(raw), `"fabric-`)
	}
	return p.isContract()
}

// hasJava reports whether a directory holds a Java project that names the shim.
func hasJava(dir string) bool {
	for _, name := range javaProjects {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err == nil && strings.Contains(string(raw), "fabric-chaincode-shim") {
			return true
		}
	}
	return false
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
