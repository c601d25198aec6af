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

// Unchanged reports whether everything that was read, on a state that began with height blocks, is so now, and of how many
// blocks the present state is: an answer made of those reads is true at that height.
func (c *Channel) Unchanged(ctx context.Context, set *wire.RWSet, height uint64) (bool, uint64, error) {
	now, err := c.Height(ctx)
	if err != nil {
		return false, 0, err
	}
	if now == height {
		return true, height, nil
	}
	view, err := c.Recent(ctx) // of now: its reads are of what is there, and are checked below
	if err != nil {
		return false, 0, err
	}
	defer view.Close()
	j := newJudge(c.name, c.config.Load(), view, view.Savepoint(), nil)
	code, err := j.versions(ctx, set)
	if err != nil || code != peer.TxValidationCode_VALID {
		return false, 0, err
	}
	if view.Fixed() {
		return true, view.Savepoint(), nil
	}
	// The comparison itself read a state that moves.
	after, err := c.Height(ctx)
	return after == view.Savepoint(), after, err
}
