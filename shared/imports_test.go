// Package shared_test keeps the packages' arrows pointing down (DESIGN.md).
package shared_test

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers are the packages from the bottom up. A package imports only what stands below it.
var layers = [][]string{
	{"walk", "stack", "cost"},
	{"wire", "simulate/rangequery", "sealed", "toolbox", "mango", "emf", "httpapi"},
	{"msp", "receipt", "docstore", "secret", "awstest"},
	{"policy", "msp/mspdir", "docstore/docstoretest", "docstore/dynamodb", "secret/kms"},
	{"channelconfig"},
	{"collection"},
	{"organization"},
	{"ledger"},
	{"simulate", "store/mem", "store/pebble", "store/dynamodb"},
	{"chaincode", "ledger/ledgertest", "store/dynamodb/dynamodbtest", "simulate/simtest"},
	{"deploy", "invocation"},
	{"gateway", "chaincode/lambda", "adapter", "manifest"},
	{"queue", "webhook"},
	{"webhook/aws"},
	{"queue/queuetest", "queue/sqs", "samples", "api", "grpcapi", "endorser", "conformance", "contracttest"},
	{"api/client", "jwtauth", "api/apitest", "conformance/local", "conformance/remote", "node", "deploy/function"},
	{"cloud"},
}

// pure packages take bytes and small readers: no disk, no network, no environment.
var pure = []string{"mango", "wire", "msp", "policy", "channelconfig", "collection", "ledger", "simulate", "simulate/rangequery", "receipt"}

// cloud packages may import the AWS SDK: the program of one machine links none of them but where it talks to AWS.
var cloud = []string{
	"chaincode/lambda",
	"adapter",
	"secret/kms",
	"awstest",
	"docstore/dynamodb",
	"store/dynamodb",
	"store/dynamodb/dynamodbtest",
	"httpapi",
	"cloud",
	"stack",
	"queue/sqs",
	"webhook/aws",
}

func TestArrowsPointDown(t *testing.T) {
	t.Parallel()
	rank := make(map[string]int)
	for i, layer := range layers {
		for _, name := range layer {
			rank[name] = i
		}
	}
	err := filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if entry.Name() == "testdata" {
			return fs.SkipDir
		}
		pkg, err := build.ImportDir(dir, 0)
		if _, none := err.(*build.NoGoError); none || err == nil && len(pkg.GoFiles) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.ToSlash(dir)
		own, known := rank[name]
		if !known {
			t.Errorf("%s stands in no layer: give it its place", name)
		}
		for _, path := range pkg.Imports {
			below, ours := strings.CutPrefix(path, "peerless/shared/")
			if other, ok := rank[below]; ours && (!ok || other >= own) {
				t.Errorf("%s imports %s, which does not stand below it", name, below)
			}
			if slices.Contains(pure, name) && slices.Contains([]string{"os", "net", "net/http", "os/exec"}, path) {
				t.Errorf("%s is pure and imports %s", name, path)
			}
			if strings.HasPrefix(path, "github.com/aws/") && !slices.Contains(cloud, name) || strings.HasPrefix(path, "peerless/contracts") {
				t.Errorf("%s imports %s", name, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
