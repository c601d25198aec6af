package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/api/client"
	"peerless/shared/docstore"
	"peerless/shared/node"
)

// keysCachedFor is how long a server on one machine believes a key that it looked up: a look-up is a small file.
const keysCachedFor = time.Second

// A control plane has keys and tenants: that of a server, or of a data directory.
type control interface {
	CreateKey(context.Context, client.Key) (secret string, created *client.Key, err error)
	Keys(context.Context) ([]client.Key, error)
	RevokeKey(ctx context.Context, idOrName string) error
	CreateTenant(context.Context, client.Tenant) (*client.Tenant, error)
	Tenants(context.Context) ([]client.Tenant, error)
	RemoveTenant(ctx context.Context, name string) error
}

var (
	_ control = (*client.Client)(nil)
	_ control = localControl{}
)

// controlFlags choose a control plane.
type controlFlags struct {
	data string
	server
}

func (f *controlFlags) addTo(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.data, "data", defaultData, "a server's data directory")
	flags.StringVar(&f.URL, "url", "", "a server, whose administrator's key is in --key or PEERLESS_KEY (default: PEERLESS_URL, unless --data is given)")
	flags.StringVar(&f.Key, "key", "", "the key of an administrator of that server (default: PEERLESS_KEY)")
}

// open returns the server's control plane if one is named, by flag or environment, and no data directory is; else that of the data directory.
func (f *controlFlags) open(a *app, cmd *cobra.Command) (control, error) {
	data, url := cmd.Flags().Changed("data"), cmd.Flags().Changed("url")
	if data && url {
		return nil, &usageError{cmd.CommandPath(), "--data and --url exclude each other"}
	}
	if url || !data && (a.getenv("PEERLESS_URL") != "" || cmd.Flags().Changed("key")) {
		r := &remote{server: f.server}
		if err := r.open(a); err != nil {
			return nil, err
		}
		return r.Client, nil
	}
	keys, err := openKeys(cmd.Context(), f.data)
	if err != nil {
		return nil, err
	}
	return localControl{keys}, nil
}

// openKeys opens the keys of a data directory, which must exist.
func openKeys(ctx context.Context, data string) (*api.Keys, error) {
	info, err := os.Stat(data)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w: peerless serve --data %s makes it", err, data)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory: give the data directory of a server with --data", data)
	}
	documents, err := docstore.OpenDir(filepath.Join(data, node.DocumentsDir))
	if err != nil {
		return nil, err
	}
	return keysOn(ctx, documents, data)
}

// keysOn returns the keys among documents, with those of an older data directory.
func keysOn(ctx context.Context, documents docstore.Store, data string) (*api.Keys, error) {
	keys, err := api.NewKeys(documents, api.KeysConfig{CacheFor: keysCachedFor})
	if err != nil {
		return nil, err
	}
	return keys, keys.Import(ctx, filepath.Join(data, oldKeysFile))
}

// localControl is that of a data directory.
type localControl struct{ keys *api.Keys }

func (l localControl) CreateKey(ctx context.Context, k client.Key) (string, *client.Key, error) {
	if k.Organization == "" && k.Tenant == "" {
		k.Organization = defaultOrganization
	}
	scopes := make([]api.Scope, len(k.Scopes))
	for i, s := range k.Scopes {
		scopes[i] = api.Scope(s)
	}
	secret, created, err := l.keys.Create(ctx, api.Key{Name: k.Name, Tenant: k.Tenant, User: k.User, Organization: k.Organization, Attributes: k.Attributes,
		Scopes: scopes, Channels: k.Channels, Chaincodes: k.Chaincodes, ExpiresAt: k.ExpiresAt, RatePerSecond: k.RatePerSecond, Burst: k.Burst})
	if err != nil {
		return "", nil, detailOf(err)
	}
	shown := clientKey(created)
	return secret, &shown, nil
}

func (l localControl) Keys(ctx context.Context) ([]client.Key, error) {
	list, err := l.keys.List(ctx, "")
	keys := make([]client.Key, len(list))
	for i := range list {
		keys[i] = clientKey(&list[i])
	}
	return keys, err
}

func clientKey(k *api.Key) client.Key {
	scopes := make([]string, len(k.Scopes))
	for i, s := range k.Scopes {
		scopes[i] = string(s)
	}
	return client.Key{ID: k.ID, Name: k.Name, Tenant: k.Tenant, User: k.User, Organization: k.Organization, Attributes: k.Attributes, Scopes: scopes,
		Channels: k.Channels, Chaincodes: k.Chaincodes, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, Revoked: k.Revoked,
		RatePerSecond: k.RatePerSecond, Burst: k.Burst}
}

func (l localControl) RevokeKey(ctx context.Context, idOrName string) error {
	return l.keys.Revoke(ctx, "", idOrName)
}

func (l localControl) CreateTenant(ctx context.Context, t client.Tenant) (*client.Tenant, error) {
	created, err := l.keys.CreateTenant(ctx, api.Tenant{Name: t.Name, Organization: t.Organization, Channels: t.Channels})
	if err != nil {
		return nil, detailOf(err)
	}
	return (*client.Tenant)(created), nil
}

func (l localControl) Tenants(ctx context.Context) ([]client.Tenant, error) {
	list, err := l.keys.Tenants(ctx)
	tenants := make([]client.Tenant, len(list))
	for i, t := range list {
		tenants[i] = client.Tenant(t)
	}
	return tenants, err
}

func (l localControl) RemoveTenant(ctx context.Context, name string) error {
	return l.keys.RemoveTenant(ctx, name)
}

// detailOf is what a problem says, without the code that HTTP has.
func detailOf(err error) error {
	var problem *api.Problem
	if errors.As(err, &problem) {
		return errors.New(problem.Detail)
	}
	return err
}
