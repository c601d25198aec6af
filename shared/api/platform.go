package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/organization"
)

// Platform makes organisations, channels and chaincodes what the operator says. Each Put changes nothing if it is so already, and can
// be repeated after it failed.
type Platform interface {
	// Organizations returns the MSP ids, sorted, without the ordering organisation's.
	Organizations(context.Context) ([]string, error)
	// Organization returns what may be known of one; ledger.ErrNotFound.
	Organization(ctx context.Context, mspID string) (*Organization, error)
	PutOrganization(ctx context.Context, mspID string, brought organization.Member) (*Change, error)
	// PutChannel makes a channel of organisations that there are.
	PutChannel(ctx context.Context, name string, organizations []string) (*Change, error)
	PutChaincode(ctx context.Context, channel, name string, spec ChaincodeSpec) (*Change, error)
	// Packages returns the ids of the packages that are installed, sorted.
	Packages(context.Context) ([]string, error)
	// Install keeps a package and makes it ready to run, and returns its id.
	Install(ctx context.Context, pkg io.Reader) (packageID string, err error)
}

// A Change is what a Put did.
type Change struct {
	Action string `json:"action"` // created, updated or unchanged
	Detail string `json:"detail,omitempty"`
}

// An Organization is one as the API shows it: no key is in it.
type Organization struct {
	MSPID string `json:"mspId"`
	// MSP is its configuration, Fabric's msp.MSPConfig.
	MSP []byte `json:"msp"`
	// Authority: the platform issues its users' certificates. Else they are issued elsewhere.
	Authority bool `json:"authority"`
	// Endorser is the certificate of who endorses for it, in PEM; empty if the platform knows nobody.
	Endorser string `json:"endorser,omitempty"`
}

// A ChaincodeSpec says what a chaincode is to run and how it is to be defined.
type ChaincodeSpec struct {
	Version      string
	Policy       string // empty: the channel's majority
	Collections  string // Fabric's JSON; empty: none
	InitRequired bool
	Source       ChaincodeSource            // of organisations that are not in Sources
	Sources      map[string]ChaincodeSource // by MSP id
}

// A ChaincodeSource is an installed package, or a service at an address. Certificates and keys are PEM.
type ChaincodeSource struct {
	PackageID                       string
	Address                         string // host:port
	RootCert, ClientCert, ClientKey string // of Address; without RootCert: plain text
}

type organizationList struct {
	Organizations []organizationName `json:"organizations"`
}

type organizationName struct {
	MSPID string `json:"mspId"`
}

type packageList struct {
	Packages []packageName `json:"packages"`
}

type packageName struct {
	PackageID string `json:"packageId"`
}

func (h *Handler) platformRoutes(channel, chaincode string) []route {
	const organizations, packages = "/v1/organizations", "/v1/packages"
	return []route{
		{"GET", organizations, handle(h, ScopeAdmin, decodeNone, operate(h, listOrganizations))},
		{"GET", organizations + "/{id}", handle(h, ScopeAdmin, decodeID, operate(h, showOrganization))},
		{"PUT", organizations + "/{id}", handle(h, ScopeAdmin, decodeOrganization, operate(h, putOrganization))},
		{"GET", packages, handle(h, ScopeAdmin, decodeNone, operate(h, listPackages))},
		{"POST", packages, handle(h, ScopeAdmin, decodeUpload, operate(h, install))},
		{"PUT", channel, handle(h, ScopeAdmin, decodePutChannel, operate(h, putChannel))},
		{"PUT", chaincode, handle(h, ScopeAdmin, decodePutChaincode, operate(h, putChaincode))},
	}
}

// operate wraps an endpoint that is for the operator of the platform alone.
func operate[In, Out any](h *Handler, call func(context.Context, Platform, In) (Out, error)) func(context.Context, *Principal, In) (Out, error) {
	return func(ctx context.Context, p *Principal, in In) (out Out, err error) {
		switch {
		case h.Platform == nil:
			return out, &Problem{Code: CodeNotFound, Detail: "organisations and packages of this server are not managed over HTTP"}
		case !p.Operator || len(p.Channels)+len(p.Chaincodes) > 0:
			return out, forbidden("this is for the operator: use an administrator's key of the platform's own organisation, for all channels")
		}
		return call(ctx, h.Platform, in)
	}
}

