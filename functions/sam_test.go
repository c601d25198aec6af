// Package functions_test runs the functions as SAM does: built by `sam build`, in containers, behind its API Gateway.
package functions_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"peerless/shared/samples"
	"peerless/shared/toolbox"
)

// invokeImage is what the containers are made of: nothing of it is AWS's, which nobody could pull here.
const invokeImage = "peerless-test/provided:al2023"

// sam runs the SAM CLI, with a Docker engine of the test's own.
type sam struct {
	cli string
	env []string
	dir string // of scratch files
}

// TestSAM is one test, because it has one Docker engine, and because its parts need what the earlier ones built.
func TestSAM(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs containers")
	}
	t.Parallel()
	s := newSAM(t)
	s.run(t, "validate", "--lint")
	build := filepath.Join(s.dir, "build")
	s.run(t, "build", "--config-env", "local", "--build-dir", build)
	local := func(command string, args ...string) []string {
		return append([]string{"local", command, "--config-env", "local", "--config-file", filepath.Join(toolbox.Root(), "samconfig.toml"), "--template", filepath.Join(build, "template.yaml"),
			"--invoke-image", invokeImage, "--skip-pull-image", "--container-host-interface", "127.0.0.1"}, args...)
	}
	s.docker(t)
	t.Run("invoke", func(t *testing.T) {
		for function, name := range map[string]string{"gateway": "submit", "queue": "poison", "assettransfer": "newer-gateway", "probe": "invoke"} {
			for _, sample := range samples.Read(t, function) {
				if sample.Name == name {
					event := filepath.Join(toolbox.Root(), "events", function, name+".json")
					lines := bytes.Split(bytes.TrimSpace(s.run(t, local("invoke", logicalIDs[function], "--event", event)...)), []byte("\n"))
					sample.Compare(t, lines[len(lines)-1], false) // what the function logs comes before
				}
			}
		}
	})
	t.Run("start-lambda", func(t *testing.T) {
		url := s.start(t, local("start-lambda"), "/2015-03-31/functions/GatewayFunction/invocations", sampleEvent(t, "gateway", "health"))
		for function, id := range logicalIDs {
			for _, sample := range samples.Read(t, function) {
				_, answer := request(t, "POST", url+"/2015-03-31/functions/"+id+"/invocations", string(sample.Event))
				sample.Compare(t, answer, false)
			}
		}
	})
	t.Run("start-api", func(t *testing.T) {
		walk(t, s.start(t, local("start-api", "--warm-containers", "EAGER"), "/healthz", ""))
	})
}

// logicalIDs are the functions with samples, by their directories.
var logicalIDs = map[string]string{"gateway": "GatewayFunction", "queue": "QueueFunction", "events": "EventsFunction", "assettransfer": "AssetTransferFunction", "probe": "ProbeFunction"}

func sampleEvent(t *testing.T, function, name string) string {
	t.Helper()
	event, err := os.ReadFile(filepath.Join(toolbox.Root(), "events", function, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(event)
}

func newSAM(t *testing.T) *sam {
	t.Helper()
	s := &sam{cli: toolbox.Need(t, "venv/bin/sam"), dir: t.TempDir()}
	for _, tool := range []string{"dockerd", "docker", "busybox", "make"} {
		toolbox.Need(t, tool)
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		toolbox.Missing(t, "a Docker engine of the test's own can be started on Linux by root only")
	}
	// The CLI looks for a newer one of itself once a week: it is told that it just did.
	app := filepath.Join(s.dir, "app")
	if err := os.Mkdir(app, 0o700); err != nil {
		t.Fatal(err)
	}
	metadata := fmt.Sprintf(`{"telemetryEnabled": false, "lastVersionCheck": %d}`, time.Now().Unix())
	if err := os.WriteFile(filepath.Join(app, "metadata.json"), []byte(metadata), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "SAM_CLI_TELEMETRY=0", "__SAM_CLI_APP_DIR="+app, "DOCKER_HOST=unix://"+s.socket(),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=eu-central-1", "AWS_DEFAULT_REGION=eu-central-1",
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=none", "DOCKER_CONFIG="+s.dir)
	return s
}

func (s *sam) socket() string { return filepath.Join(s.dir, "docker.sock") }

// command is one of the CLI's, in the project's directory.
func (s *sam) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.cli, args...)
	cmd.Dir, cmd.Env = toolbox.Root(), s.env
	return cmd
}

// run runs a command of the CLI to its end, and returns what it wrote to its standard output.
func (s *sam) run(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := s.command(args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("sam %s: %v\n%s%s", strings.Join(args, " "), err, &log, &out)
	}
	return out.Bytes()
}

// start starts a server of the CLI and returns its URL once it answers at a path.
func (s *sam) start(t *testing.T, args []string, path, body string) string {
	t.Helper()
	port := toolbox.Port(t)
	p := toolbox.Start(t, s.command(append(args, "--host", "127.0.0.1", "--port", fmt.Sprint(port))...), nil)
	t.Cleanup(func() { end(t, p) })
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	await(t, p, func(ctx context.Context) error {
		method := "GET"
		if body != "" {
			method = "POST"
		}
		r, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		return nil
	})
	return url
}

// await waits for a program, for minutes on a busy machine.
func await(t *testing.T, p *toolbox.Program, ready func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.Done():
			t.Fatalf("%s ended: %s", p.Path, p.Output())
		case <-ctx.Done():
			t.Fatalf("%s is not ready: %v\n%s", p.Path, err, p.Output())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// end lets a program remove what it made before it ends: containers, mounts.
func end(t *testing.T, p *toolbox.Program) {
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Errorf("%s did not end within a minute", p.Path)
	}
}

// docker starts the engine, with the image.
func (s *sam) docker(t *testing.T) {
	t.Helper()
	args := []string{"--host", "unix://" + s.socket()}
	for _, dir := range []string{"data-root", "exec-root", "pidfile"} {
		args = append(args, "--"+dir, filepath.Join(s.dir, dir))
	}
	daemon := toolbox.Start(t, exec.Command(toolbox.Need(t, "dockerd"), args...), nil)
	t.Cleanup(func() { end(t, daemon) })
	docker := toolbox.Need(t, "docker")
	await(t, daemon, func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, docker, "version")
		cmd.Env = s.env
		return cmd.Run()
	})
	cmd := exec.Command(docker, "import", "-", invokeImage)
	cmd.Env, cmd.Stdin = s.env, bytes.NewReader(image(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
}

// image is a file system of what SAM and a bootstrap need: a shell with mv and chmod, a place for temporary files, and certificates.
func image(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []byte {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, read(toolbox.Need(t, "busybox")))
	for _, name := range []string{"sh", "mv", "chmod", "ls", "cat"} {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	for _, dir := range []string{"tmp", "var/task", "var/rapid", "var/runtime", "opt"} {
		add(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	}
	for _, path := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"} {
		if _, err := os.Stat(path); err == nil {
			add(tar.Header{Name: path[1:], Typeflag: tar.TypeReg, Mode: 0o644}, read(path))
		}
	}
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0::/:/bin/sh\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// request sends one request and reads the answer.
func request(t *testing.T, method, url, body string, headers ...string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, content
}
