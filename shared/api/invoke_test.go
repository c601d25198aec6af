package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

func TestSubmit(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	var got gateway.Request
	fake.Submit = func(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
		got = r
		return &gateway.Outcome{TransactionID: apitest.TxID, Block: 12, Response: &peer.Response{Status: 200, Payload: []byte(`{"b":1,"a":2}`)}}, nil
	}
	h := newHandler(t, fake)
	a := do(t, h, "POST", submitPath, `{"function":"CreateAsset","args":["a1","","é\u00e9\n","{\"x\":1}"],"transient":{"k":"AP8="},"organizations":["Org2MSP"],"isInit":true}`,
		"Content-Type: application/json", "Idempotency-Key: order 7", "X-Peerless-User: alice", "X-Peerless-Attributes: role=auditor")
	if want := `{"transactionId":"` + apitest.TxID + `","blockNumber":12,"code":"VALID","result":{"b":1,"a":2}}` + "\n"; a.status != 200 || string(a.body) != want {
		t.Errorf("got %d %s, want %s", a.status, a.body, want)
	}
	if user := string(got.User.Serialized); user != "Org1MSP alice map[role:auditor]" {
		t.Errorf("user: got %q", user)
	}
	got.User = nil
	want := gateway.Request{
		Channel: "alpha", Chaincode: "probe", Function: "CreateAsset",
		Args: [][]byte{[]byte("a1"), {}, []byte("éé\n"), []byte(`{"x":1}`)}, Transient: map[string][]byte{"k": {0, 255}},
		IdempotencyKey: "order 7", Organizations: []string{"Org2MSP"}, Init: true,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("request (-got +want):\n%s", diff)
	}
}

