package mspdir_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
	"peerless/shared/msp/mspdir"
)

func authority(t *testing.T) *msp.CA {
	t.Helper()
	ca, err := msp.NewCA("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestRoundTrip: what is written is read back, byte for byte, and an identity with it.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	ca, dir := authority(t), t.TempDir()
	certificate, key, err := ca.Issue(msp.IssueRequest{CommonName: "peer0", Role: msp.RolePeer})
	if err != nil {
		t.Fatal(err)
	}
	if err := mspdir.Write(dir, ca.Config(), certificate, key); err != nil {
		t.Fatal(err)
	}
	config, err := mspdir.Read(dir, "Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(config, ca.Config()) {
		t.Errorf("read another configuration than was written")
	}
	readCertificate, readKey, err := mspdir.Signer(dir)
	if err != nil || !bytes.Equal(readCertificate, certificate) || !bytes.Equal(readKey, key) {
		t.Errorf("signer: %v, or another than was written", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "keystore", "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v, want mode 0600", info, err)
	}
}

// chain is an authority with one below it, which issues identities, as Fabric CAs are set up.
type chain struct {
	root, middle       *x509.Certificate
	rootKey, middleKey *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newChain(t *testing.T) *chain {
	t.Helper()
	c := &chain{rootKey: newKey(t), middleKey: newKey(t)}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, SubjectKeyId: []byte(name),
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
		}
	}
	c.root = sign(t, template("root"), template("root"), &c.rootKey.PublicKey, c.rootKey)
	c.middle = sign(t, template("middle"), c.root, &c.middleKey.PublicKey, c.rootKey)
	return c
}

func sign(t *testing.T, template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (c *chain) issue(t *testing.T, serial int64, unit string) []byte {
	t.Helper()
	key := newKey(t)
	cert := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "member", OrganizationalUnit: []string{unit}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}, c.middle, &key.PublicKey, c.middleKey)
	serialized, err := msp.Serialize("Org1MSP", certificatePEM(cert.Raw))
	if err != nil {
		t.Fatal(err)
	}
	return serialized
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestReadIntermediates: a directory as Fabric's tools lay it out, with an intermediate authority, roles and a revocation list.
func TestReadIntermediates(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: time.Now()}},
	}, c.middle, c.middleKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, t.TempDir(), map[string]string{
		"cacerts/ca.org1.example.com-cert.pem":          string(certificatePEM(c.root.Raw)),
		"intermediatecerts/middle.org1.example.com.pem": string(certificatePEM(c.middle.Raw)),
		"tlscacerts/tlsca.org1.example.com-cert.pem":    string(certificatePEM(c.root.Raw)),
		"crls/revoked.pem":                              string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})),
		"cacerts/.keep":                                 "",
		"config.yaml": `NodeOUs:
  Enable: true
  ClientOUIdentifier: {Certificate: intermediatecerts/middle.org1.example.com.pem, OrganizationalUnitIdentifier: client}
  PeerOUIdentifier: {OrganizationalUnitIdentifier: peer}
  AdminOUIdentifier:
    Certificate: intermediatecerts/middle.org1.example.com.pem
    OrganizationalUnitIdentifier: admin
`,
	})
	config, err := mspdir.Read(dir, "Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := msp.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		serial int64
		unit   string
		valid  bool
	}{{1, "client", true}, {2, "peer", true}, {3, "stranger", false}, {7, "client", false}} {
		_, err := verifier.Identify(c.issue(t, test.serial, test.unit))
		if valid := err == nil; valid != test.valid {
			t.Errorf("certificate %d of unit %s: %v, want valid %v", test.serial, test.unit, err, test.valid)
		}
	}
	var parsed mspproto.FabricMSPConfig
	if err := proto.Unmarshal(config.Config, &parsed); err != nil || len(parsed.TlsRootCerts) != 1 {
		t.Errorf("%d TLS authorities, %v, want 1", len(parsed.TlsRootCerts), err)
	}
	copied := t.TempDir()
	if err := mspdir.Write(copied, config, nil, nil); err != nil {
		t.Fatal(err)
	}
	if again, err := mspdir.Read(copied, "Org1MSP"); err != nil || !proto.Equal(again, config) {
		t.Errorf("a copy reads otherwise: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	root := string(certificatePEM(newChain(t).root.Raw))
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":           {map[string]string{"readme": ""}, "no certificate in cacerts"},
		"not PEM":           {map[string]string{"cacerts/ca.pem": "certificate"}, "ca.pem is not PEM"},
		"no administrators": {map[string]string{"cacerts/ca.pem": root}, "neither administrators nor"},
		"not YAML":          {map[string]string{"cacerts/ca.pem": root, "config.yaml": "NodeOUs: ["}, "config.yaml"},
		"a certificate elsewhere": {map[string]string{"cacerts/ca.pem": root, "config.yaml": "NodeOUs:\n  Enable: true\n  AdminOUIdentifier: {Certificate: ../ca.pem, OrganizationalUnitIdentifier: admin}\n"},
			"not below the directory"},
		"a certificate missing": {map[string]string{"cacerts/ca.pem": root, "config.yaml": "NodeOUs:\n  Enable: true\n  AdminOUIdentifier: {Certificate: cacerts/other.pem, OrganizationalUnitIdentifier: admin}\n"},
			"other.pem"},
	} {
		_, err := mspdir.Read(write(t, t.TempDir(), test.files), "Org1MSP")
		if !errors.Is(err, mspdir.ErrDirectory) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrDirectory with %q", name, err, test.want)
		}
	}
	two := write(t, t.TempDir(), map[string]string{"signcerts/a.pem": root, "signcerts/b.pem": root, "keystore/k.pem": root})
	if _, _, err := mspdir.Signer(two); !errors.Is(err, mspdir.ErrDirectory) {
		t.Errorf("two certificates: %v, want ErrDirectory", err)
	}
}
