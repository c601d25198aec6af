package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"peerless/shared/samples"
)

var update = flag.Bool("update", false, "write the answers to the samples anew")

// local is the environment of stage local.
func local(name string) string { return map[string]string{"PEERLESS_STAGE": "local"}[name] }

// TestSamples runs every sample on a platform of its own.
func TestSamples(t *testing.T) {
	t.Parallel()
	samples.Run(t, "queue", *update, func(ctx context.Context) samples.Function {
		return lambda.NewHandler(handler(ctx, local, slog.New(slog.DiscardHandler)))
	})
}

// TestPoison: that the log says why is what the operator has, where no dead-letter queue is known.
func TestPoison(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := handler(t.Context(), local, slog.New(slog.NewJSONHandler(&log, nil)))
	body, err := json.Marshal(map[string]any{"channel": "main", "chaincode": "nothing", "function": "f"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h(t.Context(), events.SQSEvent{Records: []events.SQSMessage{{MessageId: "m1", Body: string(body)}}})
	if err != nil || len(answer.BatchItemFailures) != 1 || answer.BatchItemFailures[0].ItemIdentifier != "m1" {
		t.Errorf("got %+v, %v", answer, err)
	}
	if !strings.Contains(log.String(), `"code":"NOT_FOUND"`) || !strings.Contains(log.String(), `"message":"m1"`) {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

// TestSetUp: in a wrong environment every invocation fails, naming the setting, and SQS keeps its messages.
func TestSetUp(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := handler(t.Context(), func(string) string { return "" }, slog.New(slog.NewTextHandler(&log, nil)))
	_, err := h(t.Context(), events.SQSEvent{})
	if err == nil || !strings.Contains(err.Error(), "PEERLESS_STAGE") || !strings.Contains(log.String(), "PEERLESS_STAGE") {
		t.Errorf("got %v, log %s", err, log.String())
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