// TestResult is the rule for payloads: JSON as it is, else text, else base64.
func TestResult(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t), func(c *api.Config) {
		c.Gateway.(*apitest.Fake).Evaluate = func(_ context.Context, r gateway.Request) (*gateway.Answer, error) {
			payload, err := base64.StdEncoding.DecodeString(string(r.Args[0]))
			return &gateway.Answer{Response: &peer.Response{Payload: payload}, Height: 3}, err
		}
	})
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for payload, want := range map[string]string{
		"":                                  `null`,
		"null":                              `null`,
		`{"z":1,"a":[1,2]}`:                 `{"z":1,"a":[1,2]}`,
		"\n { \"a\" :\t1 ,\r\n\"a\": 2 } ":  `{"a":1,"a":2}`,
		"12345678901234567890123.45e-67":    `12345678901234567890123.45e-67`,
		`"quoted"`:                          `"quoted"`,
		"plain text":                        `"plain text"`,
		`{"a":1} {"b":2}`:                   `"{\"a\":1} {\"b\":2}"`,
		`{"a":`:                             `"{\"a\":"`,
		"01":                                `"01"`,
		"<&>\u2028\"\\\n\r\t\x00\x1f\x7f é": "\"<&>\u2028\\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f é\"",
		`"<&>` + "\u2028" + `"`:             `"<&>` + "\u2028" + `"`,
		"\ufeff{}":                          "\"\ufeff{}\"",
		"\x80\x00":                          `"gAA=","resultEncoding":"base64"`,
		"\"\xff\"":                          `"Iv8i","resultEncoding":"base64"`,
		deep:                                `"` + deep + `"`,
	} {
		body := fmt.Sprintf(`{"function":"f","args":[%q]}`, base64.StdEncoding.EncodeToString([]byte(payload)))
		a := do(t, h, "POST", evaluatePath, body)
		if got, want := string(a.body), `{"height":3,"result":`+want+"}\n"; got != want {
			t.Errorf("payload %.80q: got %.200s, want %.200s", payload, got, want)
		}
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	called := false
	fake := newFake(t)
	fake.Submit = func(context.Context, gateway.Request) (*gateway.Outcome, error) {
		called = true
		return nil, errors.New("called")
	}
	h := newHandler(t, fake)
	for _, c := range []struct{ body, field, detail string }{
		{``, "", "empty"},
		{" \n", "", "empty"},
		{`{`, "", "ends too early"},
		{`}`, "", `unexpected '}' at byte 0`},
		{`[]`, "", "must be a JSON object"},
		{`"x"`, "", "must be a JSON object"},
		{`null`, "", "must be a JSON object"},
		{`{"function":"f"} {}`, "", "more after the JSON object, at byte 17"},
		{`{"function":"f"}x`, "", "more after"},
		{`{"function":"f",}`, "", "unexpected '}'"},
		{`{'function':"f"}`, "", "unexpected '\\''"},
		{`{"args":[]}`, "function", `"function" is missing`},
		{`{"function":7}`, "function", `"function" must be a string, not a number: put it in quotes, "7"`},
		{`{"function":null}`, "function", "must be a string, not null"},
		{`{"function":"f","args":"a"}`, "args", `"args" must be a list of strings, not a string`},
		{`{"function":"f","args":{"a":"b"}}`, "args", `"args" must be a list of strings, not an object`},
		{`{"function":"f","args":["a",1.5e3]}`, "args[1]", `"args[1]" must be a string, not a number: put it in quotes, "1.5e3"`},
		{`{"function":"f","args":[true]}`, "args[0]", `put it in quotes, "true"`},
		{`{"function":"f","args":[null]}`, "args[0]", `not null`},
		{`{"function":"f","args":[{"ID":"a1"}]}`, "args[0]", `put its JSON in a string`},
		{`{"function":"f","args":["a" "b"]}`, "args", `unexpected '"' at byte 28`},
		{`{"function":"f","args":["a",]}`, "args[1]", `unexpected ']'`},
		{`{"function":"f","args":["a`, "args", `ends too early`},
		{"{\"function\":\"f\n\"}", "function", `unexpected '\n'`},
		{`{"function":"\x"}`, "function", `unexpected 'x'`},
		{`{"function":"\u12g4"}`, "function", `unexpected 'u'`},
		{`{"function":"\ud800"}`, "function", `half of a surrogate pair`},
		{`{"function":"\ud800\u0041"}`, "function", `half of a surrogate pair`},
		{`{"function":"\udc00\ud800"}`, "function", `half of a surrogate pair`},
		{"{\"function\":\"\xff\"}", "", `not valid UTF-8`},
		{`{"function":"f","function":"g"}`, "function", `"function" is given twice`},
		{`{"function":"f","f\u0075nction":"g"}`, "function", `"function" is given twice`},
		{`{"function":"f","arguments":[]}`, "arguments", `unknown field "arguments": there are function, args, transient, organizations, isInit`},
		{`{"function":"f","Args":[]}`, "Args", `unknown field`},
		{`{"function":"f","transient":{"k":1}}`, "transient.k", `"transient.k" must be a string`},
		{`{"function":"f","transient":{"k":"%%"}}`, "transient.k", `must be base64`},
		{`{"function":"f","transient":{"k":"AP8"}}`, "transient.k", `with padding`},
		{`{"function":"f","transient":{"k":"AP9="}}`, "transient.k", `must be base64`},
		{`{"function":"f","transient":{"k":"","k":""}}`, "transient.k", `given twice`},
		{`{"function":"f","transient":[]}`, "transient", `must be an object, not a list`},
		{`{"function":` + strings.Repeat(`{"a":`, 100000), "function", `must be a string, not an object`},
		{`{"function":"f","isInit":"true"}`, "isInit", `must be true or false, not a string`},
		{`{"function":"f","isInit":tru}`, "isInit", ``},
		{`{"function":"f","organizations":[1]}`, "organizations[0]", `must be a string`},
	} {
		a := do(t, h, "POST", submitPath, c.body, "Content-Type: application/json")
		p := a.problem(t)
		if p.Status != 400 || p.Code != api.CodeInvalidRequest || p.Field != c.field || !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%.80s: got %+v, want field %q and %q", c.body, p, c.field, c.detail)
		}
	}
	if called {
		t.Error("the gateway was called")
	}
	many := `{"function":"f","transient":{`
	for i := range 40 {
		many += fmt.Sprintf(`"k%d":"",`, i)
	}
	if p := do(t, h, "POST", submitPath, many+`"k3":""}}`).problem(t); p.Field != "transient.k3" {
		t.Errorf("a field twice among many: got %+v", p)
	}
}

