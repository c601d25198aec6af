package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"peerless/shared/api"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/queue"
	"peerless/shared/store/mem"
	"peerless/shared/webhook"
)

// localChannel is the channel that there is from the start, as with `peerless dev`.
const localChannel = "main"

// openLocal opens a platform whose ledger lasts as long as the process.
func openLocal(ctx context.Context, config Config, contracts Contracts, logger *slog.Logger) (*Platform, error) {
	n, err := node.Open(node.Config{Store: mem.New(mem.Config{}), Organization: config.Organization, Logger: logger})
	if err != nil {
		return nil, err
	}
	handler, err := localAPI(ctx, n, contracts)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return &Platform{Node: n, HTTP: api.GuardLocal(handler), Webhooks: &webhook.Registry{Documents: n.Documents, Sealer: n.Sealer}}, nil
}

// localQueue runs what is queued in the container itself: it lasts as long as the ledger does.
func localQueue(ctx context.Context, n *node.Node) (*queue.Queue, error) {
	q, err := queue.Open(ctx, queue.Config{Store: &mem.Records{}, Handler: n.QueueHandler(), Logger: n.Logger})
	if err == nil {
		q.Start()
	}
	return q, err
}

func localAPI(ctx context.Context, n *node.Node, contracts Contracts) (*api.Handler, error) {
	local := &localGateway{n.API(), n, contracts}
	q, err := localQueue(ctx, n)
	if err != nil {
		return nil, err
	}
	handler, err := n.Serve(api.Config{Gateway: local, Auth: n.DevAuth(), Queue: q, NoStreams: true})
	if err != nil {
		return nil, err
	}
	return handler, local.CreateChannel(ctx, localChannel, nil)
}

// localGateway has the contracts that are linked in on every channel: there is no compiler in a function.
type localGateway struct {
	api.Gateway
	node      *node.Node
	contracts Contracts
}

func (g *localGateway) CreateChannel(ctx context.Context, name string, organizations []string) error {
	if err := g.Gateway.CreateChannel(ctx, name, organizations); err != nil {
		return err
	}
	for _, chaincode := range slices.Sorted(maps.Keys(g.contracts)) {
		contract, err := g.contracts[chaincode]()
		if err == nil {
			_, err = g.node.DeployInProcess(ctx, name, contract, gateway.Definition{Name: chaincode})
		}
		if err != nil {
			return fmt.Errorf("deploy %s on channel %s: %w", chaincode, name, err)
		}
	}
	return nil
}
