package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/collection"
	"peerless/shared/ledger"
	"peerless/shared/mango"
	"peerless/shared/organization"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// collection says what the transaction may do with a chaincode's collection, nil if there is none by the name. It reads the whole
// definition of the chaincode, as Fabric does, so that a change of its collections is a conflict.
func (r *run) collection(ctx context.Context, name, collectionName string) (*chaincode.Collection, error) {
	if _, err := r.tx.GetMultipleStates(ctx, ledger.LifecycleNamespace, ledger.FabricDefinitionKeys(name)); err != nil {
		return nil, err
	}
	definition, err := r.invocable(ctx, name)
	if err != nil {
		return nil, err
	}
	static := collection.Find(definition.Collections, r.channel.Config(), collectionName)
	if static == nil {
		return nil, nil
	}
	creator, err := r.channel.Config().MSPs.Identify(r.proposal.Creator)
	if err != nil {
		creator = nil
	}
	c := &chaincode.Collection{Collection: simulate.Collection{Name: collectionName, Indexes: definition.CollectionIndexes(collectionName)}}
	c.Read, c.Write = collection.Access(static, creator)
	if r.Ledger.Keys != nil && slices.Contains(collection.Members(static), r.mspID) {
		c.Open = func(key string, sealed []byte) ([]byte, error) {
			return collection.Open(r.Ledger.Keys, r.mspID, ledger.PrivatePlace(r.channel.Name(), name, collectionName, key), sealed)
		}
		kept := ledger.PrivateIndexes{Chaincode: name, Collection: collectionName, MSPID: r.mspID, Indexes: c.Indexes, Open: c.Open}
		c.Entries = func(ctx context.Context, view ledger.View, x *mango.Index) (ledger.PrivateEntries, error) {
			return r.channel.PrivateIndex(ctx, view, kept, x)
		}
	}
	return c, nil
}

// privateTooLarge checks the values written to a collection. Their keys are nobody else's business.
func privateTooLarge(part wire.PrivateCollection) *endorserError {
	kv := &kvrwset.KVRWSet{}
	if err := proto.Unmarshal(part.Raw, kv); err != nil {
		return failed(Internal, "%v", err)
	}
	for _, w := range kv.Writes {
		if len(w.Value) > MaxValue {
			e := failed(TooLarge, "a value written to collection %s has %d bytes, the limit is %d", part.Collection, len(w.Value), MaxValue)
			e.limit = MaxValue
			return e
		}
	}
	return nil
}

// members returns those of the endorsers whose organisations belong to each collection that a transaction read values of; with
// transient data, to each that it touched: what a client sends beside its arguments is for them alone.
func (s *Service) members(ctx context.Context, channel *ledger.Channel, view ledger.View, sim *simulation, transient bool, endorsers []*organization.Endorser) ([]*organization.Endorser, error) {
	eligible := endorsers
	for _, use := range sim.collections {
		if !use.Read && !transient {
			continue
		}
		static, err := s.find(ctx, channel, view, use)
		if err != nil {
			return nil, err
		}
		members := collection.Members(static)
		eligible = slices.DeleteFunc(slices.Clone(eligible), func(e *organization.Endorser) bool { return !slices.Contains(members, e.MSPID) })
	}
	return eligible, nil
}

func (s *Service) find(ctx context.Context, channel *ledger.Channel, view ledger.View, use simulate.CollectionUse) (*peer.StaticCollectionConfig, error) {
	definition, err := s.definitions.get(ctx, channel.Name(), view, use.Namespace)
	if err != nil {
		return nil, storeError("endorse", "chaincode "+use.Namespace, err)
	}
	return collection.Find(definition.GetCollections(), channel.Config(), use.Collection), nil
}

// unprotected is the Error of a proposal with transient data at a gateway whose organisation has no endorser, where the client names
// nobody: whoever runs it first sees the data.
func unprotected(stage string) *Error {
	return &Error{Kind: EndorsementPolicyFailure, Stage: stage, Code: codes.FailedPrecondition,
		Message: "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data"}
}

// unprotectedTargets is unprotected of an evaluation, which says what else is the matter.
func unprotectedTargets(cause *Error) *Error {
	return &Error{Kind: EndorsementPolicyFailure, Stage: "evaluate", Code: codes.FailedPrecondition, Cause: cause,
		Message: "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: " + cause.Message}
}

// distributed checks that what was written to each collection is held for as many other organisations as the collection's
// requiredPeerCount says, as Fabric's distributor does: here by one store, sealed for each member whose data key is here. One that
// endorses for itself elsewhere keeps its own values, and does not count.
func (r *run) distributed(ctx context.Context, sim *simulation) *endorserError {
	for _, part := range sim.private {
		static, err := r.find(ctx, r.channel, r.view, simulate.CollectionUse{Namespace: part.Namespace, Collection: part.Collection})
		if err != nil {
			return viewError(err)
		}
		required, eligible := int(static.GetRequiredPeerCount()), 0
		if required == 0 {
			continue
		}
		for _, member := range collection.Members(static) {
			if member == r.mspID || r.Ledger.Keys == nil {
				continue
			}
			switch _, err := r.Ledger.Keys.DataKey(member); {
			case err == nil:
				eligible++
			case !errors.Is(err, collection.ErrNoKey):
				return viewError(err)
			}
		}
		if eligible < required {
			return failed(EndorsementPolicyFailure, "error in simulation: failed to distribute private collection, txID %s, channel %s: could not build private data dissemination plan for chaincode %s and collection %s: "+
				"required to disseminate to at least %d peers, but know of only %d eligible peers", r.proposal.TxID, r.channel.Name(), part.Namespace, part.Collection, required, eligible)
		}
	}
	return nil
}

// needsOutsiders is the Error of a plan that would give transient data to organisations that the collections are not for.
func needsOutsiders(sim *simulation) *Error {
	var protected []string
	for _, use := range sim.collections {
		protected = append(protected, use.Collection)
	}
	return &Error{Kind: EndorsementPolicyFailure, Stage: "endorse", Code: codes.FailedPrecondition, Message: fmt.Sprintf(
		"requires endorsement from organisation(s) that are not in the distribution policy of the private data collection(s): %v; retry specifying trusted endorsing organizations to protect transient data", protected)}
}
