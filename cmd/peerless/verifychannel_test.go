package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/api"
	"peerless/shared/api/client"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// lyingServer serves a node with the channel main, and changes what it answers: lie gets the path and the body.
func lyingServer(t *testing.T, lie func(path string, body []byte) []byte) (url string) {
	t.Helper()
	n, err := node.Open(node.Config{Store: mem.New(mem.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if err := n.EnsureChannel(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "main", contract, gateway.Definition{Name: "assettransfer"}); err != nil {
		t.Fatal(err)
	}
	user, err := n.User("", "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a1", "a2", "a3"} {
		args := [][]byte{[]byte(id), []byte("blue"), []byte("5"), []byte("tom"), []byte("100")}
		if _, err := n.Gateway.SubmitTransaction(t.Context(), gateway.Request{Channel: "main", Chaincode: "assettransfer", Function: "CreateAsset", Args: args, User: user}); err != nil {
			t.Fatal(err)
		}
	}
	honest, err := n.Handler(&api.DevAuth{Organization: n.Organization, Signer: n.User}, 0)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		honest.ServeHTTP(recorder, r)
		w.WriteHeader(recorder.Code)
		w.Write(lie(r.URL.Path, recorder.Body.Bytes()))
	}))
	t.Cleanup(func() {
		honest.Close()
		server.Close()
	})
	return server.URL
}

// verifyRemote runs peerless verify on a server.
func verifyRemote(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, failures strings.Builder
	status = run(context.Background(), append([]string{"verify", "--channel", "main"}, args...), func(string) string { return "" }, strings.NewReader(""), &out, &failures)
	return status, out.String(), failures.String()
}

// TestVerifyChannelOfLiars: a server that changes a block, its verdicts or its checkpoint is found out, and so is one whose chain
// is not the one that a receipt was signed for.
func TestVerifyChannelOfLiars(t *testing.T) {
	t.Parallel()
	truth := func(_ string, body []byte) []byte { return body }
	change := func(number string, change func([]byte) []byte) func(string, []byte) []byte {
		return func(path string, body []byte) []byte {
			if path == "/v1/channels/main/"+number {
				return change(bytes.Clone(body))
			}
			return body
		}
	}
	for _, test := range []struct {
		name, want string
		lie        func(string, []byte) []byte
	}{
		{"the truth", "", truth},
		{"another envelope", "audit channel main: block 3: audit failed: ", change("blocks/3", func(raw []byte) []byte {
			return bytes.Replace(raw, []byte("CreateAsset"), []byte("CreateAssex"), 1)
		})},
		{"another verdict", "is recorded as MVCC_READ_CONFLICT and is VALID", change("blocks/3", func(raw []byte) []byte {
			block, err := wire.ParseBlock(raw)
			if err != nil {
				t.Error(err)
			}
			wire.SetValidationCodes(block, []peer.TxValidationCode{peer.TxValidationCode_MVCC_READ_CONFLICT})
			changed, err := proto.Marshal(block)
			if err != nil {
				t.Error(err)
			}
			return changed
		})},
		{"no block", "audit channel main: block 3: audit failed", change("blocks/3", func([]byte) []byte { return nil })},
		{"another checkpoint", "the server's checkpoint of channel main: the checkpoint does not hold: ", change("checkpoint", func(signed []byte) []byte {
			return bytes.Replace(signed, []byte("\n5\n"), []byte("\n4\n"), 1)
		})},
		{"no checkpoint", "the checkpoint does not hold", change("checkpoint", func([]byte) []byte { return nil })},
	} {
		url := lyingServer(t, test.lie)
		status, stdout, stderr := verifyRemote(t, "--url", url)
		if test.want == "" {
			if status != 0 || !strings.Contains(stdout, "channel main holds: 5 blocks") {
				t.Errorf("%s: status %d, %s%s", test.name, status, stdout, stderr)
			}
		} else if status != exitFailure || !strings.Contains(stderr, test.want) || !strings.HasPrefix(stderr, "peerless: verification failed: ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %s%s, want %s", test.name, status, stdout, stderr, test.want)
		}
	}
}

// TestVerifyChannelGoesBack: a server that shows fewer blocks than a receipt of its own was signed for has taken some away.
func TestVerifyChannelGoesBack(t *testing.T) {
	t.Parallel()
	old := make(chan []byte, 1)
	url := lyingServer(t, func(path string, body []byte) []byte {
		if path == "/v1/channels/main/checkpoint" {
			select {
			case first := <-old:
				old <- first
				return first
			default:
				old <- body
			}
		}
		return body
	})
	c, err := client.New(url, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	submitted, err := c.Submit(t.Context(), client.Call{Channel: "main", Chaincode: "assettransfer", Function: "CreateAsset", Args: []string{"a9", "red", "1", "ann", "1"}})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := c.Receipt(t.Context(), "main", submitted.TransactionID)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "receipt.json")
	var raw strings.Builder
	if err := (&app{out: &raw}).printJSON(proof); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(raw.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := verifyRemote(t, "--url", url, "--receipt", file)
	if status != exitFailure || !strings.Contains(stderr, "the receipt was signed for 6 blocks, the server has only 5: blocks are gone") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}
