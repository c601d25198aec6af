package policy

import (
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Format writes a policy as text. Parse reads it back, to a policy of the same meaning, if all its principals are roles;
// others are shown by their kind, in angle brackets.
func Format(envelope *common.SignaturePolicyEnvelope) string {
	var b strings.Builder
	format(&b, envelope.GetRule(), envelope.GetIdentities(), maxDepth)
	return b.String()
}

func format(b *strings.Builder, rule *common.SignaturePolicy, identities []*msp.MSPPrincipal, depth int) {
	if gate := rule.GetNOutOf(); gate != nil && depth > 0 {
		switch n := int(gate.GetN()); {
		case n == 1 && len(gate.GetRules()) > 0:
			b.WriteString("OR(")
		case n == len(gate.GetRules()):
			b.WriteString("AND(")
		default:
			fmt.Fprintf(b, "OutOf(%d", n)
			if len(gate.GetRules()) > 0 {
				b.WriteString(", ")
			}
		}
		for i, r := range gate.GetRules() {
			if i > 0 {
				b.WriteString(", ")
			}
			format(b, r, identities, depth-1)
		}
		b.WriteString(")")
		return
	}
	leaf, ok := rule.GetType().(*common.SignaturePolicy_SignedBy)
	if !ok || leaf.SignedBy < 0 || int(leaf.SignedBy) >= len(identities) {
		b.WriteString("<invalid>")
		return
	}
	b.WriteString(formatPrincipal(identities[leaf.SignedBy]))
}

func formatPrincipal(principal *msp.MSPPrincipal) string {
	class, role := principal.GetPrincipalClassification(), &msp.MSPRole{}
	if class != msp.MSPPrincipal_ROLE || proto.Unmarshal(principal.GetPrincipal(), role) != nil {
		return "<" + strings.ToLower(class.String()) + ">"
	}
	return fmt.Sprintf("'%s.%s'", role.GetMspIdentifier(), strings.ToLower(role.GetRole().String()))
}