func TestGoodBodies(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	for body, want := range map[string]string{
		`{"function":"f"}`: `null`,
		`{"function":"f","args":null,"transient":null,"organizations":null}`: `null`,
		" { \"function\" : \"\" , \"args\" : [ \"x\" , \"y\" ] }\r\n":        `"x"`,
		`{"args":["\ud83d\ude00\"\\\/\b\f\n\r\t"],"function":"f"}`:           `"😀\"\\/\u0008\u000c\n\r\t"`,
		`{"args":["-12345678901234567890"],"function":"f"}`:                  `-12345678901234567890`,
	} {
		a := do(t, h, "POST", submitPath, body)
		var got struct{ Result json.RawMessage }
		if err := json.Unmarshal(a.body, &got); err != nil || string(got.Result) != want {
			t.Errorf("%s: got %d %s, want %s", body, a.status, a.body, want)
		}
	}
	for contentType, want := range map[string]int{
		"": 200, "application/json": 200, "application/json; charset=utf-8": 200, "application/vnd.x+json": 200,
		"application/x-www-form-urlencoded": 200, "text/plain": 415, "application/xml": 415, "multipart/form-data": 415, "{": 415,
	} {
		if a := do(t, h, "POST", submitPath, `{"function":"f"}`, "Content-Type: "+contentType); a.status != want {
			t.Errorf("Content-Type %q: got %d, want %d", contentType, a.status, want)
		}
	}
	if p := do(t, h, "POST", submitPath, `{}`, "Content-Encoding: gzip").problem(t); p.Code != api.CodeUnsupportedMedia {
		t.Errorf("gzip: got %+v", p)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	var keys []string
	fake.Submit = func(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
		keys = append(keys, r.IdempotencyKey)
		return &gateway.Outcome{TransactionID: apitest.TxID}, nil
	}
	h := newHandler(t, fake)
	longest := strings.Repeat("k", api.MaxIdempotencyKey)
	for _, headers := range [][]string{{"Idempotency-Key: " + longest}, {"idempotency-key: ~ !"}, nil} {
		if a := do(t, h, "POST", submitPath, `{"function":"f"}`, headers...); a.status != 200 {
			t.Errorf("%v: got %d %s", headers, a.status, a.body)
		}
	}
	if diff := cmp.Diff(keys, []string{longest, "~ !", ""}); diff != "" {
		t.Error(diff)
	}
	for _, headers := range [][]string{{"Idempotency-Key: " + longest + "k"}, {"Idempotency-Key: "}, {"Idempotency-Key: é"}, {"Idempotency-Key: a", "Idempotency-Key: b"}, {"Idempotency-Key: a\tb"}} {
		if p := do(t, h, "POST", submitPath, `{"function":"f"}`, headers...).problem(t); p.Code != api.CodeInvalidRequest || p.Field != "Idempotency-Key" {
			t.Errorf("%.40q: got %+v", headers, p)
		}
	}
	fake.Submit = func(context.Context, gateway.Request) (*gateway.Outcome, error) {
		return nil, &gateway.Error{Kind: gateway.IdempotencyKeyReused, Message: "the key was used for another request", TransactionID: apitest.TxID}
	}
	if p := do(t, h, "POST", submitPath, `{"function":"f"}`, "Idempotency-Key: a").problem(t); p.Status != 422 || p.Code != api.CodeIdempotencyReused || p.TransactionID != apitest.TxID {
		t.Errorf("reused: got %+v", p)
	}
}

// TestLimits goes to the edge of each limit and one byte beyond.
func TestLimits(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newFake(t))
	arg := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	blob := func(n int) string { return `"` + base64.StdEncoding.EncodeToString(make([]byte, n)) + `"` }
	whole := arg(api.MaxArgument)
	four := strings.Join([]string{whole, whole, whole, whole}, ",")
	pad := func(n int) string { return `{"function":"f"` + strings.Repeat(" ", n-len(`{"function":"f"}`)) + `}` }
	for _, c := range []struct {
		name, body, field string
		limit             int64 // 0: it is served
	}{
		{"argument at the limit", `{"function":"f","args":[` + whole + `]}`, "", 0},
		{"argument over it", `{"function":"f","args":["",` + arg(api.MaxArgument+1) + `]}`, "args[1]", api.MaxArgument},
		{"argument of 2 MiB", `{"function":"f","args":[` + arg(2<<20) + `]}`, "args[0]", api.MaxArgument},
		{"function over it", `{"function":` + arg(api.MaxArgument+1) + `}`, "function", api.MaxArgument},
		{"transient at the limit", `{"function":"f","transient":{"k":` + blob(api.MaxArgument) + `}}`, "", 0},
		{"transient over it", `{"function":"f","transient":{"k":` + blob(api.MaxArgument+1) + `}}`, "transient.k", api.MaxArgument},
		{"transaction at the limit", `{"function":"f","args":[` + four + `,` + arg(api.MaxArgument-1) + `]}`, "", 0},
		{"transaction over it", `{"function":"f","args":[` + four + `,` + whole + `]}`, "", api.MaxTransaction},
		{"body at the limit", pad(api.MaxBody), "", 0},
		{"body over it", pad(api.MaxBody + 1), "", api.MaxBody},
	} {
		a := do(t, h, "POST", submitPath, c.body)
		if c.limit == 0 {
			if a.status != 200 {
				t.Errorf("%s: got %d %.300s", c.name, a.status, a.body)
			}
			continue
		}
		if p := a.problem(t); p.Status != 413 || p.Code != api.CodeTooLarge || p.Field != c.field || p.Limit != c.limit {
			t.Errorf("%s: got %+v", c.name, p)
		}
	}
	chunked := struct{ *strings.Reader }{strings.NewReader(pad(api.MaxBody + 1))} // no Content-Length
	if p := do(t, h, "POST", submitPath, chunked).problem(t); p.Status != 413 || p.Limit != api.MaxBody {
		t.Errorf("body without a length: got %+v", p)
	}
}

