package collection

import (
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/msp"
	"peerless/shared/policy"
)

// implicitPrefix begins the names of the collections that every organisation has, core/chaincode/implicitcollection.
const implicitPrefix = "_implicit_org_"

// Implicit returns the organisation whose implicit collection this is, and false if it is none.
func Implicit(name string) (mspID string, ok bool) { return strings.CutPrefix(name, implicitPrefix) }

// ImplicitOf returns the name of an organisation's implicit collection.
func ImplicitOf(mspID string) string { return implicitPrefix + mspID }

// Find returns the collection by a name: one of those defined, or the implicit one of an organisation of the channel. It is nil
// if there is none.
func Find(all *peer.CollectionConfigPackage, config *channelconfig.Config, name string) *peer.StaticCollectionConfig {
	if org, implicit := Implicit(name); implicit {
		if slices.ContainsFunc(config.Organizations, func(o channelconfig.Organization) bool { return o.MSPID == org }) {
			return implicitCollection(name, org)
		}
		return nil
	}
	for _, c := range all.GetConfig() {
		if static := c.GetStaticCollectionConfig(); static.GetName() == name {
			return static
		}
	}
	return nil
}

// implicitCollection is Fabric's GenerateImplicitCollectionForOrg: whoever may write to the channel may write to it, and
// read what an endorser of the organisation reads for it.
func implicitCollection(name, org string) *peer.StaticCollectionConfig {
	member, err := proto.Marshal(&mspproto.MSPRole{MspIdentifier: org, Role: mspproto.MSPRole_MEMBER})
	if err != nil {
		panic(err) // two plain fields
	}
	return &peer.StaticCollectionConfig{
		Name: name,
		MemberOrgsPolicy: &peer.CollectionPolicyConfig{Payload: &peer.CollectionPolicyConfig_SignaturePolicy{SignaturePolicy: &common.SignaturePolicyEnvelope{
			Rule:       &common.SignaturePolicy{Type: &common.SignaturePolicy_SignedBy{SignedBy: 0}},
			Identities: []*mspproto.MSPPrincipal{{PrincipalClassification: mspproto.MSPPrincipal_ROLE, Principal: member}},
		}}},
	}
}

// Members returns the MSP ids of the organisations that hold a collection's values, sorted.
func Members(static *peer.StaticCollectionConfig) []string {
	var members []string
	for _, principal := range static.GetMemberOrgsPolicy().GetSignaturePolicy().GetIdentities() {
		if org, ok := organization(principal); ok {
			members = append(members, org)
		}
	}
	slices.Sort(members)
	return slices.Compact(members)
}

// organization returns whose a principal is, false if that cannot be said.
func organization(principal *mspproto.MSPPrincipal) (mspID string, ok bool) {
	raw := principal.GetPrincipal()
	switch principal.GetPrincipalClassification() {
	case mspproto.MSPPrincipal_ROLE:
		role := &mspproto.MSPRole{}
		ok = proto.Unmarshal(raw, role) == nil
		return role.GetMspIdentifier(), ok
	case mspproto.MSPPrincipal_ORGANIZATION_UNIT:
		unit := &mspproto.OrganizationUnit{}
		ok = proto.Unmarshal(raw, unit) == nil
		return unit.GetMspIdentifier(), ok
	case mspproto.MSPPrincipal_IDENTITY:
		identity := &mspproto.SerializedIdentity{}
		ok = proto.Unmarshal(raw, identity) == nil
		return identity.GetMspid(), ok
	}
	return "", false
}

// Access is what a transaction's creator may do with a collection: the rule of Fabric's RetrieveReadWritePermission. id is nil
// for a creator that is not of the channel.
func Access(static *peer.StaticCollectionConfig, id *msp.Identity) (read, write bool) {
	read, write = !static.GetMemberOnlyRead(), !static.GetMemberOnlyWrite()
	if read && write || id == nil {
		return read, write
	}
	if policy.Satisfied(static.GetMemberOrgsPolicy().GetSignaturePolicy(), []*msp.Identity{id}) {
		return true, true
	}
	return read, write
}
