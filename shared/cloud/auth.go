package cloud

import (
	"context"
	"net/http"

	"peerless/shared/api"
	"peerless/shared/node"
)

// authenticator knows who may call: holders of API keys.
func authenticator(context.Context, Config, *node.Node) (api.Authenticator, error) {
	return nobody{}, nil
}

type nobody struct{}

func (nobody) Authenticate(*http.Request) (*api.Principal, error) {
	return nil, &api.Problem{Code: api.CodeUnauthenticated, Detail: "this platform has no keys yet"}
}
