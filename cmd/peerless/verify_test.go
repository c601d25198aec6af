package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/api"
	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/node"
	"peerless/shared/organization"
)

// TestVerifyNoticesEveryFile flips a byte in each file of a data directory in turn, at several places: verify says so.
func TestVerifyNoticesEveryFile(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	data := filepath.Join(t.TempDir(), "data")
	fillData(t, data)
	if status, out := verifyData(t, data); status != 0 {
		t.Fatalf("verify of a sound directory: status %d, %s", status, out)
	}
	files := filesOf(t, data)
	for _, kind := range []string{api.KindKey, organization.KindOrganization, organization.KindUser} {
		if !slices.ContainsFunc(files, func(name string) bool { return strings.HasPrefix(name, node.DocumentsDir+"/"+kind+"/") }) {
			t.Errorf("there is no %s among %s", kind, files)
		}
	}
	tried := 0
	for _, name := range files {
		good, err := fs.ReadFile(os.DirFS(data), name)
		if err != nil {
			t.Fatal(err)
		}
		if len(good) == 0 {
			continue // a lock
		}
		tried++
		for range 3 {
			copied := filepath.Join(t.TempDir(), "data") // verify opens the store, which rewrites files
			if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			offset, bit := random.IntN(len(good)), byte(1)<<random.IntN(8)
			bad := bytes.Clone(good)
			bad[offset] ^= bit
			if err := os.WriteFile(filepath.Join(copied, name), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if status, out := verifyData(t, copied); status == 0 {
				t.Errorf("%s: bit %#x of byte %d of %d flipped (%q to %q), and verify says %s",
					name, bit, offset, len(good), good[offset], bad[offset], out)
			}
		}
	}
	t.Logf("tried %d files: %s", tried, files)
	if tried < 10 {
		t.Errorf("only %d files were tried", tried)
	}
}

// fillData makes a data directory with a key, two channels, a deployed contract and some transactions, and closes it.
func fillData(t *testing.T, data string) {
	t.Helper()
	ctx := context.Background()
	p, err := openPlatform(opening{data: data}, (&app{err: t.Output()}).logger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	pkg, err := deploy.PackBinary("tiny", runtime.GOOS+"/"+runtime.GOARCH, []byte("not to be run"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Chaincodes.Install(ctx, pkg); err != nil {
		t.Fatal(err)
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	user, err := p.User("", "alice", map[string]string{"role": "clerk"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := openKeys(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := keys.Create(ctx, api.Key{Name: "clerk", Organization: defaultOrganization}); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"main", "orders"} {
		if err := p.EnsureChannel(ctx, channel); err != nil {
			t.Fatal(err)
		}
		if _, err := p.DeployInProcess(ctx, channel, contract, gateway.Definition{Name: "assettransfer"}); err != nil {
			t.Fatal(err)
		}
		request := gateway.Request{Channel: channel, Chaincode: "assettransfer", Function: "InitLedger", User: user}
		if _, err := p.Gateway.SubmitTransaction(ctx, request); err != nil {
			t.Fatal(err)
		}
	}
	collections, err := collection.Parse([]byte(`[{"name": "own", "policy": "OR('` + defaultOrganization + `.member')"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.DeployInProcess(ctx, "main", probe.New(), gateway.Definition{Name: "probe", Collections: collections}); err != nil {
		t.Fatal(err)
	}
	for _, ops := range []string{
		`[{"op":"PutPrivateData","collection":"own","key":"kept","value":"` + privateValue + `"},{"op":"PutPrivateData","collection":"own","key":"purged","value":"x"}]`,
		`[{"op":"PurgePrivateData","collection":"own","key":"purged"}]`,
	} {
		request := gateway.Request{Channel: "main", Chaincode: "probe", Function: "run", Args: [][]byte{[]byte(ops)}, User: user}
		if _, err := p.Gateway.SubmitTransaction(ctx, request); err != nil {
			t.Fatal(err)
		}
	}
}

const privateValue = "a-private-value-4411"

// TestVerifyPrivateData: with the key that seals private values they are compared with their hashes, without it verify says that it could not.
func TestVerifyPrivateData(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	fillData(t, data)
	privateOf := func() *ledger.PrivateReport {
		t.Helper()
		_, out := verifyData(t, data)
		var v verification
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&v); err != nil || len(v.Channels) != 2 {
			t.Fatalf("%v in %s", err, out)
		}
		if strings.Contains(out, privateValue) || v.Channels[1].Private.Purged != 0 {
			t.Errorf("got %s", out)
		}
		return v.Channels[0].Private
	}
	const hashes = 12 + 1 // two chaincodes were approved, and a value was put
	if diff := cmp.Diff(&ledger.PrivateReport{Hashes: hashes, Opened: hashes, Purged: 1}, privateOf()); diff != "" {
		t.Errorf("with the key (-want +got):\n%s", diff)
	}
	if err := os.Remove(filepath.Join(data, node.SealKeyFile)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&ledger.PrivateReport{Hashes: hashes, Sealed: hashes, Purged: 1}, privateOf()); diff != "" {
		t.Errorf("without the key (-want +got):\n%s", diff)
	}
	var stdout, stderr strings.Builder
	if status := run(t.Context(), []string{"verify", "--data", data}, os.Getenv, strings.NewReader(""), &stdout, &stderr); status == 0 {
		t.Error("it holds without the key that the identities are sealed with")
	}
	for _, want := range []string{"13 values could not be opened", "seal.key"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("it does not say %q: %s", want, stdout.String())
		}
	}
}

func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// verifyData runs peerless verify --json, and checks that its output agrees with its status.
func verifyData(t *testing.T, data string) (status int, out string) {
	t.Helper()
	var stdout, stderr strings.Builder
	status = run(context.Background(), []string{"verify", "--data", data, "--json"}, os.Getenv, strings.NewReader(""), &stdout, &stderr)
	var v verification
	if stdout.Len() > 0 {
		if err := json.Unmarshal([]byte(stdout.String()), &v); err != nil {
			t.Fatalf("%v in %s", err, stdout.String())
		}
		if v.OK != (status == 0) || v.OK != (len(v.Problems) == 0) {
			t.Errorf("status %d, ok %v, problems %v", status, v.OK, v.Problems)
		}
	}
	return status, stdout.String() + stderr.String()
}
