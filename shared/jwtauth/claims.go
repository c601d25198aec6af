package jwtauth

import (
	"fmt"
	"slices"
	"strings"

	"peerless/shared/api"
)

// principal makes a user of a valid token's claims.
func (v *Verifier) principal(claims map[string]any) (*api.Principal, error) {
	user, ok := text(claims[v.UserClaim])
	if !ok || user == "" {
		return nil, lacks(v.UserClaim, "that names its user")
	}
	p := &api.Principal{Name: v.UserPrefix + user, MSPID: v.Organization}
	if problem := api.CheckUser(v.UserClaim, p.Name); problem != nil {
		return nil, &api.Problem{Code: api.CodeForbidden, Detail: "the token's user cannot be one here: " + problem.Detail}
	}
	if v.OrganizationClaim != "" && claims[v.OrganizationClaim] != nil {
		mspID, ok := text(claims[v.OrganizationClaim])
		if !ok || !v.Known(mspID) {
			return nil, &api.Problem{Code: api.CodeForbidden, Detail: fmt.Sprintf("the token's organisation, %.40q, is none of this platform", mspID)}
		}
		p.MSPID = mspID
	}
	if p.MSPID == "" {
		return nil, lacks(v.OrganizationClaim, "that names its organisation")
	}
	if v.TenantClaim != "" {
		if p.Tenant, ok = text(claims[v.TenantClaim]); !ok || p.Tenant == "" {
			return nil, lacks(v.TenantClaim, "that names its tenant")
		}
	}
	p.Attributes = v.attributesOf(claims)
	p.Scopes = v.scopes(claims)
	var err error
	if p.Channels, err = only(claims, v.ChannelClaim); err != nil {
		return nil, err
	}
	if p.Chaincodes, err = only(claims, v.ChaincodeClaim); err != nil {
		return nil, err
	}
	return p, nil
}

func lacks(claim, what string) *api.Problem {
	return &api.Problem{Code: api.CodeForbidden, Detail: fmt.Sprintf("the token has no claim %q %s", claim, what)}
}

// attributesOf returns the claims that are attributes; of a list, its texts with commas between. Others are left out.
func (v *Verifier) attributesOf(claims map[string]any) map[string]string {
	var attributes map[string]string
	for _, pair := range v.attributes {
		value, ok := text(claims[pair[0]])
		if list, isList := claims[pair[0]].([]any); isList {
			value, ok = strings.Join(texts(list), ","), true
		}
		if !ok {
			continue
		}
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes[pair[1]] = value
	}
	return attributes
}

func (v *Verifier) scopes(claims map[string]any) []api.Scope {
	var scopes []api.Scope
	named := false
	for _, word := range texts(claims[v.ScopeClaim]) {
		name, ours := strings.CutPrefix(word, v.ScopePrefix)
		named = named || ours
		if scope := api.Scope(name); ours && slices.Contains(api.Scopes, scope) && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	if !named {
		return slices.Clone(v.Scopes)
	}
	return scopes
}

// only returns the names in a claim that limits a token, nil if none is configured.
func only(claims map[string]any, claim string) ([]string, error) {
	if claim == "" {
		return nil, nil
	}
	names := texts(claims[claim])
	if len(names) == 0 {
		return nil, lacks(claim, "that says what it is for")
	}
	return names, nil
}
