// Command gateway is the function behind the HTTP API: all of Peerless's HTTP.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/api"
	"peerless/shared/cloud"
	"peerless/shared/emf"
	"peerless/shared/httpapi"
)

// contracts run in stage local.
var contracts = cloud.Contracts{
	"assettransfer": func() (shim.Chaincode, error) { return assettransfer.New() },
	"probe":         func() (shim.Chaincode, error) { return probe.New(), nil },
}

func main() {
	lambda.Start(handler(context.Background(), os.Getenv, lambdacontext.NewLogger(), os.Stdout))
}

// handler is the platform's HTTP, or the reason why there is none.
func handler(ctx context.Context, env func(string) string, logger *slog.Logger, out io.Writer) *httpapi.Handler {
	h := &httpapi.Handler{TooLarge: api.AnswerTooLarge(httpapi.MaxAnswer)}
	config, err := cloud.FromEnv(env)
	if err == nil {
		var platform *cloud.Platform
		if platform, err = cloud.Open(ctx, config, contracts, logger, emf.New(out, cloud.Namespace)); err == nil {
			h.Handler = platform.HTTP
			return h
		}
	}
	logger.ErrorContext(ctx, "the platform cannot be opened", "error", err)
	h.Handler = cloud.Unavailable(err)
	return h
}
