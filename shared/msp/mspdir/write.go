package mspdir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// Write lays an MSP out in a directory, which it makes, so that Read gives the configuration back. With a certificate and its
// key the directory is that identity's own, as Fabric's clients and peers take one.
func Write(dir string, config *mspproto.MSPConfig, certificate, key []byte) error {
	parsed := &mspproto.FabricMSPConfig{}
	if err := proto.Unmarshal(config.GetConfig(), parsed); err != nil {
		return fmt.Errorf("write MSP directory %s: %w", dir, err)
	}
	w := &writer{dir: dir}
	for name, contents := range map[string][][]byte{
		rootsDir: parsed.GetRootCerts(), intermediatesDir: parsed.GetIntermediateCerts(), adminsDir: parsed.GetAdmins(),
		tlsRootsDir: parsed.GetTlsRootCerts(), tlsIntermediatesDir: parsed.GetTlsIntermediateCerts(), revokedDir: parsed.GetRevocationList(),
	} {
		for i, content := range contents {
			w.file(filepath.Join(name, fmt.Sprintf("%d.pem", i)), content, 0o644)
		}
	}
	if units := w.units(parsed); units != nil {
		content, err := yaml.Marshal(units)
		if err != nil {
			return fmt.Errorf("write MSP directory %s: %w", dir, err)
		}
		w.file(configFile, content, 0o644)
	}
	if certificate != nil {
		w.file(filepath.Join(certificateDir, "cert.pem"), certificate, 0o644)
		w.file(filepath.Join(keyDir, "key.pem"), key, 0o600)
	}
	if w.err != nil {
		return fmt.Errorf("write MSP directory: %w", w.err)
	}
	return nil
}

// writer keeps the first error.
type writer struct {
	dir string
	err error
}

func (w *writer) file(name string, content []byte, mode os.FileMode) {
	path := filepath.Join(w.dir, name)
	directory := os.FileMode(0o755)
	if mode&0o077 == 0 {
		directory = 0o700
	}
	if err := errors.Join(os.MkdirAll(w.dir, 0o755), os.MkdirAll(filepath.Dir(path), directory)); err != nil && w.err == nil {
		w.err = err
	}
	if err := os.WriteFile(path, content, mode); err != nil && w.err == nil {
		w.err = err
	}
}

// units returns what config.yaml says, nil if members are not told apart.
func (w *writer) units(parsed *mspproto.FabricMSPConfig) *units {
	if parsed.GetFabricNodeOus() == nil && len(parsed.GetOrganizationalUnitIdentifiers()) == 0 {
		return nil
	}
	authorities := append(append([][]byte{}, parsed.GetRootCerts()...), parsed.GetIntermediateCerts()...)
	named := func(identifier *mspproto.FabricOUIdentifier) *unit {
		if identifier == nil {
			return nil
		}
		u := &unit{OrganizationalUnitIdentifier: identifier.GetOrganizationalUnitIdentifier()}
		for i, authority := range authorities {
			if bytes.Equal(authority, identifier.GetCertificate()) {
				if u.Certificate = filepath.ToSlash(filepath.Join(rootsDir, fmt.Sprintf("%d.pem", i))); i >= len(parsed.GetRootCerts()) {
					u.Certificate = filepath.ToSlash(filepath.Join(intermediatesDir, fmt.Sprintf("%d.pem", i-len(parsed.GetRootCerts()))))
				}
			}
		}
		if u.Certificate == "" && len(identifier.GetCertificate()) > 0 { // an authority written otherwise: beside the others
			name := "ou-" + strings.Map(letters, u.OrganizationalUnitIdentifier) + ".pem"
			w.file(name, identifier.GetCertificate(), 0o644)
			u.Certificate = name
		}
		return u
	}
	all := &units{}
	for _, identifier := range parsed.GetOrganizationalUnitIdentifiers() {
		all.OrganizationalUnitIdentifiers = append(all.OrganizationalUnitIdentifiers, named(identifier))
	}
	if roles := parsed.GetFabricNodeOus(); roles != nil {
		all.NodeOUs = &nodeOUs{
			Enable:             roles.GetEnable(),
			ClientOUIdentifier: named(roles.GetClientOuIdentifier()), PeerOUIdentifier: named(roles.GetPeerOuIdentifier()),
			AdminOUIdentifier: named(roles.GetAdminOuIdentifier()), OrdererOUIdentifier: named(roles.GetOrdererOuIdentifier()),
		}
	}
	return all
}

// letters keeps what may stand in a file's name.
func letters(c rune) rune {
	if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
		return c
	}
	return '-'
}
