package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// pricing is a contract whose packages differ in what they take for the price of something.
type pricing struct {
	price  string
	status int32
	runs   atomic.Int64
}

func (c *pricing) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (c *pricing) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	c.runs.Add(1)
	function, args := stub.GetFunctionAndParameters()
	if c.status >= 400 {
		return &peer.Response{Status: c.status, Message: "this package sells nothing"}
	}
	switch function {
	case "same":
		if err := stub.PutState(args[0], []byte("agreed")); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success([]byte("agreed"))
	case "secret":
		if err := stub.PutPrivateData("_implicit_org_PeerlessMSP", args[0], []byte("secret "+c.price)); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(nil)
	case "price":
		if _, err := stub.GetState(args[0]); err != nil {
			return shim.Error(err.Error())
		}
		if err := stub.PutState(args[0], fmt.Appendf(nil, `{"note": "%s", "price": %s}`, strings.Repeat("n", 100), c.price)); err != nil {
			return shim.Error(err.Error())
		}
		if err := stub.PutState("last", []byte(c.price)); err != nil {
			return shim.Error(err.Error())
		}
		if err := stub.SetEvent("priced", []byte(c.price)); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success([]byte{0, 1, c.price[0]})
	}
	return shim.Error("no function " + function)
}

// market is a platform with a channel "market" of three organisations, each of which runs the package that is given for it.
func market(t *testing.T, policy string, packages map[string]*pricing) *platform {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newPlatform(t, mem.New(mem.Config{}), &pricing{price: "1"}, service.Config{})
	spec := channelconfig.Spec{Channel: "market", Orderer: s.spec.Orderer, Organizations: s.spec.Organizations}
	for _, id := range []string{"Org2MSP", "Org3MSP"} {
		o, err := s.Organizations.(*organization.Registry).Organization(id)
		must(err)
		spec.Organizations = append(spec.Organizations, channelconfig.Organization{MSPID: id, MSP: o.MSPConfig()})
	}
	genesis, err := channelconfig.Genesis(spec, time.Now())
	must(err)
	must(s.CreateChannel(t.Context(), genesis))
	_, err = s.Define(t.Context(), "market", s.user, service.Definition{Name: "cc", Version: "1", Policy: policy})
	must(err)
	for mspID, contract := range packages {
		host, err := chaincode.StartInProcess("cc", contract, chaincode.Config{})
		must(err)
		t.Cleanup(func() { host.Close() })
		key := "market/cc"
		if mspID != "" {
			key += "/" + mspID
		}
		s.Chaincodes.(hosts)[key] = host
	}
	return s
}

func (p *platform) sell(t *testing.T, function string, organizations ...string) error {
	t.Helper()
	r := p.request(function, "a1")
	r.Channel, r.Organizations = "market", organizations
	_, err := p.SubmitTransaction(t.Context(), r)
	return err
}

const all3 = "AND('PeerlessMSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')"

// TestOnePackageRunsOnce: a transaction is run once for each package, however many organisations sign.
func TestOnePackageRunsOnce(t *testing.T) {
	t.Parallel()
	shared, own := &pricing{price: "1"}, &pricing{price: "2"}
	s := market(t, all3, map[string]*pricing{"": shared})
	if err := s.sell(t, "price"); err != nil {
		t.Fatal(err)
	}
	if n := shared.runs.Load(); n != 1 {
		t.Errorf("three organisations with one package ran it %d times", n)
	}
	s = market(t, all3, map[string]*pricing{"": shared, "Org2MSP": own})
	shared.runs.Store(0)
	if err := s.sell(t, "same"); err != nil { // which both packages do alike
		t.Fatal(err)
	}
	if one, other := shared.runs.Load(), own.runs.Load(); one != 1 || other != 1 {
		t.Errorf("two packages ran %d and %d times", one, other)
	}
}

// TestPackagesDiffer: what differs is refused, and said so that a person sees where.
func TestPackagesDiffer(t *testing.T) {
	t.Parallel()
	const difference = `ProposalResponsePayloads do not match: ` +
		`response: status 200, payload 0x000131 by PeerlessMSP, status 200, payload 0x000132 by Org2MSP; ` +
		`event: "priced" with 1 by PeerlessMSP, "priced" with 2 by Org2MSP; ` +
		`namespace cc, key "a1": written …nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn","price":1} (124 bytes) by PeerlessMSP, ` +
		`written …nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn","price":2} (124 bytes) by Org2MSP; ` +
		`namespace cc, key "last": written 1 by PeerlessMSP, written 2 by Org2MSP`
	s := market(t, "AND('PeerlessMSP.peer', 'Org2MSP.peer')", map[string]*pricing{"": {price: "1"}, "Org2MSP": {price: "2"}})
	for name, organizations := range map[string][]string{"planned": nil, "named": {"PeerlessMSP", "Org2MSP"}} {
		err := s.sell(t, "price", organizations...)
		var e *service.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", name, err)
		}
		if e.Kind != service.EndorsementPolicyFailure || e.Code != codes.Aborted ||
			e.Message != "failed to collect enough transaction endorsements, see attached details for more info" {
			t.Errorf("%s: %v, %v: %s", name, e.Kind, e.Code, e.Message)
		}
		if len(e.Details) != 1 || e.Details[0].MSPID != "Org2MSP" || e.Details[0].Message != difference {
			t.Errorf("%s: details\n%q\nwant\n%q", name, e.Details, difference)
		}
	}
}

// TestPrivateDifference: of private data only hashes are shown.
func TestPrivateDifference(t *testing.T) {
	t.Parallel()
	short := func(text string) string {
		hash := sha256.Sum256([]byte(text))
		return hex.EncodeToString(hash[:8])
	}
	s := market(t, "", map[string]*pricing{"": {price: "1"}, "Org2MSP": {price: "2"}})
	err := s.sell(t, "secret", "PeerlessMSP", "Org2MSP")
	want := fmt.Sprintf("failed to collect enough transaction endorsements, see attached details for more info: Org2MSP: ProposalResponsePayloads do not match: "+
		"namespace cc, collection _implicit_org_PeerlessMSP, key with hash %s: written with the value's hash %s by PeerlessMSP, written with the value's hash %s by Org2MSP",
		short("a1"), short("secret 1"), short("secret 2"))
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestPlanAroundAPackage: where others satisfy the policy, one whose package fails or differs is left out.
func TestPlanAroundAPackage(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]*pricing{"differs": {price: "2"}, "fails": {status: 500}} {
		s := market(t, "OutOf(2, 'PeerlessMSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')", map[string]*pricing{"": {price: "1"}, "Org2MSP": odd})
		if err := s.sell(t, "price"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if odd.runs.Load() != 1 {
			t.Errorf("%s: the second organisation was asked %d times", name, odd.runs.Load())
		}
	}
}

// TestFirstNeedNotSign: the gateway's own organisation is asked first, and what it does does not count if it does not sign.
func TestFirstNeedNotSign(t *testing.T) {
	t.Parallel()
	s := market(t, "AND('Org2MSP.peer', 'Org3MSP.peer')", map[string]*pricing{"": {price: "2"}, "PeerlessMSP": {price: "1"}})
	if err := s.sell(t, "price"); err != nil {
		t.Fatal(err)
	}
	history, err := s.History(t.Context(), "market", "cc", "last", ledger.Version{}, 10)
	if err != nil || len(history) != 1 || string(history[0].Value) != "2" {
		t.Errorf("%v %v", history, err)
	}
}
