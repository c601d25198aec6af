// Package manifest reads the file of peerless apply: which organisations, channels and chaincodes there are to be. What it
// does not know it refuses, by line; it looks at no file but the ones it names.
package manifest

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"peerless/shared/wire"
)

// ErrManifest: the file does not say what is to be. The text says where and why.
var ErrManifest = errors.New("unusable manifest")

// A Manifest is what there is to be. Paths are as the file has them, relative to its directory.
type Manifest struct {
	Organizations []Organization
	Channels      []Channel
}

// An Organization is a member of channels.
type Organization struct {
	MSPID string
	// MSP is a Fabric MSP directory. Empty: Peerless makes an authority.
	MSP string
	// Endorser signs the organisation's endorsements. Nil: the identity in the MSP directory's signcerts and keystore if there is
	// one, else the platform's if Peerless made the authority, else nobody here.
	Endorser *Endorser
	Line     int // in the file
}

// An Endorser is who signs an organisation's endorsements: a key that the platform is given, or a process of the
// organisation's own.
type Endorser struct {
	Cert    string // PEM file: by which its endorsements are known
	Key     string // PEM file; excludes Address
	Address string // host:port of a running endorser
	TLS     *TLS   // of Address
}

// A Channel has members and chaincodes.
type Channel struct {
	Name          string
	Organizations []string // MSP ids
	Chaincodes    []Chaincode
	Line          int
}

// A Chaincode is what runs under a name on a channel. It has a Source or an Address.
type Chaincode struct {
	Name    string
	Source  string // a source directory, or a package's file
	Address string // host:port of a running service
	TLS     *TLS   // of Address
	// Sources of organisations that run another than the rest of the channel, by MSP id.
	Sources      map[string]Source
	Version      string // empty: made of the source
	Policy       string // who endorses, as gateway.Definition's
	Collections  string // file of private data collections, as Fabric's tools take it
	InitRequired bool
	Line         int
}

// A Source is what a chaincode runs: a Path or an Address.
type Source struct {
	Path    string // a source directory, or a package's file
	Address string // host:port of a running service
	TLS     *TLS   // of Address
}

// Default is the source for organisations that are not in Sources.
func (c *Chaincode) Default() Source { return Source{c.Source, c.Address, c.TLS} }

// A TLS says how a service proves itself, and how we do: PEM files.
type TLS struct {
	RootCert   string
	ClientCert string // with ClientKey, or neither
	ClientKey  string
}

// Parse reads a manifest. name stands for the file in errors. It returns ErrManifest.
func Parse(content []byte, name string) (*Manifest, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(content, &root); err != nil {
		return nil, fmt.Errorf("%w %s: %s", ErrManifest, name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	m := &Manifest{}
	if len(root.Content) == 0 {
		return nil, fmt.Errorf("%w %s: it is empty: it lists organizations and channels", ErrManifest, name)
	}
	if err := m.read(root.Content[0]); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrManifest, name, err)
	}
	return m, nil
}

func (m *Manifest) read(node *yaml.Node) error {
	err := fields(node, "the manifest", map[string]func(*yaml.Node) error{
		"organizations": list("organizations", &m.Organizations, readOrganization),
		"channels":      list("channels", &m.Channels, readChannel),
	})
	if err != nil {
		return err
	}
	return m.check()
}

func readOrganization(node *yaml.Node) (o Organization, err error) {
	o.Line = node.Line
	err = fields(node, "an organisation", map[string]func(*yaml.Node) error{
		"mspId": text("mspId", &o.MSPID), "msp": text("msp", &o.MSP),
		"endorser": func(node *yaml.Node) error {
			o.Endorser = &Endorser{}
			return o.Endorser.read(node)
		},
	})
	if err == nil && o.MSPID == "" {
		err = at(node, "an organisation needs an mspId")
	}
	return o, err
}

func (e *Endorser) read(node *yaml.Node) error {
	err := fields(node, "an endorser", map[string]func(*yaml.Node) error{
		"cert": text("cert", &e.Cert), "key": text("key", &e.Key), "address": text("address", &e.Address), "tls": tlsOf(&e.TLS),
	})
	switch {
	case err != nil:
		return err
	case e.Address != "" && e.Key != "":
		return at(node, "an endorser has a key, or an address where it is, not both")
	case e.Address != "" && e.Cert == "":
		return at(node, "an endorser with an address needs its cert: policies and plans go by it")
	case e.Cert == "" || e.Address == "" && e.Key == "":
		return at(node, "an endorser needs cert and key, or cert and address")
	case e.TLS != nil && e.Address == "":
		return at(node, "tls is for an endorser with an address")
	}
	return nil
}

func readChannel(node *yaml.Node) (c Channel, err error) {
	c.Line = node.Line
	err = fields(node, "a channel", map[string]func(*yaml.Node) error{
		"name":          text("name", &c.Name),
		"organizations": list("organizations", &c.Organizations, readText("organizations")),
		"chaincodes":    list("chaincodes", &c.Chaincodes, readChaincode),
	})
	if err != nil {
		return c, err
	}
	if err := wire.ChannelName.Check(c.Name); err != nil {
		return c, at(node, "%v", err)
	}
	if len(c.Organizations) == 0 {
		return c, at(node, "channel %s needs organizations", c.Name)
	}
	return c, nil
}

