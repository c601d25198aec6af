package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api"
)

func newKeyCommand(a *app) *cobra.Command {
	var data string
	cmd := group(&cobra.Command{
		Use:   "key",
		Short: "Add, list and revoke the API keys of a server",
		Long: `API keys are kept in the data directory of peerless serve, which notices changes within a second. Only a hash of
each key is stored.`,
		Example: `  peerless key add orders --data /var/lib/peerless --scope submit,evaluate
  peerless key list --data /var/lib/peerless
  peerless key revoke orders --data /var/lib/peerless`,
	}, newKeyAddCommand(a, &data), newKeyListCommand(a, &data), newKeyRevokeCommand(a, &data))
	cmd.PersistentFlags().StringVar(&data, "data", defaultData, "the server's data directory")
	return cmd
}

// openKeys opens the keys of a data directory, which must exist.
func openKeys(data string) (*api.Keys, error) {
	info, err := os.Stat(data)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w: peerless serve --data %s makes it", err, data)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory: give the data directory of a server with --data", data)
	}
	return api.OpenKeys(filepath.Join(data, keysFile))
}

func newKeyAddCommand(a *app, data *string) *cobra.Command {
	var key api.Key
	var scopes, attributes []string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a key, and print its secret: this once",
		Example: `  peerless key add orders --data /var/lib/peerless --user orders --attr role=clerk --expires 2160h
  peerless key add operator --data /var/lib/peerless --scope admin,submit,evaluate`,
		Args: arguments(1, 1, "the new key's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			key.Name = args[0]
			if key.Attributes, err = pairs("--attr", attributes); err != nil {
				return &usageError{cmd.CommandPath(), err.Error()}
			}
			for _, s := range scopes {
				key.Scopes = append(key.Scopes, api.Scope(s))
			}
			if expires < 0 {
				return &usageError{cmd.CommandPath(), "--expires must be a time from now on, such as 720h"}
			}
			if expires > 0 {
				key.ExpiresAt = time.Now().UTC().Add(expires).Truncate(time.Second)
			}
			keys, err := openKeys(*data)
			if err != nil {
				return err
			}
			secret, created, err := keys.Create(key)
			if err != nil {
				return fmt.Errorf("add the key %q: %w", args[0], err)
			}
			if a.json {
				return a.printJSON(struct {
					Secret string  `json:"secret"`
					Key    keyView `json:"key"`
				}{secret, viewKey(created)})
			}
			fmt.Fprintln(a.out, secret)
			a.note("this is the key %s (%s): it cannot be shown again", created.Name, created.ID)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&key.User, "user", "", "whom the key stands for (default: its name)")
	f.StringVar(&key.Organization, "organization", defaultOrganization, "the user's organisation")
	f.StringArrayVar(&attributes, "attr", nil, "NAME=VALUE, an attribute in the user's certificate; may be repeated")
	f.StringSliceVar(&scopes, "scope", nil, "what it may do: admin, submit, evaluate (default: submit,evaluate)")
	f.StringSliceVar(&key.Channels, "channel", nil, "the only channels it sees (default: all)")
	f.StringSliceVar(&key.Chaincodes, "chaincode", nil, "the only chaincodes it may call (default: all)")
	f.DurationVar(&expires, "expires", 0, "how long it is valid (default: for ever)")
	f.Float64Var(&key.RatePerSecond, "rate", 0, "how many requests per second it may send (default: no limit)")
	f.IntVar(&key.Burst, "burst", 0, "how many at once (default: one second's worth)")
	return cmd
}

// keyView is a key without its hash.
type keyView struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	User          string            `json:"user"`
	Organization  string            `json:"organization"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Scopes        []api.Scope       `json:"scopes"`
	Channels      []string          `json:"channels,omitempty"`
	Chaincodes    []string          `json:"chaincodes,omitempty"`
	CreatedAt     time.Time         `json:"createdAt"`
	ExpiresAt     time.Time         `json:"expiresAt,omitzero"`
	Revoked       bool              `json:"revoked"`
	RatePerSecond float64           `json:"ratePerSecond,omitempty"`
	Burst         int               `json:"burst,omitempty"`
}

func viewKey(k *api.Key) keyView {
	return keyView{
		ID: k.ID, Name: k.Name, User: k.User, Organization: k.Organization, Attributes: k.Attributes, Scopes: k.Scopes,
		Channels: k.Channels, Chaincodes: k.Chaincodes, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, Revoked: k.Revoked,
		RatePerSecond: k.RatePerSecond, Burst: k.Burst,
	}
}

func newKeyListCommand(a *app, data *string) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys, without their secrets",
		Example: `  peerless key list --data /var/lib/peerless`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			keys, err := openKeys(*data)
			if err != nil {
				return err
			}
			list, err := keys.List()
			if err != nil {
				return err
			}
			views := make([]keyView, len(list))
			rows := make([][]string, len(list))
			for i, k := range list {
				views[i] = viewKey(&k)
				rows[i] = []string{k.ID, k.Name, k.User, k.Organization, scopeList(k.Scopes), k.CreatedAt.Format(time.DateOnly), keyState(k)}
			}
			if a.json {
				return a.printJSON(struct {
					Keys []keyView `json:"keys"`
				}{views})
			}
			return a.printTable([]string{"ID", "NAME", "USER", "ORGANIZATION", "SCOPES", "CREATED", "STATE"}, rows)
		},
	}
}

func scopeList(scopes []api.Scope) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = string(s)
	}
	return strings.Join(texts, ",")
}

func keyState(k api.Key) string {
	switch {
	case k.Revoked:
		return "revoked"
	case k.ExpiresAt.IsZero():
		return "valid"
	case time.Now().Before(k.ExpiresAt):
		return "valid until " + k.ExpiresAt.Format(time.DateTime)
	}
	return "expired"
}

func newKeyRevokeCommand(a *app, data *string) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID|NAME",
		Short:   "Make a key invalid, for good",
		Example: `  peerless key revoke orders --data /var/lib/peerless`,
		Args:    arguments(1, 1, "a key's id or name"),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := openKeys(*data)
			if err != nil {
				return err
			}
			if err := keys.Revoke(args[0]); errors.Is(err, api.ErrNoKey) {
				return fmt.Errorf("there is no key %q: peerless key list --data %s shows them", args[0], *data)
			} else if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Revoked string `json:"revoked"`
				}{args[0]})
			}
			a.note("revoked %s", args[0])
			return nil
		},
	}
}

// pairs reads the NAME=VALUE of a flag that may be repeated.
func pairs(flag string, list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(list))
	for _, pair := range list {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s wants NAME=VALUE, not %q", flag, pair)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%s names %q twice", flag, name)
		}
		m[name] = value
	}
	return m, nil
}
