package policy_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
	"peerless/shared/policy"
)

func mustParse(t testing.TB, text string) *common.SignaturePolicyEnvelope {
	t.Helper()
	envelope, err := policy.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return envelope
}

// Policies that Fabric's own command line and statebased package made of these texts, out of the real network's blocks:
// the arguments of lifecycle calls, and a key's validation parameter.
func TestParseAsFabric(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"OR('Org1MSP.peer','Org2MSP.peer')":                       "EgwSCggBEgIIABICCAEaDRILCgdPcmcxTVNQEAMaDRILCgdPcmcyTVNQEAM=",
		"AND('Org1MSP.peer','Org2MSP.peer')":                      "EgwSCggCEgIIABICCAEaDRILCgdPcmcxTVNQEAMaDRILCgdPcmcyTVNQEAM=",
		"OR('Org2MSP.peer')":                                      "EggSBggBEgIIABoNEgsKB09yZzJNU1AQAw==",
		"OutOf(2,'Org1MSP.peer','Org1MSP.member','Org2MSP.peer')": "EhASDggCEgIIABICCAESAggCGg0SCwoHT3JnMU1TUBADGgsSCQoHT3JnMU1TUBoNEgsKB09yZzJNU1AQAw==",
		" outof ( '2' , \"Org1MSP.peer\" , 'Org2MSP.peer'\t)\n":   "EgwSCggCEgIIABICCAEaDRILCgdPcmcxTVNQEAMaDRILCgdPcmcyTVNQEAM=",
		"OR('Org1MSP.member', 'Org2MSP.member')":                  "EgwSCggBEgIIABICCAEaCxIJCgdPcmcxTVNQGgsSCQoHT3JnMk1TUA==",
	} {
		got, err := proto.Marshal(mustParse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if encoded := base64.StdEncoding.EncodeToString(got); encoded != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, encoded, want)
		}
	}
}