func readChaincode(node *yaml.Node) (c Chaincode, err error) {
	c.Line = node.Line
	err = fields(node, "a chaincode", map[string]func(*yaml.Node) error{
		"name": text("name", &c.Name), "source": c.readSource, "sources": c.readSources, "address": text("address", &c.Address), "tls": tlsOf(&c.TLS),
		"version": text("version", &c.Version), "policy": text("policy", &c.Policy), "collections": text("collections", &c.Collections),
		"initRequired": func(node *yaml.Node) error {
			if node.Decode(&c.InitRequired) != nil {
				return at(node, "initRequired is true or false")
			}
			return nil
		},
	})
	if err != nil {
		return c, err
	}
	if err := wire.ChaincodeName.Check(c.Name); err != nil {
		return c, at(node, "%v", err)
	}
	switch {
	case c.Source == "" && c.Address == "":
		return c, at(node, "chaincode %s needs a source: a directory, a package, or address: host:port", c.Name)
	case c.Source != "" && c.Address != "":
		return c, at(node, "chaincode %s has a source and an address: one of them", c.Name)
	case c.TLS != nil && c.Address == "":
		return c, at(node, "chaincode %s: tls is for one with an address", c.Name)
	}
	return c, nil
}

// readSource reads a path, or the address of a service: a mapping with it, or the same in quotes.
func (c *Chaincode) readSource(node *yaml.Node) error {
	source, err := readSource(node)
	c.Source, c.Address, c.TLS = source.Path, source.Address, source.TLS
	return err
}

func readSource(node *yaml.Node) (s Source, err error) {
	if node.Kind == yaml.MappingNode {
		return s, fields(node, "a source", map[string]func(*yaml.Node) error{"address": text("address", &s.Address), "tls": tlsOf(&s.TLS)})
	}
	var source string
	if err := text("source", &source)(node); err != nil {
		return s, err
	}
	if address, ok := strings.CutPrefix(source, "address:"); ok {
		s.Address = strings.TrimSpace(address)
		return s, nil
	}
	s.Path = source
	return s, nil
}

// readSources reads a mapping of MSP ids to sources.
func (c *Chaincode) readSources(node *yaml.Node) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return at(node, "sources is a mapping of MSP ids to what their organisations run")
	}
	c.Sources = map[string]Source{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		mspID := node.Content[i].Value
		if _, twice := c.Sources[mspID]; twice {
			return at(node.Content[i], "sources has %s twice", mspID)
		}
		source, err := readSource(node.Content[i+1])
		if err != nil {
			return err
		}
		if source.Path == "" && source.Address == "" {
			return at(node.Content[i], "the source of %s is a directory, a package, or address: host:port", mspID)
		}
		c.Sources[mspID] = source
	}
	return nil
}

func tlsOf(into **TLS) func(*yaml.Node) error {
	return func(node *yaml.Node) error {
		t := &TLS{}
		*into = t
		err := fields(node, "tls", map[string]func(*yaml.Node) error{
			"rootCert": text("rootCert", &t.RootCert), "clientCert": text("clientCert", &t.ClientCert), "clientKey": text("clientKey", &t.ClientKey),
		})
		switch {
		case err != nil:
			return err
		case t.RootCert == "":
			return at(node, "tls needs a rootCert")
		case (t.ClientCert == "") != (t.ClientKey == ""):
			return at(node, "clientCert and clientKey go together")
		}
		return nil
	}
}

// check looks at what the parts say of each other.
func (m *Manifest) check() error {
	organizations := map[string]bool{}
	for _, o := range m.Organizations {
		if organizations[o.MSPID] {
			return fmt.Errorf("line %d: organisation %s is there twice", o.Line, o.MSPID)
		}
		organizations[o.MSPID] = true
	}
	channels := map[string]bool{}
	for _, c := range m.Channels {
		if channels[c.Name] {
			return fmt.Errorf("line %d: channel %s is there twice", c.Line, c.Name)
		}
		channels[c.Name] = true
		members, chaincodes := map[string]bool{}, map[string]bool{}
		for _, id := range c.Organizations {
			if members[id] {
				return fmt.Errorf("line %d: channel %s has organisation %s twice", c.Line, c.Name, id)
			}
			members[id] = true
		}
		for _, chaincode := range c.Chaincodes {
			if chaincodes[chaincode.Name] {
				return fmt.Errorf("line %d: channel %s has chaincode %s twice", chaincode.Line, c.Name, chaincode.Name)
			}
			chaincodes[chaincode.Name] = true
			for mspID := range chaincode.Sources {
				if !members[mspID] {
					return fmt.Errorf("line %d: chaincode %s has a source of %s, which is not among the organizations of channel %s", chaincode.Line, chaincode.Name, mspID, c.Name)
				}
			}
		}
	}
	return nil
}
