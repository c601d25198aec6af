package node

import (
	"fmt"

	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/queue"
)

// QueueHandler runs messages on the node, for users of the organisations that it signs for.
func (n *Node) QueueHandler() *queue.Handler {
	return &queue.Handler{Gateway: n.Gateway, Logger: n.Logger, Signer: func(mspID, user string, attributes map[string]string) (*msp.Signer, error) {
		known, err := n.Organizations.Has(mspID)
		if err != nil {
			return nil, err
		}
		if mspID != "" && !known {
			// Asked for an unknown one, the registry would make it.
			return nil, &gateway.Error{Kind: gateway.Forbidden, Message: fmt.Sprintf("the platform does not sign for the organisation %.60q", mspID)}
		}
		return n.User(mspID, user, attributes)
	}}
}
