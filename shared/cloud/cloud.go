package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"peerless/shared/api"
	"peerless/shared/emf"
	"peerless/shared/node"
	"peerless/shared/queue/sqs"
	"peerless/shared/webhook"
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
	// Webhooks are the subscriptions to events. Functions send to the public internet only.
	Webhooks *webhook.Registry
}

// Open puts the platform together. metrics may be nil.
func Open(ctx context.Context, config Config, contracts Contracts, logger *slog.Logger, metrics *emf.Emitter) (*Platform, error) {
	var p *Platform
	var err error
	if config.Stage == StageLocal {
		p, err = openLocal(ctx, config, contracts, logger)
	} else {
		p, err = openAWS(ctx, config, logger)
	}
	if err != nil {
		return nil, fmt.Errorf("open the platform: %w", err)
	}
	if metrics != nil {
		p.HTTP = &meter{p.HTTP, metrics, config.Stage, logger}
	}
	return p, nil
}

// Serve opens a platform and serves its HTTP. If it cannot be opened each request tries again, and is told why not if that fails too: /healthz
// shows it, and the log has it.
func Serve(ctx context.Context, logger *slog.Logger, open func(context.Context) (*Platform, error)) http.Handler {
	r := &reopening{logger: logger, open: open}
	if _, err := r.platform(ctx); err != nil {
		logger.ErrorContext(ctx, "the platform cannot be opened", "error", err)
	}
	return r
}

type reopening struct {
	logger *slog.Logger
	open   func(context.Context) (*Platform, error)

	mu     sync.Mutex // held while it is opened
	opened *Platform
}

func (r *reopening) platform(ctx context.Context) (*Platform, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.opened == nil {
		r.opened, err = r.open(ctx)
	}
	return r.opened, err
}

func (r *reopening) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	p, err := r.platform(request.Context())
	if err != nil {
		(&api.Problem{Code: api.CodeUnavailable, Detail: err.Error()}).ServeHTTP(w, request)
		return
	}
	p.HTTP.ServeHTTP(w, request)
}
