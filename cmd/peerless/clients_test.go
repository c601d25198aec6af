package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	network "peerless/shared/conformance/remote"
	"peerless/shared/deploy"
	"peerless/shared/toolbox"
)

// clientNetwork is what the clients find: by the channel's majority, transactions of asset need both organisations.
const clientNetwork = `
organizations:
  - mspId: Org1MSP
  - mspId: Org2MSP
channels:
  - name: trade
    organizations: [Org1MSP, Org2MSP]
    chaincodes:
      - name: asset
        source: assettransfer.tar.gz
      - name: probe
        source: probe.tar.gz
        policy: OR('Org1MSP.peer','Org2MSP.peer')
`

// clientFacts is what every client is answered until the server ends, events left out.
const clientFacts = `submit: 
evaluate: {"AppraisedValue":300,"Color":"blue","ID":"a1","Owner":"tomoko","Size":5}
endorse: tomoko
status: true VALID, of the transaction true
off-line evaluate: true
off-line submit: maria, VALID
blocks: 0 1
evaluate error: 2 evaluate call to endorser returned error: chaincode response 500, the asset nothing does not exist [Org1MSP: chaincode response 500, the asset nothing does not exist]
endorse error: 10 failed to endorse transaction, see attached details for more info [Org1MSP: chaincode response 500, the asset nothing does not exist], of the transaction true
submit error: 10 received unsuccessful response from orderer: status=FORBIDDEN, info=implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied [], of the transaction true
commit status error: 7 Failed evaluating policy on signed data during check policy on channel [trade] with policy [/Channel/Application/Readers]: [implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Readers' sub-policies to be satisfied] [], of the transaction true
late: false MVCC_READ_CONFLICT
commit error: ENDORSEMENT_POLICY_FAILURE
the server ended
`

// TestClients runs one program each in Go, Node and Java, written for Fabric, over mutual TLS against peerless serve: transactions,
// off-line signing, blocks, the details of errors, and events with a checkpoint across a restart of both the server and the client.
func TestClients(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, err := network.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server", "client"} {
		if _, _, err := authority.Issue(name); err != nil {
			t.Fatal(err)
		}
	}
	manifest, data, user := filepath.Join(dir, "network.yaml"), filepath.Join(dir, "data"), filepath.Join(dir, "user")
	if err := os.WriteFile(manifest, []byte(clientNetwork), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, contract := range []string{"assettransfer", "probe"} {
		pack(t, contract, dir)
	}
	program := filepath.Join(dir, "peerless")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil { // this test binary, under the name that makes it peerless
		t.Fatal(err)
	}
	succeed(t, program, "apply", "-f", manifest, "--data", data)
	succeed(t, program, "identity", "export", "alice", "--organization", "Org1MSP", "--data", data, "--out", user)

	for _, row := range []struct {
		language string
		prepare  func(t *testing.T) (command []string)
	}{
		{"go", prepareGoClient}, {"node", prepareNodeClient}, {"java", prepareJavaClient},
	} {
		t.Run(row.language, func(t *testing.T) {
			t.Parallel()
			client := row.prepare(t)
			own := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(own, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(own, "seal.key"), 0o600); err != nil { // which it must have, and CopyFS does not keep
				t.Fatal(err)
			}
			checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
			serve := func() (*network.Server, string) {
				server, err := network.Serve(t.Context(), program, t.Output(), "--data", own, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
					"--tls-cert", filepath.Join(dir, "server.pem"), "--tls-key", filepath.Join(dir, "server.key"), "--tls-client-ca", authority.File)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { server.Stop() }) // if the test has not
				return server, server.Gateways[""]
			}
			run := func(phase, address string) *exec.Cmd {
				return exec.Command(client[0], append(client[1:], phase, address, "trade", filepath.Join(user, "msp"), dir, checkpoint)...)
			}

			server, address := serve()
			facts, seen := clientUntilTheEnd(t, run("before", address), server)
			if diff := cmp.Diff(clientFacts, facts); diff != "" {
				t.Errorf("what the client was answered (-want +got):\n%s", diff)
			}
			server, address = serve()
			after := run("after", address)
			after.Stderr = t.Output()
			out, err := after.Output()
			if err != nil {
				t.Errorf("after the restart: %v", err)
			}
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
			facts, resumed := split(out, "event: ")
			_, all := split([]byte(facts), "ledger: ")
			if diff := cmp.Diff(all, append(seen, resumed...)); diff != "" || len(all) != 9 {
				t.Errorf("%d events on the ledger; those read before and after the restart (-want +got):\n%s", len(all), diff)
			}
			succeed(t, program, "verify", "--data", own)
		})
	}
}

// clientUntilTheEnd runs a client, ends the server when the client has taken three events, and returns what the client printed: the events,
// and the rest.
func clientUntilTheEnd(t *testing.T, cmd *exec.Cmd, server *network.Server) (facts string, events []string) {
	t.Helper()
	printed := filepath.Join(t.TempDir(), "printed")
	out, err := os.Create(printed)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = out
	read := func() []byte {
		raw, err := os.ReadFile(printed)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	p := toolbox.Start(t, cmd, func(context.Context) error { // until it has taken three events, or has ended
		if _, events := split(read(), "event: "); len(events) < 3 {
			return context.DeadlineExceeded
		}
		return nil
	})
	if err := server.Stop(); err != nil {
		t.Errorf("with a client that reads events: %v", err)
	}
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Error("the client did not notice that the server ended")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("the client: %v\n%s", err, p.Output())
	}
	return split(read(), "event: ")
}

// split takes the lines with a prefix out of others.
func split(out []byte, prefix string) (others string, lines []string) {
	for line := range bytes.Lines(out) {
		if rest, ok := strings.CutPrefix(string(line), prefix); ok {
			lines = append(lines, strings.TrimSuffix(rest, "\n"))
		} else {
			others += string(line)
		}
	}
	return others, lines
}

// prepareGoClient builds the client; the others find what they depend on where .ci/setup put it.
func prepareGoClient(t *testing.T) []string {
	program := filepath.Join(t.TempDir(), "client")
	succeed(t, "go", "build", "-o", program, "./testdata/client-go")
	return []string{program}
}

func prepareNodeClient(t *testing.T) []string {
	node, modules := toolbox.Need(t, "node"), toolbox.Need(t, "client-node/node_modules")
	dir := t.TempDir()
	source, err := os.ReadFile(filepath.Join("testdata", "client-node", "client.js"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "client.js"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return []string{node, filepath.Join(dir, "client.js")}
}

func prepareJavaClient(t *testing.T) []string {
	java, compiler, libraries := toolbox.Need(t, "java"), toolbox.Need(t, "javac"), toolbox.Need(t, "client-java")
	classes, libraries := t.TempDir(), filepath.Join(libraries, "*")
	succeed(t, compiler, "-cp", libraries, "-d", classes, filepath.Join("testdata", "client-java", "src", "main", "java", "Client.java"))
	return []string{java, "-XX:TieredStopAtLevel=1", "-cp", classes + string(os.PathListSeparator) + libraries, "Client"}
}

// succeed runs a program that must succeed.
func succeed(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// pack makes a package of one of this repository's contracts, NAME.tar.gz in a directory, and returns the file.
func pack(t *testing.T, contract, dir string) string {
	t.Helper()
	pkg, err := deploy.Pack(t.Context(), filepath.Join(toolbox.Root(), "contracts", contract), contract, deploy.BuildConfig{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, contract+".tar.gz")
	if err := os.WriteFile(file, pkg, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