// Of nested gates, Fabric numbers the inner gates' principals first.
func TestParseNumbersInnerGatesFirst(t *testing.T) {
	t.Parallel()
	envelope := mustParse(t, "OR('A.member', AND('B.member', OutOf(1, 'C.member')), 'D.member')")
	var order []string
	for _, principal := range envelope.Identities {
		role := &mspproto.MSPRole{}
		if err := proto.Unmarshal(principal.Principal, role); err != nil {
			t.Fatal(err)
		}
		order = append(order, role.MspIdentifier)
	}
	if diff := cmp.Diff(order, []string{"C", "B", "A", "D"}); diff != "" {
		t.Errorf("order of principals (-got +want):\n%s", diff)
	}
	if got, want := policy.Format(envelope), "OR('A.member', AND('B.member', OR('C.member')), 'D.member')"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "''", "1", "'A.member'", "A.member", "XOR('A.member')", "oR('A.member')", "OR", "OR(", "OR()", "OR('A.member'", "OR('A.member',)",
		"OR('A.member') x", "OR('A.member'))", "OR('A.member' 'B.member')", "OR('A')", "OR('A.king')", "OR('A b.peer')", "OR('.peer')",
		"OR('A.member', Bmember)", "OutOf(1)", "OutOf(1, 2)", "OutOf('A.member', 'B.member')", "OutOf(true, 'A.member')",
		"OutOf(-1, 'A.member', 'B.member')", "OutOf(4, 'A.member', 'B.member')", "OutOf(99999999999, 'A.member')", "OR('A.member",
		strings.Repeat("OR(", 100000) + "'A.member'" + strings.Repeat(")", 100000),
	} {
		if got, err := policy.Parse(text); !errors.Is(err, policy.ErrSyntax) {
			t.Errorf("%.40q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"OutOf(0, 'A.member', 'B.member')", "OutOf(3, 'A.member', 'B.member')"} {
		mustParse(t, text) // Fabric lets both through: nobody has to sign the first, nobody can the second
	}
}

func TestFormatOthers(t *testing.T) {
	t.Parallel()
	for want, envelope := range map[string]*common.SignaturePolicyEnvelope{
		"<invalid>": nil,
		"OR(<identity>, <invalid>)": {
			Rule: &common.SignaturePolicy{Type: &common.SignaturePolicy_NOutOf_{NOutOf: &common.SignaturePolicy_NOutOf{N: 1, Rules: []*common.SignaturePolicy{
				{Type: &common.SignaturePolicy_SignedBy{SignedBy: 0}}, {Type: &common.SignaturePolicy_SignedBy{SignedBy: 7}},
			}}}},
			Identities: []*mspproto.MSPPrincipal{{PrincipalClassification: mspproto.MSPPrincipal_IDENTITY}},
		},
	} {
		if got := policy.Format(envelope); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// organisations issues one identity of each role in each of the MSPs: "A.peer" and so on.
func organisations(t testing.TB, mspIDs ...string) map[string]*msp.Identity {
	t.Helper()
	ids := map[string]*msp.Identity{}
	for _, mspID := range mspIDs {
		ca, err := msp.NewCA(mspID)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := msp.New(ca.Config())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"peer", "peer2", "client", "admin"} {
			certPEM, _, err := ca.Issue(msp.IssueRequest{CommonName: name, Role: strings.TrimSuffix(name, "2")})
			if err != nil {
				t.Fatal(err)
			}
			serialized, err := msp.Serialize(mspID, certPEM)
			if err != nil {
				t.Fatal(err)
			}
			if ids[mspID+"."+name], err = verifier.Identify(serialized); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ids
}

func TestSatisfied(t *testing.T) {
	t.Parallel()
	ids := organisations(t, "A", "B")
	for _, test := range []struct {
		policy, signers string
		want            bool
	}{
		{"OR('A.peer', 'B.peer')", "", false},
		{"OR('A.peer', 'B.peer')", "B.peer", true},
		{"OR('A.peer', 'B.peer')", "A.client B.admin", false},
		{"AND('A.peer', 'B.peer')", "A.peer", false},
		{"AND('A.peer', 'B.peer')", "B.peer A.peer", true},
		{"AND('A.peer', 'B.peer')", "A.peer A.peer2", false},
		{"AND('A.member', 'A.member')", "A.peer", false},
		{"AND('A.member', 'A.member')", "A.peer A.client", true},
		{"OutOf(2, 'A.peer', 'A.member', 'B.peer')", "A.peer", false},
		{"OutOf(2, 'A.peer', 'A.member', 'B.peer')", "A.peer A.peer2", true},
		{"OutOf(2, 'A.peer', 'A.member', 'B.peer')", "A.client A.peer", true},
		{"OutOf(0, 'A.peer')", "", true},
		{"OutOf(2, 'A.peer')", "A.peer A.peer2", false},
		// The member is the peer, and nobody is left to be it: signers are taken in their order.
		{"AND('A.member', 'A.peer')", "A.peer A.client", false},
		{"AND('A.member', 'A.peer')", "A.client A.peer", true},
		// A gate takes what its further operands fit, needed or not.
		{"AND(OR('A.member', 'A.member'), 'A.member')", "A.peer A.client", false},
		{"AND('A.member', OR('A.member', 'A.member'))", "A.peer A.client", true},
		// A gate that fails takes nobody.
		{"OR(AND('A.peer', 'B.peer'), 'A.peer')", "A.peer", true},
	} {
		var signers []*msp.Identity
		for _, name := range strings.Fields(test.signers) {
			signers = append(signers, ids[name])
		}
		if got := policy.Satisfied(mustParse(t, test.policy), signers); got != test.want {
			t.Errorf("%s by %q: got %t", test.policy, test.signers, got)
		}
	}
}

func TestSatisfiedRefusesMalformed(t *testing.T) {
	t.Parallel()
	ids := organisations(t, "A")
	signers := []*msp.Identity{ids["A.peer"]}
	beyond := mustParse(t, "OR('A.peer', 'A.member')")
	beyond.Identities = beyond.Identities[:1]
	newer := mustParse(t, "OR('A.peer')")
	newer.Version = 1
	for name, envelope := range map[string]*common.SignaturePolicyEnvelope{
		"nil": nil, "empty": {}, "principal beyond": beyond, "newer version": newer,
	} {
		if policy.Satisfied(envelope, signers) {
			t.Errorf("%s: satisfied", name)
		}
	}
}