func listOrganizations(ctx context.Context, platform Platform, _ none) (*organizationList, error) {
	ids, err := platform.Organizations(ctx)
	if err != nil {
		return nil, err
	}
	list := &organizationList{Organizations: []organizationName{}}
	for _, id := range ids {
		list.Organizations = append(list.Organizations, organizationName{id})
	}
	return list, nil
}

func showOrganization(ctx context.Context, platform Platform, mspID string) (*Organization, error) {
	o, err := platform.Organization(ctx, mspID)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, &Problem{Code: CodeNotFound, Detail: fmt.Sprintf("organization %q does not exist", mspID)}
	}
	return o, err
}

type newOrganization struct {
	mspID   string
	brought organization.Member
}

// decodeOrganization reads {"msp": base64 of an msp.MSPConfig, "endorser": {"certificate","key"}}, either of which may be missing. An
// endorser that runs elsewhere is {"certificate","address","rootCert","clientCert","clientKey"}, the last three for TLS.
func decodeOrganization(q *request) (*newOrganization, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &newOrganization{mspID: q.PathValue("id")}
	r := jsonReader{data: body}
	err = r.fields(func(name string) error {
		switch name {
		case "msp":
			text, err := r.text(name)
			if err != nil {
				return err
			}
			raw, err := base64.StdEncoding.Strict().DecodeString(text)
			in.brought.Config = &mspproto.MSPConfig{}
			if err != nil || proto.Unmarshal(raw, in.brought.Config) != nil {
				return invalid(name, "msp must be a Fabric msp.MSPConfig in base64")
			}
			return nil
		case "endorser":
			pair, err := r.strings(name, "certificate", "key", "address", "rootCert", "clientCert", "clientKey")
			if err != nil {
				return err
			}
			if pair["certificate"] == "" || (pair["key"] == "") == (pair["address"] == "") {
				return invalid(name, "endorser needs a certificate, in PEM, and its key or the address of a running endorser")
			}
			if pair["address"] != "" {
				in.brought.Remote = &organization.RemoteEndorser{Certificate: []byte(pair["certificate"]), Connection: organization.Connection{
					Address: pair["address"], RootCert: []byte(pair["rootCert"]), ClientCert: []byte(pair["clientCert"]), ClientKey: []byte(pair["clientKey"]),
				}}
				if pair["clientKey"] == "" {
					return nil
				}
				return q.checkSecret(name + ".clientKey")
			}
			in.brought.Endorser = &organization.KeyPair{Certificate: []byte(pair["certificate"]), Key: []byte(pair["key"])}
			return q.checkSecret(name + ".key")
		}
		return unknown(name, "msp, endorser")
	})
	return in, err
}

// strings reads an object of strings, whose names are among those known.
func (r *jsonReader) strings(path string, known ...string) (map[string]string, error) {
	values, err := r.textMap(path)
	if err != nil {
		return nil, err
	}
	for name := range values {
		if !slices.Contains(known, name) {
			return nil, invalid(join(path, name), fmt.Sprintf("unknown field %q: there are %q", join(path, name), known))
		}
	}
	return values, nil
}

// checkSecret refuses a private key that came over a network in the clear.
func (q *request) checkSecret(field string) error {
	host, _, err := net.SplitHostPort(q.RemoteAddr)
	if ip := net.ParseIP(host); q.TLS != nil || err == nil && ip != nil && ip.IsLoopback() {
		return nil
	}
	return invalid(field, "private keys are taken over https only, or from this machine: the one that was sent is known to the network now")
}

func putOrganization(ctx context.Context, platform Platform, in *newOrganization) (*Change, error) {
	return platform.PutOrganization(ctx, in.mspID, in.brought)
}

