package msp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
)

// organisation is a new authority, and the manager that knows its MSP, "NewMSP".
func organisation(t testing.TB) (*msp.CA, *msp.Manager) {
	t.Helper()
	ca, err := msp.NewCA("NewMSP")
	if err != nil {
		t.Fatal(err)
	}
	m, err := msp.New(ca.Config())
	if err != nil {
		t.Fatal(err)
	}
	return ca, msp.NewManager(m)
}

func issue(t testing.TB, ca *msp.CA, request msp.IssueRequest) *msp.Signer {
	t.Helper()
	certPEM, keyPEM, err := ca.Issue(request)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := msp.NewSigner("NewMSP", certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func fabricConfig(t testing.TB, ca *msp.CA) *mspproto.FabricMSPConfig {
	t.Helper()
	config := &mspproto.FabricMSPConfig{}
	if err := proto.Unmarshal(ca.Config().GetConfig(), config); err != nil {
		t.Fatal(err)
	}
	return config
}

func keyOf(t testing.TB, ca *msp.CA) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	certPEM, keyPEM, err := ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(keyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, certPEM), key.(crypto.Signer)
}

// intermediate is an authority below another.
func intermediate(t testing.TB, root *msp.CA) *msp.CA {
	t.Helper()
	parent, parentKey := keyOf(t, root)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "intermediate"},
		NotBefore: parent.NotBefore, NotAfter: parent.NotAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte("intermediate"),
	}, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := msp.LoadCA("NewMSP", encode(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func parse(t testing.TB, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	if block == nil {
		t.Fatal("no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
