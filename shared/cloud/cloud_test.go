package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/cloud"
	"peerless/shared/emf"
	"peerless/shared/ledger"
	"peerless/shared/store/mem"
)

var contracts = cloud.Contracts{"assettransfer": func() (shim.Chaincode, error) { return assettransfer.New() }}

// env is an environment of these variables.
func env(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	config, err := cloud.FromEnv(env(map[string]string{"PEERLESS_STAGE": "local"}))
	if diff := cmp.Diff(cloud.Config{Stage: "local", Organization: "PeerlessMSP"}, config); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	_, err = cloud.FromEnv(env(nil))
	for _, name := range []string{"PEERLESS_STAGE", "PEERLESS_LEDGER_TABLE", "PEERLESS_CONTROL_TABLE", "PEERLESS_KEY_ARN", "PEERLESS_READER_ROLE", "PEERLESS_FUNCTION_PREFIX", "AWS_REGION", "AWS_ACCESS_KEY_ID"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("an empty environment, of which %s is missing: %v", name, err)
		}
	}
	if _, err := cloud.FromEnv(env(map[string]string{"PEERLESS_STAGE": "dev", "PEERLESS_ISSUER": "https://issuer.example"})); err == nil || !strings.Contains(err.Error(), "PEERLESS_AUDIENCE") {
		t.Errorf("an issuer without an audience: %v", err)
	}
}

// open opens a platform of stage local, whose metrics go to out.
func open(t *testing.T, out *bytes.Buffer) *cloud.Platform {
	t.Helper()
	p, err := cloud.Open(t.Context(), cloud.Config{Stage: cloud.StageLocal}, contracts, slog.New(slog.DiscardHandler), emf.New(out, cloud.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// call sends one request and decodes the answer.
func call(t *testing.T, h http.Handler, method, path, body string) (int, map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
	}
	return w.Code, answer
}

// TestLocal: every channel has the contracts that are linked in.
func TestLocal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := open(t, &out)
	if status, answer := call(t, p.HTTP, "POST", "/v1/channels", `{"name":"trade"}`); status != 201 {
		t.Fatalf("create a channel: %d %v", status, answer)
	}
	for _, channel := range []string{"main", "trade"} {
		path := "/v1/channels/" + channel + "/chaincodes/assettransfer"
		if status, answer := call(t, p.HTTP, "POST", path+"/submit", `{"function":"CreateAsset","args":["a/1","blue","5","tomoko","300"]}`); status != 200 || answer["code"] != "VALID" {
			t.Errorf("submit on %s: %d %v", channel, status, answer)
		}
		status, answer := call(t, p.HTTP, "GET", path+"/history/a%2F1", "")
		if changes, _ := answer["history"].([]any); status != 200 || len(changes) != 1 {
			t.Errorf("history on %s: %d %v", channel, status, answer)
		}
	}
	audit := ledger.Audit{Store: p.Node.Config.Store, Channel: "trade", Scratch: mem.New(mem.Config{})}
	if _, err := audit.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestMetrics: a call that ran has metrics of its chaincode; names that a caller made up have none.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := open(t, &out)
	for _, test := range []struct {
		method, path, body string
		status             int
		own                string // dimensions of the call
		failures           float64
	}{
		{"POST", "/v1/channels/main/chaincodes/assettransfer/submit", `{"function":"InitLedger"}`, 200, "main assettransfer submit", 0},
		{"POST", "/v1/channels/main/chaincodes/assettransfer/evaluate", `{"function":"ReadAsset","args":["none"]}`, 422, "main assettransfer evaluate", 0},
		{"POST", "/v1/channels/invented/chaincodes/assettransfer/submit", `{"function":"InitLedger"}`, 404, "", 0},
		{"POST", "/v1/channels/main/chaincodes/invented/evaluate", `{"function":"InitLedger"}`, 404, "", 0},
		{"POST", "/v1/channels/main/chaincodes/assettransfer/submit", `{`, 400, "", 0},
		{"GET", "/v1/channels", "", 200, "", 0},
		{"GET", "/nowhere", "", 404, "", 0},
	} {
		out.Reset()
		if status, answer := call(t, p.HTTP, test.method, test.path, test.body); status != test.status {
			t.Errorf("%s %s: %d %v", test.method, test.path, status, answer)
		}
		var line struct {
			Stage, Channel, Chaincode, Call string
			Requests, Failures, Latency     float64
			Status                          int
			AWS                             struct {
				CloudWatchMetrics []struct{ Dimensions [][]string }
			} `json:"_aws"`
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, &out)
		}
		own := strings.TrimSpace(fmt.Sprintln(line.Channel, line.Chaincode, line.Call))
		sets := len(line.AWS.CloudWatchMetrics[0].Dimensions)
		if line.Stage != "local" || own != test.own || sets != 1+min(1, len(own)) || line.Requests != 1 || line.Failures != test.failures || line.Status != test.status || line.Latency <= 0 {
			t.Errorf("%s %s: %s", test.method, test.path, &out)
		}
	}
}

// TestServe: a platform that cannot be opened says why at every path, and is opened by a later request when it can be.
func TestServe(t *testing.T) {
	t.Parallel()
	failure := errors.New("the table is being made")
	h := cloud.Serve(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) (*cloud.Platform, error) {
		if failure != nil {
			return nil, failure
		}
		return &cloud.Platform{HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) })}, nil
	})
	for _, path := range []string{"/healthz", "/v1/channels"} {
		if status, answer := call(t, h, "GET", path, ""); status != 503 || answer["code"] != "UNAVAILABLE" || answer["detail"] != failure.Error() {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	failure = nil
	if status, answer := call(t, h, "GET", "/healthz", ""); status != 200 {
		t.Errorf("once it can be opened: %d %v", status, answer)
	}
}
