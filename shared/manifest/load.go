package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"

	"peerless/shared/deploy"
	"peerless/shared/msp/mspdir"
	"peerless/shared/organization"
)

// maxManifest and maxMaterial bound the file itself and one that it names, in bytes.
const (
	maxManifest = 1 << 20
	maxMaterial = 4 << 20
)

// Load reads the manifest in a file. Its paths become relative to where the program runs.
func Load(path string) (*Manifest, error) {
	content, err := readFile(path, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := Parse(content, path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	for i := range m.Organizations {
		o := &m.Organizations[i]
		resolve(dir, &o.MSP)
		if e := o.Endorser; e != nil {
			resolve(dir, &e.Cert, &e.Key)
			e.TLS.resolve(dir)
		}
	}
	for i := range m.Channels {
		for k := range m.Channels[i].Chaincodes {
			c := &m.Channels[i].Chaincodes[k]
			resolve(dir, &c.Source, &c.Collections)
			c.TLS.resolve(dir)
			for mspID, source := range c.Sources {
				resolve(dir, &source.Path)
				source.TLS.resolve(dir)
				c.Sources[mspID] = source
			}
		}
	}
	return m, nil
}

func resolve(dir string, paths ...*string) {
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

func (t *TLS) resolve(dir string) {
	if t != nil {
		resolve(dir, &t.RootCert, &t.ClientCert, &t.ClientKey)
	}
}

// readFile reads a file of limited size.
func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s has over %d bytes", path, limit)
	}
	return content, nil
}

// Member reads what the organisation brings along. It is empty for one that Peerless makes.
func (o *Organization) Member() (member organization.Member, err error) {
	if member.Config, err = o.Config(); err != nil {
		return member, err
	}
	if member.Remote, err = o.Remote(); err != nil {
		return member, err
	}
	member.Endorser, err = o.KeyPair()
	return member, err
}

// Config reads the organisation's MSP directory; nil if Peerless is to make an authority.
func (o *Organization) Config() (*mspproto.MSPConfig, error) {
	if o.MSP == "" {
		return nil, nil
	}
	return mspdir.Read(o.MSP, o.MSPID)
}

// KeyPair reads the endorser's certificate and key; nil if the manifest gives none, or an address where it runs.
func (o *Organization) KeyPair() (*organization.KeyPair, error) {
	if o.Endorser == nil {
		if o.MSP == "" {
			return nil, nil
		}
		certificate, key, err := mspdir.Signer(o.MSP)
		if err != nil || certificate == nil {
			return nil, err
		}
		return &organization.KeyPair{Certificate: certificate, Key: key}, nil
	}
	if o.Endorser.Address != "" {
		return nil, nil
	}
	certificate, err := readFile(o.Endorser.Cert, maxMaterial)
	if err != nil {
		return nil, err
	}
	key, err := readFile(o.Endorser.Key, maxMaterial)
	if err != nil {
		return nil, err
	}
	return &organization.KeyPair{Certificate: certificate, Key: key}, nil
}

// Remote reads the endorser that runs elsewhere, nil if the manifest names none.
func (o *Organization) Remote() (*organization.RemoteEndorser, error) {
	if o.Endorser == nil || o.Endorser.Address == "" {
		return nil, nil
	}
	certificate, err := readFile(o.Endorser.Cert, maxMaterial)
	if err != nil {
		return nil, err
	}
	c, err := connection(o.Endorser.Address, o.Endorser.TLS)
	if err != nil {
		return nil, err
	}
	return &organization.RemoteEndorser{Certificate: certificate, Connection: organization.Connection{
		Address: c.Address, RootCert: []byte(c.RootCert), ClientCert: []byte(c.ClientCert), ClientKey: []byte(c.ClientKey),
	}}, nil
}

// Connection reads how a service is reached.
func (s Source) Connection() (deploy.Connection, error) { return connection(s.Address, s.TLS) }

func connection(address string, t *TLS) (deploy.Connection, error) {
	connection := deploy.Connection{Address: address}
	if t == nil {
		return connection, nil
	}
	connection.TLSRequired, connection.ClientAuthRequired = true, t.ClientCert != ""
	var errs []error
	for path, into := range map[string]*string{t.RootCert: &connection.RootCert, t.ClientCert: &connection.ClientCert, t.ClientKey: &connection.ClientKey} {
		if path == "" {
			continue
		}
		content, err := readFile(path, maxMaterial)
		errs = append(errs, err)
		*into = string(content)
	}
	return connection, errors.Join(errs...)
}

// CollectionsFile reads the chaincode's private data collections, nil if it has none.
func (c *Chaincode) CollectionsFile() ([]byte, error) {
	if c.Collections == "" {
		return nil, nil
	}
	return readFile(c.Collections, maxMaterial)
}
