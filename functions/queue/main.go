// Command queue is the function behind the queue: each message that SQS delivers is one transaction.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"peerless/shared/cloud"
	"peerless/shared/queue/sqs"
)

func main() {
	lambda.Start(handler(context.Background(), os.Getenv, lambdacontext.NewLogger()))
}

// handler runs messages on the platform. Without one, every invocation fails: SQS keeps the messages.
func handler(ctx context.Context, env func(string) string, logger *slog.Logger) func(context.Context, events.SQSEvent) (events.SQSEventResponse, error) {
	config, err := cloud.FromEnv(env)
	if err == nil {
		var platform *cloud.Platform
		if platform, err = cloud.Open(ctx, config, contracts, logger, nil); err == nil {
			return (&sqs.Function{Handler: platform.QueueHandler(), Queue: platform.Messages}).Handle
		}
	}
	logger.ErrorContext(ctx, "the platform cannot be opened", "error", err)
	return func(context.Context, events.SQSEvent) (events.SQSEventResponse, error) {
		return events.SQSEventResponse{}, err
	}
}
