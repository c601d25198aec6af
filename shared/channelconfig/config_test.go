package channelconfig_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

const goldenDir = "../../testdata/conformance/wire"

func goldenFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func goldenBlock(t testing.TB, name string) *common.Block {
	t.Helper()
	b, err := wire.ParseBlock(goldenFile(t, "blocks/"+name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t testing.TB, b *common.Block) *channelconfig.Config {
	t.Helper()
	config, err := channelconfig.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func ids(organizations []channelconfig.Organization) (ids []string) {
	for _, org := range organizations {
		ids = append(ids, org.MSPID)
	}
	return ids
}

// The real network's genesis blocks, and the block with its configuration update.
func TestParseRealConfigs(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		channel  string
		sequence uint64
	}{
		"alpha-000.pb": {"alpha", 0}, "alpha-024.pb": {"alpha", 1}, "beta-000.pb": {"beta", 0},
	} {
		config := mustParse(t, goldenBlock(t, file))
		if config.Channel != want.channel || config.Sequence != want.sequence {
			t.Errorf("%s: channel %s, sequence %d", file, config.Channel, config.Sequence)
		}
		if diff := cmp.Diff(ids(config.Organizations), []string{"Org1MSP", "Org2MSP"}); diff != "" {
			t.Errorf("%s: organisations (-got +want):\n%s", file, diff)
		}
		if diff := cmp.Diff(ids(config.Orderers), []string{"OrdererMSP"}); diff != "" {
			t.Errorf("%s: orderers (-got +want):\n%s", file, diff)
		}
		if diff := cmp.Diff(config.MSPs.IDs(), []string{"OrdererMSP", "Org1MSP", "Org2MSP"}); diff != "" {
			t.Errorf("%s: MSPs (-got +want):\n%s", file, diff)
		}
	}
}

// network identifies the real network's people by the configuration of alpha.
func network(t testing.TB, config *channelconfig.Config) map[string]*msp.Identity {
	t.Helper()
	people := map[string]*msp.Identity{}
	for file, mspID := range map[string]string{
		"org1-user": "Org1MSP", "org1-peer": "Org1MSP", "org1-admin": "Org1MSP",
		"org2-user": "Org2MSP", "org2-peer": "Org2MSP", "org2-admin": "Org2MSP", "orderer": "OrdererMSP",
	} {
		serialized, err := msp.Serialize(mspID, goldenFile(t, "certs/"+file+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		if people[file], err = config.MSPs.Identify(serialized); err != nil {
			t.Fatal(err)
		}
	}
	update := &common.Envelope{}
	if err := proto.Unmarshal(goldenFile(t, "messages/config-update-envelope.pb"), update); err != nil {
		t.Fatal(err)
	}
	tx, _ := wire.ParseEnvelope(wire.NewEnvelope(update.Payload, update.Signature))
	if tx == nil {
		t.Fatal("no creator of the configuration update")
	}
	admin, err := config.MSPs.Identify(tx.Creator)
	if err != nil {
		t.Fatal(err)
	}
	people["orderer-admin"] = admin
	return people
}

// As the real network answered: clients and administrators write, peers only read, the orderer's administrator neither.
func TestRealPolicies(t *testing.T) {
	t.Parallel()
	config := mustParse(t, goldenBlock(t, "alpha-000.pb"))
	people := network(t, config)
	for _, test := range []struct {
		path   string
		people []string
		want   bool
	}{
		{channelconfig.PathWriters, []string{"org1-user"}, true},
		{channelconfig.PathWriters, []string{"org2-admin"}, true},
		{channelconfig.PathWriters, []string{"org1-peer"}, false},
		{channelconfig.PathWriters, []string{"orderer-admin"}, false},
		{channelconfig.PathWriters, []string{"orderer"}, false},
		{channelconfig.PathWriters, nil, false},
		{channelconfig.PathReaders, []string{"org1-peer"}, true},
		{channelconfig.PathReaders, []string{"org2-user"}, true},
		{channelconfig.PathReaders, []string{"orderer-admin"}, false},
		{channelconfig.PathEndorsement, []string{"org1-peer"}, false},
		{channelconfig.PathEndorsement, []string{"org1-peer", "org2-peer"}, true},
		{channelconfig.PathEndorsement, []string{"org1-peer", "org2-user"}, false},
		{channelconfig.PathLifecycleEndorsement, []string{"org2-peer", "org1-peer"}, true},
		{channelconfig.PathAdmins, []string{"org1-admin"}, false},
		{channelconfig.PathAdmins, []string{"org1-admin", "org2-admin"}, true},
		{channelconfig.PathBlockValidation, []string{"orderer"}, true},
		{channelconfig.PathBlockValidation, []string{"org1-peer"}, false},
		{"/Channel/Readers", []string{"orderer-admin"}, true},
		{"/Channel/Admins", []string{"org1-admin", "org2-admin"}, false},
		{"/Channel/Admins", []string{"org1-admin", "org2-admin", "orderer-admin"}, true},
		{"/Channel/Application/Org1MSP/Writers", []string{"org2-user"}, false},
		{"Application/Writers", []string{"org1-user"}, true},
		{"/Channel/Application/Nobody", []string{"org1-admin"}, false},
		{"/Elsewhere/Application/Writers", []string{"org1-user"}, false},
		{"", []string{"org1-user"}, false},
	} {
		var signers []*msp.Identity
		for _, name := range test.people {
			signers = append(signers, people[name])
		}
		if got := config.Satisfied(test.path, signers); got != test.want {
			t.Errorf("%s by %v: got %t", test.path, test.people, got)
		}
	}
	if !config.Has(channelconfig.PathEndorsement) || config.Has("/Channel/Application/Nobody") {
		t.Error("it has other policies than it has")
	}
}

// The orderer's signatures of every real block suffice for the channel's own policy.
func TestRealBlocksAreOrdered(t *testing.T) {
	t.Parallel()
	config := mustParse(t, goldenBlock(t, "alpha-000.pb"))
	files, err := filepath.Glob(filepath.Join(goldenDir, "blocks", "alpha-*.pb"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d blocks, %v", len(files), err)
	}
	for _, file := range files[1:] {
		b := goldenBlock(t, filepath.Base(file))
		signatures, _, err := wire.BlockSignatures(b)
		if err != nil {
			t.Fatal(err)
		}
		var signers []*msp.Identity
		for _, s := range signatures {
			id, err := config.MSPs.Identify(s.Creator)
			if err != nil {
				t.Fatal(err)
			}
			if err := id.Verify(s.Message, s.Signature); err != nil {
				t.Fatal(err)
			}
			signers = append(signers, id)
		}
		if !config.Satisfied(channelconfig.PathBlockValidation, signers) {
			t.Errorf("block %d is not ordered by who may", b.Header.Number)
		}
	}
}

// enough returns the sets of these identities, by name, that satisfy a policy, no set containing another, the smallest first.
func enough(config *channelconfig.Config, path string, people map[string]*msp.Identity) (sets [][]string) {
	names := slices.Sorted(maps.Keys(people))
	for size := range len(names) + 1 {
		for mask := range 1 << len(names) {
			var chosen []string
			var signers []*msp.Identity
			for i, name := range names {
				if mask&(1<<i) != 0 {
					chosen, signers = append(chosen, name), append(signers, people[name])
				}
			}
			covered := slices.ContainsFunc(sets, func(smaller []string) bool {
				return !slices.ContainsFunc(smaller, func(name string) bool { return !slices.Contains(chosen, name) })
			})
			if len(chosen) == size && !covered && config.Satisfied(path, signers) {
				sets = append(sets, chosen)
			}
		}
	}
	return sets
}

// peers are one peer of each organisation of the real network.
func peers(t testing.TB, config *channelconfig.Config) map[string]*msp.Identity {
	people := network(t, config)
	return map[string]*msp.Identity{"Org1MSP": people["org1-peer"], "Org2MSP": people["org2-peer"]}
}

// TestRealEndorsements: whose peers satisfy the real network's policies.
func TestRealEndorsements(t *testing.T) {
	t.Parallel()
	config := mustParse(t, goldenBlock(t, "alpha-000.pb"))
	for path, want := range map[string][][]string{
		channelconfig.PathEndorsement: {{"Org1MSP", "Org2MSP"}},
		channelconfig.PathReaders:     {{"Org1MSP"}, {"Org2MSP"}},
		channelconfig.PathWriters:     nil,
		"/Channel/Nobody":             nil,
	} {
		if diff := cmp.Diff(enough(config, path, peers(t, config)), want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", path, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*common.Block{
		"nil":                     nil,
		"no transaction":          {},
		"an ordinary transaction": goldenBlock(t, "alpha-025.pb"),
		"several":                 goldenBlock(t, "alpha-011.pb"),
	} {
		if channelconfig.IsConfig(b) {
			t.Errorf("%s: is a configuration block", name)
		}
		if _, err := channelconfig.Parse(b); !errors.Is(err, channelconfig.ErrNotConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*common.ConfigEnvelope){
		"no configuration": func(e *common.ConfigEnvelope) { e.Config = nil; e.LastUpdate = &common.Envelope{} },
		"no MSP": func(e *common.ConfigEnvelope) {
			delete(e.Config.ChannelGroup.Groups["Application"].Groups["Org1MSP"].Values, "MSP")
		},
		"garbage MSP": func(e *common.ConfigEnvelope) {
			e.Config.ChannelGroup.Groups["Orderer"].Groups["OrdererOrg"].Values["MSP"].Value = []byte{0xff}
		},
		"unknown policy type": func(e *common.ConfigEnvelope) {
			e.Config.ChannelGroup.Policies["Readers"].Policy.Type = int32(common.Policy_MSP)
		},
		"no policy":      func(e *common.ConfigEnvelope) { e.Config.ChannelGroup.Policies["Readers"].Policy = nil },
		"garbage policy": func(e *common.ConfigEnvelope) { e.Config.ChannelGroup.Policies["Readers"].Policy.Value = []byte{0xff} },
	} {
		b := spoilt(t, spoil)
		if !channelconfig.IsConfig(b) {
			t.Errorf("%s: no longer a configuration block", name)
		}
		if _, err := channelconfig.Parse(b); !errors.Is(err, channelconfig.ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// spoilt is alpha's genesis block with its configuration changed.
func spoilt(t *testing.T, spoil func(*common.ConfigEnvelope)) *common.Block {
	t.Helper()
	tx, _ := wire.ParseEnvelope(goldenBlock(t, "alpha-000.pb").Data.Data[0])
	config, payload := &common.ConfigEnvelope{}, &common.Payload{}
	if err := errors.Join(proto.Unmarshal(tx.Data, config), proto.Unmarshal(tx.Payload, payload)); err != nil {
		t.Fatal(err)
	}
	spoil(config)
	var err error
	if payload.Data, err = proto.Marshal(config); err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return wire.NewBlock(0, nil, [][]byte{wire.NewEnvelope(raw, nil)})
}
