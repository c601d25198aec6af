package policy

import (
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"

	"peerless/shared/msp"
)

// Satisfied reports whether the identities satisfy the policy. Each counts for one principal; the caller leaves out
// repetitions (msp.Distinct). It is false for a policy that is not well formed, nil included.
//
// Like Fabric's it is greedy: a principal takes the first identity not yet taken that fits, and a gate evaluates all its
// operands, those beyond its number too. So AND(OR('A.member', 'A.member'), 'A.member') is not satisfied by two members
// of A.
func Satisfied(envelope *common.SignaturePolicyEnvelope, ids []*msp.Identity) bool {
	if envelope.GetVersion() != 0 || !wellFormed(envelope.GetRule(), len(envelope.GetIdentities())) {
		return false
	}
	e := &evaluation{envelope.GetIdentities(), ids}
	return e.rule(envelope.GetRule(), make([]bool, len(ids)))
}

func wellFormed(rule *common.SignaturePolicy, identities int) bool {
	switch t := rule.GetType().(type) {
	case *common.SignaturePolicy_SignedBy:
		return t.SignedBy >= 0 && int(t.SignedBy) < identities
	case *common.SignaturePolicy_NOutOf_:
		for _, r := range t.NOutOf.GetRules() {
			if !wellFormed(r, identities) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

type evaluation struct {
	principals []*mspproto.MSPPrincipal
	signers    []*msp.Identity
}

// rule evaluates a rule and marks the signers that it takes. What a rule takes that is not satisfied is for its caller
// to forget.
func (e *evaluation) rule(rule *common.SignaturePolicy, used []bool) bool {
	gate := rule.GetNOutOf()
	if gate == nil {
		principal := e.principals[rule.GetSignedBy()]
		for i := range used {
			if !used[i] && e.signers[i].Satisfies(principal) {
				used[i] = true
				return true
			}
		}
		return false
	}
	satisfied := int32(0)
	trial := make([]bool, len(used))
	for _, r := range gate.GetRules() {
		copy(trial, used)
		if e.rule(r, trial) {
			satisfied++
			copy(used, trial)
		}
	}
	return satisfied >= gate.GetN()
}
