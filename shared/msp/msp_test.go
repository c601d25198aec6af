package msp_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/attrmgr"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
	"peerless/shared/wire"
)

const goldenDir = "../../testdata/conformance/wire"

// network is the real network's MSPs, of the certificates that it gave out.
func network(t testing.TB) *msp.Manager {
	t.Helper()
	var msps []*msp.MSP
	for id, file := range map[string]string{"Org1MSP": "org1-ca", "Org2MSP": "org2-ca", "OrdererMSP": "orderer-ca"} {
		msps = append(msps, mustNew(t, nodeOUs(id, golden(t, file))))
	}
	return msp.NewManager(msps...)
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(goldenDir, "certs", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// nodeOUs is a configuration that tells roles apart by organisational units.
func nodeOUs(id string, root []byte) *mspproto.FabricMSPConfig {
	unit := func(name string) *mspproto.FabricOUIdentifier {
		return &mspproto.FabricOUIdentifier{OrganizationalUnitIdentifier: name, Certificate: root}
	}
	return &mspproto.FabricMSPConfig{
		Name: id, RootCerts: [][]byte{root},
		FabricNodeOus: &mspproto.FabricNodeOUs{
			Enable: true, ClientOuIdentifier: unit("client"), PeerOuIdentifier: unit("peer"),
			AdminOuIdentifier: unit("admin"), OrdererOuIdentifier: unit("orderer"),
		},
	}
}

func newMSP(t testing.TB, config *mspproto.FabricMSPConfig) (*msp.MSP, error) {
	t.Helper()
	raw, err := proto.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return msp.New(&mspproto.MSPConfig{Config: raw})
}

func mustNew(t testing.TB, config *mspproto.FabricMSPConfig) *msp.MSP {
	t.Helper()
	m, err := newMSP(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func serialize(t testing.TB, id string, certPEM []byte) []byte {
	t.Helper()
	serialized, err := msp.Serialize(id, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return serialized
}

func role(t testing.TB, id string, role mspproto.MSPRole_MSPRoleType) *mspproto.MSPPrincipal {
	t.Helper()
	return principal(t, mspproto.MSPPrincipal_ROLE, &mspproto.MSPRole{MspIdentifier: id, Role: role})
}

func principal(t testing.TB, class mspproto.MSPPrincipal_Classification, message proto.Message) *mspproto.MSPPrincipal {
	t.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return &mspproto.MSPPrincipal{PrincipalClassification: class, Principal: raw}
}

// Every signature in the real network's blocks: of creators, endorsers and orderers.
func TestSignaturesOfBlocks(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(goldenDir, "blocks", "*.pb"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d blocks, %v", len(files), err)
	}
	manager := network(t)
	counted := 0
	check := func(t *testing.T, creator, message, signature []byte) {
		t.Helper()
		counted++
		id, err := manager.Identify(creator)
		if err != nil {
			t.Fatal(err)
		}
		if err := id.Verify(message, signature); err != nil {
			t.Error(err)
		}
		if err := id.Verify(append(bytes.Clone(message), 0), signature); !errors.Is(err, msp.ErrSignature) {
			t.Errorf("signature over a longer message: %v", err)
		}
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		signatures, _, err := wire.BlockSignatures(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range signatures {
			check(t, s.Creator, s.Message, s.Signature)
		}
		for _, envelope := range b.Data.Data {
			tx, _ := wire.ParseEnvelope(envelope)
			if b.Header.Number == 0 {
				continue // nobody signs a genesis block
			}
			check(t, tx.Creator, tx.Payload, tx.Signature)
			for _, e := range tx.Endorsements {
				check(t, e.Endorser, wire.EndorsedMessage(tx.ResponsePayload, e.Endorser), e.Signature)
			}
		}
	}
	if counted < 100 {
		t.Errorf("only %d signatures", counted)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	manager := network(t)
	all := []mspproto.MSPRole_MSPRoleType{
		mspproto.MSPRole_MEMBER, mspproto.MSPRole_ADMIN, mspproto.MSPRole_CLIENT, mspproto.MSPRole_PEER, mspproto.MSPRole_ORDERER,
	}
	for file, want := range map[string]struct {
		msp  string
		role mspproto.MSPRole_MSPRoleType
	}{
		"org1-user":  {"Org1MSP", mspproto.MSPRole_CLIENT},
		"org1-peer":  {"Org1MSP", mspproto.MSPRole_PEER},
		"org1-admin": {"Org1MSP", mspproto.MSPRole_ADMIN},
		"org2-user":  {"Org2MSP", mspproto.MSPRole_CLIENT},
		"orderer":    {"OrdererMSP", mspproto.MSPRole_ORDERER},
	} {
		id, err := manager.Identify(serialize(t, want.msp, golden(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			satisfied := r == mspproto.MSPRole_MEMBER || r == want.role
			if got := id.Satisfies(role(t, want.msp, r)); got != satisfied {
				t.Errorf("%s is %s: %t", file, r, got)
			}
			if id.Satisfies(role(t, "Org9MSP", r)) {
				t.Errorf("%s is %s of another organisation", file, r)
			}
		}
	}
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	manager := network(t)
	user := serialize(t, "Org1MSP", golden(t, "org1-user"))
	id, err := manager.Identify(user)
	if err != nil {
		t.Fatal(err)
	}
	member, peer := role(t, "Org1MSP", mspproto.MSPRole_MEMBER), role(t, "Org1MSP", mspproto.MSPRole_PEER)
	combined := func(parts ...*mspproto.MSPPrincipal) *mspproto.MSPPrincipal {
		return principal(t, mspproto.MSPPrincipal_COMBINED, &mspproto.CombinedPrincipal{Principals: parts})
	}
	deep := member
	for range 100 {
		deep = combined(deep)
	}
	root := certifiers(t, golden(t, "org1-ca"))
	unit := func(name string, certifiers []byte) *mspproto.MSPPrincipal {
		return principal(t, mspproto.MSPPrincipal_ORGANIZATION_UNIT, &mspproto.OrganizationUnit{
			MspIdentifier: "Org1MSP", OrganizationalUnitIdentifier: name, CertifiersIdentifier: certifiers,
		})
	}
	identity := func(serialized []byte) *mspproto.MSPPrincipal {
		return &mspproto.MSPPrincipal{PrincipalClassification: mspproto.MSPPrincipal_IDENTITY, Principal: serialized}
	}
	for name, test := range map[string]struct {
		principal *mspproto.MSPPrincipal
		want      bool
	}{
		"both":             {combined(member, combined(member)), true},
		"one of two":       {combined(member, peer), false},
		"combined of none": {combined(), false},
		"too deep":         {deep, false},
		"unit":             {unit("client", root), true},
		"other unit":       {unit("peer", root), false},
		"other certifiers": {unit("client", certifiers(t, golden(t, "org2-ca"))), false},
		"itself":           {identity(user), true},
		"another":          {identity(serialize(t, "Org1MSP", golden(t, "org1-peer"))), false},
		"itself elsewhere": {identity(serialize(t, "Org2MSP", golden(t, "org1-user"))), false},
		"nominal":          {principal(t, mspproto.MSPPrincipal_ANONYMITY, &mspproto.MSPIdentityAnonymity{AnonymityType: mspproto.MSPIdentityAnonymity_NOMINAL}), true},
		"anonymous":        {principal(t, mspproto.MSPPrincipal_ANONYMITY, &mspproto.MSPIdentityAnonymity{AnonymityType: mspproto.MSPIdentityAnonymity_ANONYMOUS}), false},
		"unknown role":     {role(t, "Org1MSP", 99), false},
		"unknown class":    {&mspproto.MSPPrincipal{PrincipalClassification: 99}, false},
		"garbage":          {&mspproto.MSPPrincipal{Principal: []byte{0xff}}, false},
		"nil":              {nil, false},
	} {
		if got := id.Satisfies(test.principal); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func certifiers(t *testing.T, authority []byte) []byte {
	t.Helper()
	return wire.DataHash([][]byte{parse(t, authority).Raw}) // SHA-256 of the chain's certificates
}

func TestVerifyRefusesHighS(t *testing.T) {
	t.Parallel()
	ca, _ := organisation(t)
	signer := issue(t, ca, msp.IssueRequest{CommonName: "user", Role: msp.RoleClient})
	signature, err := signer.Sign([]byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Verify([]byte("message"), signature); err != nil {
		t.Errorf("its own signature: %v", err)
	}
	var parsed struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &parsed); err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	for name, spoilt := range map[string]any{
		"high S":     struct{ R, S *big.Int }{parsed.R, new(big.Int).Sub(order, parsed.S)},
		"zero S":     struct{ R, S *big.Int }{parsed.R, new(big.Int)},
		"negative R": struct{ R, S *big.Int }{new(big.Int).Neg(parsed.R), parsed.S},
		"other R":    struct{ R, S *big.Int }{new(big.Int).Add(parsed.R, big.NewInt(1)), parsed.S},
		"no S":       struct{ R *big.Int }{parsed.R},
	} {
		raw, err := asn1.Marshal(spoilt)
		if err != nil {
			t.Fatal(err)
		}
		if err := signer.Verify([]byte("message"), raw); !errors.Is(err, msp.ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := signer.Verify([]byte("message"), nil); !errors.Is(err, msp.ErrSignature) {
		t.Errorf("no signature: got %v", err)
	}
}

func TestSignaturesAreLowS(t *testing.T) {
	t.Parallel()
	ca, _ := organisation(t)
	signer := issue(t, ca, msp.IssueRequest{CommonName: "user", Role: msp.RoleClient})
	for range 32 { // each high with probability ½ if nothing were done
		signature, err := signer.Sign([]byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if err := signer.Verify([]byte("message"), signature); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIdentifyRefuses(t *testing.T) {
	t.Parallel()
	manager := network(t)
	foreign, _ := organisation(t)
	for name, test := range map[string]struct {
		serialized []byte
		want       error
	}{
		"garbage":          {[]byte{0xff}, msp.ErrMalformedIdentity},
		"unknown MSP":      {serialize(t, "Org9MSP", golden(t, "org1-user")), msp.ErrUnknownMSP},
		"empty":            {nil, msp.ErrUnknownMSP},
		"no PEM":           {serialize(t, "Org1MSP", []byte("cert")), msp.ErrMalformedIdentity},
		"another MSP's":    {serialize(t, "Org1MSP", golden(t, "org2-user")), msp.ErrMalformedIdentity},
		"foreign":          {serialize(t, "Org1MSP", encode(issue(t, foreign, msp.IssueRequest{Role: msp.RoleClient}).Cert.Raw)), msp.ErrMalformedIdentity},
		"an authority":     {serialize(t, "Org1MSP", golden(t, "org1-ca")), msp.ErrInvalidIdentity},
		"other MSP's user": {serialize(t, "Org2MSP", golden(t, "org1-user")), msp.ErrMalformedIdentity},
	} {
		if _, err := manager.Identify(test.serialized); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestIssue(t *testing.T) {
	t.Parallel()
	ca, manager := organisation(t)
	attributes := map[string]string{"department": "sales", "hf.EnrollmentID": "ann"}
	for r, want := range map[string]mspproto.MSPRole_MSPRoleType{
		msp.RoleClient: mspproto.MSPRole_CLIENT, msp.RolePeer: mspproto.MSPRole_PEER,
		msp.RoleAdmin: mspproto.MSPRole_ADMIN, msp.RoleOrderer: mspproto.MSPRole_ORDERER,
	} {
		signer := issue(t, ca, msp.IssueRequest{CommonName: "ann", Role: r, Attributes: attributes})
		id, err := manager.Identify(signer.Serialized)
		if err != nil {
			t.Fatal(err)
		}
		if !id.Satisfies(role(t, "NewMSP", want)) || signer.Satisfies(role(t, "NewMSP", want)) {
			t.Errorf("%s: identified %t, unverified %t", r, id.Satisfies(role(t, "NewMSP", want)), signer.Satisfies(role(t, "NewMSP", want)))
		}
		got, err := id.Attributes()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, attributes); diff != "" {
			t.Errorf("attributes (-got +want):\n%s", diff)
		}
		chaincodes, err := attrmgr.New().GetAttributesFromCert(id.Cert)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(chaincodes.Attrs, attributes); diff != "" {
			t.Errorf("attributes that chaincode sees (-got +want):\n%s", diff)
		}
	}
	if _, _, err := ca.Issue(msp.IssueRequest{Role: "king"}); !errors.Is(err, msp.ErrRole) {
		t.Errorf("got %v, want ErrRole", err)
	}
	plain := issue(t, ca, msp.IssueRequest{Role: msp.RoleClient})
	if got, err := plain.Attributes(); err != nil || len(got) > 0 {
		t.Errorf("attributes %v, %v of a certificate without", got, err)
	}
}

// A Fabric peer rewrites a certificate whose signature has a high S, and then takes it for another than was presented.
func TestIssuedCertificatesAreLowS(t *testing.T) {
	t.Parallel()
	ca, _ := organisation(t)
	authority, _ := keyOf(t, ca)
	check := &msp.Identity{Cert: authority}
	for range 16 { // each high with probability ½ if nothing were done
		cert := issue(t, ca, msp.IssueRequest{CommonName: "user", Role: msp.RoleClient}).Cert
		if err := check.Verify(cert.RawTBSCertificate, cert.Signature); err != nil {
			t.Fatal(err)
		}
	}
	if err := check.Verify(authority.RawTBSCertificate, authority.Signature); err != nil {
		t.Errorf("the authority's own: %v", err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	ca, manager := organisation(t)
	certPEM, keyPEM, err := ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := msp.LoadCA("NewMSP", certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manager.Identify(issue(t, again, msp.IssueRequest{Role: msp.RolePeer}).Serialized); err != nil {
		t.Error(err)
	}
	userPEM, userKey, err := ca.Issue(msp.IssueRequest{Role: msp.RoleClient})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := msp.LoadCA("NewMSP", userPEM, userKey); !errors.Is(err, msp.ErrConfig) {
		t.Errorf("a user as an authority: %v", err)
	}
	if _, err := msp.NewSigner("NewMSP", userPEM, keyPEM); !errors.Is(err, msp.ErrKey) {
		t.Errorf("another's key: %v", err)
	}
	if _, err := msp.NewCA("New MSP"); !errors.Is(err, msp.ErrConfig) {
		t.Errorf("an id with a space: %v", err)
	}
}

// As in Fabric, a certificate that has expired still makes valid transactions; who accepts new ones looks at NotAfter.
func TestExpiredIsIdentified(t *testing.T) {
	t.Parallel()
	ca, manager := organisation(t)
	expired := issue(t, ca, msp.IssueRequest{Role: msp.RoleClient, NotAfter: time.Now().Add(-time.Minute)})
	id, err := manager.Identify(expired.Serialized)
	if err != nil {
		t.Fatal(err)
	}
	if !id.Cert.NotAfter.Before(time.Now()) {
		t.Errorf("it expires at %v", id.Cert.NotAfter)
	}
	long := issue(t, ca, msp.IssueRequest{Role: msp.RoleClient, NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0)})
	if _, err := manager.Identify(long.Serialized); err != nil {
		t.Errorf("validity beyond the authority's: %v", err)
	}
}

func TestRevoked(t *testing.T) {
	t.Parallel()
	ca, manager := organisation(t)
	signer := issue(t, ca, msp.IssueRequest{Role: msp.RoleClient})
	if _, err := manager.Identify(signer.Serialized); err != nil {
		t.Fatal(err)
	}
	list := func(authority *msp.CA) []byte {
		cert, key := keyOf(t, authority)
		raw, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: signer.Cert.SerialNumber, RevocationTime: time.Now()}},
		}, cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	other, _ := organisation(t)
	for name, test := range map[string]struct {
		list []byte
		want error
	}{
		"its authority's": {list(ca), msp.ErrInvalidIdentity},
		"another's":       {list(other), nil},
	} {
		config := fabricConfig(t, ca)
		config.RevocationList = [][]byte{test.list}
		if _, err := mustNew(t, config).Identify(signer.Serialized); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestIntermediates(t *testing.T) {
	t.Parallel()
	root, _ := organisation(t)
	middle := intermediate(t, root)
	below := issue(t, middle, msp.IssueRequest{Role: msp.RoleClient})
	beside := issue(t, root, msp.IssueRequest{Role: msp.RoleClient})
	middlePEM, _, err := middle.PEM()
	if err != nil {
		t.Fatal(err)
	}
	config := fabricConfig(t, root)
	config.IntermediateCerts = [][]byte{middlePEM}
	for _, unit := range []*mspproto.FabricOUIdentifier{
		config.FabricNodeOus.ClientOuIdentifier, config.FabricNodeOus.PeerOuIdentifier,
		config.FabricNodeOus.AdminOuIdentifier, config.FabricNodeOus.OrdererOuIdentifier,
	} {
		unit.Certificate = middlePEM
	}
	m := mustNew(t, config)
	if _, err := m.Identify(below.Serialized); err != nil {
		t.Errorf("of the intermediate: %v", err)
	}
	if _, err := m.Identify(beside.Serialized); !errors.Is(err, msp.ErrInvalidIdentity) {
		t.Errorf("of a root with an intermediate below: %v", err)
	}
	config.FabricNodeOus.ClientOuIdentifier.Certificate = config.RootCerts[0]
	if _, err := mustNew(t, config).Identify(below.Serialized); !errors.Is(err, msp.ErrInvalidIdentity) {
		t.Errorf("a role that only the root gives: %v", err)
	}
}

func TestWithoutNodeOUs(t *testing.T) {
	t.Parallel()
	ca, _ := organisation(t)
	boss, user := issue(t, ca, msp.IssueRequest{Role: msp.RoleClient}), issue(t, ca, msp.IssueRequest{Role: msp.RolePeer})
	config := fabricConfig(t, ca)
	config.FabricNodeOus = nil
	if _, err := newMSP(t, config); !errors.Is(err, msp.ErrConfig) {
		t.Errorf("without administrators: %v", err)
	}
	config.Admins = [][]byte{encode(boss.Cert.Raw)}
	manager := msp.NewManager(mustNew(t, config))
	for name, test := range map[string]struct {
		signer *msp.Signer
		role   mspproto.MSPRole_MSPRoleType
		want   bool
	}{
		"administrator": {boss, mspproto.MSPRole_ADMIN, true},
		"member":        {boss, mspproto.MSPRole_MEMBER, true},
		"not by unit":   {boss, mspproto.MSPRole_CLIENT, false},
		"user":          {user, mspproto.MSPRole_ADMIN, false},
		"peer":          {user, mspproto.MSPRole_PEER, false},
	} {
		id, err := manager.Identify(test.signer.Serialized)
		if err != nil {
			t.Fatal(err)
		}
		if got := id.Satisfies(role(t, "NewMSP", test.role)); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
	config.OrganizationalUnitIdentifiers = []*mspproto.FabricOUIdentifier{{OrganizationalUnitIdentifier: "client", Certificate: config.RootCerts[0]}}
	if _, err := mustNew(t, config).Identify(user.Serialized); !errors.Is(err, msp.ErrInvalidIdentity) {
		t.Errorf("without the unit that the MSP asks for: %v", err)
	}
}

func TestUnusableConfigurations(t *testing.T) {
	t.Parallel()
	ca, _ := organisation(t)
	user := encode(issue(t, ca, msp.IssueRequest{Role: msp.RolePeer}).Cert.Raw)
	for name, spoil := range map[string]func(*mspproto.FabricMSPConfig){
		"no name":       func(c *mspproto.FabricMSPConfig) { c.Name = "" },
		"no root":       func(c *mspproto.FabricMSPConfig) { c.RootCerts = nil },
		"garbage root":  func(c *mspproto.FabricMSPConfig) { c.RootCerts = [][]byte{[]byte("x")} },
		"user as root":  func(c *mspproto.FabricMSPConfig) { c.RootCerts = [][]byte{user} },
		"SHA3":          func(c *mspproto.FabricMSPConfig) { c.CryptoConfig.SignatureHashFamily = "SHA3" },
		"garbage list":  func(c *mspproto.FabricMSPConfig) { c.RevocationList = [][]byte{[]byte("x")} },
		"peer as admin": func(c *mspproto.FabricMSPConfig) { c.Admins = [][]byte{user} },
		"garbage admin": func(c *mspproto.FabricMSPConfig) { c.Admins = [][]byte{[]byte("x")} },
		"stray middle":  func(c *mspproto.FabricMSPConfig) { c.IntermediateCerts = [][]byte{golden(t, "org1-ca")} },
		"stray role":    func(c *mspproto.FabricMSPConfig) { c.FabricNodeOus.PeerOuIdentifier.Certificate = golden(t, "org1-ca") },
		"garbage unit": func(c *mspproto.FabricMSPConfig) {
			c.OrganizationalUnitIdentifiers = []*mspproto.FabricOUIdentifier{{}}
		},
		"no way to admins": func(c *mspproto.FabricMSPConfig) { c.FabricNodeOus.AdminOuIdentifier = nil },
	} {
		config := fabricConfig(t, ca)
		spoil(config)
		if _, err := newMSP(t, config); !errors.Is(err, msp.ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, config := range map[string]*mspproto.MSPConfig{"Idemix": {Type: 1}, "garbage": {Config: []byte{0xff}}, "nil": nil} {
		if _, err := msp.New(config); !errors.Is(err, msp.ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// More identities than the cache holds, by several callers at once: each gets the right one.
func TestManagerForgets(t *testing.T) {
	t.Parallel()
	ca, manager := organisation(t)
	signer := issue(t, ca, msp.IssueRequest{CommonName: "one", Role: msp.RoleClient})
	certPEM := string(encode(signer.Cert.Raw))
	done := make(chan error, 4)
	for worker := range cap(done) {
		go func() {
			for i := range 700 {
				// The same certificate with other text around it is another serialized identity.
				text := strings.Repeat(" ", i) + strings.Repeat("\t", worker) + "\n" + certPEM
				serialized, err := msp.Serialize("NewMSP", []byte(text))
				if err != nil {
					done <- err
					return
				}
				id, err := manager.Identify(serialized)
				if err != nil {
					done <- err
					return
				}
				if !bytes.Equal(id.Serialized, serialized) || !id.Same(signer.Identity) {
					done <- errors.New("got another identity")
					return
				}
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	first, err := manager.Identify(signer.Serialized)
	if err != nil {
		t.Fatal(err)
	}
	again, err := manager.Identify(signer.Serialized)
	if err != nil || first != again {
		t.Errorf("verified twice (%v)", err)
	}
	spaced, err := manager.Identify(serialize(t, "NewMSP", []byte("\n"+certPEM)))
	if err != nil {
		t.Fatal(err)
	}
	if got := msp.Distinct([]*msp.Identity{first, spaced, first}); len(got) != 1 || got[0] != first {
		t.Errorf("%d distinct identities of one certificate", len(got))
	}
}

// TestVouch: a signature that was vouched for, or found good before, is one identity's over one message, and no other's.
func TestVouch(t *testing.T) {
	t.Parallel()
	ca, err := msp.NewCA("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := msp.New(ca.Config())
	if err != nil {
		t.Fatal(err)
	}
	manager := msp.NewManager(verifier)
	var ids []*msp.Identity
	var signers []*msp.Signer
	for _, name := range []string{"alice", "bob"} {
		certificate, key, err := ca.Issue(msp.IssueRequest{CommonName: name, Role: msp.RoleClient})
		if err != nil {
			t.Fatal(err)
		}
		signer, err := msp.NewSigner("Org1MSP", certificate, key)
		if err != nil {
			t.Fatal(err)
		}
		id, err := manager.Identify(signer.Serialized)
		if err != nil {
			t.Fatal(err)
		}
		ids, signers = append(ids, id), append(signers, signer)
	}
	message := []byte("message")
	signature, err := signers[0].Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	manager.Vouch(signers[0].Serialized, message, signature)
	for range 2 { // the second time what was found is remembered
		if err := ids[0].Verify(message, signature); err != nil {
			t.Errorf("a good signature: %v", err)
		}
		if err := ids[1].Verify(message, signature); !errors.Is(err, msp.ErrSignature) {
			t.Errorf("another's signature: %v, want ErrSignature", err)
		}
		if err := ids[0].Verify([]byte("other"), signature); !errors.Is(err, msp.ErrSignature) {
			t.Errorf("a signature over another message: %v, want ErrSignature", err)
		}
	}
}
