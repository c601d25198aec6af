package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"peerless/shared/samples"
)

var update = flag.Bool("update", false, "write the answers to the samples anew")

// local is the environment of stage local.
func local(name string) string { return map[string]string{"PEERLESS_STAGE": "local"}[name] }

var quiet = slog.New(slog.DiscardHandler)

// TestSamples runs every sample on a platform of its own: no sample needs another.
func TestSamples(t *testing.T) {
	t.Parallel()
	samples.Run(t, "gateway", *update, func(ctx context.Context) samples.Function { return handler(ctx, local, quiet, io.Discard) })
}

// TestSet: a wrong environment does not keep the function from starting: every request is told what is wrong, and so is the log.
func TestSetUp(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := handler(t.Context(), func(string) string { return "" }, slog.New(slog.NewTextHandler(&log, nil)), io.Discard)
	payload := `{"version":"2.0","rawPath":"/healthz","requestContext":{"http":{"method":"GET"}}}`
	result, err := h.Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	var answer events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(result, &answer); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{answer.Body, log.String()} {
		if answer.StatusCode != 503 || !strings.Contains(text, "PEERLESS_STAGE") {
			t.Errorf("status %d, %s", answer.StatusCode, text)
		}
	}
}

// TestLinks: the stores of a disk, and what only a server's program needs, stay out of the function.
func TestLinks(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-tags", "lambda.norpc", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.Lines(string(out)) {
		for _, banned := range []string{"cockroachdb", "store/pebble", "spf13/cobra", "aws-sdk-go-v2/config", "net/rpc", "testing"} {
			if strings.Contains(path, banned) {
				t.Errorf("the function links %s", path)
			}
		}
	}
}
