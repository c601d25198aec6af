package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	idA = strings.Repeat("a1", 32)
	idB = strings.Repeat("b2", 32)
)

func testNames() (*names, time.Time) {
	n := newNames()
	at := time.Date(2026, 11, 22, 9, 3, 19, 123456789, time.UTC)
	n.add("first", idA, at)
	n.add("again", idA, at.Add(time.Second))
	return n, at
}

func TestText(t *testing.T) {
	t.Parallel()
	n, at := testNames()
	for _, c := range []struct{ given, text, message string }{
		{"plain", "plain", "plain"},
		{"id " + idA + ":", "id <tx:first>:", "id <tx:first>:"},
		{"hash " + idB, "hash " + idB, "hash <hex>"},
		{"probe_1.0:" + idB + " gone", "probe_1.0:" + idB + " gone", "<package> gone"},
		{at.Format(time.RFC3339Nano), "<time:first>", "<time>"},
		{at.Add(time.Second).Format(time.RFC3339Nano), "<time:again>", "<time>"},
		{at.Add(time.Minute).Format(time.RFC3339Nano), "<time>", "<time>"},
		{"timestamp " + at.String() + ", peer time " + at.In(time.FixedZone("CET", 3600)).String() + ", window",
			"timestamp <time>, peer time <time>, window", "timestamp <time>, peer time <time>, window"},
		{"version = {BlockNum: 12, TxNum: 3}, <nil>", "version = <version>, <nil>", "version = <version>, <nil>"},
		{"dial 127.0.0.1:7051: refused by peer0.org1.test:7051 and localhost:9", "dial 127.0.0.1:7051: refused by peer0.org1.test:7051 and localhost:9",
			"dial <address>: refused by <address> and <address>"},
		{"Creator [" + strings.Repeat("0a", 400) + "]", "Creator [" + strings.Repeat("0a", 400) + "]", "Creator [<hex>]"},
		{"rpc error: code = Unknown desc = x", "rpc error: code = Unknown desc = x", "rpc error: code = Unknown desc = x"},
	} {
		if got := n.text(c.given); got != c.text {
			t.Errorf("text of %q: got %q, want %q", c.given, got, c.text)
		}
		if got := n.message(c.given); got != c.message {
			t.Errorf("message of %q: got %q, want %q", c.given, got, c.message)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	n, _ := testNames()
	for _, c := range []struct{ given, want string }{
		{``, `null`},
		{`text`, `"text"`},
		{`12`, `"12"`},
		{`[{"txId":"` + idA + `","n":12345678901234567890}]`, `[{"n":12345678901234567890,"txId":"<tx:first>"}]`},
		{`{"a":1}`, `{"a":1}`},
		{`{broken`, `"{broken"`},
		{"\xff\x00", `{"base64":"/wA="}`},
		{strings.Repeat("x", 2047), `"` + strings.Repeat("x", 2047) + `"`},
		{strings.Repeat("a", 65536), `{"length":65536,"sha256":"bf718b6f653bebc184e1479f1935b8da974d701b893afcf49e701f3e2f9f9c5a"}`},
	} {
		if got := encode(n.payload([]byte(c.given))); got != c.want {
			t.Errorf("payload %.20q: got %s, want %s", c.given, got, c.want)
		}
	}
}

// statusError carries a gRPC status as the services' errors do.
type statusError struct{ *status.Status }

func (e *statusError) Error() string              { return "wrapped" }
func (e *statusError) GRPCStatus() *status.Status { return e.Status }

func TestFailure(t *testing.T) {
	t.Parallel()
	n, _ := testNames()
	st, err := status.New(codes.Aborted, "failed "+idA).WithDetails(
		&gateway.ErrorDetail{Address: "peer:1", MspId: "Org2MSP", Message: "two"},
		&gateway.ErrorDetail{Address: "peer:2", MspId: "Org1MSP", Message: "b"},
		&gateway.ErrorDetail{Address: "peer:2", MspId: "Org1MSP", Message: "a " + idB},
		&gateway.ErrorDetail{Address: "peer:2", MspId: "Org1MSP", Message: "ProposalResponsePayloads do not match"},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"status with details", fmt.Errorf("call: %w", &statusError{st}), `{"code":"ABORTED","details":[` +
			`{"message":"ProposalResponsePayloads do not match","mspId":"*"},{"message":"a <hex>","mspId":"Org1MSP"},` +
			`{"message":"b","mspId":"Org1MSP"},{"message":"two","mspId":"Org2MSP"}],"message":"failed <tx:first>","stage":"endorse"}`},
		{"gRPC error", status.Error(codes.FailedPrecondition, "no"), `{"code":"FAILED_PRECONDITION","message":"no","stage":"endorse"}`},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), `{"code":"DEADLINE_EXCEEDED","message":"deadline exceeded","stage":"endorse"}`},
		{"any error", errors.New("x"), `{"code":"UNKNOWN","message":"x","stage":"endorse"}`},
	} {
		if diff := cmp.Diff(c.want, encode(n.failure("endorse", c.err))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
