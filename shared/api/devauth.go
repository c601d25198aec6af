package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The headers by which a caller of a server without keys says who it is.
const (
	HeaderUser         = "X-Peerless-User"
	HeaderOrganization = "X-Peerless-Organization"
	HeaderAttributes   = "X-Peerless-Attributes"
)

// DevAuth believes what the request says: for a developer's own machine, behind GuardLocal.
//
//	X-Peerless-User: alice                      "dev" if left out
//	X-Peerless-Organization: Org1MSP            Organization if left out, or a member of the channel
//	X-Peerless-Attributes: role=auditor,dept=7  see ParseAttributes
type DevAuth struct {
	Organization string // the MSP id of who does not name one
	Signer       SignerFunc
	// Known, if not nil, reports whether there is an organisation with this MSP id. Without it a misspelt name would
	// found one.
	Known func(mspID string) bool
}

var _ Authenticator = (*DevAuth)(nil)

// Authenticate returns a principal with every scope.
func (a *DevAuth) Authenticate(r *http.Request) (*Principal, error) {
	p := &Principal{Name: "dev", MSPID: a.Organization, Operator: true, Scopes: Scopes}
	if v := r.Header.Get(HeaderUser); v != "" {
		if err := CheckUser(HeaderUser, v); err != nil {
			return nil, err
		}
		p.Name = v
	}
	if v := r.Header.Get(HeaderOrganization); v != "" {
		if a.Known != nil && !a.Known(v) {
			return nil, invalid(HeaderOrganization, fmt.Sprintf("there is no organisation %q", v))
		}
		p.MSPID, p.Operator = v, false
	}
	if v := r.Header.Get(HeaderAttributes); v != "" {
		attributes, err := ParseAttributes(v)
		if err != nil {
			return nil, invalid(HeaderAttributes, err.Error())
		}
		p.Attributes = attributes
	}
	p.Signer = p.signer(a.Signer)
	return p, nil
}

// CheckUser checks a user's name: up to MaxUser bytes of printable UTF-8.
func CheckUser(field, name string) *Problem {
	switch {
	case name == "" || len(name) > MaxUser:
		return invalid(field, fmt.Sprintf("a user's name has 1 to %d bytes", MaxUser))
	case !printable(name):
		return invalid(field, "a user's name must be printable UTF-8")
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// ParseAttributes reads "name=value,name=value". Names and values are percent-encoded where they hold a comma, an equals
// sign, a percent sign, or what a header cannot carry; spaces around a pair do not count; a value may be empty. A name that is empty or comes
// twice is an error.
func ParseAttributes(s string) (map[string]string, error) {
	attributes := make(map[string]string)
	for pair := range strings.SplitSeq(s, ",") {
		rawName, rawValue, ok := strings.Cut(strings.TrimSpace(pair), "=")
		name, nameErr := url.PathUnescape(rawName)
		value, valueErr := url.PathUnescape(rawValue)
		switch {
		case !ok || name == "":
			return nil, fmt.Errorf("want name=value,name=value, not %q", pair)
		case nameErr != nil || valueErr != nil:
			return nil, fmt.Errorf("a percent sign in %q is not followed by two hexadecimal digits: write %%25 for it", pair)
		case !printable(name) || !utf8.ValidString(value):
			return nil, fmt.Errorf("%q is not UTF-8, or its name is not printable", pair)
		}
		if _, twice := attributes[name]; twice {
			return nil, fmt.Errorf("the attribute %q is given twice", name)
		}
		attributes[name] = value
	}
	return attributes, nil
}

// FormatAttributes writes what ParseAttributes reads, in the order of the names given.
func FormatAttributes(names []string, attributes map[string]string) string {
	pairs := make([]string, len(names))
	for i, name := range names {
		pairs[i] = url.QueryEscape(name) + "=" + url.QueryEscape(attributes[name])
	}
	return strings.ReplaceAll(strings.Join(pairs, ","), "+", "%20")
}

// GuardLocal protects a server without keys from the pages that its user's browser shows. It refuses, with 403, a Host
// that is neither a loopback address, "localhost", nor one of hosts (a page may point its own name at 127.0.0.1), and
// requests that a page of another origin sends.
func GuardLocal(next http.Handler, hosts ...string) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host, hosts) {
			forbidden(fmt.Sprintf("this server answers on localhost only, not as %q", r.Host)).write(w)
			return
		}
		if origin := r.Header.Get("Origin"); crossOrigin.Check(r) != nil || origin != "" && !sameHost(origin, r.Host) {
			forbidden("this server refuses requests from pages of other origins").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

func isLocal(hostport string, allowed []string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	for _, name := range allowed {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	if address, err := netip.ParseAddr(host); err == nil {
		return address.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
