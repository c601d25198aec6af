package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newApproveCommand(a *app) *cobra.Command {
	var spec client.DeploySpec
	var collections string
	var by caller
	cmd := &cobra.Command{
		Use:   "approve NAME",
		Short: "Approve a chaincode's definition for an organisation, and deploy nothing",
		Long: `Approve records on the ledger that an organisation agrees to the definition that a chaincode is to have next. Everything that the others approved
must be given as they gave it: peerless chaincodes shows it. It is committed by peerless deploy, or by a client of the Fabric Gateway, once enough have
approved. What is approved already is left as it is.`,
		Example: `  peerless approve trade --channel orders --organization SellerMSP --version 1.1 --policy "AND('BuyerMSP.peer','SellerMSP.peer')"`,
		Args:    arguments(1, 1, "a chaincode's name"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &spec.Channel)
	by.approvesFor(cmd)
	f := cmd.Flags()
	f.StringVar(&spec.Version, "version", "", "the definition's version")
	f.Int64Var(&spec.Sequence, "sequence", 0, "its number (default: the next one)")
	f.StringVar(&spec.Policy, "policy", "", "who must endorse, in Fabric's notation (default: the channel's majority)")
	f.StringVar(&collections, "collections", "", "a file of private data collections, as Fabric has it")
	f.BoolVar(&spec.InitRequired, "init-required", false, "the chaincode's Init must be called first")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if spec.Version == "" {
			return &usageError{cmd.CommandPath(), "give the --version that is to be approved: peerless chaincodes shows what others approved"}
		}
		if err := by.open(a, cmd, r); err != nil {
			return err
		}
		var err error
		if spec.Collections, err = readCollections(collections); err != nil {
			return fmt.Errorf("approve: %w", err)
		}
		spec.Name, spec.Organization = args[0], by.organization
		approved, err := r.Approve(cmd.Context(), spec)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(approved)
		}
		sequence, approvals := approved.Sequence, approved.Approvals
		if n := approved.Next; n != nil {
			sequence, approvals = n.Sequence, n.Approvals
		}
		a.note("%s, version %s, sequence %d on %s: approved by %s", spec.Name, spec.Version, sequence, spec.Channel, approvers(approvals))
		return nil
	}
	return cmd
}
