package collection

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/policy"
)

// ErrInvalid: a definition of collections is not one that a channel takes. The text says which collection, and why.
var ErrInvalid = errors.New("invalid collections")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// definition is one collection in Fabric's file.
type definition struct {
	Name              string             `json:"name"`
	Policy            string             `json:"policy"` // a signature policy: whose data it is
	RequiredPeerCount int32              `json:"requiredPeerCount"`
	MaxPeerCount      *int32             `json:"maxPeerCount"`
	BlockToLive       uint64             `json:"blockToLive"`
	MemberOnlyRead    bool               `json:"memberOnlyRead"`
	MemberOnlyWrite   bool               `json:"memberOnlyWrite"`
	EndorsementPolicy *endorsementPolicy `json:"endorsementPolicy,omitempty"`
}

// endorsementPolicy has one of two members.
type endorsementPolicy struct {
	SignaturePolicy     string `json:"signaturePolicy,omitempty"`
	ChannelConfigPolicy string `json:"channelConfigPolicy,omitempty"`
}

// defaultMaxPeerCount is that of Fabric's command line.
const defaultMaxPeerCount = 1

// Parse reads Fabric's file of collections: a JSON array. Nothing, or an empty array, is no collections: nil. It returns
// ErrInvalid; what only a channel can tell is left to Check.
func Parse(text []byte) (*peer.CollectionConfigPackage, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var definitions []definition
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&definitions); err != nil {
		return nil, invalid("they must be a JSON array as Fabric's collections file: %v", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, invalid("something follows the JSON array")
	}
	var all *peer.CollectionConfigPackage
	for i := range definitions {
		static, err := definitions[i].config()
		if err != nil {
			return nil, fmt.Errorf("collection %q: %w", definitions[i].Name, err)
		}
		if all == nil {
			all = &peer.CollectionConfigPackage{}
		}
		all.Config = append(all.Config, &peer.CollectionConfig{Payload: &peer.CollectionConfig_StaticCollectionConfig{StaticCollectionConfig: static}})
	}
	return all, nil
}

func (d *definition) config() (*peer.StaticCollectionConfig, error) {
	if d.Policy == "" {
		return nil, invalid("it has no policy, which says whose data it is, as OR('Org1MSP.member')")
	}
	members, err := policy.Parse(d.Policy)
	if err != nil {
		return nil, fmt.Errorf("%w: policy: %w", ErrInvalid, err)
	}
	static := &peer.StaticCollectionConfig{
		Name:              d.Name,
		MemberOrgsPolicy:  &peer.CollectionPolicyConfig{Payload: &peer.CollectionPolicyConfig_SignaturePolicy{SignaturePolicy: members}},
		RequiredPeerCount: d.RequiredPeerCount,
		MaximumPeerCount:  defaultMaxPeerCount,
		BlockToLive:       d.BlockToLive,
		MemberOnlyRead:    d.MemberOnlyRead,
		MemberOnlyWrite:   d.MemberOnlyWrite,
	}
	if d.MaxPeerCount != nil {
		static.MaximumPeerCount = *d.MaxPeerCount
	}
	if d.EndorsementPolicy != nil {
		if static.EndorsementPolicy, err = d.EndorsementPolicy.application(); err != nil {
			return nil, err
		}
	}
	return static, nil
}

func (p *endorsementPolicy) application() (*peer.ApplicationPolicy, error) {
	switch {
	case p.SignaturePolicy != "" && p.ChannelConfigPolicy != "":
		return nil, invalid("endorsementPolicy has both a signaturePolicy and a channelConfigPolicy: give one")
	case p.ChannelConfigPolicy != "":
		if !strings.HasPrefix(p.ChannelConfigPolicy, "/") {
			return nil, invalid("channelConfigPolicy %q is no path as /Channel/Application/Endorsement", p.ChannelConfigPolicy)
		}
		return &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: p.ChannelConfigPolicy}}, nil
	case p.SignaturePolicy == "":
		return nil, invalid("endorsementPolicy has neither a signaturePolicy nor a channelConfigPolicy")
	}
	envelope, err := policy.Parse(p.SignaturePolicy)
	if err != nil {
		return nil, fmt.Errorf("%w: signaturePolicy: %w", ErrInvalid, err)
	}
	return &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}}, nil
}

// Format writes collections as Parse reads them; none are nil.
func Format(all *peer.CollectionConfigPackage) (json.RawMessage, error) {
	if len(all.GetConfig()) == 0 {
		return nil, nil
	}
	definitions := make([]definition, len(all.Config))
	for i, c := range all.Config {
		static := c.GetStaticCollectionConfig()
		d := definition{
			Name: static.GetName(), Policy: policy.Format(static.GetMemberOrgsPolicy().GetSignaturePolicy()), RequiredPeerCount: static.GetRequiredPeerCount(),
			MaxPeerCount: &static.MaximumPeerCount, BlockToLive: static.GetBlockToLive(),
			MemberOnlyRead: static.GetMemberOnlyRead(), MemberOnlyWrite: static.GetMemberOnlyWrite(),
		}
		switch p := static.GetEndorsementPolicy().GetType().(type) {
		case *peer.ApplicationPolicy_SignaturePolicy:
			d.EndorsementPolicy = &endorsementPolicy{SignaturePolicy: policy.Format(p.SignaturePolicy)}
		case *peer.ApplicationPolicy_ChannelConfigPolicyReference:
			d.EndorsementPolicy = &endorsementPolicy{ChannelConfigPolicy: p.ChannelConfigPolicyReference}
		}
		definitions[i] = d
	}
	return json.Marshal(definitions)
}
