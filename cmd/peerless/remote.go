package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/api/client"
	"peerless/shared/stack"
)

const defaultChannel = "main"

// remote is a server that a command talks to, as its flags name it.
type remote struct {
	server
	*client.Client // nil until open
	cmd            *cobra.Command
	stack          *stack.Stack // nil until open, and if none was chosen
}

// newRemote adds the flags of a remote server to a command.
func newRemote(cmd *cobra.Command) *remote {
	r := &remote{cmd: cmd}
	r.addTo(cmd)
	return r
}

// open completes the settings and makes the client.
func (r *remote) open(a *app) error { return r.openAs(a, client.Config{}) }

// openAs is open for a caller who says who it is.
func (r *remote) openAs(a *app, config client.Config) error {
	if err := r.complete(a.getenv); err != nil {
		return err
	}
	config.Key = r.Key
	var err error
	if r.Stack != "" {
		if r.stack, err = openStack(r.cmd.Context(), r.Stack); err != nil {
			return err
		}
		if r.URL == "" {
			r.URL = r.stack.API
		}
	}
	if r.Client, err = client.New(r.URL, config); err != nil {
		return fmt.Errorf("%w: set it with --url or PEERLESS_URL", err)
	}
	return nil
}

// openStack finds a stack with the credentials and in the region that AWS's own tools would take.
func openStack(ctx context.Context, name string) (*stack.Stack, error) {
	config, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	return stack.Open(ctx, config, name)
}

// addChannel adds the flag that names the channel.
func addChannel(cmd *cobra.Command, channel *string) {
	cmd.Flags().StringVarP(channel, "channel", "c", defaultChannel, "the channel")
}

// caller is who calls a server that needs no key, as flags say it.
type caller struct {
	user, organization string
	attributes         []string
	approves           bool // the organisation is also the one to approve for, which a key may name
}

// approvesFor makes the organisation the one to approve for.
func (c *caller) approvesFor(cmd *cobra.Command) {
	c.addTo(cmd)
	c.approves = true
	cmd.Flags().Lookup("organization").Usage = "the organisation to approve for (default: the key's own; an operator's: all for which the platform endorses)"
}

func (c *caller) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.user, "user", "", "who calls, on a server that needs no key")
	f.StringVar(&c.organization, "organization", "", "the caller's organisation, on a server that needs no key")
	f.StringArrayVar(&c.attributes, "attr", nil, "NAME=VALUE, an attribute in the caller's certificate, on a server that needs no key; may be repeated")
}

// open makes the client of the caller.
func (c *caller) open(a *app, cmd *cobra.Command, r *remote) error {
	attributes, err := pairs("--attr", c.attributes)
	if err != nil {
		return &usageError{cmd.CommandPath(), err.Error()}
	}
	names := make([]string, len(c.attributes))
	for i, pair := range c.attributes {
		names[i], _, _ = strings.Cut(pair, "=")
	}
	config := client.Config{User: c.user, Organization: c.organization, Attributes: api.FormatAttributes(names, attributes)}
	if err := r.openAs(a, config); err != nil {
		return err
	}
	if c.approves {
		config.Organization = ""
	}
	if r.Key != "" && config != (client.Config{}) {
		return &usageError{cmd.CommandPath(), "with a key, the key says who calls: leave --user, --organization and --attr out"}
	}
	return nil
}

// payloadText is a contract's payload as a person reads it: JSON as it is, a string without quotes, nothing for null.
func payloadText(payload json.RawMessage) string {
	var s string
	if string(payload) == "null" || len(payload) == 0 {
		return ""
	}
	if json.Unmarshal(payload, &s) == nil {
		return s
	}
	return string(payload)
}
