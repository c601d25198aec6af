package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// ErrInsecure: a private key is not sent in the clear over a network.
var ErrInsecure = errors.New("private keys go over https only, or to a server on this machine: give its https address")

// secure reports whether what is sent is nobody else's to read.
func (c *Client) secure() bool {
	u, err := url.Parse(c.base)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// A PutResult is what became of a thing that was put.
type PutResult struct {
	Action string `json:"action"` // created, updated or unchanged
	Detail string `json:"detail"`
}

// An Organization is one as a server shows it.
type Organization struct {
	MSPID     string `json:"mspId"`
	MSP       []byte `json:"msp"`       // its configuration, an msp.MSPConfig
	Authority bool   `json:"authority"` // the server issues its users' certificates
	Endorser  string `json:"endorser"`  // PEM, the certificate of who endorses for it
}

// A NewOrganization is what an organisation brings along; what is left out the server makes.
type NewOrganization struct {
	MSP      []byte    `json:"msp,omitempty"` // an msp.MSPConfig
	Endorser *Endorser `json:"endorser,omitempty"`
}

// An Endorser is a certificate and its key, or the address where the endorser runs. Certificates and keys are PEM.
type Endorser struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key,omitempty"`
	Address     string `json:"address,omitempty"`    // host:port
	RootCert    string `json:"rootCert,omitempty"`   // of Address; left out: plain text
	ClientCert  string `json:"clientCert,omitempty"` // to show at Address
	ClientKey   string `json:"clientKey,omitempty"`
}

func organizationPath(mspID string) string { return "/v1/organizations/" + url.PathEscape(mspID) }

// Organization returns an organisation.
func (c *Client) Organization(ctx context.Context, mspID string) (*Organization, error) {
	out := &Organization{}
	return result(out, c.get(ctx, organizationPath(mspID), out))
}

// PutOrganization makes an organisation, or brings one along. ErrInsecure.
func (c *Client) PutOrganization(ctx context.Context, mspID string, o NewOrganization) (*PutResult, error) {
	if o.Endorser != nil && o.Endorser.Key+o.Endorser.ClientKey != "" && !c.secure() {
		return nil, ErrInsecure
	}
	return c.put(ctx, organizationPath(mspID), o)
}

// PutChannel makes a channel of these organisations, which there must be.
func (c *Client) PutChannel(ctx context.Context, name string, organizations []string) (*PutResult, error) {
	return c.put(ctx, channelPath(name), struct {
		Organizations []string `json:"organizations"`
	}{organizations})
}

// A ChaincodeSpec says what a chaincode is to run and how it is to be defined.
type ChaincodeSpec struct {
	Version      string                     `json:"version"`
	Policy       string                     `json:"policy,omitempty"`
	Collections  string                     `json:"collections,omitempty"` // Fabric's JSON
	InitRequired bool                       `json:"initRequired,omitempty"`
	Source       ChaincodeSource            `json:"source"`
	Sources      map[string]ChaincodeSource `json:"sources,omitempty"` // of organisations that run another, by MSP id
}

// A ChaincodeSource is an installed package, or a service. Certificates and keys are PEM.
type ChaincodeSource struct {
	PackageID  string `json:"packageId,omitempty"`
	Address    string `json:"address,omitempty"` // host:port
	RootCert   string `json:"rootCert,omitempty"`
	ClientCert string `json:"clientCert,omitempty"`
	ClientKey  string `json:"clientKey,omitempty"`
}

// PutChaincode makes a chaincode run and be defined as said, and returns when it answers. ErrInsecure.
func (c *Client) PutChaincode(ctx context.Context, channel, name string, spec ChaincodeSpec) (*PutResult, error) {
	secret := spec.Source.ClientKey != ""
	for _, source := range spec.Sources {
		secret = secret || source.ClientKey != ""
	}
	if secret && !c.secure() {
		return nil, ErrInsecure
	}
	return c.put(ctx, chaincodePath(channel, name), spec)
}

// Packages returns the ids of the installed packages, sorted.
func (c *Client) Packages(ctx context.Context) ([]string, error) {
	var list struct {
		Packages []struct{ PackageID string }
	}
	if err := c.get(ctx, "/v1/packages", &list); err != nil {
		return nil, err
	}
	ids := make([]string, len(list.Packages))
	for i, pkg := range list.Packages {
		ids[i] = pkg.PackageID
	}
	return ids, nil
}

// Install sends a package, as it is read, and returns its id when it is ready to run.
func (c *Client) Install(ctx context.Context, pkg io.Reader) (packageID string, err error) {
	var out struct{ PackageID string }
	err = c.do(ctx, call{http.MethodPost, "/v1/packages", pkg, []string{"Content-Type", "application/gzip"}}, &out)
	return out.PackageID, err
}

func (c *Client) put(ctx context.Context, path string, in any) (*PutResult, error) {
	out := &PutResult{}
	return result(out, c.with(ctx, http.MethodPut, path, in, out))
}
