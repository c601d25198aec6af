package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newTenantCommand(a *app) *cobra.Command {
	var flags controlFlags
	cmd := group(&cobra.Command{
		Use:   "tenant",
		Short: "Add, list and remove the tenants of a server",
		Long: `A tenant owns channels, API keys, and the users of one organisation. Its keys see its own channels only, and its administrators
make channels and keys for it. A key without a tenant is the platform's own.`,
		Example: `  peerless tenant add acme --organization AcmeMSP
  peerless key add boss --tenant acme --scope admin,submit,evaluate
  peerless tenant list --url https://peerless.example`,
	}, newTenantAddCommand(a, &flags), newTenantListCommand(a, &flags), newTenantRemoveCommand(a, &flags))
	flags.addTo(cmd)
	return cmd
}

func newTenantAddCommand(a *app, flags *controlFlags) *cobra.Command {
	var tenant client.Tenant
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make a tenant",
		Example: `  peerless tenant add acme --organization AcmeMSP --channel trade`,
		Args:    arguments(1, 1, "the new tenant's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tenant.Name = args[0]
			c, err := flags.open(a, cmd)
			if err != nil {
				return err
			}
			created, err := c.CreateTenant(cmd.Context(), tenant)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(created)
			}
			a.note("made the tenant %s: peerless key add NAME --tenant %s --scope admin,submit,evaluate makes its first key", created.Name, created.Name)
			return nil
		},
	}
	cmd.Flags().StringVar(&tenant.Organization, "organization", "", "the organisation of its users (default: its name and MSP)")
	cmd.Flags().StringSliceVar(&tenant.Channels, "channel", nil, "channels that exist, to be given to it")
	return cmd
}

func newTenantListCommand(a *app, flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the tenants",
		Example: `  peerless tenant list --data /var/lib/peerless`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.open(a, cmd)
			if err != nil {
				return err
			}
			tenants, err := c.Tenants(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Tenants []client.Tenant `json:"tenants"`
				}{tenants})
			}
			rows := make([][]string, len(tenants))
			for i, t := range tenants {
				rows[i] = []string{t.Name, t.Organization, strings.Join(t.Channels, ","), t.CreatedAt.Format(time.DateOnly)}
			}
			return a.printTable([]string{"NAME", "ORGANIZATION", "CHANNELS", "CREATED"}, rows)
		},
	}
}

func newTenantRemoveCommand(a *app, flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a tenant: its keys are not valid any more, its channels stay",
		Example: `  peerless tenant remove acme --data /var/lib/peerless`,
		Args:    arguments(1, 1, "a tenant's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.open(a, cmd)
			if err != nil {
				return err
			}
			if err := c.RemoveTenant(cmd.Context(), args[0]); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Removed string `json:"removed"`
				}{args[0]})
			}
			a.note("removed the tenant %s", args[0])
			return nil
		},
	}
}
