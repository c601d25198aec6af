package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"peerless/shared/conformance"
	"peerless/shared/conformance/remote"
	"peerless/shared/toolbox"
)

// build compiles a program of this module.
func build(t *testing.T, path string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), filepath.Base(path))
	if out, err := exec.Command("go", "build", "-o", program, "peerless/"+path).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", path, err, out)
	}
	return program
}

// TestScenarios drives every recorded scenario through the Fabric Gateway client, over mutual TLS, against peerless serve with the
// network of the recording: organisations that bring their MSP directories along, a gateway each; the probe as child processes
// of the server, and as services that run elsewhere, with and without TLS.
func TestScenarios(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, err := remote.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("../../../contracts/probe")
	if err != nil {
		t.Fatal(err)
	}
	program := build(t, "contracts/probe")
	plain := service(t, program)
	secured := service(t, program, secure(t, authority)...)
	clientCert, clientKey := issue(t, authority, "client")
	setup, err := remote.Prepare(dir, func(name string) string {
		switch name {
		case "other":
			return fmt.Sprintf("{address: %q}", plain)
		case "probeand":
			return fmt.Sprintf("{address: %q, tls: {rootCert: tls-ca.pem, clientCert: client.pem, clientKey: client.key}}", secured)
		}
		return source
	})
	if err != nil {
		t.Fatal(err)
	}
	serverCert, serverKey := issue(t, authority, "server")
	peerless := build(t, "cmd/peerless")
	t.Cleanup(func() { unchanged(t, peerless, dir, setup.Manifest) })
	server := serve(t, peerless, dir, "--apply", setup.Manifest,
		"--state-database", "goleveldb", // as the recorded network
		"--grpc", "Org1MSP=127.0.0.1:0", "--grpc", "Org2MSP=127.0.0.1:0",
		"--tls-cert", serverCert, "--tls-key", serverKey, "--tls-client-ca", authority.File)
	config, err := authority.Client(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	network, err := remote.Dial(server.Gateways, setup.Identities["org1user"], config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { network.Close() })
	check(t, network, setup.Identities)
}

// service runs a chaincode as a service, and returns its address.
func service(t *testing.T, program string, env ...string) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", toolbox.Port(t))
	cmd := exec.Command(program)
	cmd.Env = append(env, "CHAINCODE_SERVER_ADDRESS="+address, "CHAINCODE_ID=elsewhere")
	toolbox.Start(t, cmd, nil)
	return address
}

func issue(t *testing.T, authority *remote.Authority, name string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := authority.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// secure gives a chaincode's environment for TLS in both directions.
func secure(t *testing.T, authority *remote.Authority) []string {
	t.Helper()
	certFile, keyFile := issue(t, authority, "chaincode")
	return []string{"CHAINCODE_TLS_CERT=" + certFile, "CHAINCODE_TLS_KEY=" + keyFile, "CHAINCODE_CLIENT_CA_CERT=" + authority.File}
}

// serve runs peerless serve until the test ends, and then audits what it leaves.
func serve(t *testing.T, peerless, dir string, args ...string) *remote.Server {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("the server's log:\n%s", said[max(0, len(said)-10_000):])
		}
		log.Close()
	})
	data := filepath.Join(dir, "data")
	server, err := remote.Serve(t.Context(), peerless, log, append([]string{"--data", data, "--http", "127.0.0.1:0"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		if out, err := exec.Command(peerless, "verify", "--data", data).CombinedOutput(); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
	})
	return server
}

// unchanged applies the manifest to the data directory again.
func unchanged(t *testing.T, peerless, dir, manifest string) {
	t.Helper()
	out, err := exec.Command(peerless, "apply", "-f", manifest, "--data", filepath.Join(dir, "data"), "--json").Output()
	if err != nil {
		t.Errorf("apply again: %v", err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	for _, line := range lines {
		if !bytes.HasPrefix(line, []byte(`{"event":"unchanged"`)) {
			t.Errorf("applying the manifest again did: %s", line)
		}
	}
	if want := 3 + 2 + len(conformance.Chaincodes); len(lines) != want {
		t.Errorf("apply told about %d things, want %d", len(lines), want)
	}
}

func check(t *testing.T, network conformance.Network, identities conformance.Identities) {
	t.Helper()
	files, err := conformance.Files()
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := conformance.Scenarios(files)
	if err != nil {
		t.Fatal(err)
	}
	conformance.Check(t, network, identities, scenarios, conformance.Options{
		Regroup: true,
		// A chaincode that crashed is back before it is called again: nobody has to wait for that.
		Pause: func(context.Context, time.Duration) error { return nil },
	})
}
