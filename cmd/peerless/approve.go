package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

func newApproveCommand(a *app) *cobra.Command {
	var spec client.DeploySpec
	var collections string
	var by caller
	var signed signedApproval
	cmd := &cobra.Command{
		Use:   "approve NAME",
		Short: "Approve a chaincode's definition for an organisation, and deploy nothing",
		Long: `Approve records on the ledger that an organisation agrees to the definition that a chaincode is to have next. Everything that the others approved
must be given as they gave it: peerless chaincodes shows it. It is committed by peerless deploy, or by a client of the Fabric Gateway, once enough have
approved. What is approved already is left as it is.

An organisation that endorses elsewhere approves with its administrator's own key: --msp is the administrator's MSP directory, --from the platform's
gRPC listener. The platform has no part in that but to record it.`,
		Example: `  peerless approve trade --channel orders --organization SellerMSP --version 1.1 --policy "AND('BuyerMSP.peer','SellerMSP.peer')"
  peerless approve trade --channel orders --organization SellerMSP --version 1.1 --msp crypto/seller/admin/msp --from 127.0.0.1:7051`,
		Args: arguments(1, 1, "a chaincode's name"),
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
	f.StringVar(&signed.msp, "msp", "", "the MSP directory of the organisation's administrator, who signs the approval")
	signed.addTo(f, "to which the administrator's approval goes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if spec.Version == "" {
			return &usageError{cmd.CommandPath(), "give the --version that is to be approved: peerless chaincodes shows what others approved"}
		}
		var err error
		if spec.Collections, err = readCollections(collections); err != nil {
			return fmt.Errorf("approve: %w", err)
		}
		spec.Name, spec.Organization = args[0], by.organization
		if signed.msp != "" {
			if spec.Organization == "" {
				return &usageError{cmd.CommandPath(), "name the administrator's organisation with --organization"}
			}
			if err := signed.check(); err != nil {
				return &usageError{cmd.CommandPath(), err.Error()}
			}
			return a.approveSigned(cmd.Context(), &signed, spec)
		}
		if err := by.open(a, cmd, r); err != nil {
			return err
		}
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

func (a *app) approveSigned(ctx context.Context, by *signedApproval, spec client.DeploySpec) error {
	txID, sequence, err := by.approve(ctx, spec)
	if err != nil {
		return fmt.Errorf("approve %s for %s: %w", spec.Name, spec.Organization, err)
	}
	if a.json {
		return a.printJSON(struct {
			Name          string `json:"name"`
			Version       string `json:"version"`
			Sequence      int64  `json:"sequence"`
			Organization  string `json:"organization"`
			TransactionID string `json:"transactionId"`
		}{spec.Name, spec.Version, sequence, spec.Organization, txID})
	}
	a.note("%s, version %s, sequence %d on %s: approved by %s in transaction %s", spec.Name, spec.Version, sequence, spec.Channel, spec.Organization, txID)
	return nil
}
