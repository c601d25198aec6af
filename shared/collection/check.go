package collection

import (
	"regexp"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/channelconfig"
)

// name is Fabric's rule, core/chaincode/lifecycle. Names that begin with an underscore are those of implicit collections.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// maxName is the length of a collection's name in bytes: it is a part of keys. Fabric has no limit.
const maxName = 128

// Check returns nil if a channel may define a chaincode with these collections in place of those that it has, nil where there
// are none; else ErrInvalid. They are the checks of Fabric's lifecycle, in its words: a collection stays, and so does its
// blockToLive, on which every peer must agree whenever it commits a block.
func Check(all, current *peer.CollectionConfigPackage, config *channelconfig.Config) error {
	seen := make(map[string]*peer.StaticCollectionConfig)
	for _, c := range all.GetConfig() {
		static := c.GetStaticCollectionConfig()
		if static == nil {
			return invalid("unknown collection configuration type")
		}
		if len(static.Name) > maxName || !name.MatchString(static.Name) {
			return invalid("invalid collection name '%.60s'. Names can only consist of alphanumerics, '_', and '-', can only begin with alphanumerics, and have %d characters at most", static.Name, maxName)
		}
		if seen[static.Name] != nil {
			return invalid("collection-name: %s -- found duplicate in collection configuration", static.Name)
		}
		seen[static.Name] = static
		if err := checkCounts(static); err != nil {
			return err
		}
		if err := checkMembers(static, config); err != nil {
			return err
		}
	}
	for _, c := range current.GetConfig() {
		before := c.GetStaticCollectionConfig()
		switch now := seen[before.GetName()]; {
		case len(seen) == 0:
			return invalid("the proposed collection config does not contain previously defined collections")
		case now == nil:
			return invalid("existing collection [%s] missing in the proposed collection configuration", before.GetName())
		case now.BlockToLive != before.GetBlockToLive():
			return invalid("the BlockToLive in an existing collection [%s] modified. Existing value [%d]", before.GetName(), before.GetBlockToLive())
		}
	}
	return nil
}

func checkCounts(static *peer.StaticCollectionConfig) error {
	switch {
	case static.RequiredPeerCount < 0:
		return invalid("collection-name: %s -- required peer count (%d) cannot be less than zero", static.Name, static.RequiredPeerCount)
	case static.MaximumPeerCount < static.RequiredPeerCount:
		return invalid("collection-name: %s -- maximum peer count (%d) cannot be less than the required peer count (%d)", static.Name, static.MaximumPeerCount, static.RequiredPeerCount)
	}
	return nil
}

func checkMembers(static *peer.StaticCollectionConfig, config *channelconfig.Config) error {
	envelope := static.GetMemberOrgsPolicy().GetSignaturePolicy()
	if envelope == nil {
		return invalid("collection-name: %s -- collection member policy is not set", static.Name)
	}
	if n, ok := alternatives(envelope.GetRule()); !ok {
		return invalid("collection-name: %s -- error in member org policy: signature policy is not an OR concatenation, NOutOf %d", static.Name, n)
	}
	for _, principal := range envelope.GetIdentities() {
		org, ok := organization(principal)
		if !ok {
			return invalid("collection-name: %s -- principal type %s is not supported", static.Name, principal.GetPrincipalClassification())
		}
		if !slices.ContainsFunc(config.Organizations, func(o channelconfig.Organization) bool { return o.MSPID == org }) {
			return invalid("collection-name: %s -- collection member '%s' is not part of the channel", static.Name, org)
		}
	}
	return nil
}

// alternatives reports whether any one of a rule's principals satisfies it; if not, n is what one of its gates asks for.
func alternatives(rule *common.SignaturePolicy) (n int32, ok bool) {
	gate := rule.GetNOutOf()
	if gate == nil {
		return 0, true
	}
	if gate.GetN() != 1 {
		return gate.GetN(), false
	}
	for _, r := range gate.GetRules() {
		if n, ok := alternatives(r); !ok {
			return n, false
		}
	}
	return 0, true
}
