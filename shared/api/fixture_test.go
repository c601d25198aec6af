package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

const (
	submitPath   = "/v1/channels/alpha/chaincodes/probe/submit"
	evaluatePath = "/v1/channels/alpha/chaincodes/probe/evaluate"
	queuePath    = "/v1/channels/alpha/chaincodes/probe/queue"
)

// blocks are those of a real Fabric network.
var blocks = sync.OnceValue(func() map[string][][]byte {
	all := make(map[string][][]byte)
	for _, channel := range []string{"alpha", "beta"} {
		names, _ := filepath.Glob("../../testdata/conformance/wire/blocks/" + channel + "-*.pb")
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				panic(err)
			}
			all[channel] = append(all[channel], raw)
		}
	}
	return all
})

// newFake has Fabric's blocks and knows where their transactions stand.
func newFake(t testing.TB) *apitest.Fake {
	t.Helper()
	fake := &apitest.Fake{Blocks: make(map[string][][]byte), Txs: make(map[string]map[string]ledger.TxEntry)}
	for name, raws := range blocks() {
		fake.Blocks[name], fake.Txs[name] = raws, make(map[string]ledger.TxEntry)
		for n, raw := range raws {
			block := &common.Block{}
			if err := proto.Unmarshal(raw, block); err != nil {
				t.Fatal(err)
			}
			codes, err := wire.ValidationCodes(block)
			if err != nil {
				t.Fatal(err)
			}
			for i, envelope := range block.Data.Data {
				if tx, _ := wire.ParseEnvelope(envelope); tx != nil {
					if _, known := fake.Txs[name][tx.TxID]; !known {
						fake.Txs[name][tx.TxID] = ledger.TxEntry{TxID: tx.TxID, Version: ledger.Version{Block: uint64(n), Tx: uint64(i)}, Code: codes[i]}
					}
				}
			}
		}
	}
	if len(fake.Blocks["alpha"]) == 0 {
		t.Fatal("the blocks of alpha are missing")
	}
	return fake
}

// signer remembers who was asked for, in the identity.
func signer(mspID, user string, attributes map[string]string) (*msp.Signer, error) {
	return &msp.Signer{Identity: &msp.Identity{MSPID: mspID, Serialized: fmt.Appendf(nil, "%s %s %v", mspID, user, attributes)}}, nil
}

func newHandler(t testing.TB, fake *apitest.Fake, change ...func(*api.Config)) *api.Handler {
	t.Helper()
	config := api.Config{Gateway: fake, Deployer: fake, Auth: &api.DevAuth{Organization: "Org1MSP", Signer: signer}}
	for _, f := range change {
		f(&config)
	}
	h, err := api.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request and checks the answer against openapi.json. Headers are "Name: value".
func do(t testing.TB, h http.Handler, method, target string, body any, headers ...string) answer {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	case io.Reader:
		reader = b
	}
	r := httptest.NewRequest(method, target, reader)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{w.Code, w.Header(), w.Body.Bytes()}
	document.check(t, r, a)
	return a
}

// problem reads the answer as a problem.
func (a answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("not a problem: %q", a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type: got %q", got)
	}
	if p.Status != a.status {
		t.Errorf("status: the body says %d, the answer %d", p.Status, a.status)
	}
	return p
}

type problem struct {
	Status          int
	Code            api.Code
	Detail, Field   string
	TransactionID   string
	ValidationCode  string
	ChaincodeStatus int32
	Limit           int64
}

// document is openapi.json.
var document = &openAPI{}

type openAPI struct {
	once     sync.Once
	root     map[string]any
	compiler *jsonschema.Compiler
	mux      *http.ServeMux // from a request to its path in the document
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
	seen     map[string]bool // "METHOD path status" that were checked
}

func (d *openAPI) load(t testing.TB) {
	d.once.Do(func() {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(api.OpenAPI))
		if err != nil {
			t.Fatalf("openapi.json: %v", err)
		}
		d.root = value.(map[string]any)
		d.compiler = jsonschema.NewCompiler()
		d.compiler.DefaultDraft(jsonschema.Draft2020)
		if err := d.compiler.AddResource("openapi.json", value); err != nil {
			t.Fatal(err)
		}
		d.schemas, d.seen, d.mux = make(map[string]*jsonschema.Schema), make(map[string]bool), http.NewServeMux()
		for path := range d.root["paths"].(map[string]any) {
			d.mux.Handle(strings.Replace(path, "{key}", "{key...}", 1), http.NotFoundHandler())
		}
	})
}

func (d *openAPI) schema(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.schemas[pointer] == nil {
		s, err := d.compiler.Compile("openapi.json#" + pointer)
		if err != nil {
			t.Fatalf("schema %s: %v", pointer, err)
		}
		d.schemas[pointer] = s
	}
	return d.schemas[pointer]
}

func escape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

// check compares an answer with the document: the status, the media type and the schema.
func (d *openAPI) check(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	d.load(t)
	_, path := d.mux.Handler(r)
	path = strings.Replace(path, "...}", "}", 1)
	operation, _ := dig(d.root, "paths", path, strings.ToLower(r.Method)).(map[string]any)
	mediaType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if operation == nil || path == "" { // the routes themselves are compared by TestOpenAPIRoutes
		if a.status >= 400 {
			d.validate(t, "/components/schemas/Problem", a.body)
		}
		return
	}
	pointer := "/paths/" + escape(path) + "/" + strings.ToLower(r.Method) + "/responses/" + fmt.Sprint(a.status)
	response, _ := dig(operation, "responses", fmt.Sprint(a.status)).(map[string]any)
	if response == nil {
		t.Errorf("%s %s: the document does not have status %d: %s", r.Method, path, a.status, a.body)
		return
	}
	if _, ok := response["$ref"]; ok {
		pointer = fmt.Sprintf("/components/responses/%d", a.status)
		response = dig(d.root, "components", "responses", fmt.Sprint(a.status)).(map[string]any)
	}
	d.mu.Lock()
	d.seen[fmt.Sprint(r.Method, " ", path, " ", a.status)] = true
	d.mu.Unlock()
	if response["content"] == nil {
		if len(a.body) > 0 {
			t.Errorf("%s %s %d: there is a body: %q", r.Method, path, a.status, a.body)
		}
		return
	}
	if dig(response, "content", mediaType) == nil {
		t.Errorf("%s %s %d: the document does not have the media type %q", r.Method, path, a.status, mediaType)
		return
	}
	if strings.HasSuffix(mediaType, "json") {
		d.validate(t, pointer+"/content/"+escape(mediaType)+"/schema", a.body)
	}
}

func (d *openAPI) validate(t testing.TB, pointer string, body []byte) {
	t.Helper()
	d.load(t)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("not JSON: %v: %q", err, body)
		return
	}
	if err := d.schema(t, pointer).Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", pointer, err, body)
	}
}

func dig(v any, path ...string) any {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}
