package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServerSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("url = http://file\nkey = \"pk_file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flags       server
		environment map[string]string
		want        server
	}{
		"nothing":                   {server{}, nil, server{URL: defaultURL}},
		"the file":                  {server{}, map[string]string{"PEERLESS_CONFIG": file}, server{"http://file", "pk_file"}},
		"environment over the file": {server{}, map[string]string{"PEERLESS_CONFIG": file, "PEERLESS_KEY": "pk_env"}, server{"http://file", "pk_env"}},
		"flags over environment": {
			server{"http://flag", "pk_flag"}, map[string]string{"PEERLESS_URL": "http://env", "PEERLESS_KEY": "pk_env"}, server{"http://flag", "pk_flag"},
		},
		"the file's key is for its server alone": {server{URL: "http://other"}, map[string]string{"PEERLESS_CONFIG": file}, server{URL: "http://other"}},
		"its server, named again":                {server{URL: "http://file"}, map[string]string{"PEERLESS_CONFIG": file}, server{"http://file", "pk_file"}},
	} {
		got := test.flags
		if err := got.complete(func(name string) string { return test.environment[name] }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%s: got (-), want (+):\n%s", name, diff)
		}
	}
}
