package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newChaincodesCommand(a *app) *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use:   "chaincodes",
		Short: "List a channel's chaincodes and their approvals, or remove one",
		Example: `  peerless chaincodes --channel main
  peerless chaincodes remove mycontract`,
		Args: unknownCommand,
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		chaincodes, err := r.Chaincodes(cmd.Context(), channel)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				Chaincodes []client.Chaincode `json:"chaincodes"`
			}{chaincodes})
		}
		var rows [][]string
		row := func(c client.Chaincode, version string, sequence int64, policy string, approvals []client.Approval) {
			if policy == "" {
				policy = "the channel's majority"
			}
			rows = append(rows, []string{c.Name, version, strconv.FormatInt(sequence, 10), c.Language, policy, approvers(approvals)})
		}
		for _, c := range chaincodes {
			if c.Sequence > 0 {
				row(c, c.Version, c.Sequence, c.Policy, c.Approvals)
			}
			if n := c.Next; n != nil {
				c.Language = "" // it does not run
				row(c, n.Version, n.Sequence, n.Policy, n.Approvals)
			}
		}
		return a.printTable([]string{"NAME", "VERSION", "SEQUENCE", "LANGUAGE", "POLICY", "APPROVED BY"}, rows)
	}
	cmd.AddCommand(newChaincodesRemoveCommand(a))
	return cmd
}

// approvers names the organisations that approved a definition, and those that did not.
func approvers(approvals []client.Approval) string {
	var by, not []string
	for _, approval := range approvals {
		if approval.Approved {
			by = append(by, approval.Organization)
		} else {
			not = append(not, approval.Organization)
		}
	}
	text := strings.Join(by, ", ")
	if len(not) > 0 {
		text = strings.TrimPrefix(text+"; not "+strings.Join(not, ", "), "; ")
	}
	return text
}

func newChaincodesRemoveCommand(a *app) *cobra.Command {
	var channel string
	var by caller
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Stop a chaincode and take it off the channel: its state and history stay",
		Long:    "Remove takes a chaincode off its channel and stops it; with --stack it deletes its function too. State and history stay.",
		Example: `  peerless chaincodes remove mycontract --channel main`,
		Args:    arguments(1, 1, "a chaincode's name"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	by.addTo(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := by.open(a, cmd, r); err != nil {
			return err
		}
		err := r.Remove(cmd.Context(), channel, args[0])
		var problem *client.Problem
		if r.stack != nil && errors.As(err, &problem) && problem.Code == "NOT_FOUND" {
			err = nil // what an interrupted removal left is the function
		}
		if err == nil && r.stack != nil {
			err = r.stack.Remove(cmd.Context(), channel, args[0])
		}
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				Removed string `json:"removed"`
			}{args[0]})
		}
		a.note("removed %s from %s", args[0], channel)
		return nil
	}
	return cmd
}
