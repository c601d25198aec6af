package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"peerless/shared/wire"
)

// FuzzInvocation: what the strict reader takes, encoding/json takes with the same result; what encoding/json refuses, it
// refuses.
func FuzzInvocation(f *testing.F) {
	for _, seed := range []string{
		`{"function":"f","args":["a","\u00e9\n\ud83d\ude00"],"transient":{"k":"AP8="},"organizations":["o"],"isInit":true}`,
		` { "args" : null , "function" : "" } `, `{"function":"f","function":"g"}`, `{"function":"\ud800"}`, `{"function":1}`, `{`, `[]`, "{\"function\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in := &invocation{}
		err := in.parse(bytes.Clone(body))
		if err != nil {
			if p := problemOf(err); p.Code != CodeInvalidRequest || p.Detail == "" || !utf8.ValidString(p.Detail) || !utf8.ValidString(p.Field) {
				t.Errorf("got %#v", p)
			}
			return
		}
		var want struct {
			Function      *string
			Args          []string
			Transient     map[string][]byte
			Organizations []string
			IsInit        bool
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil || !json.Valid(body) {
			t.Fatalf("encoding/json refuses what was taken: %v", err)
		}
		args := make([]string, len(in.args))
		for i, arg := range in.args {
			args[i] = string(arg)
		}
		same := want.Function != nil && in.function == *want.Function && slices.Equal(args, want.Args) && slices.Equal(in.organizations, want.Organizations) && in.init == want.IsInit &&
			maps.EqualFunc(in.transient, want.Transient, func(a, b []byte) bool { return bytes.Equal(a, b) })
		if !same {
			t.Errorf("got %+v, encoding/json has %+v", in, want)
		}
	})
}

// FuzzChannelBody: the body of POST /v1/channels never panics, and what is taken has a valid name.
func FuzzChannelBody(f *testing.F) {
	f.Add([]byte(`{"name":"trade","organizations":["Org1MSP"]}`))
	f.Add([]byte(`{"name":"A"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/v1/channels", bytes.NewReader(body))
		in, err := decodeNewChannel(&request{Request: r, w: httptest.NewRecorder()})
		if err == nil && wire.ChannelName.Check(in.name) != nil {
			t.Errorf("took %q", in.name)
		}
	})
}

// FuzzPayload: the result is valid JSON from which the payload can be had back.
func FuzzPayload(f *testing.F) {
	for _, seed := range []string{"", "text", `{"a": 1e400}`, "\xff", `"\ud800"`, "\u2028<&>\x00", " 1 ", `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		value, encoding := payloadJSON(payload)
		if !json.Valid(value) || !utf8.Valid(value) || bytes.ContainsAny(value, "\n\r") {
			t.Fatalf("not one line of JSON: %q", value)
		}
		switch {
		case len(payload) == 0:
			if string(value) != "null" {
				t.Errorf("got %s", value)
			}
		case encoding == encodingBase64:
			var back []byte
			if err := json.Unmarshal(value, &back); err != nil || !bytes.Equal(back, payload) || utf8.Valid(payload) {
				t.Errorf("got %q, %v", back, err)
			}
		case json.Valid(payload):
			var compact bytes.Buffer
			json.Compact(&compact, payload)
			if !bytes.Equal(value, compact.Bytes()) {
				t.Errorf("got %s, want %s", value, compact.Bytes())
			}
		default:
			var back string
			if err := json.Unmarshal(value, &back); err != nil || back != string(payload) {
				t.Errorf("got %q, %v", back, err)
			}
		}
	})
}

// FuzzHistoryKey: every key reaches the endpoint as it was, however it was encoded, and its path leads nowhere else.
func FuzzHistoryKey(f *testing.F) {
	for _, seed := range []string{"a1", "a/b", "//", "..", ".", "a/../b", "\x00k\x00", "%2F", "é", "a+b c", "?#", "/."} {
		f.Add(seed)
	}
	var got string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/channels/{ch}/chaincodes/{cc}/history/{key...}", func(_ http.ResponseWriter, r *http.Request) {
		got = "none"
		if in, err := decodeKey(&request{Request: r}); err == nil {
			got = "key " + in.key
		}
	})
	f.Fuzz(func(t *testing.T, key string) {
		want := "key " + key
		if key == "" || !utf8.ValidString(key) {
			want = "none"
		}
		escaped := url.PathEscape(key)
		for _, path := range []string{escaped, strings.ReplaceAll(escaped, "%2F", "/")} {
			u, err := url.Parse("/v1/channels/c/chaincodes/cc/history/" + path)
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{Method: "GET", URL: u, Host: "localhost"}
			if !normalize(r) {
				t.Fatalf("%q: not clean", path)
			}
			got = ""
			mux.ServeHTTP(httptest.NewRecorder(), r)
			if got != want {
				t.Errorf("%q: got %q, want %q", path, got, want)
			}
		}
	})
}

// FuzzPath: no path makes the API panic or redirect.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/v1/channels/a/blocks/1", "//", "/v1/channels/a/chaincodes/b/history", "/%2e%2e/x", "/v1/channels/%2F/chaincodes/./history/x"} {
		f.Add(seed)
	}
	h, err := New(Config{Gateway: struct{ Gateway }{}, Deployer: struct{ Deployer }{}, Auth: refuse{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, &http.Request{Method: "GET", URL: u, Host: "localhost", Header: http.Header{}, Body: http.NoBody})
		if w.Code >= 300 && w.Code < 400 || w.Code >= 500 {
			t.Errorf("%q: got %d %v", path, w.Code, w.Header())
		}
	})
}

type refuse struct{}

func (refuse) Authenticate(*http.Request) (*Principal, error) {
	return nil, &Problem{Code: CodeUnauthenticated}
}

// FuzzCursor: what is read is written the same.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"0", "12.3", "12.", ".1", "01", "+1", "18446744073709551615.18446744073709551615", "18446744073709551616"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCursor(s); err == nil && c.String() != s {
			t.Errorf("%q became %q", s, c)
		}
	})
}

// FuzzAttributes: what is read can be written, and read again with the same result.
func FuzzAttributes(f *testing.F) {
	for _, seed := range []string{"role=auditor,dept=7", "a=%2C%3D%25", "a=", "=", "a=1,a=2", " a=1 , b=2", "a=%zz", "+=+"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		attributes, err := ParseAttributes(s)
		if err != nil {
			return
		}
		names := slices.Sorted(maps.Keys(attributes))
		again, err := ParseAttributes(FormatAttributes(names, attributes))
		if err != nil || !maps.Equal(again, attributes) {
			t.Errorf("%v became %v, %v", attributes, again, err)
		}
	})
}
