package grpcapi_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/policy"
	"peerless/shared/wire"
)

// as connects another identity to the served platform.
func (s *served) as(t *testing.T, signer *msp.Signer) *client.Network {
	t.Helper()
	gw, err := client.Connect(identity{signer}, client.WithClientConnection(s.connection), client.WithHash(hash.NONE), client.WithSign(signer.Sign))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gw.Close() })
	return gw.GetNetwork("trade")
}

// administrator connects the administrator of an organisation.
func (s *served) administrator(t *testing.T, mspID string) *client.Network {
	t.Helper()
	o, err := s.node.Organizations.Organization(mspID)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := o.Admin("admin")
	if err != nil {
		t.Fatal(err)
	}
	return s.as(t, signer)
}

// change submits a transaction of _lifecycle, endorsed by the organisations named.
func change(t *testing.T, network *client.Network, function string, args proto.Message, organizations ...string) error {
	t.Helper()
	encoded, err := proto.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	options := []client.ProposalOption{client.WithBytesArguments(encoded)}
	if len(organizations) > 0 {
		options = append(options, client.WithEndorsingOrganizations(organizations...))
	}
	_, err = network.GetContract("_lifecycle").Submit(function, options...)
	return err
}

func approve(t *testing.T, network *client.Network, args *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs, organizations ...string) error {
	return change(t, network, "ApproveChaincodeDefinitionForMyOrg", args, organizations...)
}

// commit commits what an approval approves.
func commit(t *testing.T, network *client.Network, a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs, organizations ...string) error {
	return change(t, network, "CommitChaincodeDefinition", &lifecycle.CommitChaincodeDefinitionArgs{Name: a.Name, Version: a.Version, Sequence: a.Sequence,
		InitRequired: a.InitRequired, ValidationParameter: a.ValidationParameter, Collections: a.Collections}, organizations...)
}

// query asks _lifecycle.
func query(t *testing.T, network *client.Network, function string, args, into proto.Message) error {
	t.Helper()
	encoded, err := proto.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, network, "_lifecycle", function, into, encoded)
}

// readiness asks who approved what an approval approves, and what the others approved instead.
func readiness(t *testing.T, network *client.Network, a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) (map[string]bool, map[string][]string) {
	t.Helper()
	var answer lifecycle.CheckCommitReadinessResult
	if err := query(t, network, "CheckCommitReadiness", &lifecycle.CheckCommitReadinessArgs{Name: a.Name, Version: a.Version, Sequence: a.Sequence,
		InitRequired: a.InitRequired, ValidationParameter: a.ValidationParameter, Collections: a.Collections}, &answer); err != nil {
		t.Fatal(err)
	}
	mismatches := map[string][]string{}
	for mspID, fields := range answer.Mismatches {
		mismatches[mspID] = fields.Items
	}
	return answer.Approvals, mismatches
}

// refusal wants an error in whose words, or details, a text is.
func refusal(t *testing.T, err error, want string) {
	t.Helper()
	text := ""
	if err != nil {
		text = err.Error()
		for _, detail := range status.Convert(err).Details() {
			if d, ok := detail.(*pb.ErrorDetail); ok {
				text += "\n" + d.MspId + ": " + d.Message
			}
		}
	}
	if !strings.Contains(text, want) {
		t.Errorf("got %q, want %q in it", text, want)
	}
}

