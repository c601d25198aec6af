package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// channelView is a channel in the API's answers.
type channelView struct {
	Name             string   `json:"name"`
	Height           uint64   `json:"height"`
	Organizations    []string `json:"organizations"`
	CurrentBlockHash string   `json:"currentBlockHash"`
}

func newChannelsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "channels",
		Short: "List the channels, or create one",
		Long:  `A channel is a chain of blocks of its own, with a state of its own. Channels lists them with how many blocks they have.`,
		Example: `  peerless channels
  peerless channels create orders
  peerless channels create trade --organization BuyerMSP --organization SellerMSP`,
		Args: unknownCommand,
	}
	r := newRemote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		var list struct {
			Channels []struct {
				Name string `json:"name"`
			} `json:"channels"`
		}
		if _, err := r.get(cmd.Context(), pathOf("v1", "channels"), &list); err != nil {
			return err
		}
		views := make([]channelView, len(list.Channels))
		for i, c := range list.Channels {
			if _, err := r.get(cmd.Context(), channelPath(c.Name), &views[i]); err != nil {
				return err
			}
		}
		return a.printChannels(views)
	}
	cmd.AddCommand(newChannelsCreateCommand(a))
	return cmd
}

func (a *app) printChannels(views []channelView) error {
	if a.json {
		return a.printJSON(struct {
			Channels []channelView `json:"channels"`
		}{views})
	}
	rows := make([][]string, len(views))
	for i, v := range views {
		rows[i] = []string{v.Name, strconv.FormatUint(v.Height, 10), strings.Join(v.Organizations, ",")}
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
		raw, err := r.call(cmd.Context(), http.MethodPost, pathOf("v1", "channels"), nil, struct {
			Name          string   `json:"name"`
			Organizations []string `json:"organizations,omitempty"`
		}{args[0], organizations})
		if err != nil {
			return err
		}
		if a.json {
			return a.printRaw(raw)
		}
		var view channelView
		if err := json.Unmarshal(raw, &view); err != nil {
			return fmt.Errorf("read the answer of %s: %w", r.URL, err)
		}
		a.note("created the channel %s of %s", view.Name, strings.Join(view.Organizations, ", "))
		return nil
	}
	return cmd
}
