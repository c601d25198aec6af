// Package mspdir reads and writes Fabric's MSP directories: the certificates of an organisation's authorities, what it revoked,
// and how its members are told apart, as Fabric's tools lay them out (msp/configbuilder.go).
package mspdir

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
)

// ErrDirectory: a directory is not an MSP that can be used. The text says what is wrong with it.
var ErrDirectory = errors.New("unusable MSP directory")

// The parts of an MSP directory.
const (
	rootsDir            = "cacerts"
	intermediatesDir    = "intermediatecerts"
	adminsDir           = "admincerts"
	revokedDir          = "crls"
	tlsRootsDir         = "tlscacerts"
	tlsIntermediatesDir = "tlsintermediatecerts"
	certificateDir      = "signcerts"
	keyDir              = "keystore"
	configFile          = "config.yaml"
)

// maxFile bounds one file, in bytes: a revocation list may be long.
const maxFile = 16 << 20

// Read returns the configuration of the MSP in a directory, as a channel's configuration has it. The same files make the same
// bytes. It returns ErrDirectory.
func Read(dir, mspID string) (*mspproto.MSPConfig, error) {
	config, err := read(dir, mspID)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrDirectory, dir, err)
	}
	return config, nil
}

func read(dir, mspID string) (*mspproto.MSPConfig, error) {
	parsed := &mspproto.FabricMSPConfig{
		Name:         mspID,
		CryptoConfig: &mspproto.FabricCryptoConfig{SignatureHashFamily: "SHA2", IdentityIdentifierHashFunction: "SHA256"},
	}
	for _, part := range []struct {
		name string
		into *[][]byte
	}{
		{rootsDir, &parsed.RootCerts}, {intermediatesDir, &parsed.IntermediateCerts}, {adminsDir, &parsed.Admins},
		{revokedDir, &parsed.RevocationList}, {tlsRootsDir, &parsed.TlsRootCerts}, {tlsIntermediatesDir, &parsed.TlsIntermediateCerts},
	} {
		var err error
		if *part.into, err = readAll(filepath.Join(dir, part.name)); err != nil {
			return nil, err
		}
	}
	if len(parsed.RootCerts) == 0 {
		return nil, fmt.Errorf("there is no certificate in %s", rootsDir)
	}
	if err := readUnits(dir, parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
	if err != nil {
		return nil, err
	}
	config := &mspproto.MSPConfig{Config: encoded}
	if _, err := msp.New(config); err != nil {
		return nil, err
	}
	return config, nil
}

// readAll reads the PEM files of a directory, by name. One that is not there is empty.
func readAll(dir string) ([][]byte, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") { // kept by version control, or by a mounted secret
			continue
		}
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			continue
		}
		content, err := readPEM(path)
		if err != nil {
			return nil, err
		}
		all = append(all, content)
	}
	return all, nil
}

func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", path, info.Size(), maxFile)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(content); block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	return content, nil
}

// units is config.yaml, by Fabric's names.
type units struct {
	OrganizationalUnitIdentifiers []*unit  `yaml:"OrganizationalUnitIdentifiers,omitempty"`
	NodeOUs                       *nodeOUs `yaml:"NodeOUs,omitempty"`
}

type nodeOUs struct {
	Enable              bool  `yaml:"Enable"`
	ClientOUIdentifier  *unit `yaml:"ClientOUIdentifier,omitempty"`
	PeerOUIdentifier    *unit `yaml:"PeerOUIdentifier,omitempty"`
	AdminOUIdentifier   *unit `yaml:"AdminOUIdentifier,omitempty"`
	OrdererOUIdentifier *unit `yaml:"OrdererOUIdentifier,omitempty"`
}

type unit struct {
	Certificate                  string `yaml:"Certificate,omitempty"` // a file below the directory; empty: any authority may give the unit
	OrganizationalUnitIdentifier string `yaml:"OrganizationalUnitIdentifier"`
}

// readUnits reads how members are told apart. Without the file they are not.
func readUnits(dir string, into *mspproto.FabricMSPConfig) error {
	content, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var parsed units
	if err := yaml.Unmarshal(content, &parsed); err != nil {
		return err
	}
	for _, u := range parsed.OrganizationalUnitIdentifiers {
		identifier, err := u.read(dir)
		if err != nil {
			return err
		}
		if len(identifier.GetCertificate()) == 0 {
			return fmt.Errorf("the organisational unit %q names no certificate", u.OrganizationalUnitIdentifier)
		}
		into.OrganizationalUnitIdentifiers = append(into.OrganizationalUnitIdentifiers, identifier)
	}
	if parsed.NodeOUs == nil || !parsed.NodeOUs.Enable {
		return nil
	}
	roles := &mspproto.FabricNodeOUs{Enable: true}
	for _, role := range []struct {
		unit *unit
		into **mspproto.FabricOUIdentifier
	}{
		{parsed.NodeOUs.ClientOUIdentifier, &roles.ClientOuIdentifier}, {parsed.NodeOUs.PeerOUIdentifier, &roles.PeerOuIdentifier},
		{parsed.NodeOUs.AdminOUIdentifier, &roles.AdminOuIdentifier}, {parsed.NodeOUs.OrdererOUIdentifier, &roles.OrdererOuIdentifier},
	} {
		if role.unit == nil || role.unit.OrganizationalUnitIdentifier == "" {
			continue
		}
		if *role.into, err = role.unit.read(dir); err != nil {
			return err
		}
	}
	into.FabricNodeOus = roles
	return nil
}

func (u *unit) read(dir string) (*mspproto.FabricOUIdentifier, error) {
	identifier := &mspproto.FabricOUIdentifier{OrganizationalUnitIdentifier: u.OrganizationalUnitIdentifier}
	if u.Certificate == "" {
		return identifier, nil
	}
	if !filepath.IsLocal(u.Certificate) {
		return nil, fmt.Errorf("the certificate %q of the organisational unit %q is not below the directory", u.Certificate, u.OrganizationalUnitIdentifier)
	}
	var err error
	identifier.Certificate, err = readPEM(filepath.Join(dir, u.Certificate))
	return identifier, err
}

// Signer returns the identity whose certificate and key lie in a directory, in signcerts and keystore, as PEM; nil, nil if
// there is none. It returns ErrDirectory for more than one.
func Signer(dir string) (certificate, key []byte, err error) {
	certificates, err := readAll(filepath.Join(dir, certificateDir))
	if err != nil {
		return nil, nil, fmt.Errorf("%w %s: %w", ErrDirectory, dir, err)
	}
	keys, err := readAll(filepath.Join(dir, keyDir))
	if err != nil {
		return nil, nil, fmt.Errorf("%w %s: %w", ErrDirectory, dir, err)
	}
	switch {
	case len(certificates) == 0 || len(keys) == 0:
		return nil, nil, nil
	case len(certificates) > 1 || len(keys) > 1:
		return nil, nil, fmt.Errorf("%w %s: it has %d certificates in %s and %d keys in %s, not one of each", ErrDirectory, dir,
			len(certificates), certificateDir, len(keys), keyDir)
	}
	return certificates[0], keys[0], nil
}
