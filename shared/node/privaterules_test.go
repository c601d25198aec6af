package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gatewayproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// consortium is a node with the probe on a channel of two organisations and CMSP, which endorses nothing: its authority is elsewhere, and
// so is what it keeps. It returns a client of CMSP.
func consortium(t *testing.T, collections string) (*node.Node, *msp.Signer) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := open(t, mem.New(mem.Config{}), "")
	t.Cleanup(func() { closed(t, n) })
	ca, err := msp.NewCA("CMSP")
	must(err)
	_, err = n.Organizations.Add("CMSP", organization.Member{Config: ca.Config()})
	must(err)
	cert, key, err := ca.Issue(msp.IssueRequest{CommonName: "client", Role: msp.RoleClient})
	must(err)
	client, err := msp.NewSigner("CMSP", cert, key)
	must(err)
	must(n.CreateChannel(t.Context(), "main", []string{"AMSP", "BMSP", "CMSP"}))
	all, err := collection.Parse([]byte(collections))
	must(err)
	_, err = n.DeployInProcess(t.Context(), "main", probe.New(), gateway.Definition{Name: "probe", Policy: "OR('AMSP.peer','BMSP.peer')", Collections: all})
	must(err)
	return n, client
}

// TestRequiredPeerCount: what is written to a collection must be held for as many other organisations as it says.
func TestRequiredPeerCount(t *testing.T) {
	t.Parallel()
	n, _ := consortium(t, `[
		{"name": "pair", "policy": "OR('AMSP.member','BMSP.member')", "requiredPeerCount": 1},
		{"name": "alone", "policy": "OR('AMSP.member')", "requiredPeerCount": 1},
		{"name": "away", "policy": "OR('AMSP.member','CMSP.member')", "requiredPeerCount": 1},
		{"name": "all", "policy": "OR('AMSP.member','BMSP.member','CMSP.member')", "requiredPeerCount": 2, "maxPeerCount": 3}]`)
	p := &privateNode{TB: t, node: n}
	for _, c := range []struct {
		mspID, collection string
		required, known   int // of an error
	}{
		{"AMSP", "pair", 0, 0}, {"BMSP", "pair", 0, 0}, {"BMSP", "alone", 0, 0}, {"AMSP", "_implicit_org_AMSP", 0, 0},
		{"AMSP", "alone", 1, 0}, {"AMSP", "away", 1, 0}, {"AMSP", "all", 2, 1},
	} {
		request := p.request(c.mspID, "probe", `[{"op":"PutPrivateData","collection":"`+c.collection+`","key":"k","value":"v"}]`, nil)
		_, submitted := n.Gateway.SubmitTransaction(t.Context(), request)
		_, evaluated := n.Gateway.EvaluateTransaction(t.Context(), request)
		for call, err := range map[string]error{"submit": submitted, "evaluate": evaluated} {
			if c.required == 0 {
				if err != nil {
					t.Errorf("%s, %s of %s: %v", c.collection, call, c.mspID, err)
				}
				continue
			}
			want := fmt.Sprintf("channel main: could not build private data dissemination plan for chaincode probe and collection %s: required to disseminate to at least %d peers, but know of only %d eligible peers",
				c.collection, c.required, c.known)
			if err == nil || !strings.Contains(err.Error(), "error in simulation: failed to distribute private collection, txID ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s of %s: %v, want %q", c.collection, call, c.mspID, err, want)
			}
		}
	}
}

// TestTransientDataStaysAtHome: where the client names nobody, its transient data goes to an endorser of the gateway's organisation or to none.
func TestTransientDataStaysAtHome(t *testing.T) {
	t.Parallel()
	n, client := consortium(t, "")
	call := func(signer *msp.Signer, at string, transient bool, named ...string) (endorse, evaluate error) {
		t.Helper()
		spec := wire.ProposalSpec{Channel: "main", Chaincode: "probe", Args: [][]byte{[]byte("run"), []byte(`[{"op":"GetTransient"}]`)}, Creator: signer.Serialized,
			Nonce: []byte("a nonce of twenty-four b"), Timestamp: time.Now()}
		if transient {
			spec.Transient = map[string][]byte{"k": []byte("v")}
		}
		proposal, err := wire.NewProposal(spec)
		if err != nil {
			t.Fatal(err)
		}
		proposal.SignLater(signer.Sign)
		signed, err := proposal.SignedProposal()
		if err != nil {
			t.Fatal(err)
		}
		_, endorse = n.Gateway.At(at).Endorse(t.Context(), &gatewayproto.EndorseRequest{TransactionId: proposal.TxID, ChannelId: "main", ProposedTransaction: signed, EndorsingOrganizations: named})
		_, evaluate = n.Gateway.At(at).Evaluate(t.Context(), &gatewayproto.EvaluateRequest{TransactionId: proposal.TxID, ChannelId: "main", ProposedTransaction: signed, TargetOrganizations: named})
		return endorse, evaluate
	}
	a, err := n.User("AMSP", "user", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer    *msp.Signer
		at        string
		transient bool
		named     []string
		refused   bool
	}{
		"at its own gateway, which has no endorser":   {client, "", true, nil, true},
		"at a gateway of an organisation without one": {a, "CMSP", true, nil, true},
		"with the endorsers named":                    {client, "", true, []string{"AMSP"}, false},
		"at another's gateway":                        {client, "AMSP", true, nil, false},
		"with nothing transient":                      {client, "", false, nil, false},
		"at its own gateway":                          {a, "", true, nil, false},
	} {
		endorse, evaluate := call(c.signer, c.at, c.transient, c.named...)
		for step, got := range map[string]error{
			"no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data":                                                              endorse,
			"no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: no peers available to evaluate chaincode probe in channel main": evaluate,
		} {
			if !c.refused && got != nil {
				t.Errorf("%s: %v", name, got)
			}
			if st := status.Convert(got); c.refused && (st.Code() != codes.FailedPrecondition || st.Message() != step) {
				t.Errorf("%s: %v, want %q", name, got, step)
			}
		}
	}
	if _, err := n.Gateway.SubmitTransaction(t.Context(), gateway.Request{Channel: "main", Chaincode: "probe", Function: "run", Args: [][]byte{[]byte(`[]`)},
		Transient: map[string][]byte{"k": []byte("v")}, User: client}); err == nil || !strings.Contains(err.Error(), "no endorsers found in the gateway's organization") {
		t.Errorf("a user of such an organisation: %v", err)
	}
}
