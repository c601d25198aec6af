package node

import (
	"peerless/shared/api"
	"peerless/shared/webhook"
)

// Webhooks returns the subscriptions that the node's documents hold, and their sender to URLs, which has to be run. changed gets a value
// whenever they change in this process. allowPrivate also allows what is not of the public internet.
func (n *Node) Webhooks(allowPrivate bool) (r *webhook.Registry, s *webhook.Sender, changed <-chan struct{}) {
	signal := make(chan struct{}, 1)
	r = &webhook.Registry{Documents: n.Documents, Sealer: n.Sealer, AllowPrivate: allowPrivate, Changed: func() {
		select {
		case signal <- struct{}{}:
		default: // one is waiting
		}
	}}
	return r, webhook.NewSender(webhook.Config{
		Registry: r, Source: n.Gateway, Encode: api.EncodeEvent, Endpoints: webhook.NewEndpoints(r), Logger: n.Logger,
	}), signal
}
