package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

// errEnough ends a listing that has shown all that it was asked for.
var errEnough = errors.New("that is enough")

func newHistoryCommand(a *app) *cobra.Command {
	var channel string
	var limit int
	cmd := &cobra.Command{
		Use:   "history CHAINCODE KEY",
		Short: "Show what a key's value was, newest first",
		Example: `  peerless history assettransfer a1
  peerless history assettransfer a1 --json | jq '.history[0].value'`,
		Args: arguments(2, 2, "a chaincode and a key"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.Flags().IntVar(&limit, "limit", 0, "how many changes to show (default: all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		changes := []client.Change{}
		err := r.History(cmd.Context(), channel, args[0], args[1], func(c client.Change) error {
			changes = append(changes, c)
			if len(changes) == limit {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				Key     string          `json:"key"`
				History []client.Change `json:"history"`
			}{args[1], changes})
		}
		if len(changes) == 0 {
			a.note("%s has never written the key %q in %s", args[0], args[1], channel)
			return nil
		}
		rows := make([][]string, len(changes))
		for i, c := range changes {
			value := payloadText(c.Value)
			if c.IsDelete {
				value = "deleted"
			}
			rows[i] = []string{
				fmt.Sprintf("%d.%d", c.BlockNumber, c.TransactionIndex), localTime(c.Timestamp),
				shorten(c.TransactionID, 13), shorten(value, 100),
			}
		}
		return a.printTable([]string{"BLOCK", "TIME", "TRANSACTION", "VALUE"}, rows)
	}
	return cmd
}

// localTime shows a moment to a person.
func localTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}
