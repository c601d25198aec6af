package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/policy"
	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// judge gives the transactions of one block their verdicts, in order, and gathers what the block does to the state. Given the
// state before the block, the verdicts follow from the block alone: an audit repeats them.
type judge struct {
	channel     string
	config      *channelconfig.Config
	view        View // the state before the block
	before      *reader
	updates     *updates
	definitions map[string]*Definition // as before the block; nil where there is none

	keys    collection.Keys // seals private values; nil: none are kept
	missing int             // private values that the block should have brought, and nobody had

	position uint64                  // of the next transaction
	seen     map[string]bool         // ids that an earlier transaction of the block holds
	endorsed map[string]bool         // ids of the block's transactions that passed all but the version checks
	indexed  map[string]*TxEntry     // ids that the chain holds; nil: looked up, not there
	params   map[stateKey]bool       // keys whose validation parameter the block changes
	entries  []TxEntry               // for the index
	codes    []peer.TxValidationCode // of the transactions so far
	tree     receipt.Tree            // of the transactions so far
	next     *channelconfig.Config   // set by a configuration transaction

	layouts  map[string]layout // of the indexes of chaincodes, as the block changes them
	indexing map[string]bool   // chaincodes whose documents are moved to new indexes with the block, if there are some
}

// newJudge begins a block. Without definitions they are read.
func newJudge(channel string, config *channelconfig.Config, view View, number uint64, definitions map[string]*Definition) *judge {
	if definitions == nil {
		definitions = make(map[string]*Definition)
	}
	j := &judge{
		channel: channel, config: config, view: view, before: newReader(view), updates: newUpdates(number), definitions: definitions,
		seen: make(map[string]bool), endorsed: make(map[string]bool), indexed: make(map[string]*TxEntry), params: make(map[stateKey]bool),
		layouts: make(map[string]layout), indexing: make(map[string]bool),
	}
	j.updates.layouts = j.layout
	return j
}

