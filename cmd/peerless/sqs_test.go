package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"peerless/shared/api/client"
	"peerless/shared/awstest"
	"peerless/shared/queue"
)

// TestSQS runs a server that takes messages from an SQS queue: one is committed, and poison goes to the dead letters with its reason.
func TestSQS(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"} {
		t.Setenv(name, "test") // the SDK reads these itself
	}
	q := awstest.NewQueues(t, awstest.QueueSpec{FIFO: true})
	work := t.TempDir()
	ready := filepath.Join(work, "ready")
	env := map[string]string{"HOME": work}
	contract, err := filepath.Abs(filepath.Join("..", "..", "contracts", "assettransfer"))
	if err != nil {
		t.Fatal(err)
	}
	endpoint := strings.Join(strings.SplitN(q.URL, "/", 4)[:3], "/")
	t.Logf("SQS answers at %s", endpoint)
	ctx, stop := context.WithCancel(t.Context())
	var out, log bytes.Buffer
	status := 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		status = run(ctx, []string{"dev", contract, "--data", filepath.Join(work, "data"), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ready-file", ready,
			"--sqs", q.URL, "--sqs-dlq", q.DeadLetters, "--sqs-endpoint", endpoint}, func(name string) string { return env[name] }, strings.NewReader(""), &out, &log)
	}()
	defer func() {
		stop()
		if <-ended; status != 0 || t.Failed() {
			t.Errorf("the server ended with status %d:\n%s", status, log.String())
		}
	}()
	var url []byte
	for deadline := time.Now().Add(patience); len(url) == 0; time.Sleep(pollPause) {
		url, _ = os.ReadFile(ready)
		select {
		case <-ended:
			t.Fatal("the server ended")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the server is not ready")
		}
	}
	for _, id := range []string{"a1", "a1-again"} {
		body, err := queue.Format(&queue.Message{Version: 1, Channel: defaultChannel, Chaincode: "assettransfer", Function: "CreateAsset", Args: []string{"a1", "blue", "5", "tom", "100"}})
		if err != nil {
			t.Fatal(err)
		}
		q.Send(t, string(body), "a1", id)
	}
	c, err := client.New(strings.TrimSpace(string(url)), client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPause) {
		_, err := c.Evaluate(t.Context(), client.Call{Channel: defaultChannel, Chaincode: "assettransfer", Function: "ReadAsset", Args: []string{"a1"}})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the message was not run: %v", err)
		}
	}
	got, err := q.ReceiveMessage(t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: &q.DeadLetters, WaitTimeSeconds: 20, MessageAttributeNames: []string{"All"}})
	if err != nil || len(got.Messages) != 1 {
		t.Fatalf("got %d dead letters, %v", len(got.Messages), err)
	}
	if reason := *got.Messages[0].MessageAttributes["Reason"].StringValue; reason != "the asset a1 already exists" {
		t.Errorf("the reason is %q", reason)
	}
}

func TestSQSFlags(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"serve --sqs-dlq http://x/y":                            "--sqs-dlq and --sqs-endpoint go with --sqs",
		"dev --sqs orders":                                      "--sqs wants a URL",
		"serve --sqs http://127.0.0.1:1/q --sqs-endpoint 1.2.3": "--sqs-endpoint wants a URL",
	} {
		var stderr bytes.Buffer
		if got := run(t.Context(), strings.Fields(args), func(string) string { return "" }, strings.NewReader(""), &bytes.Buffer{}, &stderr); got != exitUsage || !strings.Contains(stderr.String(), says) {
			t.Errorf("%s: got status %d, %s", args, got, stderr.String())
		}
	}
	for url, want := range map[string]string{"https://sqs.eu-central-1.amazonaws.com/1/q": "eu-central-1", "http://127.0.0.1:9324/1/q": "", "https://sqs.cn-north-1.amazonaws.com.cn/1/q": "cn-north-1"} {
		if got := regionOf(url); got != want {
			t.Errorf("region of %s: got %q, want %q", url, got, want)
		}
	}
}
