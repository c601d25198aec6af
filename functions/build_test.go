package functions_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"peerless/shared/awstest"
	"peerless/shared/samples"
	"peerless/shared/toolbox"
)

// maxZip is what a function's package may have: what is larger starts later.
const maxZip = 8 << 20

// TestARM64 builds every function as `sam build` does for AWS, and starts each under a CPU emulator: what does not run on ARM64, or is
// too large, is not deployed.
func TestARM64(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for another architecture")
	}
	t.Parallel()
	dist := t.TempDir()
	build := exec.Command("make", "dist", "GOARCH=arm64", "dist="+dist)
	build.Dir = toolbox.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make dist: %v\n%s", err, out)
	}
	qemu := toolbox.Need(t, "qemu-aarch64-static")
	tp := render(t)
	iam := awstest.NewIAM()
	api := awstest.NewLambda(t, iam)
	client := lambda.NewFromConfig(api.Config(), func(o *lambda.Options) { o.RetryMaxAttempts = 1 })
	for function, id := range logicalIDs {
		t.Run(function, func(t *testing.T) {
			if size := zipped(t, filepath.Join(dist, id, "bootstrap")); size > maxZip {
				t.Errorf("%s has %d bytes zipped, more than %d", id, size, maxZip)
			} else {
				t.Logf("%s has %.2f MB zipped", id, float64(size)/1e6)
			}
			environment := map[string]string{}
			if !contract(function) { // it finds none of what it needs of AWS, and says so
				environment["PEERLESS_STAGE"] = "test"
			} else {
				environment = tp.environment(t, id)
			}
			api.Deploy(awstest.Function{Name: id, Code: filepath.Join(dist, id), Environment: environment, Timeout: time.Minute, Wrapper: []string{qemu}})
			for _, sample := range samples.Read(t, function) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &id, Payload: sample.Event})
				if err != nil {
					t.Fatal(err)
				}
				if contract(function) {
					sample.Compare(t, out.Payload, *update)
				} else if !strings.Contains(string(out.Payload), "PEERLESS_LEDGER_TABLE") {
					t.Errorf("%s answered %s\n%s", id, out.Payload, api.Logs(id))
				} else {
					break // it starts
				}
			}
		})
	}
}

var update = flag.Bool("update", false, "write the answers to the contracts' samples anew")

// contract reports whether a function is a contract's: its samples need nothing but itself.
func contract(function string) bool { return function == "assettransfer" || function == "probe" }

// zipped is the size of a program as `sam package` zips it.
func zipped(t *testing.T, path string) int {
	t.Helper()
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.DefaultCompression) })
	f, err := w.Create("bootstrap")
	if err == nil {
		_, err = f.Write(program)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Len()
}
