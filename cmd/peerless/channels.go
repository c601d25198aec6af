package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newChannelsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "channels",
		Short: "List the channels, create one, or print its key",
		Long:  `A channel is a chain of blocks of its own, with a state of its own. Channels lists them with how many blocks they have.`,
		Example: `  peerless channels
  peerless channels create orders
  peerless channels create trade --organization BuyerMSP --organization SellerMSP
  peerless channels key main > main.vkey`,
		Args: unknownCommand,
	}
	r := newRemote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		names, err := r.Channels(cmd.Context())
		if err != nil {
			return err
		}
		channels := make([]*client.Channel, len(names))
		for i, name := range names {
			if channels[i], err = r.Channel(cmd.Context(), name); err != nil {
				return err
			}
		}
		return a.printChannels(channels)
	}
	cmd.AddCommand(newChannelsCreateCommand(a), newChannelsKeyCommand(a))
	return cmd
}

func (a *app) printChannels(channels []*client.Channel) error {
	if a.json {
		return a.printJSON(struct {
			Channels []*client.Channel `json:"channels"`
		}{channels})
	}
	rows := make([][]string, len(channels))
	for i, c := range channels {
		rows[i] = []string{c.Name, strconv.FormatUint(c.Height, 10), strings.Join(c.Organizations, ",")}
	}
	return a.printTable([]string{"NAME", "BLOCKS", "ORGANIZATIONS"}, rows)
}

func newChannelsCreateCommand(a *app) *cobra.Command {
	var organizations []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a channel",
		Example: `  peerless channels create orders
  peerless channels create trade --organization BuyerMSP --organization SellerMSP`,
		Args: arguments(1, 1, "the new channel's name"),
	}
	r := newRemote(cmd)
	cmd.Flags().StringSliceVar(&organizations, "organization", nil, "a member, by MSP id; may be repeated (default: your own)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		channel, err := r.CreateChannel(cmd.Context(), args[0], organizations...)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(channel)
		}
		a.note("created the channel %s of %s", channel.Name, strings.Join(channel.Organizations, ", "))
		return nil
	}
	return cmd
}

func newChannelsKeyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key NAME",
		Short: "Print the public key of a channel's checkpoints and receipts",
		Long: `A channel's checkpoints, and with them its receipts, are signed with a key of the platform. Keep its public half from a time when
you trust the server: peerless verify --verifier-key then holds the server to it.`,
		Example: `  peerless channels key main > main.vkey
  peerless verify --receipt receipt.json --verifier-key "$(cat main.vkey)"`,
		Args: arguments(1, 1, "a channel's name"),
	}
	r := newRemote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		channel, err := r.Channel(cmd.Context(), args[0])
		switch {
		case err != nil:
			return err
		case channel.VerifierKey == "":
			return fmt.Errorf("the server signs no checkpoints of %s", args[0])
		case a.json:
			return a.printJSON(map[string]string{"verifierKey": channel.VerifierKey})
		}
		_, err = fmt.Fprintln(a.out, oneLine(channel.VerifierKey))
		return err
	}
	return cmd
}
