package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
)

// transactionDetail is what the API shows of a transaction beyond client.Transaction.
type transactionDetail struct {
	Response *struct {
		Status  int32           `json:"status"`
		Message string          `json:"message"`
		Payload json.RawMessage `json:"payload"`
	} `json:"response"`
	Event *struct {
		Name    string          `json:"name"`
		Payload json.RawMessage `json:"payload"`
	} `json:"event"`
	Endorsers    []identityView `json:"endorsers"`
	ReadWriteSet []struct {
		Namespace string `json:"namespace"`
		Reads     []struct {
			Key     json.RawMessage `json:"key"`
			Version *struct {
				Block uint64 `json:"block"`
				Tx    uint64 `json:"tx"`
			} `json:"version"`
		} `json:"reads"`
		Writes []struct {
			Key      json.RawMessage `json:"key"`
			Value    json.RawMessage `json:"value"`
			IsDelete bool            `json:"isDelete"`
		} `json:"writes"`
	} `json:"readWriteSet"`
}

type identityView struct{ MSPID, CommonName string }

func (i identityView) String() string {
	if i.CommonName == "" {
		return i.MSPID
	}
	return i.CommonName + " of " + i.MSPID
}

// callText is the transaction's chaincode, function and arguments.
func callText(t *client.Transaction) string {
	if t.Chaincode.Name == "" {
		return strings.ToLower(t.Type)
	}
	words := []string{t.Chaincode.Name}
	for _, arg := range t.Args {
		words = append(words, payloadText(arg))
	}
	return strings.Join(words, " ")
}

func newTxCommand(a *app) *cobra.Command {
	var channel string
	var proof bool
	cmd := &cobra.Command{
		Use:   "tx ID",
		Short: "Show a transaction: its verdict, who sent it, and what it read and wrote",
		Example: `  peerless tx 5f0c2e…    # as submit prints it, in full
  peerless tx 5f0c2e… --receipt > receipt.json    # the proof, for peerless verify --receipt`,
		Args: arguments(1, 1, "a transaction's id"),
	}
	cmd.Flags().BoolVar(&proof, "receipt", false, "print the proof of its place and verdict, as JSON")
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.open(a); err != nil {
			return err
		}
		if proof {
			receipt, err := r.Receipt(cmd.Context(), channel, args[0])
			if err != nil {
				return err
			}
			return a.printJSON(receipt)
		}
		t, err := r.Transaction(cmd.Context(), channel, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(t.Raw)
		}
		var detail transactionDetail
		if err := json.Unmarshal(t.Raw, &detail); err != nil {
			return fmt.Errorf("read the transaction: %w", err)
		}
		return a.printTransaction(t, &detail)
	}
	return cmd
}

func (a *app) printTransaction(t *client.Transaction, detail *transactionDetail) error {
	rows := [][2]string{
		{"transaction", t.TransactionID},
		{"verdict", fmt.Sprintf("%s, in block %d at %d", t.ValidationCode, t.BlockNumber, t.Index)},
		{"time", localTime(t.Timestamp)},
	}
	add := func(name, text string) { rows = append(rows, [2]string{name, text}) }
	if creator := identityView(t.Creator); creator.MSPID != "" {
		add("sent by", creator.String())
	}
	add("called", shorten(callText(t), 200))
	if r := detail.Response; r != nil {
		add("answered", strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Status, r.Message, shorten(payloadText(r.Payload), 200))))
	}
	if detail.Event != nil {
		add("event", detail.Event.Name+" "+shorten(payloadText(detail.Event.Payload), 200))
	}
	for _, e := range detail.Endorsers {
		add("endorsed by", e.String())
	}
	for _, ns := range detail.ReadWriteSet {
		for _, read := range ns.Reads {
			version := "not there"
			if read.Version != nil {
				version = fmt.Sprintf("of block %d.%d", read.Version.Block, read.Version.Tx)
			}
			add("read", fmt.Sprintf("%s %s, %s", ns.Namespace, payloadText(read.Key), version))
		}
		for _, write := range ns.Writes {
			value := "= " + shorten(payloadText(write.Value), 200)
			if write.IsDelete {
				value = "deleted"
			}
			add("wrote", fmt.Sprintf("%s %s %s", ns.Namespace, payloadText(write.Key), value))
		}
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(a.out, "%-12s %s\n", row[0], oneLine(row[1])); err != nil {
			return err
		}
	}
	return nil
}
