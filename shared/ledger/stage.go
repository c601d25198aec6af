package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"peerless/shared/collection"
	"peerless/shared/wire"
)

// transientBlocks is how many blocks of its channel a private set waits to be committed, a peer's
// gossip.pvtData.transientstoreMaxBlockRetention; forgetting what is older takes its turn every so many blocks.
const (
	transientBlocks = 20_000
	transientTurn   = 256
)

// Stage keeps what an endorsed transaction wrote to collections until a block brings the transaction, whoever submits it, and
// when. It is durable when the call returns, and sealed for the members.
func (c *Channel) Stage(ctx context.Context, view View, txID string, set *wire.RWSet, private wire.PrivateSet) error {
	id := set.PrivateID(txID)
	if id == "" || c.ledger.Keys == nil {
		return nil
	}
	j := newJudge(c.name, c.config.Load(), view, 0, nil)
	var sealed wire.PrivateSet
	for _, part := range private {
		definition, err := j.definition(ctx, part.Namespace)
		if err != nil {
			return err
		}
		members := collection.Members(collection.Find(definition.GetCollections(), j.config, part.Collection))
		raw, err := collection.Seal(c.ledger.Keys, members, stagedPlace(c.name, id, part.Namespace, part.Collection), part.Raw)
		if errors.Is(err, collection.ErrNoKey) {
			continue // its members keep it elsewhere
		}
		if err != nil {
			return err
		}
		sealed = append(sealed, wire.PrivateCollection{Namespace: part.Namespace, Collection: part.Collection, Raw: raw})
	}
	if len(sealed) == 0 {
		return nil
	}
	encoded, err := sealed.Marshal()
	if err != nil {
		return err
	}
	if err := c.ledger.Store.Stage(ctx, c.name, []StagedSet{{ID: id, Height: c.height.Load(), At: time.Now(), Set: encoded}}); err != nil {
		return fmt.Errorf("keep private data of transaction %s: %w", txID, err)
	}
	return nil
}

// claim fetches what a client's transaction wrote to collections as soon as it is submitted: from then on nothing that makes room for
// others loses it. What cannot be fetched now is fetched with its block.
func (c *Channel) claim(p *checked) {
	if c.ledger.shared != nil || c.ledger.Keys == nil || p.tx == nil || p.tx.RWSet == nil {
		return
	}
	id := p.tx.RWSet.PrivateID(p.tx.TxID)
	if id == "" {
		return
	}
	sets, err := c.ledger.Store.Staged(c.ledger.ctx, c.name, []string{id})
	if err != nil || sets[0] == nil {
		return
	}
	if set, err := c.unseal(id, sets[0]); err == nil {
		p.private = set
	}
}

// loadPrivate fetches what transactions wrote to collections and is not at hand: clients', and those that another process left here.
// It returns the ids of the sets that were staged.
func (c *Channel) loadPrivate(ctx context.Context, batch []*pending) (staged []string, err error) {
	if c.ledger.Keys == nil {
		return nil, nil
	}
	var ids []string
	var of []*pending
	for _, p := range batch {
		if p.checked.tx.RWSet == nil || p.Trusted && p.checked.private != nil {
			continue
		}
		id := p.checked.tx.RWSet.PrivateID(p.checked.tx.TxID)
		if id == "" {
			continue
		}
		staged = append(staged, id)
		if p.checked.private == nil {
			ids, of = append(ids, id), append(of, p)
		}
	}
	if len(ids) == 0 {
		return staged, nil
	}
	sets, err := c.ledger.Store.Staged(ctx, c.name, ids)
	if err != nil {
		return nil, fmt.Errorf("private data of %d transactions: %w", len(ids), err)
	}
	for i, p := range of {
		if sets[i] == nil {
			continue
		}
		if p.checked.private, err = c.unseal(ids[i], sets[i]); err != nil {
			// As if it were not here: the transaction is valid or not without it.
			c.ledger.Logger.Error("private data cannot be read", "channel", c.name, "transaction", p.checked.tx.TxID, "error", err)
		}
	}
	return staged, nil
}

// stageLetter keeps what a transaction wrote to collections for another process that may take it along.
func (c *Channel) stageLetter(ctx context.Context, p *pending) error {
	if p.checked.private == nil {
		return nil
	}
	view, err := c.Recent(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	return c.Stage(ctx, view, p.checked.tx.TxID, p.checked.tx.RWSet, p.checked.private)
}

// unseal opens a staged set.
func (c *Channel) unseal(id string, encoded []byte) (wire.PrivateSet, error) {
	set, err := wire.ParsePrivateSet(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for i := range set {
		if set[i].Raw, err = collection.Open(c.ledger.Keys, "", stagedPlace(c.name, id, set[i].Namespace, set[i].Collection), set[i].Raw); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// unstage forgets sets whose transactions are committed, and now and then those that waited too long.
func (c *Channel) unstage(ctx context.Context, ids []string) {
	below := uint64(0)
	if height := c.tip.height; height%transientTurn == 0 && height > transientBlocks {
		below = height - transientBlocks
	}
	if len(ids) == 0 && below == 0 {
		return
	}
	if err := c.ledger.Store.Unstage(ctx, c.name, ids, below); err != nil {
		c.ledger.Logger.Warn("private data that is committed is not forgotten yet", "channel", c.name, "error", err)
	}
}

// privateIDs returns the ids of the private sets that a block's transactions name.
func privateIDs(block *common.Block) []string {
	var ids []string
	for _, raw := range block.GetData().GetData() {
		if tx, _ := wire.ParseEnvelope(raw); tx != nil && tx.RWSet != nil {
			if id := tx.RWSet.PrivateID(tx.TxID); id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