// prefetch reads what judging the transactions needs in as few calls as the store allows, at the same time.
func (j *judge) prefetch(ctx context.Context, txs []*checked) error {
	ids := make([]string, 0, len(txs))
	for _, c := range txs {
		if c.tx.TxID != "" && !c.fresh {
			ids = append(ids, c.tx.TxID)
		} else if c.fresh {
			j.indexed[c.tx.TxID] = nil
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	if len(ids) > 0 {
		group.Go(func() error {
			entries, err := j.view.Transactions(ctx, ids)
			if err != nil {
				return fmt.Errorf("look up %d transaction ids: %w", len(ids), err)
			}
			for i, id := range ids {
				j.indexed[id] = entries[i]
			}
			return nil
		})
	}
	group.Go(func() error { return j.before.prefetch(ctx, j.updates.number, txs) })
	group.Go(func() error { return j.warm(ctx, txs) })
	return group.Wait()
}

// warm reads what a view that remembers will be asked for in the course of judging: definitions, and hashes of the log.
func (j *judge) warm(ctx context.Context, txs []*checked) error {
	view, ok := j.view.(*recalling)
	if !ok {
		return nil
	}
	var keys []string
	named := make(map[string]bool)
	for _, c := range txs {
		if name := c.tx.Chaincode; name != "" && !named[name] && j.config != nil {
			named[name] = true
			if _, known := j.definitions[name]; !known {
				keys = append(keys, definitionState(name)...)
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { _, err := view.Get(ctx, LifecycleNamespace, keys); return err })
	group.Go(func() error { _, err := view.Get(ctx, TreeNamespace, hashesBefore(j.updates.number)); return err })
	return group.Wait()
}

// verdict judges a transaction at the next position. It changes nothing: accept records the result, or the transaction is left out.
func (j *judge) verdict(ctx context.Context, c *checked) (peer.TxValidationCode, error) {
	if code, err := j.endorsement(ctx, c); err != nil || code != peer.TxValidationCode_VALID {
		return code, err
	}
	if j.endorsed[c.tx.TxID] {
		return peer.TxValidationCode_DUPLICATE_TXID, nil
	}
	if c.isConfig() {
		return peer.TxValidationCode_VALID, nil
	}
	return j.versions(ctx, c.tx.RWSet)
}

// accept puts the transaction at the next position with its code.
func (j *judge) accept(ctx context.Context, c *checked, code peer.TxValidationCode) error {
	switch code {
	case peer.TxValidationCode_VALID, peer.TxValidationCode_MVCC_READ_CONFLICT, peer.TxValidationCode_PHANTOM_READ_CONFLICT:
		j.endorsed[c.tx.TxID] = true
		j.noteParameters(c.tx.RWSet)
	}
	if code == peer.TxValidationCode_VALID && c.tx.RWSet != nil {
		writes, err := privateWrites(c.tx, c.private)
		if err != nil {
			return err
		}
		private := func(op *operation, item *Item) error { return j.applyPrivate(ctx, op, item, writes) }
		if err := j.updates.apply(ctx, j.before, c.tx, j.position, private); err != nil {
			return err
		}
		if err := j.noteIndexes(ctx, c.tx); err != nil {
			return err
		}
	}
	if id := c.tx.TxID; id != "" && !j.seen[id] {
		existing, err := j.inChain(ctx, id)
		if err != nil {
			return err
		}
		if existing == nil {
			j.seen[id] = true
			j.entries = append(j.entries, TxEntry{TxID: id, Version: Version{j.updates.number, j.position}, Code: code})
		}
	}
	if err := j.tree.Add(receipt.TransactionHash(j.position, code, c.digest)); err != nil {
		return err
	}
	j.codes = append(j.codes, code)
	j.position++
	return nil
}

// inChain returns where the chain before this block holds the transaction id, nil if it does not.
func (j *judge) inChain(ctx context.Context, id string) (*TxEntry, error) {
	if entry, ok := j.indexed[id]; ok {
		return entry, nil
	}
	entries, err := j.view.Transactions(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("look up transaction %s: %w", id, err)
	}
	j.indexed[id] = entries[0]
	return entries[0], nil
}

// endorsement is all but the version checks: form, signatures, duplicate id, and the endorsement policy of each namespace
// written, in the order of Fabric's txvalidator and its dispatcher.
func (j *judge) endorsement(ctx context.Context, c *checked) (peer.TxValidationCode, error) {
	switch c.code {
	case peer.TxValidationCode_VALID, peer.TxValidationCode_BAD_HEADER_EXTENSION, peer.TxValidationCode_BAD_RESPONSE_PAYLOAD,
		peer.TxValidationCode_BAD_RWSET, peer.TxValidationCode_INVALID_CHAINCODE, peer.TxValidationCode_ILLEGAL_WRITESET:
		// These come after the look-up of the id.
	default:
		if c.tx.RWSet == nil {
			return c.code, nil
		}
	}
	tx := c.tx
	if tx.Channel != j.channel {
		return peer.TxValidationCode_TARGET_CHAIN_NOT_FOUND, nil
	}
	if c.isConfig() {
		return peer.TxValidationCode_VALID, nil
	}
	existing, err := j.inChain(ctx, tx.TxID)
	if err != nil {
		return 0, err
	}
	if existing != nil {
		return peer.TxValidationCode_DUPLICATE_TXID, nil
	}
	if c.code != peer.TxValidationCode_VALID {
		return c.code, nil
	}
	for _, namespace := range written(tx) {
		code, err := j.namespacePolicy(ctx, c, namespace)
		if err != nil || code != peer.TxValidationCode_VALID {
			return code, err
		}
	}
	return peer.TxValidationCode_VALID, nil
}

// written returns the namespaces whose policies a transaction must satisfy: the chaincode's own, and each that it writes to.
func written(tx *wire.Transaction) []string {
	names := []string{tx.Chaincode}
	for i := range tx.RWSet.Namespaces {
		if ns := &tx.RWSet.Namespaces[i]; ns.Namespace != tx.Chaincode && writesTo(ns) {
			names = append(names, ns.Namespace)
		}
	}
	return names
}

func writesTo(ns *wire.NamespaceSet) bool {
	if len(ns.KV.GetWrites()) > 0 || len(ns.KV.GetMetadataWrites()) > 0 {
		return true
	}
	for i := range ns.Collections {
		if h := ns.Collections[i].Hashed; len(h.GetHashedWrites()) > 0 || len(h.GetMetadataWrites()) > 0 {
			return true
		}
	}
	return false
}

// definition returns a chaincode's definition before this block, nil if there is none.
func (j *judge) definition(ctx context.Context, name string) (*Definition, error) {
	if d, ok := j.definitions[name]; ok {
		return d, nil
	}
	d, err := ReadDefinition(ctx, j.view, name)
	if err != nil {
		return nil, err
	}
	j.definitions[name] = d
	return d, nil
}

// namespacePolicy checks the endorsements against all policies that the writes to a namespace call for: of keys that have
// one, of collections, else the chaincode's, which also holds for a transaction that writes nothing. Fabric's statebased/v20.go.
func (j *judge) namespacePolicy(ctx context.Context, c *checked, namespace string) (peer.TxValidationCode, error) {
	p := policies{judge: j, checked: c, namespace: namespace, satisfied: make(map[string]bool)}
	if reserved(namespace) {
		return peer.TxValidationCode_INVALID_CHAINCODE, nil
	}
	if namespace == LifecycleNamespace {
		p.chaincode = func() bool { return j.config.Satisfied(channelconfig.PathLifecycleEndorsement, c.endorsers) }
	} else {
		d, err := j.definition(ctx, namespace)
		if err != nil {
			return 0, err
		}
		if d == nil {
			return peer.TxValidationCode_INVALID_CHAINCODE, nil
		}
		p.definition = d
		p.chaincode = func() bool { return j.application(d.Policy, c) }
	}
	ok, err := p.hold(ctx)
	if err != nil {
		return 0, err
	}
	if !ok {
		return peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE, nil
	}
	return peer.TxValidationCode_VALID, nil
}

// application evaluates an application policy: a signature policy, or a reference to one of the channel's.
func (j *judge) application(p *peer.ApplicationPolicy, c *checked) bool {
	switch p := p.GetType().(type) {
	case *peer.ApplicationPolicy_SignaturePolicy:
		return policy.Satisfied(p.SignaturePolicy, c.endorsers)
	case *peer.ApplicationPolicy_ChannelConfigPolicyReference:
		return j.config.Satisfied(p.ChannelConfigPolicyReference, c.endorsers)
	}
	return false
}

// noteParameters remembers which keys' validation parameters the block changes.
func (j *judge) noteParameters(set *wire.RWSet) {
	if set == nil {
		return
	}
	for i := range set.Namespaces {
		ns := &set.Namespaces[i]
		for _, m := range ns.KV.GetMetadataWrites() {
			j.params[stateKey{ns.Namespace, m.Key}] = true
		}
		for k := range ns.Collections {
			for _, m := range ns.Collections[k].Hashed.GetMetadataWrites() {
				j.params[stateKey{HashedNamespace(ns.Namespace, ns.Collections[k].Name), string(m.KeyHash)}] = true
			}
		}
	}
}

// finish ends the block, all of whose transactions are accepted: what expires with it goes, documents move to new indexes, and it enters the channel's log. The
// commit hash is of before.
func (j *judge) finish(ctx context.Context, header *common.BlockHeader) error {
	if err := j.expire(ctx); err != nil {
		return err
	}
	if err := j.moveDocuments(ctx); err != nil {
		return err
	}
	return j.log(ctx, header)
}

// batch is what the block does to the state.
func (j *judge) batch(hash []byte) *Batch {
	writes, private := j.updates.writes()
	return &Batch{Block: j.updates.number, Hash: hash, Writes: writes, History: j.updates.history, Txs: j.entries, Private: private}
}

// validationParameter returns the key-level endorsement policy in an item's metadata, nil if there is none.
func validationParameter(item *Item) ([]byte, error) {
	if item == nil || item.Metadata == nil {
		return nil, nil
	}
	var metadata kvrwset.KVMetadataWrite
	if err := proto.Unmarshal(item.Metadata, &metadata); err != nil {
		return nil, errors.Join(ErrDamaged, err)
	}
	for _, e := range metadata.Entries {
		if e.Name == peer.MetaDataKeys_VALIDATION_PARAMETER.String() {
			return e.Value, nil
		}
	}
	return nil, nil
}