// decodePutChannel reads {"organizations":[…]}.
func decodePutChannel(q *request) (*newChannel, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &newChannel{name: q.channel}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		if name != "organizations" {
			return unknown(name, "organizations")
		}
		in.organizations, err = r.names(name)
		return err
	})
	if err == nil && len(in.organizations) == 0 {
		err = invalid("organizations", "name the channel's organizations")
	}
	return in, err
}

func putChannel(ctx context.Context, platform Platform, in *newChannel) (*Change, error) {
	return platform.PutChannel(ctx, in.name, in.organizations)
}

type newChaincode struct {
	target
	spec ChaincodeSpec
}

// decodePutChaincode reads {"version","policy","collections","initRequired","source":{…},"sources":{MSPID:{…}}}, a source being
// {"packageId"} or {"address","rootCert","clientCert","clientKey"}.
func decodePutChaincode(q *request) (*newChaincode, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &newChaincode{target: target{q.channel, q.chaincode}}
	fields := upload{}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "version", "policy", "collections":
			var value string
			if value, err = r.text(name); err == nil {
				err = fields.set(name, value)
			}
		case "initRequired":
			fields.spec.InitRequired, err = r.boolean(name)
		case "source":
			in.spec.Source, err = r.source(q, name)
		case "sources":
			in.spec.Sources = map[string]ChaincodeSource{}
			err = r.object(name, func(mspID string) (err error) {
				in.spec.Sources[mspID], err = r.source(q, join(name, mspID))
				return err
			})
		default:
			err = unknown(name, "version, policy, collections, initRequired, source, sources")
		}
		return err
	})
	if err == nil && in.spec.Source == (ChaincodeSource{}) {
		err = invalid("source", "say what the chaincode runs")
	}
	if err == nil && fields.spec.Version == "" {
		err = invalid("version", "give the chaincode's version")
	}
	if err == nil {
		err = fields.check()
	}
	in.spec.Version, in.spec.Policy, in.spec.Collections, in.spec.InitRequired = fields.spec.Version, fields.spec.Policy, fields.spec.Collections, fields.spec.InitRequired
	return in, err
}

// source reads what a chaincode runs.
func (r *jsonReader) source(q *request, path string) (s ChaincodeSource, err error) {
	values, err := r.strings(path, "packageId", "address", "rootCert", "clientCert", "clientKey")
	if err != nil {
		return s, err
	}
	s = ChaincodeSource{values["packageId"], values["address"], values["rootCert"], values["clientCert"], values["clientKey"]}
	switch {
	case (s.PackageID == "") == (s.Address == ""):
		return s, invalid(path, path+" has a packageId, or the address of a service")
	case s.PackageID != "" && len(values) > 1:
		return s, invalid(path, "certificates are for a service")
	case (s.ClientCert == "") != (s.ClientKey == ""):
		return s, invalid(path, "clientCert and clientKey go together")
	case s.ClientCert != "" && s.RootCert == "":
		return s, invalid(path, "a clientCert needs a rootCert: without one there is no TLS")
	case s.ClientKey != "":
		return s, q.checkSecret(path + ".clientKey")
	}
	return s, nil
}

func putChaincode(ctx context.Context, platform Platform, in *newChaincode) (*Change, error) {
	return platform.PutChaincode(ctx, in.channel, in.chaincode, in.spec)
}

func listPackages(ctx context.Context, platform Platform, _ none) (*packageList, error) {
	ids, err := platform.Packages(ctx)
	if err != nil {
		return nil, err
	}
	list := &packageList{Packages: []packageName{}}
	for _, id := range ids {
		list.Packages = append(list.Packages, packageName{id})
	}
	return list, nil
}

func install(ctx context.Context, platform Platform, in *upload) (*packageName, error) {
	if in.pkg == nil {
		return nil, &Problem{Code: CodeUnsupportedMedia, Field: "Content-Type", Detail: "send the package itself"}
	}
	id, err := platform.Install(ctx, in.pkg)
	return &packageName{id}, err
}
