package ledger

import (
	"context"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/msp"
	"peerless/shared/wire"
)

// Endorsed reports whether a transaction of a chaincode with this read-write set, endorsed by these identities, would satisfy
// every endorsement policy that holds in the view: the chaincodes', collections' and keys' that it writes.
func (c *Channel) Endorsed(ctx context.Context, view View, chaincode string, set *wire.RWSet, endorsers []*msp.Identity) (bool, error) {
	j := newJudge(c.name, c.config.Load(), view, view.Savepoint(), make(map[string]*Definition))
	tx := &checked{tx: &wire.Transaction{Chaincode: chaincode, RWSet: set}, endorsers: endorsers}
	for _, namespace := range written(tx.tx) {
		code, err := j.namespacePolicy(ctx, tx, namespace)
		if err != nil || code != peer.TxValidationCode_VALID {
			return false, err
		}
	}
	return true, nil
}

// Unchanged reports whether everything that was read still is as it was when the channel had height blocks.
func (c *Channel) Unchanged(ctx context.Context, set *wire.RWSet, height uint64) (bool, error) {
	view, err := c.View(ctx)
	if err != nil {
		return false, err
	}
	defer view.Close()
	if view.Savepoint() == height {
		return true, nil
	}
	j := newJudge(c.name, c.config.Load(), view, view.Savepoint(), nil)
	code, err := j.versions(ctx, set)
	return code == peer.TxValidationCode_VALID, err
}
