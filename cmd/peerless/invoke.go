package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

// invocation is what submit and evaluate have in common.
type invocation struct {
	*remote
	caller
	call      client.Call
	transient []string
	argsFile  string
}

func (in *invocation) addFlags(cmd *cobra.Command) {
	in.remote = newRemote(cmd)
	addChannel(cmd, &in.call.Channel)
	f := cmd.Flags()
	f.StringArrayVar(&in.transient, "transient", nil, "NAME=VALUE or NAME=@FILE, seen by the contract and never recorded; may be repeated")
	f.BoolVar(&in.call.IsInit, "is-init", false, "call the chaincode's Init, which a definition with init-required wants first")
	f.StringVar(&in.argsFile, "args-file", "", "a file, or - for standard input, with a JSON array of strings: arguments that follow those of the command line")
	in.caller.addTo(cmd)
}

// prepare reads what the arguments and flags name, and makes the client.
func (in *invocation) prepare(a *app, cmd *cobra.Command, args []string) error {
	in.call.Chaincode, in.call.Function, in.call.Args = args[0], args[1], args[2:]
	if in.argsFile != "" {
		more, err := readArgs(a.in, in.argsFile)
		if err != nil {
			return err
		}
		in.call.Args = append(in.call.Args, more...)
	}
	transient, err := pairs("--transient", in.transient)
	if err != nil {
		return &usageError{cmd.CommandPath(), err.Error()}
	}
	in.call.Transient = make(map[string][]byte)
	for name, value := range transient {
		in.call.Transient[name] = []byte(value)
		if file, ok := strings.CutPrefix(value, "@"); ok {
			if in.call.Transient[name], err = os.ReadFile(file); err != nil {
				return fmt.Errorf("read --transient %s: %w", name, err)
			}
		}
	}
	return in.caller.open(a, cmd, in.remote)
}

// readArgs reads a JSON array of strings.
func readArgs(stdin io.Reader, name string) ([]string, error) {
	var raw []byte
	var err error
	if name == "-" {
		raw, err = io.ReadAll(stdin)
	} else {
		raw, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read --args-file: %w", err)
	}
	var args []string
	if err := json.Unmarshal(raw, &args); err != nil {
		return nil, fmt.Errorf("read --args-file: %s must be a JSON array of strings: %w", name, err)
	}
	return args, nil
}

func newSubmitCommand(a *app) *cobra.Command {
	in := &invocation{}
	var queue bool
	var group string
	cmd := &cobra.Command{
		Use:   "submit CHAINCODE FUNCTION [ARG…]",
		Short: "Run a transaction, and wait until it is committed",
		Long: `Submit runs a contract's function and commits what it wrote. It answers when the transaction is durable. If it
loses a race against another transaction, the server tries again.

An --idempotency-key makes it safe to repeat: the second call gets the outcome of the first.

With --queue it does not wait: it answers when the server keeps the transaction durably, and the server runs it until it is
committed. peerless tx ID shows it then; peerless queue list shows what could not be committed.`,
		Example: `  peerless submit assettransfer CreateAsset a1 blue 5 tom 100
  peerless submit trade Agree --transient price=@price.json --user alice --attr role=buyer
  peerless submit assettransfer TransferAsset a1 maria --queue --group a1
  peerless submit assettransfer CreateAsset a2 red -- -5 tom 100     # after --, arguments may begin with a dash`,
		Args: arguments(2, -1, "a chaincode, a function and its arguments"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if group != "" && !queue {
				return &usageError{cmd.CommandPath(), "--group is for --queue"}
			}
			if err := in.prepare(a, cmd, args); err != nil {
				return err
			}
			if queue {
				return a.enqueue(cmd, in, group)
			}
			answer, err := in.Submit(cmd.Context(), in.call)
			if err != nil && cmd.Context().Err() != nil {
				return errors.New("interrupted before the answer: the transaction may be committed all the same")
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					TransactionID  string          `json:"transactionId"`
					BlockNumber    uint64          `json:"blockNumber"`
					Code           string          `json:"code"`
					Result         json.RawMessage `json:"result"`
					ResultEncoding string          `json:"resultEncoding,omitempty"`
				}{answer.TransactionID, answer.BlockNumber, answer.Code, answer.Result, answer.ResultEncoding})
			}
			a.note("committed in block %d: transaction %s", answer.BlockNumber, answer.TransactionID)
			return a.printResult(answer.Payload)
		},
	}
	in.addFlags(cmd)
	cmd.Flags().StringVar(&in.call.IdempotencyKey, "idempotency-key", "", "a name for this call, so that a repeat does not run twice")
	cmd.Flags().BoolVar(&queue, "queue", false, "leave it in the server's queue, and do not wait")
	cmd.Flags().StringVar(&group, "group", "", "with --queue: run it after what was queued before in the same group")
	cmd.Flags().StringSliceVar(&in.call.Organizations, "endorser", nil, "the organisations that endorse (default: what the policy needs)")
	return cmd
}

func (a *app) enqueue(cmd *cobra.Command, in *invocation, group string) error {
	accepted, err := in.Queue(cmd.Context(), in.call, group)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(accepted)
	}
	a.note("accepted, and will be committed: see peerless tx %s", accepted.TransactionID)
	fmt.Fprintln(a.out, accepted.TransactionID)
	return nil
}

func newEvaluateCommand(a *app) *cobra.Command {
	in := &invocation{}
	cmd := &cobra.Command{
		Use:   "evaluate CHAINCODE FUNCTION [ARG…]",
		Short: "Run a function on the current state, and commit nothing",
		Example: `  peerless evaluate assettransfer ReadAsset a1
  peerless evaluate assettransfer GetAllAssets --json | jq .result`,
		Args: arguments(2, -1, "a chaincode, a function and its arguments"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := in.prepare(a, cmd, args); err != nil {
				return err
			}
			answer, err := in.Evaluate(cmd.Context(), in.call)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Height         uint64          `json:"height"`
					Result         json.RawMessage `json:"result"`
					ResultEncoding string          `json:"resultEncoding,omitempty"`
				}{answer.Height, answer.Result, answer.ResultEncoding})
			}
			return a.printResult(answer.Payload)
		},
	}
	in.addFlags(cmd)
	return cmd
}

// printResult writes what a contract returned: its bytes, and a line's end if they are text that has none.
func (a *app) printResult(p client.Payload) error {
	raw, err := p.Bytes()
	if err != nil || len(raw) == 0 {
		return err
	}
	if p.ResultEncoding == "" && raw[len(raw)-1] != '\n' {
		raw = append(raw, '\n')
	}
	_, err = a.out.Write(raw)
	return err
}
