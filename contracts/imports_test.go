// Package contracts_test holds what is true of every reference contract.
package contracts_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A contract is ordinary Fabric code: beside the standard library it imports Fabric's packages, the messages' runtime, and
// itself, so that it runs behind any peer.
func TestContractsImportFabricOnly(t *testing.T) {
	t.Parallel()
	checked := 0
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		contract, _, _ := strings.Cut(filepath.ToSlash(file), "/")
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			checked++
			first, _, _ := strings.Cut(name, "/")
			switch {
			case strings.HasPrefix(name, "github.com/hyperledger/fabric-"):
			case strings.HasPrefix(name, "google.golang.org/protobuf/"):
			case strings.HasPrefix(name, path.Join("peerless/contracts", contract)+"/"):
			case !strings.Contains(first, ".") && first != "peerless":
			default:
				t.Errorf("%s imports %s", file, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Error("no import was checked")
	}
}
