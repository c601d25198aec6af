package api

import (
	"cmp"
	"net/http"
	"slices"

	"peerless/shared/msp"
)

// A Scope is something that a key may be allowed to do.
type Scope string

// The scopes. Each stands for itself: none contains another.
const (
	ScopeAdmin    Scope = "admin"    // create channels, deploy and remove chaincodes, manage keys
	ScopeSubmit   Scope = "submit"   // submit transactions
	ScopeEvaluate Scope = "evaluate" // evaluate, and read blocks, transactions, history and events
)

// Scopes are all there are.
var Scopes = []Scope{ScopeAdmin, ScopeSubmit, ScopeEvaluate}

// scopePublic marks routes that need no key.
const scopePublic Scope = ""

// An Authenticator finds out who sent a request. It returns a *Problem, UNAUTHENTICATED or QUOTA_EXCEEDED for instance, if
// the request may not go on. It is safe for concurrent use.
type Authenticator interface {
	Authenticate(*http.Request) (*Principal, error)
}

// A Principal is who sent a request, and what it may do.
type Principal struct {
	Name   string // of the user: the common name of the certificate
	MSPID  string // of the user's organisation
	Tenant string // to whom it belongs; empty: to the platform itself
	// Operator: an administrator of the platform that chose no organisation. On a channel without MSPID it is a user of the same name
	// of a member whose authority the platform holds.
	Operator   bool
	Attributes map[string]string // in the user's certificate, where contracts read them
	Scopes     []Scope
	Channels   []string // the only channels it sees; empty: all
	Chaincodes []string // the only chaincodes it may call; empty: all

	tenant *Tenant // of Tenant

	// Signer returns the key that signs the user's transactions.
	Signer func() (*msp.Signer, error)
}

// A SignerFunc returns the signer of a user of an organisation, with these attributes in its certificate: the same
// certificate whenever it is asked.
type SignerFunc func(mspID, user string, attributes map[string]string) (*msp.Signer, error)

func (p *Principal) signer(sign SignerFunc) func() (*msp.Signer, error) {
	return func() (*msp.Signer, error) { return sign(p.MSPID, p.Name, p.Attributes) }
}

func forbidden(detail string) *Problem { return &Problem{Code: CodeForbidden, Detail: detail} }

// allow checks a route's scope, and the channel and chaincode in its path, if any.
func (p *Principal) allow(scope Scope, channel, chaincode string) error {
	if !slices.Contains(p.Scopes, scope) {
		return forbidden("this needs a key with the scope \"" + string(scope) + "\"")
	}
	if channel != "" && p.tenant != nil && !slices.Contains(p.tenant.Channels, channel) {
		return &Problem{Code: CodeNotFound, Detail: "there is no channel \"" + channel + "\""} // another tenant's is not told from none
	}
	if channel != "" && !p.seesChannel(channel) {
		return forbidden("this key is not for the channel \"" + channel + "\"")
	}
	if chaincode != "" && !p.seesChaincode(chaincode) {
		return forbidden("this key is not for the chaincode \"" + chaincode + "\"")
	}
	return nil
}

// Approves returns the organisations for which a principal may have the platform approve a chaincode's definition: its own, and an
// operator any that it names; none that an operator does not name are all for which the platform endorses.
func (p *Principal) Approves(organization string) ([]string, error) {
	switch {
	case p.Operator && organization == "":
		return nil, nil
	case p.Operator, organization == "" || organization == p.MSPID:
		return []string{cmp.Or(organization, p.MSPID)}, nil
	}
	return nil, forbidden("this key is for " + p.MSPID + ", and cannot approve for " + organization)
}

func (p *Principal) seesChannel(name string) bool {
	return (len(p.Channels) == 0 || slices.Contains(p.Channels, name)) && (p.tenant == nil || slices.Contains(p.tenant.Channels, name))
}

func (p *Principal) seesChaincode(name string) bool {
	return len(p.Chaincodes) == 0 || slices.Contains(p.Chaincodes, name)
}
