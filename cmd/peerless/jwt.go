package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/jwtauth"
)

// jwtConfig is what serve takes JWTs by.
type jwtConfig struct {
	jwtauth.Config
	scopes []string
}

func (c *jwtConfig) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.Issuer, "jwt-issuer", "", "also take JWTs of this OpenID Connect issuer: its URL")
	f.StringVar(&c.Audience, "jwt-audience", "", "what JWTs must name as their audience")
	f.StringVar(&c.UserClaim, "jwt-user-claim", "", "the claim whose value is the user (default: sub)")
	f.StringVar(&c.UserPrefix, "jwt-user-prefix", "", "put before it, so that it is no API key's user of the same name")
	f.StringVar(&c.Organization, "jwt-organization", "", "the organisation of the users (default: "+defaultOrganization+", unless a claim names it)")
	f.StringVar(&c.OrganizationClaim, "jwt-organization-claim", "", "the claim that names the user's organisation")
	f.StringSliceVar(&c.AttributeClaims, "jwt-attribute-claim", nil, "CLAIM or CLAIM=ATTRIBUTE, a claim that becomes an attribute of the user's certificate; may be repeated")
	f.StringVar(&c.ScopeClaim, "jwt-scope-claim", "", "the claim with the scopes, such as peerless:submit (default: scope)")
	f.StringSliceVar(&c.scopes, "jwt-scope", nil, "the scopes of JWTs that have none: admin, submit, evaluate (default: none)")
	f.StringVar(&c.ChannelClaim, "jwt-channel-claim", "", "the claim with the only channels that the token is for")
	f.StringVar(&c.ChaincodeClaim, "jwt-chaincode-claim", "", "the claim with the only chaincodes that the token is for")
	f.StringVar(&c.TenantClaim, "jwt-tenant-claim", "", "the claim that names the user's tenant")
}

// tokens returns what takes JWTs on a platform; nil if none are to be taken.
func (c *jwtConfig) tokens(p *platform) (api.Tokens, error) {
	if c.Issuer == "" {
		if c.Audience != "" {
			return nil, fmt.Errorf("--jwt-audience is for JWTs: name their issuer with --jwt-issuer")
		}
		return nil, nil
	}
	config := c.Config
	if config.Organization == "" && config.OrganizationClaim == "" {
		config.Organization = p.Organization
	}
	config.Known = func(mspID string) bool {
		known, err := p.Organizations.Has(mspID)
		return err == nil && known
	}
	for _, scope := range c.scopes {
		config.Scopes = append(config.Scopes, api.Scope(scope))
	}
	verifier, err := jwtauth.New(config)
	if err != nil {
		return nil, fmt.Errorf("%w: see the --jwt- flags", err)
	}
	return verifier, nil
}
