package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/toolbox"
	"peerless/shared/walk"
)

var update = flag.Bool("update", false, "rewrite the answers of testdata/walk/walk.txt with those of peerless serve")

// TestWalk walks against the two servers, each a process of its own. That the cloud answers the same is shown in functions/.
func TestWalk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(toolbox.Root(), "testdata", "walk", "walk.txt")
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	script = []byte(strings.ReplaceAll(string(script), "\r\n", "\n"))
	for _, kind := range []string{"serve", "dev"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if *update && kind == "dev" {
				t.Skip("the answers are those of serve")
			}
			w, err := walk.Parse(string(script))
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			got, err := w.Run(t.Context(), startTarget(t, kind))
			if err != nil {
				t.Errorf("after\n%s\n%v", got, err)
				return
			}
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(script), got); diff != "" {
				t.Errorf("the answers differ (-want +got):\n%s", diff)
			}
		})
	}
}

// startTarget starts a server, with a contract of no use for dev, which wants one.
func startTarget(t *testing.T, kind string) walk.Target {
	t.Helper()
	dir := t.TempDir()
	peerless := filepath.Join(dir, "peerless")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, peerless); err != nil { // this test binary, under the name that makes it peerless
		t.Fatal(err)
	}
	root := toolbox.Root()
	ready, data := filepath.Join(dir, "ready"), filepath.Join(dir, "data")
	args := []string{kind, "--http", "127.0.0.1:0", "--data", data, "--ready-file", ready, "--json"}
	if kind == "dev" {
		args = append(args, "--grpc", "127.0.0.1:0", filepath.Join(root, "contracts", "probe"))
	}
	printed, err := os.Create(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer printed.Close()
	cmd := exec.Command(peerless, args...)
	cmd.Stdout = printed
	var url string
	toolbox.Start(t, cmd, func(ctx context.Context) error {
		raw, err := os.ReadFile(ready)
		url = strings.TrimSpace(string(raw))
		return err
	})
	target := walk.Target{URL: url}
	env := append(os.Environ(), "PEERLESS_URL="+url)
	if kind == "serve" {
		raw, err := os.ReadFile(printed.Name())
		if err != nil {
			t.Fatal(err)
		}
		var greeting struct{ Key string }
		if err := json.Unmarshal(raw, &greeting); err != nil || greeting.Key == "" {
			t.Fatalf("no key in %s: %v", raw, err)
		}
		out, err := exec.Command(peerless, "key", "add", "reader", "--data", data, "--scope", "evaluate", "--json").Output()
		if err != nil {
			t.Fatalf("make a key: %v", err)
		}
		var made struct{ Secret string }
		if err := json.Unmarshal(out, &made); err != nil {
			t.Fatal(err)
		}
		target.Keys = map[string]string{"operator": greeting.Key, "reader": made.Secret}
		env = append(env, "PEERLESS_KEY="+greeting.Key)
		awaitKey(t, url, made.Secret)
	}
	target.Deploy = func(ctx context.Context, d walk.Deployment) error {
		args := []string{"deploy", filepath.Join(root, "contracts", d.Contract), "--name", d.Name, "--channel", d.Channel, "--version", "1.0"}
		if d.Policy != "" {
			args = append(args, "--policy", d.Policy)
		}
		cmd := exec.CommandContext(ctx, peerless, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("peerless %v: %w: %s", args, err, out)
		}
		return nil
	}
	return target
}

// awaitKey waits until a server knows a key that was made beside it.
func awaitKey(t *testing.T, url, key string) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(pollPause) {
		r, err := http.NewRequest(http.MethodGet, url+"/v1/channels", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(until) {
			t.Fatalf("the server does not know the key: %v, %v", response, err)
		}
	}
}
