package functions_test

import (
	"strings"
	"testing"
)

// walk is the README's, over HTTP, and an error of each class.
func walk(t *testing.T, url string) {
	t.Helper()
	const trade = "/v1/channels/trade/chaincodes/assettransfer"
	for _, step := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"POST", "/v1/channels", `{"name":"trade"}`, 201, `"name":"trade"`},
		{"POST", trade + "/submit", `{"function":"InitLedger"}`, 200, `"code":"VALID"`},
		{"POST", trade + "/submit", `{"function":"TransferAsset","args":["asset1","maria"]}`, 200, `"code":"VALID"`},
		{"POST", trade + "/evaluate", `{"function":"ReadAsset","args":["asset1"]}`, 200, `"Owner":"maria"`},
		{"GET", trade + "/history/asset1", "", 200, `"Owner":"maria"`},
		{"GET", "/v1/channels/trade/blocks?from=0&limit=2", "", 200, `"blocks"`},
		{"GET", "/v1/channels/trade/events?from=0&wait=0s", "", 200, `"cursor"`},
		{"GET", "/v1/openapi.json", "", 200, `"openapi"`},

		{"POST", trade + "/submit", `{"function":1}`, 400, "INVALID_REQUEST"},
		{"GET", "/v1/channels/nowhere", "", 404, "NOT_FOUND"},
		{"DELETE", "/v1/channels/trade", "", 405, "METHOD_NOT_ALLOWED"},
		{"POST", "/v1/channels", `{"name":"trade"}`, 409, "ALREADY_EXISTS"},
		{"POST", trade + "/submit", `{"function":"CreateAsset","args":["` + strings.Repeat("x", 1<<20+1) + `"]}`, 413, "TOO_LARGE"},
		{"POST", trade + "/submit", `{"function":"ReadAsset","args":["none"]}`, 422, "CHAINCODE_ERROR"},
		{"GET", "/v1/channels/trade/events", "", 400, "wait"},
	} {
		status, answer := request(t, step.method, url+step.path, step.body)
		if status != step.status || !strings.Contains(string(answer), step.contains) {
			t.Errorf("%s %s: %d %.300s, want %d and %s", step.method, step.path, status, answer, step.status, step.contains)
		}
	}
}
