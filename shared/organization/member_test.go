package organization

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"

	"peerless/shared/collection"
	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
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

// TestRemoteEndorser: an endorser that runs elsewhere is known by its certificate, over a restart, and can be changed; there is no data key of it.
func TestRemoteEndorser(t *testing.T) {
	t.Parallel()
	ca, _ := mustCA(t, "Org1MSP")
	config, pair := ca.Config(), mustIssue(t, ca, "peer0.org1.test", msp.RolePeer)
	store, err := docstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sealer := secret.NewKey()
	open := func() *Registry {
		t.Helper()
		r, err := Open(t.Context(), Config{Store: store, Sealer: sealer})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open()
	if _, err := r.Add("Org1MSP", Member{Config: config, Endorser: pair}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DataKey("Org1MSP"); err != nil {
		t.Fatal(err)
	}
	connection := Connection{Address: "org1.test:9051", RootCert: []byte("root"), ClientCert: []byte("client"), ClientKey: []byte("secret client key")}
	remote := &RemoteEndorser{Certificate: pair.Certificate, Connection: connection}
	for range 2 { // again changes nothing
		if _, err := r.Add("Org1MSP", Member{Config: config, Remote: remote}); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]*Registry{"at once": r, "after a restart": open()} {
		e, err := r.Endorser("Org1MSP")
		if err != nil || e.Local() || !e.Certified(pair.Certificate) || !e.Connection.Equal(connection) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if _, err := r.DataKey("Org1MSP"); !errors.Is(err, collection.ErrNoKey) {
			t.Errorf("%s: data key: %v", name, err)
		}
	}
	doc, err := store.Get(t.Context(), KindOrganization, "Org1MSP")
	if err != nil || bytes.Contains(doc.Value, []byte("secret client key")) || bytes.Contains(doc.Value, []byte(base64.StdEncoding.EncodeToString(connection.ClientKey))) {
		t.Errorf("the client's key lies open: %v", err)
	}
	other, _ := mustCA(t, "Org1MSP")
	stranger := mustIssue(t, other, "mallory", msp.RolePeer)
	for name, wrong := range map[string]*RemoteEndorser{
		"another authority's": {Certificate: stranger.Certificate, Connection: connection},
		"nowhere":             {Certificate: pair.Certificate},
		"no certificate":      {Certificate: []byte("x"), Connection: connection},
	} {
		if _, err := r.Add("Org1MSP", Member{Config: config, Remote: wrong}); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if _, err := r.Add("Org1MSP", Member{Config: config, Endorser: pair}); err != nil { // back to the platform
		t.Fatal(err)
	}
	if e, err := open().Endorser("Org1MSP"); err != nil || !e.Local() {
		t.Errorf("brought back: %+v, %v", e, err)
	}
	if err := Verify(t.Context(), store, sealer); err != nil {
		t.Error(err)
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
