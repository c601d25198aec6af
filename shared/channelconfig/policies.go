package channelconfig

import (
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
	"peerless/shared/policy"
)

// Paths of policies that Fabric asks by name.
const (
	PathReaders              = "/Channel/Application/Readers"
	PathWriters              = "/Channel/Application/Writers"
	PathAdmins               = "/Channel/Application/Admins"
	PathEndorsement          = "/Channel/Application/Endorsement"
	PathLifecycleEndorsement = "/Channel/Application/LifecycleEndorsement"
	PathBlockValidation      = "/Channel/Orderer/BlockValidation"
)

// A rule is a signature policy, or an implicit meta policy: so many of others. A nil rule is never satisfied.
type rule struct {
	signature *common.SignaturePolicyEnvelope // nil: implicit meta
	threshold int
	others    []*rule // nil where a group has no such policy, which counts for the threshold all the same
}

func (r *rule) satisfied(signature func(*common.SignaturePolicyEnvelope) bool) bool {
	if r == nil {
		return false
	}
	if r.signature != nil {
		return signature(r.signature)
	}
	count := 0
	for _, other := range r.others {
		if other.satisfied(signature) {
			count++
		}
	}
	return count >= r.threshold
}

// addPolicies enters the policies of a group and of those below it by their paths. An implicit meta policy refers to
// those directly below, so they come first.
func addPolicies(policies map[string]*rule, path string, group *common.ConfigGroup) error {
	for name, below := range group.GetGroups() {
		if err := addPolicies(policies, path+name+"/", below); err != nil {
			return err
		}
	}
	for name, configured := range group.GetPolicies() {
		r, err := newRule(configured.GetPolicy(), func(sub string) (others []*rule) {
			for below := range group.GetGroups() {
				others = append(others, policies[path+below+"/"+sub])
			}
			return others
		})
		if err != nil {
			return fmt.Errorf("policy %s%s: %w", path, name, err)
		}
		policies[path+name] = r
	}
	return nil
}

func newRule(configured *common.Policy, others func(sub string) []*rule) (*rule, error) {
	switch kind := common.Policy_PolicyType(configured.GetType()); kind {
	case common.Policy_SIGNATURE:
		r := &rule{signature: &common.SignaturePolicyEnvelope{}}
		return r, proto.Unmarshal(configured.GetValue(), r.signature)
	case common.Policy_IMPLICIT_META:
		meta := &common.ImplicitMetaPolicy{}
		if err := proto.Unmarshal(configured.GetValue(), meta); err != nil {
			return nil, err
		}
		r := &rule{others: others(meta.GetSubPolicy())}
		switch {
		case len(r.others) == 0:
			r.threshold = 0
		case meta.GetRule() == common.ImplicitMetaPolicy_ANY:
			r.threshold = 1
		case meta.GetRule() == common.ImplicitMetaPolicy_ALL:
			r.threshold = len(r.others)
		case meta.GetRule() == common.ImplicitMetaPolicy_MAJORITY:
			r.threshold = len(r.others)/2 + 1
		default:
			return nil, fmt.Errorf("no implicit meta rule %d", meta.GetRule())
		}
		return r, nil
	default:
		return nil, fmt.Errorf("no policies of type %s", kind)
	}
}

// Members returns the MSP ids of the application organisations, in the configuration's order.
func (c *Config) Members() []string {
	members := make([]string, len(c.Organizations))
	for i, o := range c.Organizations {
		members[i] = o.MSPID
	}
	return members
}

// rule finds a policy by its path, absolute ("/Channel/Application/Writers") or from the channel on.
func (c *Config) rule(path string) *rule {
	if below, ok := strings.CutPrefix(path, "/Channel/"); ok {
		path = below
	}
	return c.policies[path]
}

// Has reports whether the configuration has the policy.
func (c *Config) Has(path string) bool { return c.rule(path) != nil }

// Satisfied reports whether the identities satisfy the policy with the path. The caller leaves out repetitions
// (msp.Distinct). A policy that does not exist is not satisfied.
func (c *Config) Satisfied(path string, ids []*msp.Identity) bool {
	return c.rule(path).satisfied(func(signature *common.SignaturePolicyEnvelope) bool {
		return policy.Satisfied(signature, ids)
	})
}
