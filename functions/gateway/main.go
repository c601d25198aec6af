// Command gateway is the function behind the HTTP API: all of Peerless's HTTP.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"peerless/shared/api"
	"peerless/shared/cloud"
	"peerless/shared/emf"
	"peerless/shared/httpapi"
)

func main() {
	lambda.Start(handler(context.Background(), os.Getenv, lambdacontext.NewLogger(), os.Stdout))
}

// handler is the platform's HTTP, or the reason why there is none.
func handler(ctx context.Context, env func(string) string, logger *slog.Logger, out io.Writer) *httpapi.Handler {
	platform := cloud.Serve(ctx, logger, func(ctx context.Context) (*cloud.Platform, error) {
		config, err := cloud.FromEnv(env)
		if err != nil {
			return nil, err
		}
		return cloud.Open(ctx, config, contracts, logger, emf.New(out, cloud.Namespace))
	})
	return &httpapi.Handler{Handler: platform, TooLarge: api.AnswerTooLarge(httpapi.MaxAnswer)}
}
