package organization

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"

	"peerless/shared/msp"
)

func mustCA(t *testing.T, mspID string) (*msp.CA, *KeyPair) {
	t.Helper()
	ca, err := msp.NewCA(mspID)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return ca, &KeyPair{certificate, key}
}

func mustIssue(t *testing.T, ca *msp.CA, name, role string) *KeyPair {
	t.Helper()
	certificate, key, err := ca.Issue(msp.IssueRequest{CommonName: name, Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return &KeyPair{certificate, key}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	ca, authority := mustCA(t, "Org1MSP")
	endorser := mustIssue(t, ca, "peer0.org1.test", msp.RolePeer)
	for _, dir := range []string{"", t.TempDir()} {
		r := mustOpen(t, dir)
		check := func(org *Organization, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := org.Endorser().Cert.Subject.CommonName, "peer0.org1.test"; got != want {
				t.Errorf("endorser: got %s, want %s", got, want)
			}
			if _, err := org.User("ada", nil); !errors.Is(err, ErrNoAuthority) {
				t.Errorf("user: got %v, want ErrNoAuthority", err)
			}
		}
		check(r.Add("Org1MSP", Member{Config: ca.Config(), Endorser: endorser}))
		check(r.Organization("Org1MSP"))
		check(r.Add("Org1MSP", Member{Config: ca.Config()})) // again, changing nothing
		if dir != "" {
			r = mustOpen(t, dir)
			check(r.Organization("Org1MSP"))
		}
		// Its authority follows.
		org, err := r.Add("Org1MSP", Member{Authority: authority})
		if err != nil {
			t.Fatal(err)
		}
		if !has(t, org, mustUser(t, org, "ada", nil), mspproto.MSPRole_CLIENT) {
			t.Error("the user is not a client")
		}
	}
}

func TestAddWithoutEndorser(t *testing.T) {
	t.Parallel()
	ca, authority := mustCA(t, "Org1MSP")
	r := mustOpen(t, "")
	org, err := r.Add("Org1MSP", Member{Config: ca.Config()})
	if err != nil {
		t.Fatal(err)
	}
	if org.Endorser() != nil {
		t.Error("an organisation that kept its keys has an endorser")
	}
	for _, mspID := range []string{"Org1MSP", "Org2MSP", OrdererMSP} {
		if _, err := r.Endorser(mspID); !errors.Is(err, ErrNotFound) {
			t.Errorf("endorser of %s: got %v, want ErrNotFound", mspID, err)
		}
	}
	if diff := cmp.Diff([]string{"Org1MSP"}, r.Organizations()); diff != "" {
		t.Errorf("asking for an endorser made an organisation (-want +got):\n%s", diff)
	}
	if org, err = r.Add("Org1MSP", Member{Config: ca.Config(), Authority: authority}); err != nil {
		t.Fatal(err)
	}
	if endorser, err := r.Endorser("Org1MSP"); err != nil || !endorser.Same(org.Endorser().Identity) {
		t.Errorf("endorser: got %v, %v", endorser, err)
	}
	if !has(t, org, org.Endorser().Signer, mspproto.MSPRole_PEER) {
		t.Error("the endorser is not a peer")
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	ca, authority := mustCA(t, "Org1MSP")
	otherCA, other := mustCA(t, "Org1MSP")
	r := mustOpen(t, "")
	mustOrganization(t, r, "OwnMSP")
	ownCA, _ := mustCA(t, "OwnMSP")
	if _, err := r.Add("Org1MSP", Member{Authority: authority}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, mspID string
		member      Member
		want        error // nil: any
	}{
		{"another configuration", "Org1MSP", Member{Config: otherCA.Config()}, ErrExists},
		{"one that the registry made", "OwnMSP", Member{Config: ownCA.Config()}, ErrExists},
		{"configuration of another id", "Org2MSP", Member{Config: ca.Config()}, ErrName},
		{"nothing", "Org2MSP", Member{}, ErrNoAuthority},
		{"name", "Org 2", Member{Config: ca.Config()}, ErrName},
		{"authority that is not the configuration's", "Org1MSP", Member{Config: ca.Config(), Authority: other}, nil},
		{"endorser of another authority", "Org1MSP", Member{Config: ca.Config(), Endorser: mustIssue(t, otherCA, "p", msp.RolePeer)}, nil},
		{"endorser with another's key", "Org1MSP", Member{Config: ca.Config(), Endorser: &KeyPair{
			mustIssue(t, ca, "p", msp.RolePeer).Certificate, mustIssue(t, ca, "p", msp.RolePeer).Key}}, nil},
	} {
		_, err := r.Add(c.mspID, c.member)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	org := mustOrganization(t, r, "Org1MSP")
	if !has(t, org, org.Endorser().Signer, mspproto.MSPRole_PEER) {
		t.Error("a refused change was kept")
	}
}
