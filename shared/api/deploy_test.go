package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/gateway"
)

const chaincodesPath = "/v1/channels/alpha/chaincodes"

var gzipped, zipped = "\x1f\x8b\x08rest", "PK\x03\x04rest"

// form writes fields, then the package unless it is empty, then fields again.
func form(t *testing.T, before []string, pkg string, after ...string) (body io.Reader, header string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	field := func(pair string) {
		name, value, _ := strings.Cut(pair, "=")
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, pair := range before {
		field(pair)
	}
	if pkg != "" {
		f, err := w.CreateFormFile("package", "p.tgz")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, pkg)
	}
	for _, pair := range after {
		field(pair)
	}
	w.Close()
	return &b, "Content-Type: " + w.FormDataContentType()
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	h := newHandler(t, fake)
	for name, kind := range map[string]string{"a": "application/gzip", "b": "application/octet-stream", "c": "", "d": "application/x-www-form-urlencoded"} {
		a := do(t, h, "POST", chaincodesPath+"?version=1.0&sequence=3&policy=OR('Org1MSP.peer')&name="+name, gzipped, "Content-Type: "+kind)
		if a.status != 201 || a.header.Get("Location") != chaincodesPath+"/"+name || string(fake.Package("alpha", name)) != gzipped {
			t.Errorf("%s: got %d %v %s", kind, a.status, a.header, a.body)
		}
	}
	body, header := form(t, []string{"name=e", "version=2", "policy=OR('Org2MSP.peer')", "sequence=9", `collections=[{"name":"c"}]`}, zipped)
	if a := do(t, h, "POST", chaincodesPath, body, header); a.status != 201 || string(fake.Package("alpha", "e")) != zipped {
		t.Errorf("form: got %d %s", a.status, a.body)
	}
	var got api.Chaincode
	if err := json.Unmarshal(do(t, h, "GET", chaincodesPath+"/e", nil).body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, api.Chaincode{Name: "e", Version: "2", Sequence: 9, Policy: "OR('Org2MSP.peer')", Language: "golang", Collections: json.RawMessage(`[{"name":"c"}]`)}); diff != "" {
		t.Error(diff)
	}
	function := `{"function":"peerless-dev-alpha-f-0123456789","qualifier":"v-1","packageId":"f:12"}`
	if a := do(t, h, "POST", chaincodesPath+"?name=f&version=2&sequence=4", function, "Content-Type: application/json"); a.status != 201 ||
		string(fake.Package("alpha", "f")) != "peerless-dev-alpha-f-0123456789:v-1" {
		t.Errorf("function: got %d %s", a.status, a.body)
	}
	got = api.Chaincode{}
	if err := json.Unmarshal(do(t, h, "GET", chaincodesPath+"/f", nil).body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, api.Chaincode{Name: "f", Version: "2", Sequence: 4, Language: "function", PackageID: "f:12"}); diff != "" {
		t.Error(diff)
	}
	if a := do(t, h, "DELETE", chaincodesPath+"/f", nil); a.status != 204 {
		t.Errorf("remove: got %d %s", a.status, a.body)
	}
	if a := do(t, h, "DELETE", chaincodesPath+"/e", nil); a.status != 204 || len(a.body) != 0 {
		t.Errorf("remove: got %d %s", a.status, a.body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if p := do(t, h, method, chaincodesPath+"/e", nil).problem(t); p.Status != 404 {
			t.Errorf("%s what is gone: got %+v", method, p)
		}
	}
	var list struct{ Chaincodes []api.Chaincode }
	if err := json.Unmarshal(do(t, h, "GET", chaincodesPath, nil).body, &list); err != nil || len(list.Chaincodes) != 4 {
		t.Errorf("list: got %+v %v", list, err)
	}
}

func TestBadDeploys(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	h := newHandler(t, fake)
	for _, c := range []struct {
		query, contentType, body string
		status                   int
		field                    string
	}{
		{"", "", "", 400, ""},
		{"", "", "\x1f", 400, ""},
		{"", "", "not a package", 400, ""},
		{"", "application/zip", "{}", 400, ""},
		{"", "text/plain", gzipped, 415, "Content-Type"},
		{"name=a/b", "", gzipped, 400, "name"},
		{"version=a%20b", "", gzipped, 400, "version"},
		{"sequence=0", "", gzipped, 400, "sequence"},
		{"sequence=x", "", gzipped, 400, "sequence"},
		{"label=x", "", gzipped, 400, "label"},
		{"name=a&name=b", "", gzipped, 400, "name"},
		{"", "multipart/form-data", gzipped, 400, "Content-Type"},
		{"name=f", "application/json", `{"qualifier":"1"}`, 400, "function"},
		{"name=f", "application/json", `{"function":"arn:aws:lambda:us-east-1:123456789012:function:f","qualifier":"1"}`, 400, "function"},
		{"name=f", "application/json", `{"function":"f"}`, 400, "qualifier"},
		{"name=f", "application/json", `{"function":"f","qualifier":"$LATEST"}`, 400, "qualifier"},
		{"name=f", "application/json", `{"function":"f","qualifier":"1","arn":"x"}`, 400, "arn"},
		{"name=f", "application/json", `{"function":"f","qualifier":1}`, 400, "qualifier"},
		{"name=a/b", "application/json", `{"function":"f","qualifier":"1"}`, 400, "name"},
		{"", "application/json", `{"function":"f","qualifier":"1"}`, 400, "name"},
		{"", "multipart/form-data; boundary=x", "--x\r\nbroken", 400, ""},
	} {
		p := do(t, h, "POST", chaincodesPath+"?"+c.query, c.body, "Content-Type: "+c.contentType).problem(t)
		if p.Status != c.status || p.Field != c.field {
			t.Errorf("%+v: got %+v", c, p)
		}
	}
	for _, c := range []struct {
		before []string
		pkg    string
		field  string
	}{
		{[]string{"name=a"}, "", "package"}, {[]string{"label=a"}, gzipped, "label"}, {[]string{"sequence=x"}, gzipped, "sequence"},
		{[]string{"policy=" + strings.Repeat("x", 70000)}, gzipped, "policy"}, {[]string{"name=a b"}, gzipped, "name"},
	} {
		body, header := form(t, c.before, c.pkg)
		if p := do(t, h, "POST", chaincodesPath, body, header).problem(t); p.Status != 400 || p.Field != c.field {
			t.Errorf("%.60v: got %+v", c.before, p)
		}
	}
	if p := do(t, h, "POST", "/v1/channels/nope/chaincodes", gzipped).problem(t); p.Status != 404 {
		t.Errorf("no channel: got %+v", p)
	}
	fake.DeployError = &gateway.Error{Kind: gateway.InvalidRequest, Message: "main.go:3: undefined: x"}
	if p := do(t, h, "POST", chaincodesPath, gzipped).problem(t); p.Status != 400 || p.Detail != "main.go:3: undefined: x" {
		t.Errorf("does not compile: got %+v", p)
	}
}

// TestPackageLimit streams a package of the largest size, and one byte more, with and without a length.
func TestPackageLimit(t *testing.T) {
	t.Parallel()
	fake := newFake(t)
	h := newHandler(t, fake, func(c *api.Config) { c.Deployer = discarding{fake} })
	body := func(size int64) io.Reader {
		return io.MultiReader(strings.NewReader(zipped), io.LimitReader(zeros{}, size-int64(len(zipped))))
	}
	if a := do(t, h, "POST", chaincodesPath, body(api.MaxPackage)); a.status != 201 {
		t.Errorf("at the limit: got %d %s", a.status, a.body)
	}
	if p := do(t, h, "POST", chaincodesPath, body(api.MaxPackage+1)).problem(t); p.Status != 413 || p.Limit != api.MaxPackage {
		t.Errorf("over it: got %+v", p)
	}
}

// discarding reads packages and keeps nothing.
type discarding struct{ *apitest.Fake }

func (discarding) Deploy(_ context.Context, _ *api.Principal, _ string, _ api.DeploySpec, pkg io.Reader) (*api.Chaincode, error) {
	_, err := io.Copy(io.Discard, pkg)
	return &api.Chaincode{Name: "large"}, err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
