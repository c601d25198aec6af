package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newWebhookCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "webhook",
		Short: "Have events sent to a URL",
		Long: `Webhooks send the events that contracts set, in the order of the chain and without a gap, in requests that are signed as
Standard Webhooks says (https://www.standardwebhooks.com). A target that fails is tried again; peerless webhook list shows since when.`,
		Example: `  peerless webhook add https://example.com/events --chaincode assettransfer
  peerless webhook list
  peerless webhook remove 1f0c…`,
	}, newWebhookAddCommand(a), newWebhookListCommand(a), newWebhookRemoveCommand(a))
}

func newWebhookAddCommand(a *app) *cobra.Command {
	var channel string
	var w client.NewWebhook
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Send events to a URL, and print the secret that signs them: this once",
		Example: `  peerless webhook add https://example.com/events --chaincode assettransfer --event Transfer --from 0
  peerless webhook add arn:aws:sns:eu-central-1:123456789012:orders     # on AWS`,
		Args: arguments(1, 1, "a URL"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	f := cmd.Flags()
	f.StringVar(&w.Chaincode, "chaincode", "", "the events of one chaincode only")
	f.StringSliceVar(&w.Events, "event", nil, "the events of this name only; may be repeated")
	f.StringVar(&w.From, "from", "", "the number of the block to begin with (default: what is committed from now on)")
	f.StringVar(&w.Secret, "secret", "", "what requests are signed with, whsec_… (default: the server makes one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w.URL = args[0]
		if err := r.open(a); err != nil {
			return err
		}
		added, err := r.AddWebhook(cmd.Context(), channel, w)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(added)
		}
		a.note("webhook %s sends to %s", added.ID, added.URL)
		if added.Secret != "" {
			a.note("this is the secret that its requests are signed with: it cannot be shown again")
			fmt.Fprintln(a.out, added.Secret)
		}
		return nil
	}
	return cmd
}

func newWebhookListCommand(a *app) *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the webhooks, and how far they have come",
		Example: `  peerless webhook list --channel main`,
		Args:    arguments(0, 0, "no arguments"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		all, err := r.Webhooks(cmd.Context(), channel)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				Webhooks []client.Webhook `json:"webhooks"`
			}{all})
		}
		rows := make([][]string, len(all))
		for i, w := range all {
			state := "well"
			if s := w.Status; s.Failures > 0 {
				state = fmt.Sprintf("fails since %s: %s", s.FailingSince.Local().Format(time.DateTime), shorten(s.LastError, 100))
			}
			what := w.Chaincode
			if len(w.Events) > 0 {
				what += " " + strings.Join(w.Events, ",")
			}
			rows[i] = []string{w.ID, w.URL, strings.TrimSpace(what), w.Status.Position, strconv.FormatUint(w.Status.Delivered, 10), state}
		}
		return a.printTable([]string{"ID", "URL", "EVENTS OF", "POSITION", "SENT", "STATE"}, rows)
	}
	return cmd
}

func newWebhookRemoveCommand(a *app) *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use:     "remove ID",
		Short:   "Send no more events",
		Example: `  peerless webhook remove 1f0c9a77aa0b1c2d`,
		Args:    arguments(1, 1, "a webhook's id"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		if err := r.RemoveWebhook(cmd.Context(), channel, args[0]); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				Removed string `json:"removed"`
			}{args[0]})
		}
		a.note("removed %s", args[0])
		return nil
	}
	return cmd
}
