package msp

import (
	"bytes"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// maxCombined bounds how deep combined principals may lie in one another. Fabric has no bound; real ones lie one deep.
const maxCombined = 16

// Satisfies reports whether the identity is what the principal describes. It is false for an identity that no MSP has
// verified, as a Signer's own, and for a principal that cannot be read.
func (id *Identity) Satisfies(principal *msp.MSPPrincipal) bool {
	return id.msp != nil && id.satisfies(principal, maxCombined)
}

func (id *Identity) satisfies(principal *msp.MSPPrincipal, depth int) bool {
	raw := principal.GetPrincipal()
	switch principal.GetPrincipalClassification() {
	case msp.MSPPrincipal_ROLE:
		role := &msp.MSPRole{}
		return proto.Unmarshal(raw, role) == nil && role.GetMspIdentifier() == id.MSPID && id.is(role.GetRole())
	case msp.MSPPrincipal_ORGANIZATION_UNIT:
		unit := &msp.OrganizationUnit{}
		return proto.Unmarshal(raw, unit) == nil && unit.GetMspIdentifier() == id.MSPID &&
			slices.Contains(id.Cert.Subject.OrganizationalUnit, unit.GetOrganizationalUnitIdentifier()) &&
			bytes.Equal(unit.GetCertifiersIdentifier(), id.certifiers[:])
	case msp.MSPPrincipal_IDENTITY:
		other := &msp.SerializedIdentity{}
		if proto.Unmarshal(raw, other) != nil || other.GetMspid() != id.MSPID {
			return false
		}
		cert, err := parseCert(other.GetIdBytes())
		return err == nil && sameCert(cert, id.Cert)
	case msp.MSPPrincipal_ANONYMITY:
		anonymity := &msp.MSPIdentityAnonymity{}
		return proto.Unmarshal(raw, anonymity) == nil && anonymity.GetAnonymityType() == msp.MSPIdentityAnonymity_NOMINAL
	case msp.MSPPrincipal_COMBINED:
		combined := &msp.CombinedPrincipal{}
		if depth == 0 || proto.Unmarshal(raw, combined) != nil || len(combined.GetPrincipals()) == 0 {
			return false
		}
		for _, part := range combined.GetPrincipals() {
			if !id.satisfies(part, depth-1) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func (id *Identity) is(role msp.MSPRole_MSPRoleType) bool {
	switch role {
	case msp.MSPRole_MEMBER:
		return true
	case msp.MSPRole_ADMIN:
		for _, admin := range id.msp.admins {
			if sameCert(admin, id.Cert) {
				return true
			}
		}
		return id.hasRole(role)
	default:
		return id.hasRole(role)
	}
}

// hasRole reports whether one of the identity's organisational units stands for the role.
func (id *Identity) hasRole(role msp.MSPRole_MSPRoleType) bool {
	ou, ok := id.msp.roles[role]
	return ok && slices.Contains(id.Cert.Subject.OrganizationalUnit, ou.name)
}
