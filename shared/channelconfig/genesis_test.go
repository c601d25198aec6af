package channelconfig_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

var morning = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func organization(t testing.TB, mspID string) (channelconfig.Organization, *msp.CA) {
	t.Helper()
	ca, err := msp.NewCA(mspID)
	if err != nil {
		t.Fatal(err)
	}
	return channelconfig.Organization{MSPID: mspID, MSP: ca.Config()}, ca
}

func spec(t testing.TB) (channelconfig.Spec, map[string]*msp.CA) {
	t.Helper()
	cas := map[string]*msp.CA{}
	spec := channelconfig.Spec{Channel: "orders"}
	for _, mspID := range []string{"A", "B", "C"} {
		org, ca := organization(t, mspID)
		cas[mspID] = ca
		spec.Organizations = append(spec.Organizations, org)
	}
	spec.Orderer, cas["OrdererMSP"] = organization(t, "OrdererMSP")
	return spec, cas
}

func TestGenesis(t *testing.T) {
	t.Parallel()
	spec, cas := spec(t)
	b, err := channelconfig.Genesis(spec, morning)
	if err != nil {
		t.Fatal(err)
	}
	again, err := channelconfig.Genesis(spec, morning)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(b, again) {
		t.Error("the same channel has two genesis blocks")
	}
	config := mustParse(t, b)
	if config.Channel != "orders" || config.Sequence != 0 || b.Header.Number != 0 || len(b.Header.PreviousHash) > 0 {
		t.Errorf("channel %s, sequence %d, header %v", config.Channel, config.Sequence, b.Header)
	}
	if diff := cmp.Diff(ids(config.Organizations), []string{"A", "B", "C"}); diff != "" {
		t.Errorf("organisations (-got +want):\n%s", diff)
	}
	endorsers := map[string]*msp.Identity{}
	for _, mspID := range []string{"A", "B", "C"} {
		certPEM, _, err := cas[mspID].Issue(msp.IssueRequest{CommonName: "endorser", Role: msp.RolePeer})
		if err != nil {
			t.Fatal(err)
		}
		serialized, err := msp.Serialize(mspID, certPEM)
		if err != nil {
			t.Fatal(err)
		}
		if endorsers[mspID], err = config.MSPs.Identify(serialized); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(enough(config, channelconfig.PathEndorsement, endorsers), [][]string{{"A", "B"}, {"A", "C"}, {"B", "C"}}); diff != "" {
		t.Errorf("endorsers (-got +want):\n%s", diff)
	}
	for _, test := range []struct {
		path, mspID, role string
		want              bool
	}{
		{channelconfig.PathWriters, "A", msp.RoleClient, true},
		{channelconfig.PathWriters, "B", msp.RoleAdmin, true},
		{channelconfig.PathWriters, "A", msp.RolePeer, false},
		{channelconfig.PathReaders, "C", msp.RolePeer, true},
		{channelconfig.PathReaders, "OrdererMSP", msp.RoleAdmin, false},
		{channelconfig.PathBlockValidation, "OrdererMSP", msp.RoleOrderer, true},
		{channelconfig.PathBlockValidation, "A", msp.RoleOrderer, false},
	} {
		certPEM, _, err := cas[test.mspID].Issue(msp.IssueRequest{CommonName: "someone", Role: test.role})
		if err != nil {
			t.Fatal(err)
		}
		serialized, err := msp.Serialize(test.mspID, certPEM)
		if err != nil {
			t.Fatal(err)
		}
		id, err := config.MSPs.Identify(serialized)
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Satisfied(test.path, []*msp.Identity{id}); got != test.want {
			t.Errorf("%s by a %s of %s: got %t", test.path, test.role, test.mspID, got)
		}
	}
}

// Ours has every policy that the real channel has, with the same text, and every value.
func TestGenesisIsShapedLikeFabrics(t *testing.T) {
	t.Parallel()
	spec := channelconfig.Spec{Channel: "alpha"}
	for _, mspID := range []string{"Org1MSP", "Org2MSP"} {
		org, _ := organization(t, mspID)
		spec.Organizations = append(spec.Organizations, org)
	}
	spec.Orderer, _ = organization(t, "OrdererMSP")
	ours, err := channelconfig.Genesis(spec, morning)
	if err != nil {
		t.Fatal(err)
	}
	got, want := shape(t, ours), shape(t, goldenBlock(t, "alpha-000.pb"))
	// What only a network has: where its nodes are.
	for _, path := range []string{"Application/Org1MSP/AnchorPeers", "Application/Org2MSP/AnchorPeers", "Orderer/OrdererMSP/Endpoints"} {
		if _, ok := want[path]; !ok {
			t.Errorf("the real channel has no %s", path)
		}
		delete(want, path)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("policies and values (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(ours.Metadata.Metadata[common.BlockMetadataIndex_SIGNATURES], goldenBlock(t, "alpha-000.pb").Metadata.Metadata[common.BlockMetadataIndex_SIGNATURES]); diff != "" {
		t.Errorf("metadata (-got +want):\n%s", diff)
	}
}

// shape is the policies of a configuration with their bytes, and the names of its values.
func shape(t *testing.T, b *common.Block) map[string]string {
	t.Helper()
	tx, _ := wire.ParseEnvelope(b.Data.Data[0])
	config := &common.ConfigEnvelope{}
	if err := proto.Unmarshal(tx.Data, config); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var walk func(path string, group *common.ConfigGroup)
	walk = func(path string, group *common.ConfigGroup) {
		for name, p := range group.Policies {
			found[path+name] = p.ModPolicy + " " + p.Policy.String()
		}
		for name, v := range group.Values {
			found[path+name] = v.ModPolicy
		}
		for name, below := range group.Groups {
			if name == "OrdererOrg" {
				name = "OrdererMSP" // a group's name is free
			}
			walk(path+name+"/", below)
		}
	}
	walk("", config.GetConfig().GetChannelGroup())
	return found
}

func TestGenesisRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*channelconfig.Spec){
		"no name":          func(s *channelconfig.Spec) { s.Channel = "" },
		"upper case":       func(s *channelconfig.Spec) { s.Channel = "Orders" },
		"digit first":      func(s *channelconfig.Spec) { s.Channel = "1st" },
		"long name":        func(s *channelconfig.Spec) { s.Channel = strings.Repeat("a", 250) },
		"no organisation":  func(s *channelconfig.Spec) { s.Organizations = nil },
		"one twice":        func(s *channelconfig.Spec) { s.Organizations[1] = s.Organizations[0] },
		"orderer as well":  func(s *channelconfig.Spec) { s.Orderer = s.Organizations[0] },
		"no orderer":       func(s *channelconfig.Spec) { s.Orderer = channelconfig.Organization{} },
		"under other name": func(s *channelconfig.Spec) { s.Organizations[0].MSPID = "Z" },
	} {
		spec, _ := spec(t)
		spoil(&spec)
		if _, err := channelconfig.Genesis(spec, morning); !errors.Is(err, channelconfig.ErrSpec) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	longest, _ := spec(t)
	longest.Channel = strings.Repeat("a", 249)
	if _, err := channelconfig.Genesis(longest, morning); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}

// Every rule of an implicit meta policy, over groups one of which has no such policy.
func TestImplicitMetaRules(t *testing.T) {
	t.Parallel()
	for rule, want := range map[common.ImplicitMetaPolicy_Rule][][]string{
		common.ImplicitMetaPolicy_ANY:      {{"Org1MSP"}, {"Org2MSP"}},
		common.ImplicitMetaPolicy_ALL:      {{"Org1MSP", "Org2MSP"}},
		common.ImplicitMetaPolicy_MAJORITY: {{"Org1MSP", "Org2MSP"}},
	} {
		b := spoilt(t, func(e *common.ConfigEnvelope) { setRule(t, e, rule) })
		config := mustParse(t, b)
		if diff := cmp.Diff(enough(config, channelconfig.PathEndorsement, peers(t, config)), want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", rule, diff)
		}
		lacking := spoilt(t, func(e *common.ConfigEnvelope) {
			setRule(t, e, rule)
			delete(e.Config.ChannelGroup.Groups["Application"].Groups["Org2MSP"].Policies, "Endorsement")
		})
		config = mustParse(t, lacking)
		sets := enough(config, channelconfig.PathEndorsement, peers(t, config))
		if rule == common.ImplicitMetaPolicy_ANY && len(sets) != 1 || rule != common.ImplicitMetaPolicy_ANY && sets != nil {
			t.Errorf("%s, one organisation without the policy: %v", rule, sets)
		}
	}
	empty := spoilt(t, func(e *common.ConfigEnvelope) { e.Config.ChannelGroup.Groups["Application"].Groups = nil })
	if !mustParse(t, empty).Satisfied(channelconfig.PathAdmins, nil) {
		t.Error("of no policies at all, a majority is none")
	}
	unknown := spoilt(t, func(e *common.ConfigEnvelope) { setRule(t, e, 9) })
	if _, err := channelconfig.Parse(unknown); !errors.Is(err, channelconfig.ErrConfig) {
		t.Errorf("an unknown rule: %v", err)
	}
}

func setRule(t *testing.T, e *common.ConfigEnvelope, rule common.ImplicitMetaPolicy_Rule) {
	t.Helper()
	raw, err := proto.Marshal(&common.ImplicitMetaPolicy{SubPolicy: "Endorsement", Rule: rule})
	if err != nil {
		t.Fatal(err)
	}
	e.Config.ChannelGroup.Groups["Application"].Policies["Endorsement"].Policy.Value = raw
}

// Channels that are configured alike share what was parsed, and keep their names.
func TestParserShares(t *testing.T) {
	t.Parallel()
	s, _ := spec(t)
	var parser channelconfig.Parser
	var configs []*channelconfig.Config
	for _, name := range []string{"one", "two"} {
		s.Channel = name
		block, err := channelconfig.Genesis(s, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		config, err := parser.Parse(block)
		if err != nil {
			t.Fatal(err)
		}
		if config.Channel != name {
			t.Errorf("channel %q, want %q", config.Channel, name)
		}
		configs = append(configs, config)
	}
	if configs[0].MSPs != configs[1].MSPs {
		t.Error("two channels of the same organisations do not share their MSPs")
	}
	s.Channel, s.Organizations = "three", s.Organizations[:1]
	block, err := channelconfig.Genesis(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := parser.Parse(block)
	if err != nil {
		t.Fatal(err)
	}
	if other.MSPs == configs[0].MSPs || len(other.Organizations) != 1 {
		t.Errorf("another configuration was taken for the same: %v", other.Organizations)
	}
}
