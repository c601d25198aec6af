package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda"

	"peerless/shared/samples"
)

var update = flag.Bool("update", false, "write the answers to the samples anew")

// TestSamples runs every sample on a platform of stage local, which has no subscriptions: nothing is sent, and nothing has to come again.
func TestSamples(t *testing.T) {
	t.Parallel()
	local := func(name string) string { return map[string]string{"PEERLESS_STAGE": "local"}[name] }
	samples.Run(t, "events", *update, func(ctx context.Context) samples.Function {
		return lambda.NewHandler(handler(ctx, local, slog.New(slog.DiscardHandler)))
	})
}

// TestSetUp: in a wrong environment every invocation fails, naming the setting.
func TestSetUp(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := handler(t.Context(), func(string) string { return "" }, slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := h(t.Context(), []byte(`{"Records":[]}`)); err == nil || !strings.Contains(err.Error(), "PEERLESS_STAGE") || !strings.Contains(log.String(), "PEERLESS_STAGE") {
		t.Errorf("got %v, log %s", err, log.String())
	}
}