// TestErrorMap is SURFACE.md's table, and what goes beyond it.
func TestErrorMap(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("submit: %w", &gateway.Error{Kind: gateway.NotFound, Message: "the chaincode nope is not defined"})
	for _, c := range []struct {
		name   string
		err    error
		status int
		want   problem
	}{
		{"invalid", &gateway.Error{Kind: gateway.InvalidRequest, Message: "m"}, 400, problem{Code: "INVALID_REQUEST", Detail: "m"}},
		{"unauthenticated", &gateway.Error{Kind: gateway.Unauthenticated, Message: "m"}, 401, problem{Code: "UNAUTHENTICATED", Detail: "m"}},
		{"forbidden", &gateway.Error{Kind: gateway.Forbidden, Message: "m"}, 403, problem{Code: "FORBIDDEN", Detail: "m"}},
		{"not found", wrapped, 404, problem{Code: "NOT_FOUND", Detail: "the chaincode nope is not defined"}},
		{"absent block", fmt.Errorf("read block 9: %w", ledger.ErrNotFound), 404, problem{Code: "NOT_FOUND", Detail: "read block 9: not found"}},
		{"contract", &gateway.Error{Kind: gateway.ChaincodeError, Message: "evaluate call to endorser returned error: chaincode response 409, taken", ChaincodeStatus: 409, ChaincodeMessage: "taken"}, 422,
			problem{Code: "CHAINCODE_ERROR", Detail: "taken", ChaincodeStatus: 409}},
		{"contract, endorsing", &gateway.Error{Kind: gateway.ChaincodeError, Message: "failed to endorse transaction", ChaincodeStatus: 500, ChaincodeMessage: "the asset a1 already exists",
			Details: []gateway.Detail{{MSPID: "Org1MSP", Message: "chaincode response 500, the asset a1 already exists"}}, TransactionID: apitest.TxID}, 422,
			problem{Code: "CHAINCODE_ERROR", Detail: "the asset a1 already exists", ChaincodeStatus: 500, TransactionID: apitest.TxID}},
		{"mvcc", &gateway.Error{Kind: gateway.MVCCReadConflict, Message: "m", TransactionID: apitest.TxID, TxCode: peer.TxValidationCode_MVCC_READ_CONFLICT}, 409,
			problem{Code: "MVCC_READ_CONFLICT", Detail: "m", TransactionID: apitest.TxID, ValidationCode: "MVCC_READ_CONFLICT"}},
		{"phantom", &gateway.Error{Kind: gateway.PhantomReadConflict, Message: "m", TxCode: peer.TxValidationCode_PHANTOM_READ_CONFLICT}, 409,
			problem{Code: "PHANTOM_READ_CONFLICT", Detail: "m", ValidationCode: "PHANTOM_READ_CONFLICT"}},
		{"policy", &gateway.Error{Kind: gateway.EndorsementPolicyFailure, Message: "m", TxCode: peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE}, 409,
			problem{Code: "ENDORSEMENT_POLICY_FAILURE", Detail: "m", ValidationCode: "ENDORSEMENT_POLICY_FAILURE"}},
		{"another verdict", &gateway.Error{Kind: gateway.TransactionInvalid, Message: "m", TxCode: peer.TxValidationCode_BAD_PAYLOAD}, 409,
			problem{Code: "TRANSACTION_INVALID", Detail: "m", ValidationCode: "BAD_PAYLOAD"}},
		{"too large", &gateway.Error{Kind: gateway.TooLarge, Message: "m", Limit: 1 << 20}, 413, problem{Code: "TOO_LARGE", Detail: "m", Limit: 1 << 20}},
		{"crashed", &gateway.Error{Kind: gateway.ChaincodeCrashed, Message: "m"}, 502, problem{Code: "CHAINCODE_CRASHED", Detail: "m"}},
		{"cannot start", &gateway.Error{Kind: gateway.ChaincodeUnavailable, Message: "m"}, 502, problem{Code: "CHAINCODE_CRASHED", Detail: "m"}},
		{"timed out", &gateway.Error{Kind: gateway.ChaincodeTimeout, Message: "m"}, 504, problem{Code: "CHAINCODE_TIMEOUT", Detail: "m"}},
		{"unknown outcome", &gateway.Error{Kind: gateway.OutcomeUnknown, Message: "m", TransactionID: apitest.TxID}, 503, problem{Code: "OUTCOME_UNKNOWN", Detail: "m", TransactionID: apitest.TxID}},
		{"unavailable", &gateway.Error{Kind: gateway.Unavailable, Message: "m"}, 503, problem{Code: "UNAVAILABLE", Detail: "m"}},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), 503, problem{Code: "UNAVAILABLE", Detail: "the request took too long: try again"}},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), 503, problem{Code: "UNAVAILABLE", Detail: "the request was cut short: try again"}},
		{"internal", &gateway.Error{Kind: gateway.Internal, Message: "m"}, 500, problem{Code: "INTERNAL", Detail: "m"}},
		{"a kind of tomorrow", &gateway.Error{Kind: 999, Message: "m"}, 500, problem{Code: "INTERNAL", Detail: "m"}},
		{"damaged", fmt.Errorf("x: %w", ledger.ErrDamaged), 500, problem{Code: "INTERNAL", Detail: "stored data is damaged, and is not served: run peerless verify"}},
		{"secret", errors.New("open /data/secret"), 500, problem{Code: "INTERNAL", Detail: "something went wrong in the server: its log has the request's id"}},
		{"problem", fmt.Errorf("x: %w", &api.Problem{Code: api.CodeQuotaExceeded, Detail: "m"}), 429, problem{Code: "QUOTA_EXCEEDED", Detail: "m"}},
	} {
		fake := newFake(t)
		fake.Submit = func(context.Context, gateway.Request) (*gateway.Outcome, error) { return nil, c.err }
		c.want.Status = c.status
		a := do(t, newHandler(t, fake), "POST", submitPath, `{"function":"f"}`)
		if diff := cmp.Diff(a.problem(t), c.want); diff != "" || a.status != c.status {
			t.Errorf("%s: %d (-got +want):\n%s", c.name, a.status, diff)
		}
	}
}

// TestRecordedAsInvalid: an outcome with a verdict is a problem too.
func TestRecordedAsInvalid(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[peer.TxValidationCode]api.Code{
		peer.TxValidationCode_MVCC_READ_CONFLICT:    api.CodeMVCCReadConflict,
		peer.TxValidationCode_PHANTOM_READ_CONFLICT: api.CodePhantomReadConflict,
		peer.TxValidationCode_ILLEGAL_WRITESET:      api.CodeTransactionInvalid,
	} {
		fake := newFake(t)
		fake.Submit = func(context.Context, gateway.Request) (*gateway.Outcome, error) {
			return &gateway.Outcome{TransactionID: apitest.TxID, Block: 3, Code: verdict}, nil
		}
		p := do(t, newHandler(t, fake), "POST", submitPath, `{"function":"f"}`).problem(t)
		if p.Status != http.StatusConflict || p.Code != want || p.TransactionID != apitest.TxID || p.ValidationCode != verdict.String() {
			t.Errorf("%v: got %+v", verdict, p)
		}
	}
}
