package node_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/store/mem"
)

// TestPlatformRoutes puts organisations, channels and chaincodes over HTTP, and is refused what cannot be.
func TestPlatformRoutes(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	n := open(t, store, t.TempDir())
	t.Cleanup(func() {
		closed(t, n)
		audit(t, store, "trade")
	})
	handler, err := n.Handler(n.DevAuth(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handler.Close)
	ca, err := msp.NewCA("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	config, err := proto.Marshal(ca.Config())
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := ca.Issue(msp.IssueRequest{CommonName: "peer0", Role: msp.RolePeer})
	if err != nil {
		t.Fatal(err)
	}
	other, err := msp.NewCA("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	stranger, strangerKey, err := other.Issue(msp.IssueRequest{CommonName: "peer0", Role: msp.RolePeer})
	if err != nil {
		t.Fatal(err)
	}
	organization := func(config, certificate, key []byte) string {
		body, err := json.Marshal(map[string]any{"msp": config, "endorser": map[string]string{"certificate": string(certificate), "key": string(key)}})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	brought := organization(config, certificate, key)
	const local, elsewhere = "127.0.0.1:5000", "192.0.2.1:5000"
	for _, test := range []struct {
		from, method, path, body string
		status                   int
		answer                   string // that it contains
	}{
		{local, "GET", "/v1/organizations/Org1MSP", "", 404, `organization \"Org1MSP\" does not exist`},
		{elsewhere, "PUT", "/v1/organizations/Org1MSP", brought, 400, `"field":"endorser.key"`},
		{local, "PUT", "/v1/organizations/Org1MSP", `{"msp":"AAAA"}`, 400, `"field":"msp"`},
		{local, "PUT", "/v1/organizations/Org1MSP", `{"msp":"` + base64.StdEncoding.EncodeToString(config) + `","endorser":{"certificate":"c"}}`, 400, `"field":"endorser"`},
		{local, "PUT", "/v1/organizations/Org1MSP", `{"authority":true}`, 400, `"field":"authority"`},
		{local, "PUT", "/v1/organizations/Org1MSP", organization(config, stranger, strangerKey), 400, "endorser"},
		{local, "PUT", "/v1/organizations/Org2MSP", brought, 400, "Org1MSP"},
		{local, "PUT", "/v1/organizations/Org1MSP", brought, 200, `{"action":"created"}`},
		{local, "PUT", "/v1/organizations/Org1MSP", brought, 200, `{"action":"unchanged"}`},
		{elsewhere, "PUT", "/v1/organizations/Org2MSP", `{}`, 200, `{"action":"created"}`},
		{elsewhere, "PUT", "/v1/organizations/Org2MSP", `{}`, 200, `{"action":"unchanged"}`},
		{local, "GET", "/v1/organizations", "", 200, `{"mspId":"Org1MSP"},{"mspId":"Org2MSP"}`},
		{local, "GET", "/v1/organizations/Org1MSP", "", 200, `"authority":false`},
		{local, "GET", "/v1/organizations/Org2MSP", "", 200, `"authority":true`},

		{local, "PUT", "/v1/channels/trade", `{"organizations":["Org1MSP","Org3MSP"]}`, 400, `organization \"Org3MSP\" does not exist`},
		{local, "PUT", "/v1/channels/trade", `{"organizations":[]}`, 400, `"field":"organizations"`},
		{local, "PUT", "/v1/channels/trade", `{"organizations":["Org1MSP","Org2MSP"]}`, 200, `{"action":"created"}`},
		{local, "PUT", "/v1/channels/trade", `{"organizations":["Org2MSP","Org1MSP"]}`, 200, `{"action":"unchanged"}`},
		{local, "PUT", "/v1/channels/trade", `{"organizations":["Org1MSP"]}`, 400, "does not change a channel's members"},

		{local, "PUT", "/v1/channels/other/chaincodes/asset", `{"version":"1","source":{"packageId":"a:b"}}`, 404, "other"},
		{local, "PUT", "/v1/channels/trade/chaincodes/asset", `{"version":"1","source":{"packageId":"asset:00"}}`, 400, `package \"asset:00\" is not installed`},
		{local, "PUT", "/v1/channels/trade/chaincodes/asset", `{"source":{"packageId":"asset:00"}}`, 400, `"field":"version"`},
		{local, "PUT", "/v1/channels/trade/chaincodes/asset", `{"version":"1"}`, 400, `"field":"source"`},
		{local, "PUT", "/v1/channels/trade/chaincodes/asset", `{"version":"1","source":{"packageId":"a:b","address":"c:1"}}`, 400, `"field":"source"`},
		{local, "PUT", "/v1/channels/trade/chaincodes/asset", `{"version":"1","source":{"path":"a"}}`, 400, `"field":"source.path"`},
		{elsewhere, "PUT", "/v1/channels/trade/chaincodes/asset", `{"version":"1","source":{"address":"c:1","rootCert":"r","clientCert":"c","clientKey":"k"}}`, 400, `"field":"source.clientKey"`},
		{local, "PUT", "/v1/channels/trade/chaincodes/asset", `{"version":"1","source":{"address":"c:1"},"sources":{"Org1MSP":{}}}`, 400, `"field":"sources.Org1MSP"`},
		{local, "POST", "/v1/packages", "no package", 400, "neither a Fabric chaincode package"},
		{local, "GET", "/v1/packages", "", 200, `{"packages":[]}`},
	} {
		r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		r.RemoteAddr = test.from
		if test.method == http.MethodPut {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.answer) {
			t.Errorf("%s %s %.80s: got %d %s, want %d with %s", test.method, test.path, test.body, w.Code, w.Body, test.status, test.answer)
		}
		for _, secret := range [][]byte{key, strangerKey} {
			if line := bytes.Split(secret, []byte("\n"))[1]; bytes.Contains(w.Body.Bytes(), line) {
				t.Errorf("%s %s: the answer has a key: %s", test.method, test.path, w.Body)
			}
		}
	}
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "trade", contract, gateway.Definition{Name: "basic"}); err != nil {
		t.Errorf("with the endorsers that were brought: %v", err)
	}
}
