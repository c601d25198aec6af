package api

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"peerless/shared/docstore"
)

// KindTenant is the kind of the documents of tenants; their ids are the tenants' names.
const KindTenant = "tenant"

// A Tenant owns channels, keys, and the users of one organisation. It sees nothing of what is others'.
type Tenant struct {
	Name         string    `json:"name"`
	Organization string    `json:"organization"` // MSP id of its users
	Channels     []string  `json:"channels"`     // that it owns, sorted
	CreatedAt    time.Time `json:"createdAt"`
}

// ErrNoTenant, wrapped with which: the tenant does not exist.
var ErrNoTenant = errors.New("no such tenant")

type cachedTenant struct {
	*Tenant
	at time.Time
}

// tenantName is what a tenant may be called.
var tenantName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// CreateTenant adds a tenant; channels that exist may be given to it. Organization defaults to its name and "MSP".
func (k *Keys) CreateTenant(ctx context.Context, t Tenant) (*Tenant, error) {
	if !tenantName.MatchString(t.Name) {
		return nil, invalid("name", "a tenant's name has 1 to 32 small letters, digits and hyphens, and begins with a letter")
	}
	if t.Organization == "" {
		t.Organization = t.Name + "MSP"
	}
	if len(t.Organization) > MaxUser || !printable(t.Organization) {
		return nil, invalid("organization", "the organisation must be an MSP id")
	}
	tenants, err := k.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	for _, channel := range t.Channels {
		if err := checkChannel("channels", channel); err != nil {
			return nil, err
		}
	}
	for _, other := range tenants {
		for _, channel := range t.Channels {
			if other.Name != t.Name && slices.Contains(other.Channels, channel) {
				return nil, invalid("channels", "the channel "+channel+" is the tenant "+other.Name+"'s")
			}
		}
		if other.Name != t.Name && other.Organization == t.Organization {
			return nil, invalid("organization", t.Organization+" is the tenant "+other.Name+"'s: another tenant's users cannot be of it")
		}
	}
	t.Channels = slices.Compact(slices.Sorted(slices.Values(t.Channels)))
	if t.Channels == nil {
		t.Channels = []string{}
	}
	t.CreatedAt = time.Now().UTC().Truncate(time.Second)
	_, err = docstore.Update(ctx, k.store, KindTenant, t.Name, func(stored *Tenant, exists bool) error {
		if exists {
			return &Problem{Code: CodeAlreadyExists, Field: "name", Detail: "there is a tenant " + t.Name}
		}
		*stored = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// Tenants returns all, sorted by name.
func (k *Keys) Tenants(ctx context.Context) ([]Tenant, error) {
	list := []Tenant{}
	for doc, err := range docstore.All(ctx, k.store, KindTenant, "") {
		var t Tenant
		if err == nil {
			err = doc.Decode(&t)
		}
		if err != nil {
			return nil, fmt.Errorf("list tenants: %w", err)
		}
		list = append(list, t)
	}
	return list, nil
}

// Tenant reads one. ErrNoTenant.
func (k *Keys) Tenant(ctx context.Context, name string) (*Tenant, error) {
	if !tenantName.MatchString(name) {
		return nil, fmt.Errorf("tenant %.40q: %w", name, ErrNoTenant)
	}
	doc, err := k.store.Get(ctx, KindTenant, name)
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, fmt.Errorf("tenant %q: %w", name, ErrNoTenant)
	}
	var t Tenant
	if err == nil {
		err = doc.Decode(&t)
	}
	if err != nil {
		return nil, fmt.Errorf("tenant %q: %w", name, err)
	}
	return &t, nil
}

// RemoveTenant takes a tenant away, and with it the validity of its keys. Its channels stay in the ledger, and are nobody's then.
func (k *Keys) RemoveTenant(ctx context.Context, name string) error {
	if _, err := k.Tenant(ctx, name); err != nil {
		return err
	}
	err := k.store.Delete(ctx, KindTenant, name, "")
	if errors.Is(err, docstore.ErrNotFound) {
		return fmt.Errorf("tenant %q: %w", name, ErrNoTenant)
	}
	k.mu.Lock()
	delete(k.tenants, name)
	k.mu.Unlock()
	return err
}

// own gives a channel that has just been made to a tenant. Other processes know ten seconds later at most.
func (k *Keys) own(ctx context.Context, tenant, channel string) error {
	_, err := docstore.Update(ctx, k.store, KindTenant, tenant, func(t *Tenant, exists bool) error {
		if !exists {
			return ErrNoTenant
		}
		if !slices.Contains(t.Channels, channel) {
			t.Channels = slices.Sorted(slices.Values(append(t.Channels, channel)))
		}
		return nil
	})
	k.mu.Lock()
	delete(k.tenants, tenant)
	k.mu.Unlock()
	return err
}

// tenant is Tenant for requests: cached as keys are. nil if there is none.
func (k *Keys) tenant(ctx context.Context, name string, now time.Time) (*Tenant, error) {
	k.mu.Lock()
	cached, known := k.tenants[name]
	k.mu.Unlock()
	if known && now.Sub(cached.at).Abs() <= k.config.CacheFor {
		return cached.Tenant, nil
	}
	t, err := k.Tenant(ctx, name)
	if err != nil && !errors.Is(err, ErrNoTenant) {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.tenants) >= keysCached {
		clear(k.tenants)
	}
	k.tenants[name] = cachedTenant{t, now}
	return t, nil
}
