package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/api/client"
)

func newKeyCommand(a *app) *cobra.Command {
	var flags controlFlags
	cmd := group(&cobra.Command{
		Use:   "key",
		Short: "Add, list and revoke the API keys of a server",
		Long: `API keys are kept in the data directory of peerless serve, or in the control table of a platform in the cloud; only a hash of each
is stored. The commands work on a data directory, where a server may run (it notices changes within a second), or over HTTP
with an administrator's key (every process notices within ten seconds).

The first key of a platform in the cloud: peerless key generate prints a key and its hash; the hash is a parameter of the stack,
and the key makes the others. Take the parameter away then.`,
		Example: `  peerless key add orders --data /var/lib/peerless --scope submit,evaluate
  peerless key list --url https://peerless.example
  peerless key revoke orders --data /var/lib/peerless`,
	}, newKeyAddCommand(a, &flags), newKeyListCommand(a, &flags), newKeyRevokeCommand(a, &flags), newKeyGenerateCommand(a))
	flags.addTo(cmd)
	return cmd
}

func newKeyAddCommand(a *app, flags *controlFlags) *cobra.Command {
	var key client.Key
	var attributes []string
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
			if expires < 0 {
				return &usageError{cmd.CommandPath(), "--expires must be a time from now on, such as 720h"}
			}
			if expires > 0 {
				key.ExpiresAt = time.Now().UTC().Add(expires).Truncate(time.Second)
			}
			c, err := flags.open(a, cmd)
			if err != nil {
				return err
			}
			if _, remote := c.(*client.Client); remote && (key.RatePerSecond != 0 || key.Burst != 0) {
				return &usageError{cmd.CommandPath(), "--rate and --burst are for a data directory: name it with --data"}
			}
			secret, created, err := c.CreateKey(cmd.Context(), key)
			if err != nil {
				return fmt.Errorf("add the key %q: %w", args[0], err)
			}
			if a.json {
				return a.printJSON(struct {
					Secret string      `json:"secret"`
					Key    *client.Key `json:"key"`
				}{secret, created})
			}
			fmt.Fprintln(a.out, secret)
			a.note("this is the key %s (%s): it cannot be shown again", created.Name, created.ID)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&key.User, "user", "", "whom the key stands for (default: its name)")
	f.StringVar(&key.Organization, "organization", "", "the user's organisation (default: the tenant's, or "+defaultOrganization+", or that of the key in use)")
	f.StringVar(&key.Tenant, "tenant", "", "the tenant that the key belongs to (default: none, the platform)")
	f.StringArrayVar(&attributes, "attr", nil, "NAME=VALUE, an attribute in the user's certificate; may be repeated")
	f.StringSliceVar(&key.Scopes, "scope", nil, "what it may do: admin, submit, evaluate (default: submit,evaluate)")
	f.StringSliceVar(&key.Channels, "channel", nil, "the only channels it sees (default: all)")
	f.StringSliceVar(&key.Chaincodes, "chaincode", nil, "the only chaincodes it may call (default: all)")
	f.DurationVar(&expires, "expires", 0, "how long it is valid (default: for ever)")
	f.Float64Var(&key.RatePerSecond, "rate", 0, "how many requests per second it may send (default: no limit)")
	f.IntVar(&key.Burst, "burst", 0, "how many at once (default: one second's worth)")
	return cmd
}

func newKeyListCommand(a *app, flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys, without their secrets",
		Example: `  peerless key list --data /var/lib/peerless`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open(a, cmd)
			if err != nil {
				return err
			}
			list, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			rows := make([][]string, len(list))
			for i, k := range list {
				state := (&api.Key{Revoked: k.Revoked, ExpiresAt: k.ExpiresAt}).State(time.Now())
				rows[i] = []string{k.ID, k.Name, k.User, k.Organization, strings.Join(k.Scopes, ","), k.CreatedAt.Format(time.DateOnly), state, k.Tenant}
			}
			if a.json {
				return a.printJSON(struct {
					Keys []client.Key `json:"keys"`
				}{list})
			}
			return a.printTable([]string{"ID", "NAME", "USER", "ORGANIZATION", "SCOPES", "CREATED", "STATE", "TENANT"}, rows)
		},
	}
}

func newKeyRevokeCommand(a *app, flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID|NAME",
		Short:   "Make a key invalid, for good",
		Example: `  peerless key revoke orders --data /var/lib/peerless`,
		Args:    arguments(1, 1, "a key's id or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open(a, cmd)
			if err != nil {
				return err
			}
			if err := c.RevokeKey(cmd.Context(), args[0]); errors.Is(err, api.ErrNoKey) {
				return fmt.Errorf("there is no key %q: peerless key list --data %s shows them", args[0], flags.data)
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

func newKeyGenerateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "generate",
		Short:   "Print a new key and its hash, for the first key of a platform in the cloud",
		Example: `  peerless key generate --json`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			secret, hash := api.NewSecret()
			if a.json {
				return a.printJSON(struct {
					Secret string `json:"secret"`
					Hash   string `json:"hash"`
				}{secret, hash})
			}
			fmt.Fprintf(a.out, "key   %s\nhash  %s\n", secret, hash)
			a.note("give the hash to the stack, and keep the key: it cannot be shown again")
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
