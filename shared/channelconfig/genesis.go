package channelconfig

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"peerless/shared/msp"
	"peerless/shared/policy"
	"peerless/shared/wire"
)

// ErrSpec: no channel can be made of what was asked for.
var ErrSpec = errors.New("not a channel")

// An Organization is an MSP by its id. Its group in the configuration has the id for a name.
type Organization struct {
	MSPID string
	MSP   *mspproto.MSPConfig
}

// A Spec says what channel is to be made.
type Spec struct {
	Channel       string         // a wire.ChannelName
	Organizations []Organization // of the application: at least one
	Orderer       Organization   // signs blocks; not one of the others
}

// Genesis returns a channel's block 0. Equal arguments make equal blocks. Like a block of Fabric's configtxgen it is
// signed by nobody, and has no validation codes until a ledger takes it. It returns ErrSpec.
//
// The policies are those of Fabric's sample configuration: administrators, peers and clients of an organisation read,
// administrators and clients write; a majority of the organisations' peers endorse; a majority of administrators
// administer.
func Genesis(spec Spec, at time.Time) (*common.Block, error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("genesis of channel %q: %w", spec.Channel, err)
	}
	var b builder
	config := b.marshal(&common.ConfigEnvelope{Config: &common.Config{ChannelGroup: b.channel(spec)}})
	nonce := wire.DataHash([][]byte{[]byte(spec.Channel), config})[:24]
	payload := b.marshal(&common.Payload{
		Header: &common.Header{
			ChannelHeader: b.marshal(&common.ChannelHeader{
				Type:      int32(common.HeaderType_CONFIG),
				Version:   1,
				Timestamp: timestamppb.New(at),
				ChannelId: spec.Channel,
				TxId:      wire.TxID(nonce, nil),
			}),
			SignatureHeader: b.marshal(&common.SignatureHeader{Nonce: nonce}),
		},
		Data: config,
	})
	signatures := b.marshal(&common.Metadata{Value: b.marshal(&common.OrdererBlockMetadata{LastConfig: &common.LastConfig{}})})
	if b.err != nil {
		return nil, fmt.Errorf("genesis of channel %q: %w", spec.Channel, b.err)
	}
	block := wire.NewBlock(0, nil, [][]byte{wire.NewEnvelope(payload, nil)})
	block.Metadata.Metadata[common.BlockMetadataIndex_SIGNATURES] = signatures
	return block, nil
}

func (spec Spec) check() error {
	if err := wire.ChannelName.Check(spec.Channel); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if len(spec.Organizations) == 0 {
		return fmt.Errorf("%w: it has no organisation", ErrSpec)
	}
	seen := map[string]bool{}
	for _, org := range append([]Organization{spec.Orderer}, spec.Organizations...) {
		verifier, err := msp.New(org.MSP)
		if err != nil {
			return fmt.Errorf("%w: organisation %q: %w", ErrSpec, org.MSPID, err)
		}
		if verifier.ID() != org.MSPID || seen[org.MSPID] {
			return fmt.Errorf("%w: organisation %q is there twice, or its MSP has another name", ErrSpec, org.MSPID)
		}
		seen[org.MSPID] = true
	}
	return nil
}

// builder makes the parts of a configuration and keeps the first error. Everything may be changed by whom the policy
// Admins of the same group names.
type builder struct{ err error }

const admins = "Admins"

func (b *builder) marshal(message proto.Message) []byte {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil && b.err == nil {
		b.err = err
	}
	return encoded
}

func (b *builder) values(messages map[string]proto.Message) map[string]*common.ConfigValue {
	values := make(map[string]*common.ConfigValue, len(messages))
	for name, message := range messages {
		values[name] = &common.ConfigValue{Value: b.marshal(message), ModPolicy: admins}
	}
	return values
}

func capability(name string) *common.Capabilities {
	return &common.Capabilities{Capabilities: map[string]*common.Capability{name: {}}}
}

func (b *builder) channel(spec Spec) *common.ConfigGroup {
	return &common.ConfigGroup{
		ModPolicy: admins,
		Values: b.values(map[string]proto.Message{
			"HashingAlgorithm":          &common.HashingAlgorithm{Name: "SHA256"},
			"BlockDataHashingStructure": &common.BlockDataHashingStructure{Width: math.MaxUint32},
			"Capabilities":              capability("V2_0"),
		}),
		Policies: b.metaPolicies(nil),
		Groups:   map[string]*common.ConfigGroup{"Application": b.application(spec), "Orderer": b.orderer(spec)},
	}
}

