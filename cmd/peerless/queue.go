package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newQueueCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "queue",
		Short: "Look at the queue, and at what it gave up",
		Long: `A transaction that was submitted with --queue is run until it is committed. What can never be committed, because the
contract refuses it for instance, goes to the dead letters: list them, and run them again or drop them.`,
		Example: `  peerless submit assettransfer CreateAsset a1 blue 5 tom 100 --queue
  peerless queue status
  peerless queue list
  peerless queue redrive 6b1e…`,
	}, newQueueStatusCommand(a), newQueueListCommand(a),
		newDeadLetterCommand(a, "redrive", "Run a dead letter again", "run again", (*client.Client).Redrive),
		newDeadLetterCommand(a, "remove", "Drop a dead letter, for good", "removed", (*client.Client).RemoveDeadLetter))
}

func newQueueStatusCommand(a *app) *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Count what waits",
		Example: `  peerless queue status --channel main`,
		Args:    arguments(0, 0, "no arguments"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		s, err := r.QueueStatus(cmd.Context(), channel)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(s)
		}
		oldest := ""
		if !s.Oldest.IsZero() {
			oldest = s.Oldest.Local().Format(time.DateTime)
		}
		return a.printTable([]string{"WAITING", "WORKING", "DEAD LETTERS", "OLDEST"},
			[][]string{{strconv.Itoa(s.Waiting), strconv.Itoa(s.Working), strconv.Itoa(s.DeadLetters), oldest}})
	}
	return cmd
}

func newQueueListCommand(a *app) *cobra.Command {
	var channel string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters, with the reasons",
		Example: `  peerless queue list
  peerless queue list --json | jq -r '.deadLetters[].transactionId'`,
		Args: arguments(0, 0, "no arguments"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most (default: 100)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return &usageError{cmd.CommandPath(), "--limit must be a number from 1 on"}
		}
		if err := r.open(a); err != nil {
			return err
		}
		letters, err := r.DeadLetters(cmd.Context(), channel, limit)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				DeadLetters []client.DeadLetter `json:"deadLetters"`
			}{letters})
		}
		rows := make([][]string, len(letters))
		for i, l := range letters {
			rows[i] = []string{l.TransactionID, l.Chaincode, l.Function, l.DiedAt.Local().Format(time.DateTime), strconv.Itoa(l.Attempts), l.Code, shorten(l.Reason, 200)}
		}
		return a.printTable([]string{"TRANSACTION", "CHAINCODE", "FUNCTION", "GIVEN UP", "ATTEMPTS", "CODE", "REASON"}, rows)
	}
	return cmd
}

// newDeadLetterCommand is a command that does something with dead letters.
func newDeadLetterCommand(a *app, name, short, done string, do func(c *client.Client, ctx context.Context, channel, txID string) error) *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use:     name + " TRANSACTION…",
		Short:   short,
		Example: `  peerless queue ` + name + ` 6b1e6b1e…     # as peerless queue list shows it`,
		Args:    arguments(1, -1, "the ids of transactions"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		for _, id := range ids {
			if err := do(r.Client, cmd.Context(), channel, id); err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(struct {
					TransactionID string `json:"transactionId"`
				}{id}); err != nil {
					return err
				}
				continue
			}
			a.note("%s: %s", id, done)
		}
		return nil
	}
	return cmd
}
