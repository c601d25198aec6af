package api

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// keyView is a key without its hash.
type keyView struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Tenant        string            `json:"tenant,omitempty"`
	User          string            `json:"user"`
	Organization  string            `json:"organization"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Scopes        []Scope           `json:"scopes"`
	Channels      []string          `json:"channels,omitempty"`
	Chaincodes    []string          `json:"chaincodes,omitempty"`
	CreatedAt     time.Time         `json:"createdAt"`
	ExpiresAt     time.Time         `json:"expiresAt,omitzero"`
	Revoked       bool              `json:"revoked"`
	RatePerSecond float64           `json:"ratePerSecond,omitempty"`
	Burst         int               `json:"burst,omitempty"`
}

func (k *Key) view() keyView {
	return keyView{k.ID, k.Name, k.Tenant, k.User, k.Organization, k.Attributes, k.Scopes, k.Channels, k.Chaincodes, k.CreatedAt, k.ExpiresAt,
		k.Revoked, k.RatePerSecond, k.Burst}
}

type keyList struct {
	Keys []keyView `json:"keys"`
}

type newKeyView struct {
	Secret string  `json:"secret"`
	Key    keyView `json:"key"`
}

// control wraps an endpoint of the control plane, which a server without keys has none of.
func control[In, Out any](h *Handler, call func(context.Context, *Principal, In) (Out, error)) func(context.Context, *Principal, In) (Out, error) {
	return func(ctx context.Context, p *Principal, in In) (out Out, err error) {
		if h.keys == nil {
			return out, &Problem{Code: CodeNotFound, Detail: "this server needs no keys, and has none"}
		}
		out, err = call(ctx, p, in)
		switch {
		case errors.Is(err, ErrNoKey), errors.Is(err, ErrNoTenant):
			err = &Problem{Code: CodeNotFound, Detail: err.Error()}
		case err != nil && !errors.As(err, new(*Problem)):
			err = Unavailable("reach its keys", err)
		}
		return out, err
	}
}

func decodeNewKey(q *request) (*Key, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &Key{}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "name":
			in.Name, err = r.text(name)
		case "tenant":
			in.Tenant, err = r.text(name)
		case "user":
			in.User, err = r.text(name)
		case "organization":
			in.Organization, err = r.text(name)
		case "attributes":
			in.Attributes, err = r.textMap(name)
		case "scopes":
			var scopes []string
			scopes, err = r.names(name)
			for _, scope := range scopes {
				in.Scopes = append(in.Scopes, Scope(scope))
			}
		case "channels":
			in.Channels, err = r.names(name)
		case "chaincodes":
			in.Chaincodes, err = r.names(name)
		case "expiresAt":
			var text string
			if text, err = r.text(name); err != nil {
				return err
			}
			if in.ExpiresAt, err = time.Parse(time.RFC3339, text); err != nil {
				return invalid(name, "expiresAt must be a time such as 2027-01-31T12:00:00Z")
			}
			in.ExpiresAt = in.ExpiresAt.UTC().Truncate(time.Second)
		default:
			err = unknown(name, "name, tenant, user, organization, attributes, scopes, channels, chaincodes, expiresAt")
		}
		return err
	})
	return in, err
}

// createKey makes no key that may do more than the one that asks for it.
func (h *Handler) createKey(ctx context.Context, p *Principal, in *Key) (created, error) {
	if p.Tenant != "" {
		if in.Tenant != "" && in.Tenant != p.Tenant {
			return created{}, forbidden("a tenant's keys are made by itself, or by the platform")
		}
		in.Tenant = p.Tenant
	} else if in.Organization == "" && in.Tenant == "" {
		in.Organization = p.MSPID
	}
	if p.Tenant == "" && !p.Operator && in.Organization != p.MSPID {
		return created{}, forbidden("this key is for " + p.MSPID + ", and cannot make keys of another organisation")
	}
	if !in.ExpiresAt.IsZero() && !time.Now().Before(in.ExpiresAt) {
		return created{}, invalid("expiresAt", "expiresAt is in the past")
	}
	for _, scope := range in.Scopes {
		if slices.Contains(Scopes, scope) && !slices.Contains(p.Scopes, scope) {
			return created{}, forbidden(fmt.Sprintf("this key has not the scope %q, and cannot give it", scope))
		}
	}
	if len(in.Scopes) == 0 && (!slices.Contains(p.Scopes, ScopeSubmit) || !slices.Contains(p.Scopes, ScopeEvaluate)) {
		return created{}, forbidden("this key has not the scopes submit and evaluate, and cannot give them: name the new key's scopes")
	}
	if !within(in.Channels, p.Channels) || !within(in.Chaincodes, p.Chaincodes) {
		return created{}, forbidden("this key is limited to some channels or chaincodes, and so must be those that it makes")
	}
	secret, key, err := h.keys.Create(ctx, *in)
	if err != nil {
		return created{}, err
	}
	return created{"/v1/keys/" + url.PathEscape(key.ID), newKeyView{secret, key.view()}}, nil
}

// within reports whether a list of names is no wider than another; an empty one has all names.
func within(list, limit []string) bool {
	if len(limit) == 0 {
		return true
	}
	return len(list) > 0 && !slices.ContainsFunc(list, func(name string) bool { return !slices.Contains(limit, name) })
}

func (h *Handler) listKeys(ctx context.Context, p *Principal, _ none) (*keyList, error) {
	keys, err := h.keys.List(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	list := &keyList{Keys: make([]keyView, len(keys))}
	for i := range keys {
		list.Keys[i] = keys[i].view()
	}
	return list, nil
}

func decodeID(q *request) (string, error) { return q.PathValue("id"), nil }

func (h *Handler) revokeKey(ctx context.Context, p *Principal, id string) (none, error) {
	return none{}, h.keys.Revoke(ctx, p.Tenant, id)
}

// Tenants are the platform's business alone.
func (p *Principal) platform() error {
	if p.Tenant != "" || len(p.Channels) > 0 || len(p.Chaincodes) > 0 {
		return forbidden("this needs an administrator of the platform, not of a tenant or of some channels")
	}
	return nil
}

func decodeNewTenant(q *request) (*Tenant, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &Tenant{}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "name":
			in.Name, err = r.text(name)
		case "organization":
			in.Organization, err = r.text(name)
		case "channels":
			in.Channels, err = r.names(name)
		default:
			err = unknown(name, "name, organization, channels")
		}
		return err
	})
	return in, err
}

func (h *Handler) createTenant(ctx context.Context, p *Principal, in *Tenant) (created, error) {
	if err := p.platform(); err != nil {
		return created{}, err
	}
	t, err := h.keys.CreateTenant(ctx, *in)
	if err != nil {
		return created{}, err
	}
	return created{"/v1/tenants/" + url.PathEscape(t.Name), t}, nil
}

type tenantList struct {
	Tenants []Tenant `json:"tenants"`
}

func (h *Handler) listTenants(ctx context.Context, p *Principal, _ none) (*tenantList, error) {
	if err := p.platform(); err != nil {
		return nil, err
	}
	tenants, err := h.keys.Tenants(ctx)
	return &tenantList{tenants}, err
}

func (h *Handler) removeTenant(ctx context.Context, p *Principal, name string) (none, error) {
	if err := p.platform(); err != nil {
		return none{}, err
	}
	return none{}, h.keys.RemoveTenant(ctx, name)
}
