package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// archive makes a gzipped tar of any headers; their sizes are set.
func archive(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, e := range entries {
		if e.header.Typeflag == 0 {
			e.header.Typeflag = tar.TypeReg
		}
		if e.header.Typeflag == tar.TypeReg {
			e.header.Size = int64(len(e.content))
		}
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type tarEntry struct {
	header  tar.Header
	content string
}

func text(name, content string) tarEntry {
	return tarEntry{tar.Header{Name: name, Mode: 0o644}, content}
}

func directory(name string) tarEntry {
	return tarEntry{tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeDir}, ""}
}

func special(name string, kind byte, link string) tarEntry {
	return tarEntry{tar.Header{Name: name, Typeflag: kind, Linkname: link}, ""}
}

const golangMetadata = `{"type":"golang","label":"basic_1.0","path":"example.org/basic"}`

// wrap makes a package of metadata and code.
func wrap(t testing.TB, metadata string, code []byte) []byte {
	return archive(t, text("metadata.json", metadata), text("code.tar.gz", string(code)))
}

func TestParsePackage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		metadata string
		code     []tarEntry
		want     Package
	}{
		"golang": {
			golangMetadata,
			[]tarEntry{directory("src"), directory("src/"), text("src/go.mod", "module example.org/basic"), text("src/main.go", "package main"), text("META-INF/statedb/couchdb/indexes/i.json", `{"index":{"fields":["a"]}}`),
				text("META-INF/statedb/couchdb/collections/prices/indexes/i.json", `{"index":{"fields":["b"]},"name":"b"}`), text("META-INF/statedb/couchdb/collections/prices/other.json", "{}")},
			Package{Metadata: Metadata{Type: Golang, Label: "basic_1.0", Path: "example.org/basic"},
				Indexes: []string{`{"collection":"prices","index":{"fields":["b"]},"name":"b"}`, `{"index":{"fields":["a"]}}`}},
		},
		"golang in capitals, names with a dot": {
			`{"type":"GOLANG","label":"basic","path":"basic"}`,
			[]tarEntry{directory("./"), text("./src/basic/main.go", "package main")},
			Package{Metadata: Metadata{Type: Golang, Label: "basic", Path: "basic"}},
		},
		"service": {
			`{"type":"ccaas","label":"basic"}`,
			[]tarEntry{text("connection.json", `{"address":"basic.example:9999","dial_timeout":"10s","tls_required":false}`)},
			Package{Metadata: Metadata{Type: Service, Label: "basic"}, Connection: &Connection{Address: "basic.example:9999", DialTimeout: Duration(10 * time.Second)}},
		},
		"node": {
			`{"type":"node","label":"basic"}`,
			[]tarEntry{text("src/package.json", `{"scripts":{"start":"fabric-chaincode-node start"}}`), text("src/index.js", "")},
			Package{Metadata: Metadata{Type: Node, Label: "basic"}},
		},
		"java": {
			`{"type":"java","label":"basic"}`,
			[]tarEntry{text("src/chaincode.jar", "PK")},
			Package{Metadata: Metadata{Type: Java, Label: "basic"}},
		},
		"binary": {
			`{"type":"binary","label":"basic","platform":"linux/amd64"}`,
			[]tarEntry{text("bin/chaincode", "\x7fELF")},
			Package{Metadata: Metadata{Type: Binary, Label: "basic", Platform: "linux/amd64"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := wrap(t, test.metadata, archive(t, test.code...))
			got, err := ParsePackage(raw)
			if err != nil {
				t.Fatal(err)
			}
			if label, hash, ok := splitPackageID(got.ID); !ok || label != got.Label || !equalHash(raw, hash) {
				t.Errorf("id %s", got.ID)
			}
			if diff := cmp.Diff(test.want.Metadata, got.Metadata); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.want.Connection, got.Connection); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.want.Indexes, got.Indexes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParsePackageRefuses(t *testing.T) {
	t.Parallel()
	good := []tarEntry{text("src/go.mod", "module example.org/basic"), text("src/main.go", "package main")}
	with := func(more ...tarEntry) []byte {
		return wrap(t, golangMetadata, archive(t, append(good[:2:2], more...)...))
	}
	meta := func(metadata string) []byte { return wrap(t, metadata, archive(t, good...)) }
	service := func(connection string) []byte {
		return wrap(t, `{"type":"ccaas","label":"l"}`, archive(t, text("connection.json", connection)))
	}
	bomb := archive(t, text("src/main.go", strings.Repeat("\x00", 16<<20)))
	many := make([]tarEntry, MaxFiles+1)
	for i := range many {
		many[i] = text(fmt.Sprintf("src/%d.go", i), "")
	}
	whole := with()
	tests := map[string]struct {
		raw  []byte
		is   error
		says string
	}{
		"nothing":                         {nil, ErrInvalidPackage, "not gzipped"},
		"text":                            {[]byte("package main"), ErrInvalidPackage, "not gzipped"},
		"gzip of no tar":                  {gzipped(t, strings.Repeat("noise", 1000)), ErrInvalidPackage, "tar"},
		"half a package":                  {whole[:len(whole)/2], ErrInvalidPackage, "unexpected EOF"},
		"a flipped byte":                  {flipped(whole), ErrInvalidPackage, ""},
		"something behind":                {append(whole[:len(whole):len(whole)], "more"...), ErrInvalidPackage, "4 bytes follow"},
		"another gzip behind":             {append(whole[:len(whole):len(whole)], whole...), ErrInvalidPackage, "bytes follow"},
		"too large":                       {make([]byte, MaxPackage+1), ErrPackageTooLarge, "at most"},
		"no metadata":                     {archive(t, text("code.tar.gz", "")), ErrInvalidPackage, "no metadata.json"},
		"no code":                         {archive(t, text("metadata.json", golangMetadata)), ErrInvalidPackage, "no code.tar.gz"},
		"metadata twice":                  {archive(t, text("metadata.json", "{}"), text("metadata.json", "{}")), ErrInvalidPackage, `"metadata.json" is there twice`},
		"a third file":                    {archive(t, text("metadata.json", "{}"), text("readme", "")), ErrInvalidPackage, `unexpected "readme"`},
		"metadata no JSON":                {meta("type: golang"), ErrInvalidPackage, "metadata.json"},
		"no type":                         {meta(`{"label":"l","path":"p"}`), ErrInvalidPackage, "names no type"},
		"another language":                {meta(`{"label":"l","type":"cobol"}`), ErrUnsupportedPackage, `type "cobol"`},
		"node without a package.json":     {meta(`{"label":"l","type":"node"}`), ErrInvalidPackage, "it lacks src/package.json"},
		"node without a start script":     {wrap(t, `{"label":"l","type":"node"}`, archive(t, text("src/package.json", `{"scripts":{}}`))), ErrInvalidPackage, `no "start" script`},
		"node with a broken package.json": {wrap(t, `{"label":"l","type":"node"}`, archive(t, text("src/package.json", `{`))), ErrInvalidPackage, "package.json: unexpected end"},
		"java without a project":          {wrap(t, `{"label":"l","type":"java"}`, archive(t, text("src/main/java/A.java", ""))), ErrInvalidPackage, "it lacks a pom.xml"},
		"no label":                        {meta(`{"type":"golang","path":"p"}`), ErrInvalidPackage, "label"},
		"a label with a slash":            {meta(`{"type":"golang","path":"p","label":"../x"}`), ErrInvalidPackage, `label "../x"`},
		"a label of two lines":            {meta(`{"type":"golang","path":"p","label":"x\n"}`), ErrInvalidPackage, "label"},
		"a path out of it":                {meta(`{"type":"golang","path":"../p","label":"l"}`), ErrInvalidPackage, `path "../p"`},
		"a path that's a flag":            {meta(`{"type":"golang","path":"-toolexec=x","label":"l"}`), ErrInvalidPackage, "is no import path"},
		"a path that's all":               {meta(`{"type":"golang","path":"x/...","label":"l"}`), ErrInvalidPackage, "is no import path"},
		"no platform":                     {wrap(t, `{"type":"binary","label":"l"}`, archive(t, text("bin/chaincode", ""))), ErrInvalidPackage, "platform"},
		"binary without one":              {wrap(t, `{"type":"binary","label":"l","platform":"linux/amd64"}`, archive(t, good...)), ErrInvalidPackage, "it lacks bin/chaincode"},
		"golang without source":           {wrap(t, golangMetadata, archive(t, text("main.go", ""))), ErrInvalidPackage, "it lacks a Go file under src/"},
		"service without one":             {wrap(t, `{"type":"ccaas","label":"l"}`, archive(t, good...)), ErrInvalidPackage, "it lacks connection.json"},
		"connection no JSON":              {service("localhost:1"), ErrInvalidPackage, "connection.json"},
		"connection to nowhere":           {service(`{"address":"localhost"}`), ErrInvalidPackage, "want host:port"},
		"an odd duration":                 {service(`{"address":"h:1","dial_timeout":"soon"}`), ErrInvalidPackage, "soon"},
		"TLS without a root":              {service(`{"address":"h:1","tls_required":true}`), ErrInvalidPackage, "root_cert"},
		"code no archive":                 {wrap(t, golangMetadata, []byte("package main")), ErrInvalidPackage, "code.tar.gz"},
		"out of it":                       {with(text("src/../../etc/passwd", "")), ErrInvalidPackage, "leads out"},
		"up":                              {with(text("..", "")), ErrInvalidPackage, "leads out"},
		"absolute":                        {with(text("/etc/passwd", "")), ErrInvalidPackage, "is absolute"},
		"a backslash":                     {with(text(`src\main.go`, "")), ErrInvalidPackage, `has a \`},
		"a drive":                         {with(text("C:x", "")), ErrInvalidPackage, "or :"},
		"a control character":             {with(text("src/a\nb", "")), ErrInvalidPackage, "is not text"},
		"a doubled slash":                 {with(text("src//main.go", "")), ErrInvalidPackage, "shortest form"},
		"a long name":                     {with(text(strings.Repeat("x", maxName+1), "")), ErrInvalidPackage, "longer than"},
		"a symbolic link":                 {with(special("src/l", tar.TypeSymlink, "/etc/passwd")), ErrInvalidPackage, "neither a file nor a directory"},
		"a hard link":                     {with(special("src/l", tar.TypeLink, "src/main.go")), ErrInvalidPackage, "neither a file nor a directory"},
		"a device":                        {with(special("src/null", tar.TypeChar, "")), ErrInvalidPackage, "neither a file nor a directory"},
		"a pipe":                          {with(special("src/pipe", tar.TypeFifo, "")), ErrInvalidPackage, "neither a file nor a directory"},
		"a file twice":                    {with(text("src/main.go", "package other")), ErrInvalidPackage, `"src/main.go" is there twice`},
		"a file as directory":             {with(text("src/main.go/x", "")), ErrInvalidPackage, "is a file and has"},
		"a directory as file":             {with(text("src", "")), ErrInvalidPackage, "is there twice"},
		"a bomb":                          {wrap(t, golangMetadata, bomb), ErrPackageTooLarge, "unpacks to more"},
		"too many files":                  {wrap(t, golangMetadata, archive(t, many...)), ErrPackageTooLarge, "more than 20000 files"},
		"behind the end":                  {gzipped(t, string(gunzipped(t, whole))+"more"), ErrInvalidPackage, "follows the end"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParsePackage(test.raw)
			if !errors.Is(err, test.is) {
				t.Fatalf("got %v, want %v", err, test.is)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

func FuzzParsePackage(f *testing.F) {
	good := archive(f, text("src/go.mod", "module example.org/basic"), text("src/main.go", "package main"))
	f.Add([]byte(golangMetadata), good, []byte(nil), false)
	f.Add([]byte(`{"type":"ccaas","label":"l"}`), archive(f, text("connection.json", `{"address":"h:1"}`)), []byte(nil), false)
	f.Add([]byte(golangMetadata), gunzipped(f, good), []byte(nil), true)
	f.Add([]byte(nil), []byte(nil), wrap(f, golangMetadata, good), false)
	f.Fuzz(func(t *testing.T, metadata, code, raw []byte, zip bool) {
		if raw == nil {
			if zip { // lets the fuzzer change tar headers
				code = gzipped(t, string(code))
			}
			raw = wrap(t, string(metadata), code)
		}
		p, err := ParsePackage(raw)
		if err != nil {
			if !errors.Is(err, ErrInvalidPackage) && !errors.Is(err, ErrPackageTooLarge) && !errors.Is(err, ErrUnsupportedPackage) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if _, _, ok := splitPackageID(p.ID); !ok {
			t.Errorf("id %q", p.ID)
		}
		if err := p.extract(t.TempDir()); err != nil {
			t.Errorf("a good package does not unpack: %v", err)
		}
	})
}

func gzipped(t testing.TB, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gunzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func flipped(raw []byte) []byte {
	out := bytes.Clone(raw)
	out[len(out)/2] ^= 0x40
	return out
}
