package samples_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/samples"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0a", 32)
	got, err := samples.Normalize([]byte(`{"statusCode":200,"multiValueHeaders":null,"cookies":["a=1"],"n":12345678901234567890,
		"body":"{\"transactionId\":\"` + id + `\",\"blockNumber\":7,\"at\":\"2026-11-26T11:00:00.5Z\",\"result\":null,\"list\":[\"<a> ` + id + `\"]}"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "body": {
    "at": "<time>",
    "blockNumber": "<blockNumber>",
    "list": [
      "<a> <hash>"
    ],
    "result": null,
    "transactionId": "<hash>"
  },
  "cookies": [
    "a=1"
  ],
  "n": 12345678901234567890,
  "statusCode": 200
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if _, err := samples.Normalize([]byte("Task timed out")); err == nil {
		t.Error("what is not JSON was normalised")
	}
}
