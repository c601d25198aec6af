// Command events is the function behind the ledger table's stream: new blocks' events go to who subscribed to them.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"peerless/shared/api"
	"peerless/shared/cloud"
	"peerless/shared/webhook"
	"peerless/shared/webhook/aws"
)

func main() {
	lambda.Start(handler(context.Background(), os.Getenv, lambdacontext.NewLogger()))
}

// handler sends events. Without a platform every invocation fails: Lambda keeps the records, and comes again.
func handler(ctx context.Context, env func(string) string, logger *slog.Logger) func(context.Context, json.RawMessage) (any, error) {
	config, err := cloud.FromEnv(env)
	if err == nil {
		var platform *cloud.Platform
		if platform, err = cloud.Open(ctx, config, nil, logger, nil); err == nil {
			return function(config, platform, logger).Handle
		}
	}
	logger.ErrorContext(ctx, "the platform cannot be opened", "error", err)
	return func(context.Context, json.RawMessage) (any, error) { return nil, err }
}

func function(config cloud.Config, platform *cloud.Platform, logger *slog.Logger) *aws.Function {
	f := &aws.Function{Logger: logger, Sender: webhook.NewSender(webhook.Config{
		Registry: platform.Webhooks, Source: platform.Gateway, Encode: api.EncodeEvent, Endpoints: webhook.NewEndpoints(platform.Webhooks), Logger: logger,
		Services: map[string]webhook.Target{
			"sns":    aws.Topics{Client: sns.NewFromConfig(config.AWS("SNS"))},
			"events": aws.Buses{Client: eventbridge.NewFromConfig(config.AWS("EVENTBRIDGE"))},
		},
	})}
	if config.Later != "" {
		f.Later = &aws.Later{Client: sqs.NewFromConfig(config.AWS("SQS")), URL: config.Later}
	}
	return f
}
