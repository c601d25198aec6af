package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// app is what the commands share: where they read and write.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	json     bool
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "peerless",
		Short: "Run Hyperledger Fabric chaincode as functions",
		Long: `Peerless runs Hyperledger Fabric chaincode as functions: deploy a contract, call it over HTTP, and get a
hash-chained ledger that anyone can verify. No peers, no orderers, no containers.

Commands that talk to a server find it and its key in --url and --key, else in PEERLESS_URL and PEERLESS_KEY, else in
~/.config/peerless/config (or the file PEERLESS_CONFIG names), which has lines such as url = http://127.0.0.1:8080.`,
		Example: `  peerless dev                                            # run the contract in this directory
  peerless submit mycontract CreateAsset a1 blue 5 tom 100
  peerless evaluate mycontract ReadAsset a1`,
		Version:       version(),
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "write JSON, for programs")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text := err.Error()
		if strings.HasPrefix(text, "unknown shorthand flag") || strings.HasPrefix(text, "unknown flag") {
			text += " (before arguments that begin with a dash, write --)"
		}
		return &usageError{cmd.CommandPath(), text}
	})
	root.AddGroup(
		&cobra.Group{ID: groupServer, Title: "Servers:"},
		&cobra.Group{ID: groupContract, Title: "Contracts:"},
		&cobra.Group{ID: groupLedger, Title: "The ledger:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			c.DisableFlagsInUseLine = true
			root.AddCommand(c)
		}
	}
	add(groupServer, newDevCommand(a), newServeCommand(a), newEndorserCommand(a), newApplyCommand(a), newKeyCommand(a), newTenantCommand(a), newIdentityCommand(a), newBenchCommand(a))
	add(groupContract, newInitCommand(a), newDeployCommand(a), newApproveCommand(a), newChaincodesCommand(a), newSubmitCommand(a), newEvaluateCommand(a), newQueueCommand(a))
	add(groupLedger, newChannelsCommand(a), newBlocksCommand(a), newTxCommand(a), newHistoryCommand(a), newEventsCommand(a), newWebhookCommand(a), newVerifyCommand(a))
	return root
}

const (
	groupServer   = "server"
	groupContract = "contract"
	groupLedger   = "ledger"
)

// version is that of the module, or of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "development version, commit " + s.Value[:12]
		}
	}
	return "development version"
}

// unknownCommand refuses words where only a command can be.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{cmd.CommandPath(), text}
}

// arguments checks how many there are: what says what they should be, such as "a chaincode and a function".
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("%s takes %s, not %d arguments", cmd.CommandPath(), what, len(args))}
		}
		return nil
	}
}

// group is a command that only has commands below it.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.Args = unknownCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(below...)
	return cmd
}
