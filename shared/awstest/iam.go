package awstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// IAM knows credentials and what they may do. It evaluates the part of AWS's policy language that policies here are written in:
// Allow and Deny, actions and resources with wildcards, and conditions on dynamodb:LeadingKeys; a policy with anything else is
// refused. Signatures are not verified: who has the session token, or the key id of long-lived
// credentials, is believed.
type IAM struct {
	mu       sync.Mutex
	sessions map[string]*session // by access key id
	roles    map[string][]Policy
	issued   int
	clock    func() time.Time
}

// A session is what one set of credentials may do.
type session struct {
	token    string
	expires  time.Time // zero: never
	all      bool
	identity []Policy // any of them must allow it
	scope    *Policy  // and this one too, if there is one: AssumeRole's session policy
}

// NewIAM returns one that knows nobody.
func NewIAM() *IAM {
	return &IAM{sessions: make(map[string]*session), roles: make(map[string][]Policy), clock: time.Now}
}

// SetClock sets the clock by which credentials expire.
func (m *IAM) SetClock(clock func() time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = clock
}

// Administrator returns credentials that may do everything.
func (m *IAM) Administrator() aws.Credentials {
	return m.issue("AKIA", &session{all: true})
}

// Credentials returns credentials that may do what one of the policies, JSON documents, allows.
func (m *IAM) Credentials(policies ...string) aws.Credentials {
	return m.issue("ASIA", &session{identity: mustParse(policies)})
}

// Role makes a role that may be assumed, with its policies. Who assumes it may do what they allow and the session policy too.
func (m *IAM) Role(name string, policies ...string) (arn string) {
	arn = fmt.Sprintf("arn:aws:iam::%s:role/%s", Account, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roles[arn] = mustParse(policies)
	return arn
}

func mustParse(documents []string) []Policy {
	var policies []Policy
	for _, d := range documents {
		p, err := ParsePolicy([]byte(d))
		if err != nil {
			panic(err) // a test's own text
		}
		policies = append(policies, p)
	}
	return policies
}

func (m *IAM) issue(prefix string, s *session) aws.Credentials {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.issued++
	c := aws.Credentials{AccessKeyID: fmt.Sprintf("%s%016d", prefix, m.issued), SecretAccessKey: requestID()}
	if prefix == "ASIA" {
		c.SessionToken = requestID()
	}
	if !s.expires.IsZero() {
		c.CanExpire, c.Expires = true, s.expires
	}
	s.token = c.SessionToken
	m.sessions[c.AccessKeyID] = s
	return c
}

// A Call is what a request wants.
type Call struct {
	Action, Resource string
	LeadingKeys      []string // dynamodb:LeadingKeys; nil where the request names none
}

// A refusal is an error of AWS for whoever may not do something.
type refusal struct {
	status  int
	kind    string
	message string
}

// refuse returns why a signed request may not make a call, nil if it may.
func (m *IAM) refuse(r *http.Request, c Call) *refusal {
	key := accessKey(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[key]
	switch {
	case key == "":
		return &refusal{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	case s == nil || s.token != r.Header.Get("X-Amz-Security-Token"):
		return &refusal{http.StatusForbidden, "UnrecognizedClientException", "The security token included in the request is invalid."}
	case !s.expires.IsZero() && !m.clock().Before(s.expires):
		return &refusal{http.StatusForbidden, "ExpiredTokenException", "The security token included in the request is expired"}
	case s.all || allowed(s.identity, c) && (s.scope == nil || allowed([]Policy{*s.scope}, c)):
		return nil
	}
	return &refusal{http.StatusForbidden, "AccessDeniedException", fmt.Sprintf(
		"User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %[2]s action", key, c.Action, c.Resource)}
}

// accessKey returns the key id that a request says it is signed with (Signature Version 4).
func accessKey(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(rest, "/")
	return key
}

// A Policy is a policy document.
type Policy struct {
	Version   string
	Statement Statements
}

// Statements is a statement or a list of them.
type Statements []Statement

// UnmarshalJSON implements json.Unmarshaler.
func (s *Statements) UnmarshalJSON(raw []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		raw = slices.Concat([]byte("["), raw, []byte("]"))
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*[]Statement)(s))
}

// leadingKeys is the one condition key that is known here.
const leadingKeys = "dynamodb:LeadingKeys"

// A Statement allows or denies calls.
type Statement struct {
	Sid       string
	Effect    string
	Action    Strings
	Resource  Strings
	Condition map[string]map[string]Strings
}

// Strings is a string or a list of them.
type Strings []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *Strings) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*s = Strings{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(s))
}

// ParsePolicy reads a policy document, and refuses what this package does not evaluate.
func ParsePolicy(document []byte) (Policy, error) {
	var p Policy
	decoder := json.NewDecoder(strings.NewReader(string(document)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, fmt.Errorf("policy: %w", err)
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return p, fmt.Errorf("policy: unknown effect %q", s.Effect)
		}
		for operator := range s.Condition {
			if conditions[operator] == nil {
				return p, fmt.Errorf("policy: condition operator %q is not known here", operator)
			}
			for key := range s.Condition[operator] {
				if !strings.EqualFold(key, leadingKeys) {
					return p, fmt.Errorf("policy: condition key %q is not known here", key)
				}
			}
		}
	}
	return p, nil
}

// Allows reports whether the policy alone allows a call.
func (p Policy) Allows(c Call) bool { return allowed([]Policy{p}, c) }

func allowed(policies []Policy, c Call) bool {
	allow := false
	for _, p := range policies {
		for _, s := range p.Statement {
			if !s.covers(c) {
				continue
			}
			if s.Effect == "Deny" {
				return false
			}
			allow = true
		}
	}
	return allow
}

func (s Statement) covers(c Call) bool {
	if !matchesAny(s.Action, c.Action, true) || !matchesAny(s.Resource, c.Resource, false) {
		return false
	}
	for operator, keys := range s.Condition {
		for _, wanted := range keys {
			if !conditions[operator](c.LeadingKeys, wanted) {
				return false
			}
		}
	}
	return true
}

// conditions are the operators that are known here. What ForAllValues asks of nothing is true, as in AWS.
var conditions = map[string]func(have []string, wanted Strings) bool{
	"StringEquals": func(have []string, wanted Strings) bool { return len(have) == 1 && contains(wanted, have[0]) },
	"StringLike":   func(have []string, wanted Strings) bool { return len(have) == 1 && matchesAny(wanted, have[0], false) },
	"ForAllValues:StringEquals": func(have []string, wanted Strings) bool {
		return all(have, func(h string) bool { return contains(wanted, h) })
	},
	"ForAllValues:StringLike": func(have []string, wanted Strings) bool {
		return all(have, func(h string) bool { return matchesAny(wanted, h, false) })
	},
	"Null": func(have []string, wanted Strings) bool {
		return len(wanted) == 1 && (have == nil) == (wanted[0] == "true")
	},
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func all(list []string, f func(string) bool) bool {
	for _, s := range list {
		if !f(s) {
			return false
		}
	}
	return true
}

// matchesAny matches with * and ?; path.Match knows no * over slashes, so they are taken out of its way.
func matchesAny(patterns []string, s string, fold bool) bool {
	for _, p := range patterns {
		if fold {
			p, s = strings.ToLower(p), strings.ToLower(s)
		}
		escape := strings.NewReplacer("/", "\x01", "[", "\\[", "]", "\\]", "\\", "\\\\")
		if ok, _ := path.Match(escape.Replace(p), strings.ReplaceAll(s, "/", "\x01")); ok {
			return true
		}
	}
	return false
}
