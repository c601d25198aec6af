package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"peerless/shared/api"
	"peerless/shared/emf"
	"peerless/shared/node"
	"peerless/shared/queue/sqs"
)

// Contracts are linked into the program, by the names of their chaincodes. Stage local runs them.
type Contracts map[string]func() (shim.Chaincode, error)

// A Platform is the deployment as one function's process has it. Safe for concurrent use.
type Platform struct {
	*node.Node
	// HTTP is the whole API.
	HTTP http.Handler
	// Messages is the queue in SQS. Stage local has none.
	Messages *sqs.Queue
}

// Open puts the platform together. metrics may be nil.
func Open(ctx context.Context, config Config, contracts Contracts, logger *slog.Logger, metrics *emf.Emitter) (*Platform, error) {
	if config.Stage != StageLocal {
		return nil, fmt.Errorf("stage %q: this build knows the stage %q only", config.Stage, StageLocal)
	}
	p, err := openLocal(ctx, config, contracts, logger)
	if err != nil {
		return nil, fmt.Errorf("open the platform: %w", err)
	}
	if metrics != nil {
		p.HTTP = &meter{p.HTTP, metrics, config.Stage, logger}
	}
	return p, nil
}

// Unavailable answers every request with the reason why there is no platform: /healthz shows it, and the log has it.
func Unavailable(err error) http.Handler {
	return &api.Problem{Code: api.CodeUnavailable, Detail: err.Error()}
}
