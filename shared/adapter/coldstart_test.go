package adapter_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"peerless/shared/awstest"
	"peerless/shared/toolbox"
)

// maxZip is the size of a function's package, in bytes.
const maxZip = 8 << 20

// forms are a contract's function in its two forms, and the smallest function there is: a program in its package, and one in a
// layer.
var forms = []struct {
	name           string
	program, layer string // Go packages
	file           string // the program's
}{
	{"hello", "peerless/shared/adapter/testdata/hello", "", "bootstrap"},
	{"linked", "peerless/functions/assettransfer", "", "bootstrap"},
	{"wrapped", "peerless/contracts/assettransfer", "peerless/functions/adapter", "assettransfer"},
}

// build builds a program as it is deployed, and returns the directory that holds it.
func build(t testing.TB, pkg, file, arch string) string {
	t.Helper()
	if pkg == "" {
		return ""
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "lambda.norpc,grpcnotrace", "-ldflags", "-s -w -buildid=", "-o", filepath.Join(dir, file), pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return dir
}

// zipped returns the size of a directory's files, zipped.
func zipped(t testing.TB, dir string) int {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Len()
}

// TestZipSize: a function's package for ARM64, and its layer, stay small.
func TestZipSize(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds everything for ARM64")
	}
	for _, form := range forms {
		for what, dir := range map[string]string{"package": build(t, form.program, form.file, "arm64"), "layer": build(t, form.layer, "bootstrap", "arm64")} {
			if dir == "" {
				continue
			}
			size := zipped(t, dir)
			t.Logf("%s of %s: %.2f MB", what, form.name, float64(size)/1e6)
			if size > maxZip {
				t.Errorf("the %s of %s has %d bytes, the limit is %d", what, form.name, size, maxZip)
			}
		}
	}
}

// BenchmarkColdStart compares, in one run and start by start in turn, how long each form takes from its process's start to the
// first poll of the Runtime API, and to the answer of the first invocation, which the wrapped form's program must be up for.
// It reports the medians, and the memory at most of the function's processes after a warm invocation.
//
//	go test ./shared/adapter -run '^$' -bench ColdStart -benchtime 30x
func BenchmarkColdStart(b *testing.B) {
	l := awstest.NewLambda(b, nil)
	client := lambda.NewFromConfig(l.Config())
	payload, err := os.ReadFile(filepath.Join(toolbox.Root(), "shared", "invocation", "testdata", "v1-request.json"))
	if err != nil {
		b.Fatal(err)
	}
	functions := make([]awstest.Function, len(forms))
	for i, form := range forms {
		functions[i] = awstest.Function{
			Code: build(b, form.program, form.file, runtime.GOARCH), Handler: form.file, Timeout: time.Minute,
			Environment: map[string]string{"PEERLESS_CHANNEL": "ch", "PEERLESS_CHAINCODE": "cc"},
		}
		if layer := build(b, form.layer, "bootstrap", runtime.GOARCH); layer != "" {
			functions[i].Layers = []string{layer}
		}
	}
	polls, answers, memory := make([][]time.Duration, len(forms)), make([][]time.Duration, len(forms)), make([]int, len(forms))
	for b.Loop() {
		for i, form := range forms {
			name := fmt.Sprintf("%s-%d", form.name, len(polls[i]))
			functions[i].Name = name
			l.Deploy(functions[i])
			for warm := range 3 {
				began := time.Now()
				out, err := client.Invoke(b.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: payload})
				if err != nil {
					b.Fatal(err)
				}
				if out.FunctionError != nil {
					b.Fatalf("%s: %s", name, out.Payload)
				}
				if warm == 0 {
					answers[i] = append(answers[i], time.Since(began))
				}
			}
			polls[i] = append(polls[i], l.Starts(name)...)
			for _, pid := range l.Processes(name) {
				memory[i] = max(memory[i], peak(b, pid))
			}
			l.Deploy(functions[i]) // ends the process
		}
	}
	for i, form := range forms {
		poll, answer := median(polls[i]), median(answers[i])
		b.ReportMetric(poll.Seconds()*1e3, form.name+"-poll-ms")
		b.ReportMetric(answer.Seconds()*1e3, form.name+"-answer-ms")
		b.ReportMetric(float64(memory[i])/1024, form.name+"-MiB")
		if i > 0 {
			b.ReportMetric(float64(poll)/float64(median(polls[0])), form.name+"-poll/hello")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

var vmHWM = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak returns the most memory that a process and its children have used, in KiB.
func peak(t testing.TB, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.Atoi(string(vmHWM.FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range threads {
		children, _ := os.ReadFile(file)
		for _, child := range bytes.Fields(children) {
			if id, err := strconv.Atoi(string(child)); err == nil {
				kib += peak(t, id)
			}
		}
	}
	return kib
}