func (b *builder) application(spec Spec) *common.ConfigGroup {
	group := &common.ConfigGroup{
		ModPolicy: admins,
		Values:    b.values(map[string]proto.Message{"Capabilities": capability("V2_5")}),
		Policies: b.metaPolicies(map[string]*common.ImplicitMetaPolicy{
			"Endorsement":          {SubPolicy: "Endorsement", Rule: common.ImplicitMetaPolicy_MAJORITY},
			"LifecycleEndorsement": {SubPolicy: "Endorsement", Rule: common.ImplicitMetaPolicy_MAJORITY},
		}),
		Groups: map[string]*common.ConfigGroup{},
	}
	for _, org := range spec.Organizations {
		group.Groups[org.MSPID] = b.organization(org, map[string][]mspproto.MSPRole_MSPRoleType{
			"Readers":     {mspproto.MSPRole_ADMIN, mspproto.MSPRole_PEER, mspproto.MSPRole_CLIENT},
			"Writers":     {mspproto.MSPRole_ADMIN, mspproto.MSPRole_CLIENT},
			"Admins":      {mspproto.MSPRole_ADMIN},
			"Endorsement": {mspproto.MSPRole_PEER},
		})
	}
	return group
}

// orderer: the values are there because Fabric's tools ask for them. Peerless cuts blocks by its own rules.
func (b *builder) orderer(spec Spec) *common.ConfigGroup {
	return &common.ConfigGroup{
		ModPolicy: admins,
		Values: b.values(map[string]proto.Message{
			"ConsensusType":       &orderer.ConsensusType{Type: "peerless"},
			"BatchSize":           &orderer.BatchSize{MaxMessageCount: 500, AbsoluteMaxBytes: 10 << 20, PreferredMaxBytes: 2 << 20},
			"BatchTimeout":        &orderer.BatchTimeout{Timeout: "2s"},
			"ChannelRestrictions": &orderer.ChannelRestrictions{},
			"Capabilities":        capability("V2_0"),
		}),
		Policies: b.metaPolicies(map[string]*common.ImplicitMetaPolicy{
			"BlockValidation": {SubPolicy: "Writers", Rule: common.ImplicitMetaPolicy_ANY},
		}),
		Groups: map[string]*common.ConfigGroup{
			spec.Orderer.MSPID: b.organization(spec.Orderer, map[string][]mspproto.MSPRole_MSPRoleType{
				"Readers": {mspproto.MSPRole_MEMBER},
				"Writers": {mspproto.MSPRole_MEMBER},
				"Admins":  {mspproto.MSPRole_ADMIN},
			}),
		},
	}
}

// metaPolicies returns Readers, Writers and Admins in terms of the groups below, and further ones.
func (b *builder) metaPolicies(further map[string]*common.ImplicitMetaPolicy) map[string]*common.ConfigPolicy {
	policies := map[string]*common.ConfigPolicy{}
	add := func(name string, meta *common.ImplicitMetaPolicy) {
		policies[name] = b.policy(common.Policy_IMPLICIT_META, meta)
	}
	add("Readers", &common.ImplicitMetaPolicy{SubPolicy: "Readers", Rule: common.ImplicitMetaPolicy_ANY})
	add("Writers", &common.ImplicitMetaPolicy{SubPolicy: "Writers", Rule: common.ImplicitMetaPolicy_ANY})
	add("Admins", &common.ImplicitMetaPolicy{SubPolicy: "Admins", Rule: common.ImplicitMetaPolicy_MAJORITY})
	for name, meta := range further {
		add(name, meta)
	}
	return policies
}

func (b *builder) policy(kind common.Policy_PolicyType, message proto.Message) *common.ConfigPolicy {
	return &common.ConfigPolicy{ModPolicy: admins, Policy: &common.Policy{Type: int32(kind), Value: b.marshal(message)}}
}

// organization is a group with the MSP and with policies that one signature with one of the roles satisfies.
func (b *builder) organization(org Organization, policies map[string][]mspproto.MSPRole_MSPRoleType) *common.ConfigGroup {
	group := &common.ConfigGroup{
		ModPolicy: admins,
		Values:    b.values(map[string]proto.Message{"MSP": org.MSP}),
		Policies:  map[string]*common.ConfigPolicy{},
	}
	for name, roles := range policies {
		signature, err := policy.AnyRole(org.MSPID, roles...)
		if err != nil && b.err == nil {
			b.err = err
		}
		group.Policies[name] = b.policy(common.Policy_SIGNATURE, signature)
	}
	return group
}
