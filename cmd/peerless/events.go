package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newEventsCommand(a *app) *cobra.Command {
	var request client.EventsRequest
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow the events that contracts set",
		Long: `Events prints the events of a channel as they are committed, one a line, until it is interrupted. Without --from it
begins with what is committed from now on. Each line begins with the event's id: given to --from, it goes on behind it.
If the server goes away, it waits until it is back, and misses nothing.`,
		Example: `  peerless events --from 0
  peerless events --chaincode trade --from 12.3 --limit 10 --json`,
		Args: arguments(0, 0, "no arguments"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &request.Channel)
	f := cmd.Flags()
	f.StringVar(&request.Chaincode, "chaincode", "", "the events of one chaincode only")
	f.StringVar(&request.From, "from", "", "where to begin: the number of a block, or the id of an event, to go on behind it")
	f.IntVar(&limit, "limit", 0, "end after so many events (default: never)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return &usageError{cmd.CommandPath(), "--limit must be a number from 1 on"}
		}
		if err := r.open(a); err != nil {
			return err
		}
		return a.followEvents(cmd.Context(), r, request, limit)
	}
	return cmd
}

// followEvents prints events until ctx ends or there were limit of them, if that is not 0.
func (a *app) followEvents(ctx context.Context, r *remote, request client.EventsRequest, limit int) error {
	printed := 0
	err := r.Events(ctx, request, func(e client.Event) error {
		if err := a.printEvent(e); err != nil {
			return err
		}
		if printed++; printed == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *app) printEvent(e client.Event) error {
	if a.json {
		return a.printJSON(e)
	}
	_, err := fmt.Fprintf(a.out, "%-8s %s %s %s\n", e.ID, e.Chaincode, oneLine(e.Name), shorten(oneLine(payloadText(e.Payload)), 500))
	return err
}
