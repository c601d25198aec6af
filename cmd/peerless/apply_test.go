package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"peerless/shared/conformance"
	network "peerless/shared/conformance/remote"
)

// TestApplyToServer brings a network of organisations with their own MSP directories and endorsers to a server that runs, over https: once more
// changes nothing, and a client of one of them submits. No answer and no log has an endorser's key.
func TestApplyToServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "peerless")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	packed := pack(t, "probe", dir) // building source is the same for a directory: testdata/script/apply.txtar
	setup, err := network.Prepare(dir, func(string) string { return packed })
	if err != nil {
		t.Fatal(err)
	}
	authority, err := network.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := authority.Issue("server")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := authority.Client("", "")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	var log bytes.Buffer
	server, err := network.Serve(t.Context(), program, &log, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--verbose",
		"--tls-cert", certFile, "--tls-key", keyFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() }) // if the test has not
	apply := func(key string) (actions map[string]int, said string, err error) {
		cmd := exec.Command(program, "apply", "-f", setup.Manifest, "--url", server.URL, "--key", key, "--json")
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+authority.File)
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		actions = map[string]int{}
		for line := range bytes.Lines(out) {
			var c change
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			actions[c.Kind+" "+c.Event]++
		}
		return actions, complaint.String(), err
	}
	chaincodes := len(conformance.Chaincodes)
	for _, want := range []map[string]int{
		{"organization created": 2, "organization updated": 1, "channel created": 2, "chaincode created": chaincodes}, // the ordering organisation is there
		{"organization unchanged": 3, "channel unchanged": 2, "chaincode unchanged": chaincodes},
	} {
		got, said, err := apply(server.Key)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("apply: %v %s (-want +got):\n%s", err, said, diff)
		}
	}

	connection, err := grpc.NewClient(server.Gateways[""], grpc.WithTransportCredentials(credentials.NewTLS(secured)))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	gateway, err := network.Connect(setup.Identities["org1user"], connection)
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	contract := gateway.GetNetwork("alpha").GetContract("probe")
	if _, err := contract.SubmitTransaction("run", `[{"op":"PutState","key":"k","value":"v"}]`); err != nil {
		t.Errorf("submit: %v", err)
	}

	// Who is not the operator may not.
	out, err := exec.Command(program, "key", "add", "other", "--organization", "Org1MSP", "--scope", "admin,submit,evaluate", "--data", data).Output()
	if err != nil {
		t.Fatalf("key add: %v", err)
	}
	if _, said, err := apply(strings.TrimSpace(string(out))); err == nil || !strings.Contains(said, "this is for the operator") {
		t.Errorf("an organisation's administrator: %v %s", err, said)
	}
	// Nor may a directory that a server runs on be changed from aside.
	said, err := exec.Command(program, "apply", "-f", setup.Manifest, "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "apply to the server that runs on it, with --url") {
		t.Errorf("on the server's directory: %v %s", err, said)
	}

	key, err := os.ReadFile(filepath.Join(dir, "Org1MSP", "peer.key"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(key), "\n")[1]
	shown := get(t, server, secured, "/v1/organizations/Org1MSP")
	if !strings.Contains(shown, `"endorser":"-----BEGIN CERTIFICATE`) || strings.Contains(shown, "PRIVATE") || strings.Contains(shown, secret) {
		t.Errorf("the organisation is shown as %s", shown)
	}
	if list := get(t, server, secured, "/v1/organizations"); !strings.Contains(list, `"Org1MSP"`) || !strings.Contains(list, `"Org2MSP"`) {
		t.Errorf("the organisations are %s", list)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), secret) {
		t.Error("the endorser's key is in the log")
	}
	err = filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the endorser's key is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	succeed(t, program, "verify", "--data", data)
}

// get asks a server as its operator.
func get(t *testing.T, server *network.Server, config *tls.Config, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+server.Key)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v %s", path, response.Status, err, body)
	}
	return string(body)
}
