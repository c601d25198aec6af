package collection_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// network makes a channel of two organisations, and identities of theirs by MSP id.
func network(t *testing.T) (*channelconfig.Config, map[string]*msp.Identity) {
	t.Helper()
	spec := channelconfig.Spec{Channel: "alpha"}
	users := map[string]*msp.Signer{}
	for _, id := range []string{"Org1MSP", "Org2MSP", "OrdererMSP"} {
		ca, err := msp.NewCA(id)
		if err != nil {
			t.Fatal(err)
		}
		organization := channelconfig.Organization{MSPID: id, MSP: ca.Config()}
		if id == "OrdererMSP" {
			spec.Orderer = organization
			continue
		}
		spec.Organizations = append(spec.Organizations, organization)
		certificate, key, err := ca.Issue(msp.IssueRequest{CommonName: "user", Role: msp.RoleClient})
		if err != nil {
			t.Fatal(err)
		}
		if users[id], err = msp.NewSigner(id, certificate, key); err != nil {
			t.Fatal(err)
		}
	}
	genesis, err := channelconfig.Genesis(spec, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config, err := channelconfig.Parse(genesis)
	if err != nil {
		t.Fatal(err)
	}
	identities := map[string]*msp.Identity{}
	for id, user := range users {
		if identities[id], err = config.MSPs.Identify(user.Serialized); err != nil {
			t.Fatal(err)
		}
	}
	return config, identities
}

func mustParse(t *testing.T, text string) *peer.CollectionConfigPackage {
	t.Helper()
	all, err := collection.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const sample = `[
	{"name": "prices", "policy": "OR('Org1MSP.member', 'Org2MSP.member')", "requiredPeerCount": 1, "maxPeerCount": 3, "blockToLive": 100, "memberOnlyRead": true, "memberOnlyWrite": true},
	{"name": "own", "policy": "OR('Org1MSP.member')", "endorsementPolicy": {"signaturePolicy": "AND('Org1MSP.peer', 'Org2MSP.peer')"}},
	{"name": "all", "policy": "'Org2MSP.client'", "maxPeerCount": 0, "endorsementPolicy": {"channelConfigPolicy": "/Channel/Application/Endorsement"}}
]`

func TestParse(t *testing.T) {
	t.Parallel()
	config, _ := network(t)
	for _, none := range []string{"", " \n", "[]", "null"} {
		if all, err := collection.Parse([]byte(none)); all != nil || err != nil {
			t.Errorf("%q: got %v %v", none, all, err)
		}
	}
	all := mustParse(t, strings.Replace(sample, `"'Org2MSP.client'"`, `"OR('Org2MSP.client')"`, 1))
	if err := collection.Check(all, nil, config); err != nil {
		t.Fatal(err)
	}
	got := all.Config[0].GetStaticCollectionConfig()
	if got.Name != "prices" || got.RequiredPeerCount != 1 || got.MaximumPeerCount != 3 || got.BlockToLive != 100 || !got.MemberOnlyRead || !got.MemberOnlyWrite || got.EndorsementPolicy != nil {
		t.Errorf("got %v", got)
	}
	if own := all.Config[1].GetStaticCollectionConfig(); own.MaximumPeerCount != 1 || own.EndorsementPolicy.GetSignaturePolicy() == nil {
		t.Errorf("got %v", own)
	}
	text, err := collection.Format(all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, mustParse(t, string(text)), protocmp.Transform()); diff != "" {
		t.Errorf("written and read again:\n%s", diff)
	}
}

func TestBadText(t *testing.T) {
	t.Parallel()
	const members = `"policy": "OR('Org1MSP.member')"`
	for text, want := range map[string]string{
		`{}`:              "JSON array",
		`[{"name": 1}]`:   "JSON array",
		`[] []`:           "something follows",
		`[{"name": "a"}]`: `collection "a": invalid collections: it has no policy`,
		`[{"name": "a", "policy": "OR('Org1MSP.boss')"}]`:                                                                         `collection "a": invalid collections: policy: not a signature policy`,
		`[{"name": "a", "memberOnlyReed": true, ` + members + `}]`:                                                                `unknown field "memberOnlyReed"`,
		`[{"name": "a", "blockToLive": -1, ` + members + `}]`:                                                                     "blockToLive",
		`[{"name": "a", "endorsementPolicy": {}, ` + members + `}]`:                                                               "neither a signaturePolicy nor a channelConfigPolicy",
		`[{"name": "a", "endorsementPolicy": {"signaturePolicy": "x"}, ` + members + `}]`:                                         "signaturePolicy: not a signature policy",
		`[{"name": "a", "endorsementPolicy": {"signaturePolicy": "OR('A.peer')", "channelConfigPolicy": "/C"}, ` + members + `}]`: "give one",
		`[{"name": "a", "endorsementPolicy": {"channelConfigPolicy": "Endorsement"}, ` + members + `}]`:                           "no path",
	} {
		if all, err := collection.Parse([]byte(text)); !errors.Is(err, collection.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v %v, want %q", text, all, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	config, _ := network(t)
	one := func(name, more string) string {
		return fmt.Sprintf(`[{"name": %q, "policy": "OR('Org1MSP.member')"%s}]`, name, more)
	}
	for _, c := range []struct{ proposed, current, want string }{
		{"", "", ""},
		{one("a", ""), "", ""},
		{one("a_b-C1", ""), one("a_b-C1", `, "memberOnlyRead": true`), ""},
		{one("_a", ""), "", "invalid collection name '_a'"},
		{one("_implicit_org_Org1MSP", ""), "", "invalid collection name"},
		{one("", ""), "", "invalid collection name ''"},
		{one("a$b", ""), "", "invalid collection name 'a$b'"},
		{one(strings.Repeat("a", 129), ""), "", "invalid collection name"},
		{`[{"name": "a", "policy": "OR('Org1MSP.member')"}, {"name": "a", "policy": "OR('Org2MSP.member')"}]`, "", "collection-name: a -- found duplicate in collection configuration"},
		{one("a", `, "requiredPeerCount": 2`), "", "collection-name: a -- maximum peer count (1) cannot be less than the required peer count (2)"},
		{one("a", `, "requiredPeerCount": -1`), "", "collection-name: a -- required peer count (-1) cannot be less than zero"},
		{`[{"name": "a", "policy": "AND('Org1MSP.member', 'Org2MSP.member')"}]`, "", "signature policy is not an OR concatenation, NOutOf 2"},
		{`[{"name": "a", "policy": "OR('Org1MSP.member', OutOf(0, 'Org2MSP.member'))"}]`, "", "signature policy is not an OR concatenation, NOutOf 0"},
		{`[{"name": "a", "policy": "OR('Org3MSP.member')"}]`, "", "collection-name: a -- collection member 'Org3MSP' is not part of the channel"},
		{`[{"name": "a", "policy": "OR('OrdererMSP.member')"}]`, "", "collection member 'OrdererMSP' is not part of the channel"},
		{"", one("a", ""), "the proposed collection config does not contain previously defined collections"},
		{one("b", ""), one("a", ""), "existing collection [a] missing in the proposed collection configuration"},
		{one("a", `, "blockToLive": 3`), one("a", `, "blockToLive": 2`), "the BlockToLive in an existing collection [a] modified. Existing value [2]"},
	} {
		err := collection.Check(mustParse(t, c.proposed), mustParse(t, c.current), config)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, collection.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s over %s: got %v, want %q", c.proposed, c.current, err, c.want)
		}
	}
	if err := collection.Check(&peer.CollectionConfigPackage{Config: []*peer.CollectionConfig{{}}}, nil, config); !errors.Is(err, collection.ErrInvalid) {
		t.Errorf("a collection of no type: got %v", err)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	config, users := network(t)
	all := mustParse(t, `[
		{"name": "both", "policy": "OR('Org2MSP.member', 'Org1MSP.member', 'Org1MSP.admin')", "memberOnlyRead": true, "memberOnlyWrite": true},
		{"name": "one", "policy": "OR('Org1MSP.member')", "memberOnlyRead": true},
		{"name": "open", "policy": "OR('Org1MSP.member')"}]`)
	access := func(name, org string) [2]bool {
		read, write := collection.Access(collection.Find(all, config, name), users[org])
		return [2]bool{read, write}
	}
	for _, c := range []struct {
		name, org string
		want      [2]bool
	}{
		{"both", "Org1MSP", [2]bool{true, true}}, {"both", "Org2MSP", [2]bool{true, true}}, {"both", "nobody", [2]bool{}},
		{"one", "Org1MSP", [2]bool{true, true}}, {"one", "Org2MSP", [2]bool{false, true}},
		{"open", "Org2MSP", [2]bool{true, true}}, {"_implicit_org_Org1MSP", "Org2MSP", [2]bool{true, true}},
	} {
		if got := access(c.name, c.org); got != c.want {
			t.Errorf("%s of %s: got %v, want %v", c.org, c.name, got, c.want)
		}
	}
	for name, want := range map[string][]string{"both": {"Org1MSP", "Org2MSP"}, "one": {"Org1MSP"}, "_implicit_org_Org2MSP": {"Org2MSP"}} {
		if got := collection.Members(collection.Find(all, config, name)); !cmp.Equal(got, want) {
			t.Errorf("members of %s: got %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"none", "", "_implicit_org_", "_implicit_org_Org3MSP", "_implicit_org_OrdererMSP"} {
		if got := collection.Find(all, config, name); got != nil {
			t.Errorf("%q: got %v", name, got)
		}
	}
}

// TestRecorded compares the message with that which Fabric's command line made of the recorded network's collections.
func TestRecorded(t *testing.T) {
	t.Parallel()
	const probe = `[
		{"name": "shared", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 1, "blockToLive": 0, "memberOnlyRead": true, "memberOnlyWrite": true},
		{"name": "org1only", "policy": "OR('Org1MSP.member')", "requiredPeerCount": 0, "maxPeerCount": 1, "blockToLive": 0, "memberOnlyRead": true, "memberOnlyWrite": true},
		{"name": "org1open", "policy": "OR('Org1MSP.member')", "requiredPeerCount": 0, "maxPeerCount": 1, "blockToLive": 0, "memberOnlyRead": false, "memberOnlyWrite": false},
		{"name": "brief", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 1, "blockToLive": 2, "memberOnlyRead": true, "memberOnlyWrite": true},
		{"name": "both", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 1, "blockToLive": 0, "memberOnlyRead": true, "memberOnlyWrite": true,
		 "endorsementPolicy": {"signaturePolicy": "AND('Org1MSP.peer','Org2MSP.peer')"}}]`
	var data lifecycle.StateData
	if err := proto.Unmarshal(recorded(t, "namespaces/fields/probe/Collections"), &data); err != nil {
		t.Fatal(err)
	}
	var want peer.CollectionConfigPackage
	if err := proto.Unmarshal(data.GetBytes(), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mustParse(t, probe), &want, protocmp.Transform()); diff != "" {
		t.Errorf("got before want:\n%s", diff)
	}
}

// recorded returns the first value written to a key in the recorded channel's blocks.
func recorded(t *testing.T, key string) []byte {
	t.Helper()
	files, err := filepath.Glob("../../testdata/conformance/wire/blocks/alpha-*.pb")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, envelope := range block.Data.Data {
			tx, _ := wire.ParseEnvelope(envelope)
			if tx == nil || tx.RWSet == nil {
				continue
			}
			for _, ns := range tx.RWSet.Namespaces {
				for _, write := range ns.KV.Writes {
					if write.Key == key {
						return write.Value
					}
				}
			}
		}
	}
	t.Fatalf("no block writes %s", key)
	return nil
}
