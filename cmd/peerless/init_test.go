package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/store/mem"
)

// TestInitProject makes a project, tests it with what the module cache has, and runs it as a server would.
func TestInitProject(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	source, err := findSource("")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "register")
	if _, err := initProject(ctx, dir, source); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"vet", "./..."}, {"test", "./..."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if unformatted, err := exec.Command("gofmt", "-l", dir).CombinedOutput(); err != nil || len(unformatted) > 0 {
		t.Errorf("gofmt: %v, %s", err, unformatted)
	}

	// Where the source is not, as on another machine, the contract builds all the same.
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod = bytes.Replace(mod, []byte("=> "+quoteModFile(source)), []byte("=> "+filepath.Join(parent, "nowhere")), 1)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := deploy.Build(ctx, dir, deploy.BuildConfig{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.ReadFile(program.Path)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := deploy.PackBinary("register", program.Platform, executable, "")
	if err != nil {
		t.Fatal(err)
	}
	provenanceOnServer(t, pkg)
}

// provenanceOnServer deploys the package of a register and hands a document over.
func provenanceOnServer(t *testing.T, pkg []byte) {
	t.Helper()
	ctx := context.Background()
	store := mem.New(mem.Config{})
	n, err := node.Open(node.Config{Store: store, Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := n.CreateChannel(ctx, defaultChannel, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Deploy(ctx, defaultChannel, pkg, gateway.Definition{Name: "register"}); err != nil {
		t.Fatal(err)
	}
	anna, err := n.User("", "anna", nil)
	if err != nil {
		t.Fatal(err)
	}
	request := func(function string, args ...string) gateway.Request {
		r := gateway.Request{Channel: defaultChannel, Chaincode: "register", Function: function, User: anna}
		for _, arg := range args {
			r.Args = append(r.Args, []byte(arg))
		}
		return r
	}
	if _, err := n.Gateway.SubmitTransaction(ctx, request("RegisterDocument", "d1", "Bill of lading", strings.Repeat("0a", 32))); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Gateway.SubmitTransaction(ctx, request("HandOver", "d1", "ben@Org2MSP")); err != nil {
		t.Fatal(err)
	}
	answer, err := n.Gateway.EvaluateTransaction(ctx, request("Provenance", "d1"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []struct{ Holder string }
	if err := json.Unmarshal(answer.Response.Payload, &steps); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[0].Holder != "anna@"+node.DefaultOrganization || steps[1].Holder != "ben@Org2MSP" {
		t.Errorf("provenance is %s", answer.Response.Payload)
	}
}

func TestSourceWithoutToolchainOrModule(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findSource(dir); err == nil {
		t.Error("another module passes for the source")
	}
	if got, want := quoteModFile("/a b"), `"/a b"`; got != want {
		t.Errorf("quoted path is %s, want %s", got, want)
	}
}