func signaturePolicy(t *testing.T, text string) []byte {
	t.Helper()
	envelope, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := proto.Marshal(&peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}})
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// recorded returns who asked for, and who endorsed, the valid transactions of _lifecycle from a block on.
func (s *served) recorded(t *testing.T, from uint64) []string {
	t.Helper()
	channel, err := s.node.Ledger.Channel(t.Context(), "trade")
	if err != nil {
		t.Fatal(err)
	}
	owner := func(serialized []byte) string {
		var id mspproto.SerializedIdentity
		if err := proto.Unmarshal(serialized, &id); err != nil {
			t.Fatal(err)
		}
		return id.Mspid
	}
	var all []string
	for number := from; number < s.height(t); number++ {
		block, err := channel.Block(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		codes, err := wire.ValidationCodes(block)
		if err != nil {
			t.Fatal(err)
		}
		for i, envelope := range block.Data.Data {
			tx, _ := wire.ParseEnvelope(envelope)
			if tx == nil || tx.Chaincode != ledger.LifecycleNamespace || codes[i] != peer.TxValidationCode_VALID {
				continue
			}
			var endorsers []string
			for _, e := range tx.Endorsements {
				endorsers = append(endorsers, owner(e.Endorser))
			}
			slices.Sort(endorsers)
			all = append(all, string(tx.Args[0])+" by "+owner(tx.Creator)+" with "+strings.Join(endorsers, "+"))
		}
	}
	return all
}

// install makes an in-process contract what runs a name, undefined as yet.
func (s *served) install(t *testing.T, name string) {
	t.Helper()
	contract, err := assettransfer.New()
	if err != nil {
		t.Fatal(err)
	}
	host, err := chaincode.StartInProcess(name, contract, chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.node.Chaincodes.BindHost("trade", name, host, name); err != nil {
		t.Fatal(err)
	}
}

// TestLifecycle defines and upgrades a chaincode as the organisations' administrators do with the Fabric Gateway's client: each
// approves for its own, and one commits.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.install(t, "assets")
	from := s.height(t)
	org1, org2 := s.administrator(t, "Org1MSP"), s.administrator(t, "Org2MSP")
	a := &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{Name: "assets", Version: "1.0", Sequence: 1,
		ValidationParameter: signaturePolicy(t, "AND('Org1MSP.peer','Org2MSP.peer')"),
		Source:              &lifecycle.ChaincodeSource{Type: &lifecycle.ChaincodeSource_LocalPackage{LocalPackage: &lifecycle.ChaincodeSource_Local{PackageId: "assets:12"}}}}
	refusal(t, query(t, org1, "QueryChaincodeDefinition", &lifecycle.QueryChaincodeDefinitionArgs{Name: "assets"}, &lifecycle.QueryChaincodeDefinitionResult{}),
		"namespace assets is not defined")

	if err := approve(t, org1, a, "Org1MSP"); err != nil {
		t.Fatal(err)
	}
	approvals, mismatches := readiness(t, org2, a)
	if diff := cmp.Diff(approvals, map[string]bool{"Org1MSP": true, "Org2MSP": false}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(mismatches, map[string][]string{"Org2MSP": {"ChaincodeParameters"}}); diff != "" {
		t.Error(diff)
	}
	refusal(t, commit(t, org1, a, "Org1MSP", "Org2MSP"), "Org2MSP: chaincode response 500, failed to invoke backing implementation of 'CommitChaincodeDefinition': "+
		"chaincode definition not agreed to by this org (Org2MSP)")
	refusal(t, commit(t, org2, a), "chaincode definition not agreed to by this org (Org2MSP)")
	var failed *client.CommitError
	if err := commit(t, org1, a, "Org1MSP"); !errors.As(err, &failed) || failed.Code != peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE {
		t.Errorf("commit by one of two: %v, want a failure of the endorsement policy", err)
	}

	other := proto.CloneOf(a)
	other.Version = "1.1"
	if err := approve(t, org2, other); err != nil { // the gateway finds whose it is
		t.Fatal(err)
	}
	if _, mismatches = readiness(t, org1, a); !cmp.Equal(mismatches, map[string][]string{"Org2MSP": {"EndorsementInfo"}}) {
		t.Errorf("mismatches: %v", mismatches)
	}
	if err := approve(t, org2, a, "Org2MSP"); err != nil {
		t.Fatal(err)
	}
	refusal(t, approve(t, org2, a, "Org2MSP"), "attempted to redefine uncommitted sequence (1) for namespace assets with unchanged content")
	if err := commit(t, org1, a, "Org1MSP", "Org2MSP"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.network.GetContract("assets").SubmitTransaction("InitLedger"); err != nil {
		t.Fatal(err)
	}
	var approved lifecycle.QueryApprovedChaincodeDefinitionResult
	if err := query(t, org1, "QueryApprovedChaincodeDefinition", &lifecycle.QueryApprovedChaincodeDefinitionArgs{Name: "assets"}, &approved); err != nil ||
		approved.Sequence != 1 || approved.Version != "1.0" || approved.GetSource().GetLocalPackage().GetPackageId() != "assets:12" {
		t.Errorf("QueryApprovedChaincodeDefinition: %v, %v", &approved, err)
	}

	// An upgrade, and a transaction that was endorsed before it.
	late, err := s.network.GetContract("assets").NewProposal("TransferAsset", client.WithArguments("asset1", "maria"))
	if err != nil {
		t.Fatal(err)
	}
	endorsed, err := late.Endorse()
	if err != nil {
		t.Fatal(err)
	}
	b := proto.CloneOf(a)
	b.Sequence, b.ValidationParameter = 2, signaturePolicy(t, "OR('Org1MSP.peer','Org2MSP.peer')")
	for _, admin := range []*client.Network{org1, org2} {
		if err := approve(t, admin, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := commit(t, org2, b); err != nil { // the gateway finds who must endorse
		t.Fatal(err)
	}
	pending, err := endorsed.Submit()
	if err != nil {
		t.Fatal(err)
	}
	if outcome, err := pending.Status(); err != nil || outcome.Code != peer.TxValidationCode_MVCC_READ_CONFLICT {
		t.Errorf("endorsed before the upgrade: %v, %v, want MVCC_READ_CONFLICT", outcome, err)
	}
	if _, err := s.network.GetContract("assets").Submit("TransferAsset", client.WithArguments("asset1", "maria"), client.WithEndorsingOrganizations("Org2MSP")); err != nil {
		t.Errorf("under the new policy one organisation is enough: %v", err)
	}
	var defined lifecycle.QueryChaincodeDefinitionResult
	if err := query(t, org1, "QueryChaincodeDefinition", &lifecycle.QueryChaincodeDefinitionArgs{Name: "assets"}, &defined); err != nil ||
		defined.Sequence != 2 || !cmp.Equal(defined.Approvals, map[string]bool{"Org1MSP": true, "Org2MSP": true}) {
		t.Errorf("QueryChaincodeDefinition: %v, %v", &defined, err)
	}
	if diff := cmp.Diff(s.recorded(t, from), []string{
		"ApproveChaincodeDefinitionForMyOrg by Org1MSP with Org1MSP",
		"ApproveChaincodeDefinitionForMyOrg by Org2MSP with Org2MSP",
		"ApproveChaincodeDefinitionForMyOrg by Org2MSP with Org2MSP",
		"CommitChaincodeDefinition by Org1MSP with Org1MSP+Org2MSP",
		"ApproveChaincodeDefinitionForMyOrg by Org1MSP with Org1MSP",
		"ApproveChaincodeDefinitionForMyOrg by Org2MSP with Org2MSP",
		"CommitChaincodeDefinition by Org2MSP with Org1MSP+Org2MSP",
	}); diff != "" {
		t.Errorf("the ledger's account (-got +want):\n%s", diff)
	}

	// The same in the gateway's own terms.
	if d, err := s.node.Gateway.Definition(t.Context(), "trade", "assets"); err != nil || d.Sequence != 2 || d.Policy != "OR('Org1MSP.peer', 'Org2MSP.peer')" {
		t.Errorf("definition: %+v, %v", d, err)
	}
}

// TestLifecycleRefuses: who may not, and what is not a definition, is told so as Fabric tells it.
func TestLifecycleRefuses(t *testing.T) {
	t.Parallel()
	s := start(t) // basic and probe are defined, with sequence 1
	org1 := s.administrator(t, "Org1MSP")
	good := func(edit func(*lifecycle.ApproveChaincodeDefinitionForMyOrgArgs)) *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs {
		a := &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{Name: "new", Version: "1", Sequence: 1}
		edit(a)
		return a
	}
	nothing := func(*lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) {}
	const who = "Failed to authorize invocation due to failed ACL check: "
	refusal(t, approve(t, s.network, good(nothing)), who+"Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]")
	refusal(t, approve(t, org1, good(nothing), "Org2MSP"), who+"Failed deserializing proposal creator during channelless check policy with policy [Admins]: [expected MSP ID Org2MSP, received Org1MSP]")
	refusal(t, query(t, s.network, "QueryApprovedChaincodeDefinitions", &lifecycle.QueryApprovedChaincodeDefinitionsArgs{}, &lifecycle.QueryApprovedChaincodeDefinitionsResult{}), who)
	peerOfOrg1, err := s.node.Organizations.Endorser("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	refusal(t, query(t, s.as(t, peerOfOrg1.Signer), "QueryChaincodeDefinitions", &lifecycle.QueryChaincodeDefinitionsArgs{}, &lifecycle.QueryChaincodeDefinitionsResult{}), "[/Channel/Application/Writers]")

	for _, test := range []struct {
		edit func(*lifecycle.ApproveChaincodeDefinitionForMyOrgArgs)
		want string
	}{
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "a b" }, "error validating chaincode definition: invalid chaincode name 'a b'. Names can only consist of alphanumerics, '_', and '-'"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "qscc" }, "chaincode name 'qscc' is the name of a system chaincode"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Version = "" }, "error validating chaincode definition: invalid chaincode version ''"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Sequence = 0 }, "requested sequence is 0, but first definable sequence number is 1"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Sequence = 2 }, "requested sequence 2 is larger than the next available sequence number 1"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name, a.Sequence = "basic", 0 }, "currently defined sequence 1 is larger than requested sequence 0"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name, a.Version = "basic", "9" }, "attempted to redefine the current committed sequence (1) for namespace basic with different parameters: expected Version '1' does not match passed Version '9'"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "basic" }, "attempted to redefine the current committed sequence (1) for namespace basic"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.EndorsementPlugin = "mine" }, "there is no endorsement plugin 'mine' here"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.ValidationParameter = []byte("x") }, "the validation parameter is not an application policy"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) {
			a.ValidationParameter = []byte("\x12\x19/Channel/Application/Nope")
		}, "policy '/Channel/Application/Nope' must be defined for channel 'trade'"},
		{func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) {
			a.Collections, err = collection.Parse([]byte(`[{"name":"c","policy":"OR('ElsewhereMSP.member')","requiredPeerCount":0,"maxPeerCount":1,"blockToLive":0}]`))
			if err != nil {
				t.Fatal(err)
			}
		}, "error validating chaincode definition: "},
	} {
		refusal(t, approve(t, org1, good(test.edit)), test.want)
	}
	refusal(t, commit(t, org1, good(func(a *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) { a.Name = "basic" })), "requested sequence is 1, but new definition must be sequence 2")
	_, err = org1.GetContract("_lifecycle").Evaluate("QueryChaincodeDefinition")
	refusal(t, err, "lifecycle scc operations require exactly two arguments but received 1")
	_, err = org1.GetContract("_lifecycle").Evaluate("Whatever", client.WithArguments(""))
	refusal(t, err, "Unmapped policy for _lifecycle/Whatever")
	_, err = org1.GetContract("_lifecycle").Evaluate("InstallChaincode", client.WithArguments(""))
	refusal(t, err, "packages are installed with peerless deploy or over HTTP")
	_, err = org1.GetContract("_lifecycle").Evaluate("QueryChaincodeDefinition", client.WithArguments("\xff"))
	refusal(t, err, "could not decode input arg")
	refusal(t, query(t, org1, "QueryInstalledChaincode", &lifecycle.QueryInstalledChaincodeArgs{PackageId: "x:1"}, &lifecycle.QueryInstalledChaincodeResult{}),
		"chaincode install package 'x:1' not found")
	var installed lifecycle.QueryInstalledChaincodesResult
	if err := query(t, org1, "QueryInstalledChaincodes", &lifecycle.QueryInstalledChaincodesArgs{}, &installed); err != nil || len(installed.InstalledChaincodes) != 0 {
		t.Errorf("QueryInstalledChaincodes of contracts without packages: %v, %v", &installed, err)
	}
	var all lifecycle.QueryApprovedChaincodeDefinitionsResult
	if err := query(t, org1, "QueryApprovedChaincodeDefinitions", &lifecycle.QueryApprovedChaincodeDefinitionsArgs{}, &all); err != nil || len(all.ApprovedChaincodeDefinitions) != 2 ||
		all.ApprovedChaincodeDefinitions[0].Name != "basic" || all.ApprovedChaincodeDefinitions[1].GetSource().GetUnavailable() == nil {
		t.Errorf("QueryApprovedChaincodeDefinitions: %v, %v", &all, err)
	}
	if _, err := s.node.Gateway.Definition(t.Context(), "trade", "new"); !errors.As(err, new(*gateway.Error)) {
		t.Errorf("something was defined: %v", err)
	}
}
