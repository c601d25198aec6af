// Command gateway is functions/gateway but for who may call: it believes its callers, as peerless dev does, so that what is behind keys can
// be tested without any.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"peerless/shared/api"
	"peerless/shared/cloud"
	"peerless/shared/emf"
	"peerless/shared/httpapi"
	"peerless/shared/node"
)

func main() {
	logger := lambdacontext.NewLogger()
	platform := cloud.Serve(context.Background(), logger, func(ctx context.Context) (*cloud.Platform, error) {
		config, err := cloud.FromEnv(os.Getenv)
		if err != nil {
			return nil, err
		}
		config.Authenticator = func(n *node.Node) api.Authenticator { return n.DevAuth() }
		return cloud.Open(ctx, config, nil, logger, emf.New(os.Stdout, cloud.Namespace))
	})
	lambda.Start(&httpapi.Handler{Handler: platform, TooLarge: api.AnswerTooLarge(httpapi.MaxAnswer)})
}
