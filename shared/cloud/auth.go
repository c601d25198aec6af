package cloud

import (
	"fmt"

	"peerless/shared/api"
	"peerless/shared/jwtauth"
	"peerless/shared/node"
)

// authenticator takes API keys, and JWTs of the issuer if there is one. It sends nothing.
func authenticator(config Config, n *node.Node) (api.Authenticator, error) {
	keys, err := api.NewKeys(n.Documents, api.KeysConfig{AdminHash: config.AdminKeyHash, Organization: n.Organization})
	if err != nil {
		return nil, fmt.Errorf("PEERLESS_ADMIN_KEY_HASH: %w", err)
	}
	auth := &api.KeyAuth{Keys: keys, Organization: n.Organization, Signer: n.User}
	if config.Issuer == "" {
		return auth, nil
	}
	auth.Tokens, err = jwtauth.New(jwtauth.Config{
		Issuer: config.Issuer, Audience: config.Audience, UserClaim: config.UserClaim, Organization: n.Organization, OrganizationClaim: config.OrganizationClaim,
		AttributeClaims: config.AttributeClaims,
		Known: func(mspID string) bool {
			known, err := n.Organizations.Has(mspID)
			return err == nil && known
		},
	})
	if err != nil {
		return nil, fmt.Errorf("PEERLESS_ISSUER: %w", err)
	}
	return auth, nil
}
