package policy

import (
	"math/bits"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// maxEnumerated is up to how many organisations Plans looks at every subset. Above, it finds some minimal plans only.
const maxEnumerated = 12

// Plans returns the sets of organisations of which one peer each would satisfy the policy, no set containing another,
// smallest first and then by name. orgs are the MSP ids to choose from. The plan of a policy that asks for nobody is
// empty; there is none for a policy that peers of these organisations cannot satisfy. A peer counts as its MSP's peer and
// member.
func Plans(envelope *common.SignaturePolicyEnvelope, orgs []string) [][]string {
	return Minimal(Organizations(envelope, orgs), func(chosen []string) bool {
		return SatisfiedByPeers(envelope, chosen)
	})
}

// SatisfiedByPeers reports whether one peer of each of the organisations would satisfy the policy.
func SatisfiedByPeers(envelope *common.SignaturePolicyEnvelope, orgs []string) bool {
	return evaluate(envelope, len(orgs), func(i int, principal *mspproto.MSPPrincipal) bool {
		return isPeer(orgs[i], principal)
	})
}

// Organizations returns those of the MSP ids that a role in the policy names, sorted.
func Organizations(envelope *common.SignaturePolicyEnvelope, orgs []string) []string {
	var named []string
	for _, principal := range envelope.GetIdentities() {
		role := &mspproto.MSPRole{}
		if principal.GetPrincipalClassification() == mspproto.MSPPrincipal_ROLE &&
			proto.Unmarshal(principal.GetPrincipal(), role) == nil && slices.Contains(orgs, role.GetMspIdentifier()) {
			named = append(named, role.GetMspIdentifier())
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}

func isPeer(org string, principal *mspproto.MSPPrincipal) bool {
	role := &mspproto.MSPRole{}
	if principal.GetPrincipalClassification() != mspproto.MSPPrincipal_ROLE ||
		proto.Unmarshal(principal.GetPrincipal(), role) != nil || role.GetMspIdentifier() != org {
		return false
	}
	return role.GetRole() == mspproto.MSPRole_PEER || role.GetRole() == mspproto.MSPRole_MEMBER
}

// Minimal returns the minimal ones of the sets of names that satisfy, smallest first and then in the order of the names:
// all of them, if there are few names to choose from.
func Minimal(names []string, satisfy func(chosen []string) bool) [][]string {
	if len(names) > maxEnumerated {
		return someMinimal(names, satisfy)
	}
	masks := make([]uint, 1<<len(names))
	for i := range masks {
		masks[i] = uint(i)
	}
	slices.SortStableFunc(masks, func(a, b uint) int {
		if n := bits.OnesCount(a) - bits.OnesCount(b); n != 0 {
			return n
		}
		return -compareBits(a, b)
	})
	var found []uint
	var plans [][]string
	for _, mask := range masks {
		if slices.ContainsFunc(found, func(smaller uint) bool { return mask&smaller == smaller }) {
			continue
		}
		chosen := make([]string, 0, bits.OnesCount(mask))
		for i, name := range names {
			if mask&(1<<i) != 0 {
				chosen = append(chosen, name)
			}
		}
		if satisfy(chosen) {
			found = append(found, mask)
			plans = append(plans, chosen)
		}
	}
	return plans
}

// compareBits is positive if a has the lowest bit that one of two sets of equal size has and the other has not.
func compareBits(a, b uint) int {
	switch lowest := (a ^ b) & -(a ^ b); {
	case lowest == 0:
		return 0
	case a&lowest != 0:
		return 1
	default:
		return -1
	}
}

// someMinimal begins with all the names and leaves out one after the other, each time beginning elsewhere.
func someMinimal(names []string, satisfy func(chosen []string) bool) [][]string {
	var plans [][]string
	for start := range names {
		chosen := slices.Clone(names)
		if !satisfy(chosen) {
			return nil
		}
		for i := range names {
			without := slices.DeleteFunc(slices.Clone(chosen), func(name string) bool {
				return name == names[(start+i)%len(names)]
			})
			if satisfy(without) {
				chosen = without
			}
		}
		if !slices.ContainsFunc(plans, func(p []string) bool { return slices.Equal(p, chosen) }) {
			plans = append(plans, chosen)
		}
	}
	slices.SortFunc(plans, func(a, b []string) int {
		if n := len(a) - len(b); n != 0 {
			return n
		}
		return slices.Compare(a, b)
	})
	return plans
}
