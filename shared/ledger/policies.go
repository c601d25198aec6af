package ledger

import (
	"context"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/policy"
)

// policies checks one transaction's endorsements for one namespace. Each policy is evaluated once.
type policies struct {
	*judge
	*checked
	namespace  string
	definition *Definition     // nil for the lifecycle
	chaincode  func() bool     // the chaincode's policy
	satisfied  map[string]bool // by collection; "" is the chaincode's
	any        bool            // some policy was satisfied
}

// hold reports whether every policy that the namespace's writes call for is satisfied.
func (p *policies) hold(ctx context.Context) (bool, error) {
	for i := range p.tx.RWSet.Namespaces {
		ns := &p.tx.RWSet.Namespaces[i]
		if ns.Namespace != p.namespace {
			continue
		}
		for _, w := range ns.KV.GetWrites() {
			if ok, err := p.key(ctx, "", w.Key); err != nil || !ok {
				return false, err
			}
		}
		for _, m := range ns.KV.GetMetadataWrites() {
			if ok, err := p.key(ctx, "", m.Key); err != nil || !ok {
				return false, err
			}
		}
		for k := range ns.Collections {
			coll := &ns.Collections[k]
			for _, w := range coll.Hashed.GetHashedWrites() {
				if ok, err := p.key(ctx, coll.Name, string(w.KeyHash)); err != nil || !ok {
					return false, err
				}
			}
			for _, m := range coll.Hashed.GetMetadataWrites() {
				if ok, err := p.key(ctx, coll.Name, string(m.KeyHash)); err != nil || !ok {
					return false, err
				}
			}
		}
	}
	return p.any || p.chaincode(), nil
}

// key checks the policy of one key written: its own if it has one, else the collection's, else the chaincode's. A key whose
// own policy an earlier transaction of the block changes fails: it was endorsed under the old one.
func (p *policies) key(ctx context.Context, collection, key string) (bool, error) {
	k := stateKey{p.namespace, key}
	if collection != "" {
		k.namespace = HashedNamespace(p.namespace, collection)
	}
	if p.params[k] {
		return false, nil
	}
	item, err := p.before.get(ctx, k)
	if err != nil {
		return false, err
	}
	parameter, err := validationParameter(item)
	if err != nil {
		return false, err
	}
	if len(parameter) == 0 {
		return p.regular(collection), nil
	}
	var envelope common.SignaturePolicyEnvelope
	if proto.Unmarshal(parameter, &envelope) != nil || !policy.Satisfied(&envelope, p.endorsers) {
		return false, nil
	}
	p.any = true
	return true, nil
}

// regular checks the collection's policy, or the chaincode's where it has none.
func (p *policies) regular(collection string) bool {
	if collection != "" {
		if p.satisfied[collection] {
			return true
		}
		if found, ok := p.collection(collection); found {
			p.satisfied[collection] = ok
			p.any = p.any || ok
			return ok
		}
	}
	if !p.satisfied[""] {
		p.satisfied[""] = p.chaincode()
	}
	p.any = p.any || p.satisfied[""]
	return p.satisfied[""]
}

// collection evaluates a collection's own endorsement policy, if it has one. A collection that is not defined is refused.
func (p *policies) collection(name string) (found, ok bool) {
	if org, implicit := collection.Implicit(name); implicit {
		return true, p.config.Satisfied("/Channel/Application/"+org+"/Endorsement", p.endorsers)
	}
	for _, c := range p.definition.GetCollections().GetConfig() {
		if static := c.GetStaticCollectionConfig(); static.GetName() == name {
			if static.EndorsementPolicy == nil {
				return false, false
			}
			return true, p.application(static.EndorsementPolicy, p.checked)
		}
	}
	return true, false
}
