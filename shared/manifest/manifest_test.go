package manifest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/manifest"
)

const example = `organizations:
  - mspId: Org1MSP
    msp: crypto/org1/msp
    endorser: {cert: e.pem, key: /keys/e.key}
  - mspId: Org2MSP
  - mspId: Org3MSP
    endorser:
      address: org3.example.com:7051
      cert: e3.pem
      tls: {rootCert: tls/ca.pem}
channels:
  - name: alpha
    organizations: [Org1MSP, Org2MSP]
    chaincodes:
      - name: probe
        source: contracts/probe
        version: 1.0
        policy: OR('Org1MSP.peer','Org2MSP.peer')
        collections: collections.json
      - name: service
        source: {address: 127.0.0.1:9999, tls: {rootCert: ca.pem, clientCert: c.pem, clientKey: c.key}}
      - name: quoted
        source: "address: 127.0.0.1:9999"
        initRequired: true
        sources:
          Org1MSP: contracts/other
          Org2MSP: {address: 127.0.0.1:9998, tls: {rootCert: ca.pem}}
  - name: beta
    organizations: [Org1MSP]
    chaincodes:
`

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "network.yaml")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	want := &manifest.Manifest{
		Organizations: []manifest.Organization{
			{MSPID: "Org1MSP", MSP: in("crypto/org1/msp"), Endorser: &manifest.Endorser{Cert: in("e.pem"), Key: "/keys/e.key"}, Line: 2},
			{MSPID: "Org2MSP", Line: 5},
			{MSPID: "Org3MSP", Endorser: &manifest.Endorser{Cert: in("e3.pem"), Address: "org3.example.com:7051", TLS: &manifest.TLS{RootCert: in("tls/ca.pem")}}, Line: 6},
		},
		Channels: []manifest.Channel{
			{Name: "alpha", Organizations: []string{"Org1MSP", "Org2MSP"}, Line: 12, Chaincodes: []manifest.Chaincode{
				{Name: "probe", Source: in("contracts/probe"), Version: "1.0", Policy: "OR('Org1MSP.peer','Org2MSP.peer')", Collections: in("collections.json"), Line: 15},
				{Name: "service", Address: "127.0.0.1:9999", TLS: &manifest.TLS{RootCert: in("ca.pem"), ClientCert: in("c.pem"), ClientKey: in("c.key")}, Line: 20},
				{Name: "quoted", Address: "127.0.0.1:9999", InitRequired: true, Line: 22, Sources: map[string]manifest.Source{
					"Org1MSP": {Path: in("contracts/other")}, "Org2MSP": {Address: "127.0.0.1:9998", TLS: &manifest.TLS{RootCert: in("ca.pem")}},
				}},
			}},
			{Name: "beta", Organizations: []string{"Org1MSP"}, Line: 28},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"nothing":             {"", "it is empty"},
		"not YAML":            {"organizations: [", "line 1"},
		"a list":              {"- a", "line 1: the manifest is a mapping of channels, organizations"},
		"unknown at top":      {"channels: []\nchanels: []", `line 2: unknown field "chanels": the manifest has channels, organizations`},
		"unknown below":       {"organizations:\n  - mspId: A\n    mps: b", `line 3: unknown field "mps": an organisation has endorser, msp, mspId`},
		"unknown in endorser": {"organizations:\n  - mspId: A\n    endorser: {cert: a, key: b, pass: c}", `line 3: unknown field "pass"`},
		"twice":               {"organizations:\n  - mspId: A\n    mspId: B", "line 3"},
		"no id":               {"organizations:\n  - msp: a", "line 2: an organisation needs an mspId"},
		"half an endorser":    {"organizations:\n  - mspId: A\n    endorser: {cert: a}", "line 3: an endorser needs cert and key"},
		"two endorsers":       {"organizations:\n  - mspId: A\n    endorser: {cert: a, key: b, address: c}", "not both"},
		"nobody knows it":     {"organizations:\n  - mspId: A\n    endorser: {address: c}", "line 3: an endorser with an address needs its cert"},
		"organisation twice":  {"organizations:\n  - mspId: A\n  - mspId: A", "line 3: organisation A is there twice"},
		"not a list":          {"channels: {name: a}", "line 1: channels is a list"},
		"channel's name":      {"channels:\n  - name: Alpha\n    organizations: [A]", "line 2: "},
		"no organisations":    {"channels:\n  - name: a", "line 2: channel a needs organizations"},
		"member twice":        {"channels:\n  - name: a\n    organizations: [A, A]", "has organisation A twice"},
		"chaincode's name":    {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - name: -\n        source: b", "line 5: "},
		"no source":           {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - name: b", "line 5: chaincode b needs a source"},
		"two sources":         {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - name: b\n        source: c\n        address: d:1", "has a source and an address"},
		"TLS for nothing":     {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - name: b\n        source: c\n        tls: {rootCert: d}", "tls is for one with an address"},
		"half a client":       {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - name: b\n        source: {address: 'd:1', tls: {rootCert: d, clientKey: e}}", "line 6: clientCert and clientKey go together"},
		"chaincode twice":     {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - {name: b, source: c}\n      - {name: b, source: c}", "line 6: channel a has chaincode b twice"},
		"source of nobody":    {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - {name: b, source: c, sources: {B: d}}", "line 5: chaincode b has a source of B, which is not among the organizations of channel a"},
		"empty source":        {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - {name: b, source: c, sources: {A: {}}}", "the source of A is a directory, a package, or address"},
		"sources a list":      {"channels:\n  - name: a\n    organizations: [A]\n    chaincodes:\n      - {name: b, source: c, sources: [d]}", "sources is a mapping of MSP ids"},
		"not text":            {"channels:\n  - name: [a]", "line 2: name is text"},
	} {
		_, err := manifest.Parse([]byte(test.text), "network.yaml")
		if !errors.Is(err, manifest.ErrManifest) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrManifest with %q", name, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := manifest.Parse(text, "fuzz"); (m == nil) == (err == nil) {
			t.Errorf("manifest %v, error %v", m, err)
		}
	})
}
