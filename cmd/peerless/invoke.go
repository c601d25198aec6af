package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api"
)

// invocation is what submit and evaluate have in common.
type invocation struct {
	*remote
	channel       string
	transient     []string
	argsFile      string
	user          string
	organization  string
	attributes    []string
	organizations []string
}

// callBody is the body of submit and evaluate (SURFACE.md).
type callBody struct {
	Function      string            `json:"function"`
	Args          []string          `json:"args,omitempty"`
	Transient     map[string][]byte `json:"transient,omitempty"`
	Organizations []string          `json:"organizations,omitempty"`
}

func (in *invocation) addFlags(cmd *cobra.Command) {
	in.remote = newRemote(cmd)
	addChannel(cmd, &in.channel)
	f := cmd.Flags()
	f.StringArrayVar(&in.transient, "transient", nil, "NAME=VALUE or NAME=@FILE, seen by the contract and never recorded; may be repeated")
	f.StringVar(&in.argsFile, "args-file", "", "a file, or - for standard input, with a JSON array of strings: arguments that follow those of the command line")
	f.StringVar(&in.user, "user", "", "who calls, on a server that needs no key")
	f.StringVar(&in.organization, "organization", "", "the caller's organisation, on a server that needs no key")
	f.StringArrayVar(&in.attributes, "attr", nil, "NAME=VALUE, an attribute in the caller's certificate, on a server that needs no key; may be repeated")
}

// prepare reads what the flags name.
func (in *invocation) prepare(a *app, cmd *cobra.Command, args []string) (*callBody, error) {
	body := &callBody{Function: args[1], Args: args[2:], Organizations: in.organizations}
	if in.argsFile != "" {
		more, err := readArgs(a.in, in.argsFile)
		if err != nil {
			return nil, err
		}
		body.Args = append(body.Args, more...)
	}
	transient, err := pairs("--transient", in.transient)
	if err != nil {
		return nil, &usageError{cmd.CommandPath(), err.Error()}
	}
	for name, value := range transient {
		if body.Transient == nil {
			body.Transient = make(map[string][]byte)
		}
		body.Transient[name] = []byte(value)
		if file, ok := strings.CutPrefix(value, "@"); ok {
			if body.Transient[name], err = os.ReadFile(file); err != nil {
				return nil, fmt.Errorf("read --transient %s: %w", name, err)
			}
		}
	}
	if err := in.open(a); err != nil {
		return nil, err
	}
	return body, in.identify(cmd)
}

// identify says who calls.
func (in *invocation) identify(cmd *cobra.Command) error {
	attributes, err := pairs("--attr", in.attributes)
	if err != nil {
		return &usageError{cmd.CommandPath(), err.Error()}
	}
	if in.Key != "" && (in.user != "" || in.organization != "" || attributes != nil) {
		return &usageError{cmd.CommandPath(), "with a key, the key says who calls: leave --user, --organization and --attr out"}
	}
	if in.user != "" {
		in.header.Set(api.HeaderUser, in.user)
	}
	if in.organization != "" {
		in.header.Set(api.HeaderOrganization, in.organization)
	}
	if attributes != nil {
		names := make([]string, len(in.attributes))
		for i, pair := range in.attributes {
			names[i], _, _ = strings.Cut(pair, "=")
		}
		in.header.Set(api.HeaderAttributes, api.FormatAttributes(names, attributes))
	}
	return nil
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

// result is a contract's payload in an answer.
type result struct {
	Result   json.RawMessage `json:"result"`
	Encoding string          `json:"resultEncoding"`
}

// text is the payload as a person reads it: JSON as it is, a string without quotes, base64 if it is neither.
func (r result) text() string {
	return payloadText(r.Result)
}

func payloadText(payload json.RawMessage) string {
	var s string
	if string(payload) == "null" || len(payload) == 0 {
		return ""
	}
	if json.Unmarshal(payload, &s) == nil {
		return s
	}
	return string(payload)
}

func newSubmitCommand(a *app) *cobra.Command {
	in := &invocation{}
	var idempotencyKey string
	cmd := &cobra.Command{
		Use:   "submit CHAINCODE FUNCTION [ARG…]",
		Short: "Run a transaction, and wait until it is committed",
		Long: `Submit runs a contract's function and commits what it wrote. It answers when the transaction is durable. If it
loses a race against another transaction, the server tries again.

An --idempotency-key makes it safe to repeat: the second call gets the outcome of the first.`,
		Example: `  peerless submit assettransfer CreateAsset a1 blue 5 tom 100
  peerless submit trade Agree --transient price=@price.json --user alice --attr role=buyer
  peerless submit assettransfer CreateAsset a2 red -- -5 tom 100     # after --, arguments may begin with a dash`,
		Args: arguments(2, -1, "a chaincode, a function and its arguments"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := in.prepare(a, cmd, args)
			if err != nil {
				return err
			}
			header := make(http.Header)
			if idempotencyKey != "" {
				header.Set("Idempotency-Key", idempotencyKey)
			}
			raw, err := in.call(cmd.Context(), http.MethodPost, channelPath(in.channel, "chaincodes", args[0], "submit"), header, body)
			if err != nil {
				return err
			}
			if a.json {
				return a.printRaw(raw)
			}
			var answer struct {
				TransactionID string `json:"transactionId"`
				BlockNumber   uint64 `json:"blockNumber"`
				result
			}
			if err := json.Unmarshal(raw, &answer); err != nil {
				return fmt.Errorf("read the answer of %s: %w", in.URL, err)
			}
			a.note("committed in block %d: transaction %s", answer.BlockNumber, answer.TransactionID)
			return a.printResult(answer.result)
		},
	}
	in.addFlags(cmd)
	cmd.Flags().StringVar(&idempotencyKey, "idempotency-key", "", "a name for this call, so that a repeat does not run twice")
	cmd.Flags().StringSliceVar(&in.organizations, "endorser", nil, "the organisations that endorse (default: what the policy needs)")
	return cmd
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
			body, err := in.prepare(a, cmd, args)
			if err != nil {
				return err
			}
			raw, err := in.call(cmd.Context(), http.MethodPost, channelPath(in.channel, "chaincodes", args[0], "evaluate"), nil, body)
			if err != nil {
				return err
			}
			if a.json {
				return a.printRaw(raw)
			}
			var answer result
			if err := json.Unmarshal(raw, &answer); err != nil {
				return fmt.Errorf("read the answer of %s: %w", in.URL, err)
			}
			return a.printResult(answer)
		},
	}
	in.addFlags(cmd)
	return cmd
}

// printResult writes a contract's payload, if there is one.
func (a *app) printResult(r result) error {
	text := r.text()
	if text == "" {
		return nil
	}
	if r.Encoding != "" {
		a.note("the result is %s", r.Encoding)
	}
	_, err := fmt.Fprintln(a.out, text)
	return err
}
