package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api"
)

// pollWait is how long one long poll waits; retryPause is the time between attempts to reach a server that went away.
const (
	pollWait   = 20 * time.Second
	retryPause = time.Second
)

// eventView is an event in the API's answers.
type eventView struct {
	ID            string          `json:"id"`
	TransactionID string          `json:"transactionId"`
	Chaincode     string          `json:"chaincode"`
	Name          string          `json:"name"`
	Payload       json.RawMessage `json:"payload"`
}

func newEventsCommand(a *app) *cobra.Command {
	var channel, chaincode, from string
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
	addChannel(cmd, &channel)
	f := cmd.Flags()
	f.StringVar(&chaincode, "chaincode", "", "the events of one chaincode only")
	f.StringVar(&from, "from", "", "where to begin: the number of a block, or the id of an event, to go on behind it")
	f.IntVar(&limit, "limit", 0, "end after so many events (default: never)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return &usageError{cmd.CommandPath(), "--limit must be a number from 1 on"}
		}
		if err := r.open(a); err != nil {
			return err
		}
		query := url.Values{"wait": {pollWait.String()}}
		if chaincode != "" {
			query.Set("chaincode", chaincode)
		}
		if cmd.Flags().Changed("from") {
			query.Set("from", from)
		} else {
			height, err := r.height(cmd.Context(), channel)
			if err != nil {
				return err
			}
			query.Set("from", fmt.Sprint(height))
		}
		return a.followEvents(cmd.Context(), r, channel, query, limit)
	}
	return cmd
}

func (r *remote) height(ctx context.Context, channel string) (uint64, error) {
	var view channelView
	_, err := r.get(ctx, channelPath(channel), &view)
	return view.Height, err
}

// followEvents prints events until ctx ends or there were limit of them, if that is not 0.
func (a *app) followEvents(ctx context.Context, r *remote, channel string, query url.Values, limit int) error {
	connected := false
	for printed := 0; ; {
		var list struct {
			Events []json.RawMessage `json:"events"`
			Cursor string            `json:"cursor"`
		}
		_, err := r.get(ctx, channelPath(channel, "events")+"?"+query.Encode(), &list)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !connected || !isPassing(err) {
				return err
			}
			if err := a.awaitServer(ctx, r, err); err != nil {
				return err
			}
			continue
		}
		connected = true
		for _, raw := range list.Events {
			if err := a.printEvent(raw); err != nil {
				return err
			}
			if printed++; printed == limit {
				return nil
			}
		}
		query.Set("from", list.Cursor)
	}
}

// isPassing reports whether a failure may pass by itself: the server is being restarted, for instance.
func isPassing(err error) bool {
	var unreachable *unreachableError
	var problem *api.Problem
	return errors.As(err, &unreachable) || errors.As(err, &problem) && problem.Code == api.CodeUnavailable
}

// awaitServer waits until a server that went away answers again. nil also if ctx ends first.
func (a *app) awaitServer(ctx context.Context, r *remote, cause error) error {
	a.note("%s: waiting for it", lineOf(explain(cause)))
	again := time.NewTicker(retryPause)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		var health json.RawMessage
		_, err := r.get(ctx, "/healthz", &health)
		if err == nil {
			a.note("the server is back")
			return nil
		}
		if ctx.Err() == nil && !isPassing(err) {
			return err
		}
	}
}

func (a *app) printEvent(raw json.RawMessage) error {
	if a.json {
		return a.printRaw(raw)
	}
	var e eventView
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	_, err := fmt.Fprintf(a.out, "%-8s %s %s %s\n", e.ID, e.Chaincode, oneLine(e.Name), shorten(oneLine(payloadText(e.Payload)), 500))
	return err
}
