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
	stacked := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(stacked, []byte("stack = file\nkey = pk_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flags       server
		environment map[string]string
		want        server
	}{
		"nothing":                   {server{}, nil, server{URL: defaultURL}},
		"the file":                  {server{}, map[string]string{"PEERLESS_CONFIG": file}, server{URL: "http://file", Key: "pk_file"}},
		"environment over the file": {server{}, map[string]string{"PEERLESS_CONFIG": file, "PEERLESS_KEY": "pk_env"}, server{URL: "http://file", Key: "pk_env"}},
		"flags over environment": {
			server{URL: "http://flag", Key: "pk_flag"}, map[string]string{"PEERLESS_URL": "http://env", "PEERLESS_KEY": "pk_env"}, server{URL: "http://flag", Key: "pk_flag"},
		},
		"the file's key is for its server alone": {server{URL: "http://other"}, map[string]string{"PEERLESS_CONFIG": file}, server{URL: "http://other"}},
		"a stack":                                {server{Stack: "flag"}, map[string]string{"PEERLESS_URL": "http://env", "PEERLESS_STACK": "env"}, server{Stack: "flag"}},
		"the environment's stack and its URL": {
			server{}, map[string]string{"PEERLESS_URL": "http://env", "PEERLESS_STACK": "env"}, server{URL: "http://env", Stack: "env"},
		},
		"a URL is not mixed with the environment's stack": {server{URL: "http://flag"}, map[string]string{"PEERLESS_STACK": "env"}, server{URL: "http://flag"}},
		"the file's stack": {server{}, map[string]string{"PEERLESS_CONFIG": stacked}, server{Stack: "file", Key: "pk_file"}},
		"the key of the file's stack is not sent elsewhere": {server{Stack: "other"}, map[string]string{"PEERLESS_CONFIG": stacked}, server{Stack: "other"}},
		"its server, named again":                           {server{URL: "http://file"}, map[string]string{"PEERLESS_CONFIG": file}, server{URL: "http://file", Key: "pk_file"}},
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
