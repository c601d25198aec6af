package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newHistoryCommand(a *app) *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use:   "history CHAINCODE KEY",
		Short: "Show what a key's value was, newest first",
		Example: `  peerless history assettransfer a1
  peerless history assettransfer a1 --json | jq '.history[0].value'`,
		Args: arguments(2, 2, "a chaincode and a key"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		var view struct {
			History []struct {
				TransactionID    string          `json:"transactionId"`
				BlockNumber      uint64          `json:"blockNumber"`
				TransactionIndex uint64          `json:"transactionIndex"`
				Timestamp        time.Time       `json:"timestamp"`
				IsDelete         bool            `json:"isDelete"`
				Value            json.RawMessage `json:"value"`
			} `json:"history"`
		}
		raw, err := r.get(cmd.Context(), channelPath(channel, "chaincodes", args[0], "history", args[1]), &view)
		if err != nil {
			return err
		}
		if a.json {
			return a.printRaw(raw)
		}
		rows := make([][]string, len(view.History))
		for i, c := range view.History {
			value := payloadText(c.Value)
			if c.IsDelete {
				value = "deleted"
			}
			rows[i] = []string{
				fmt.Sprintf("%d.%d", c.BlockNumber, c.TransactionIndex), localTime(c.Timestamp),
				shorten(c.TransactionID, 13), shorten(value, 100),
			}
		}
		if len(rows) == 0 {
			a.note("%s has never written the key %q in %s", args[0], args[1], channel)
			return nil
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
