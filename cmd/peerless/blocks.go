package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/api/client"
)

// followPause is how often blocks --follow asks for more.
const followPause = 500 * time.Millisecond

func newBlocksCommand(a *app) *cobra.Command {
	var channel string
	var from int64
	var limit int
	var follow bool
	cmd := &cobra.Command{
		Use:   "blocks [NUMBER]",
		Short: "List the blocks of a channel, or show one",
		Long: `Blocks lists a channel's newest blocks, or those from --from on, or shows one. With --follow it goes on with those that
are cut from now on, until it is interrupted or has shown --limit of them.`,
		Example: `  peerless blocks --limit 5
  peerless blocks 12
  peerless blocks --from 0 --follow --json`,
		Args: arguments(0, 1, "the number of a block, or none"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &channel)
	f := cmd.Flags()
	f.Int64Var(&from, "from", 0, "the first block to list; negative: counted from the end (default: as many before the end as --limit says)")
	f.IntVar(&limit, "limit", api.DefaultBlocks, "how many blocks (with --follow: default no end)")
	f.BoolVarP(&follow, "follow", "f", false, "go on with the blocks to come")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 1 {
			return &usageError{cmd.CommandPath(), "--limit must be a number from 1 on"}
		}
		if len(args) == 1 && (follow || cmd.Flags().Changed("from") || cmd.Flags().Changed("limit")) {
			return &usageError{cmd.CommandPath(), "one block has neither --from nor --limit nor --follow"}
		}
		if err := r.open(a); err != nil {
			return err
		}
		switch {
		case len(args) == 1:
			return a.showBlock(cmd.Context(), r, channel, args[0])
		case follow:
			if !cmd.Flags().Changed("limit") {
				limit = 0
			}
			if !cmd.Flags().Changed("from") {
				c, err := r.Channel(cmd.Context(), channel)
				if err != nil {
					return err
				}
				from = int64(c.Height)
			}
			return a.followBlocks(cmd.Context(), r, channel, from, limit)
		}
		if !cmd.Flags().Changed("from") {
			from = -int64(limit)
		}
		return a.listBlocks(cmd.Context(), r, channel, from, limit)
	}
	return cmd
}

// listBlocks shows up to limit blocks, in as many pages as that takes.
func (a *app) listBlocks(ctx context.Context, r *remote, channel string, from int64, limit int) error {
	whole := &client.BlockPage{}
	for {
		page, err := r.Blocks(ctx, channel, from, min(limit-len(whole.Blocks), api.MaxBlocks))
		if err != nil {
			return err
		}
		whole.Blocks = append(whole.Blocks, page.Blocks...)
		whole.Height, whole.Next = page.Height, page.Next
		if page.Next == nil || len(whole.Blocks) >= limit {
			break
		}
		from = int64(*page.Next)
	}
	if a.json {
		blocks := make([]json.RawMessage, len(whole.Blocks))
		for i, b := range whole.Blocks {
			blocks[i] = b.Raw
		}
		return a.printJSON(struct {
			Height uint64            `json:"height"`
			Blocks []json.RawMessage `json:"blocks"`
			Next   *uint64           `json:"next,omitempty"`
		}{whole.Height, blocks, whole.Next})
	}
	rows := make([][]string, len(whole.Blocks))
	for i, b := range whole.Blocks {
		rows[i] = blockRow(&b)
	}
	return a.printTable(blockHeader, rows)
}

var blockHeader = []string{"BLOCK", "TIME", "TRANSACTIONS", "BYTES", "HASH"}

// blockRow is a block in a list. Its time is that of its last transaction.
func blockRow(b *client.Block) []string {
	var at time.Time
	invalid := 0
	for _, t := range b.Transactions {
		at = t.Timestamp
		if t.ValidationCode != "VALID" {
			invalid++
		}
	}
	count := strconv.Itoa(len(b.Transactions))
	if invalid > 0 {
		count += fmt.Sprintf(" (%d invalid)", invalid)
	}
	return []string{strconv.FormatUint(b.Number, 10), localTime(at), count, strconv.Itoa(b.Size), shorten(b.Hash, 17)}
}

// followBlocks shows blocks from one on, as they come, until ctx ends or there were limit of them, if that is not 0.
func (a *app) followBlocks(ctx context.Context, r *remote, channel string, from int64, limit int) error {
	again := time.NewTicker(followPause)
	defer again.Stop()
	for shown := 0; ; {
		page, err := r.Blocks(ctx, channel, from, api.MaxBlocks)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if shown == 0 || !mayPass(err) {
				return err
			}
			page = &client.BlockPage{} // it is asked again
		}
		for _, b := range page.Blocks {
			if err := a.printFollowed(&b, shown == 0); err != nil {
				return err
			}
			from = int64(b.Number) + 1
			if shown++; shown == limit {
				return nil
			}
		}
		if page.Next != nil {
			continue
		}
		if from < 0 && err == nil {
			from = int64(page.Height)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// mayPass reports whether a failure can pass by itself: the server is being restarted, for instance.
func mayPass(err error) bool {
	var problem *client.Problem
	return !errors.As(err, &problem) || problem.Status >= 500
}

// blockLine has the widths of what is not known in advance.
const blockLine = "%-8s %-19s %-14s %-9s %s\n"

func (a *app) printFollowed(b *client.Block, first bool) error {
	if a.json {
		return a.printJSON(b.Raw)
	}
	row := blockRow(b)
	if first {
		fmt.Fprintf(a.out, blockLine, blockHeader[0], blockHeader[1], blockHeader[2], blockHeader[3], blockHeader[4])
	}
	_, err := fmt.Fprintf(a.out, blockLine, row[0], row[1], row[2], row[3], row[4])
	return err
}

func (a *app) showBlock(ctx context.Context, r *remote, channel, number string) error {
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return &usageError{"peerless blocks", fmt.Sprintf("%q is not the number of a block", number)}
	}
	b, err := r.Block(ctx, channel, n)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(b.Raw)
	}
	fmt.Fprintf(a.out, "block         %d of %s, %d bytes\nhash          %s\nprevious hash %s\ndata hash     %s\n\n",
		b.Number, channel, b.Size, b.Hash, b.PreviousHash, b.DataHash)
	rows := make([][]string, len(b.Transactions))
	for i, t := range b.Transactions {
		rows[i] = []string{strconv.Itoa(t.Index), t.ValidationCode, localTime(t.Timestamp), t.TransactionID, shorten(callText(&t), 80)}
	}
	return a.printTable([]string{"TX", "VERDICT", "TIME", "ID", "CALL"}, rows)
}
