package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/docstore"
	"peerless/shared/ledger"
	"peerless/shared/node"
	"peerless/shared/organization"
	"peerless/shared/secret"
	"peerless/shared/store/pebble"
)

// errVerify: something does not hold. What, has been printed.
var errVerify = errors.New("verification failed")

func newVerifyCommand(a *app) *cobra.Command {
	var data, sealKey, channel, file, verifierKey string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Audit a data directory, a server's channel, or a receipt",
		Long: `Verify reads everything in a data directory and checks it: every byte of the store against its checksums; every block's
number, hash, chain and signature; every transaction's signatures and verdict, judged again; that state, history and
look-ups say exactly what a replay from nothing says; and that every value of private data is what its hash on the chain says,
for which it takes the key that seals them: without it they are only counted. Then the identities, the packages and the keys. It
ends with status 0 only if all holds. A private value that is not there is told, and no fault: no block brings it. No server may
be running on the directory.

With --channel it downloads a channel's blocks from a server, judges them all again, and compares what they add up to with the
server's signed checkpoint. With --receipt it checks a receipt, as peerless tx --receipt prints it, without any server; with both,
also that the channel as it is now still has what the receipt was signed for. --verifier-key is the platform's public key, as
peerless channels key prints it: keep it when you first trust the platform.`,
		Example: `  peerless verify --data /var/lib/peerless
  peerless verify --data .peerless --json | jq .ok
  peerless verify --receipt receipt.json --verifier-key "$(cat main.vkey)"
  peerless verify --channel main --url https://peerless.example`,
		Args: arguments(0, 0, "no arguments"),
	}
	r := newRemote(cmd)
	cmd.Flags().StringVar(&data, "data", defaultData, "the data directory")
	addSealKey(cmd, &sealKey)
	cmd.Flags().StringVarP(&channel, "channel", "c", "", "audit this channel of a server")
	cmd.Flags().StringVar(&file, "receipt", "", "check the receipt in this file, - for standard input")
	cmd.Flags().StringVar(&verifierKey, "verifier-key", "", "the key that checkpoints must be signed with (default: what the receipt or the server names)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case strings.Contains(r.Key, "+"):
			return &usageError{cmd.CommandPath(), "--key is for an API key: the key of a platform's checkpoints is --verifier-key"}
		case cmd.Flags().Changed("data") && (channel != "" || file != ""):
			return &usageError{cmd.CommandPath(), "--data is for a data directory here: leave it out with --channel and --receipt"}
		case channel != "":
			if err := r.open(a); err != nil {
				return err
			}
			return a.verifyChannel(cmd.Context(), r, channel, file, verifierKey)
		case file != "":
			return a.verifyReceipt(file, verifierKey)
		case verifierKey != "" || cmd.Flags().Changed("url"):
			return &usageError{cmd.CommandPath(), "say what to verify there: --channel NAME or --receipt FILE"}
		}
		return a.verify(cmd.Context(), data, sealKey)
	}
	return cmd
}

// verification is what an audit of a data directory found.
type verification struct {
	OK       bool           `json:"ok"`
	Channels []channelAudit `json:"channels"`
	Problems []problem      `json:"problems"` // everything that does not hold
}

type channelAudit struct {
	Channel      string `json:"channel"`
	Blocks       uint64 `json:"blocks"`
	Transactions uint64 `json:"transactions"`
	Invalid      uint64 `json:"invalid"`
	Keys         uint64 `json:"keys"`
	Hash         string `json:"hash"` // of the last block's header, in hex

	Private *ledger.PrivateReport `json:"private,omitempty"` // of a channel with private data
}

// A problem is one thing that does not hold.
type problem struct {
	Where string `json:"where"` // store, documents, keys, identities, packages, or channel NAME
	Error string `json:"error"`
}

func (v *verification) add(where string, err error) {
	if err != nil {
		v.Problems = append(v.Problems, problem{where, lineOf(err.Error())})
	}
}

func (a *app) verify(ctx context.Context, data, sealKey string) error {
	if _, err := os.Stat(filepath.Join(data, storeDir)); err != nil {
		return fmt.Errorf("%s is not a data directory of Peerless (%w): name one with --data", data, err)
	}
	v := &verification{Channels: []channelAudit{}, Problems: []problem{}}
	identities := a.openIdentities(data, sealKey)
	if err := a.verifyStore(ctx, data, identities.dataKeys(ctx), v); err != nil {
		return err
	}
	identities.verify(ctx, v)
	v.add("packages", verifyPackages(ctx, filepath.Join(data, "chaincodes")))
	if err := ctx.Err(); err != nil {
		return err
	}
	v.OK = len(v.Problems) == 0
	return a.printVerification(data, v)
}

// verifyStore checks the store and audits every channel in it. It returns an error only for what keeps it from doing so.
// A store with damage is not opened: opening writes to it.
func (a *app) verifyStore(ctx context.Context, data string, keys collection.Keys, v *verification) error {
	dir := filepath.Join(data, storeDir)
	err := pebble.Check(dir)
	var store *pebble.Store
	if err == nil {
		store, err = pebble.Open(dir, pebble.Config{})
	}
	if errors.Is(err, ledger.ErrDamaged) {
		v.add("store", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { v.add("store", store.Close()) }()
	channels, err := store.Channels(ctx)
	if err != nil {
		v.add("store", err)
		return nil
	}
	for _, channel := range channels {
		if ctx.Err() != nil {
			break
		}
		audit, err := a.auditChannel(ctx, store, channel, keys)
		if err != nil {
			v.add("channel "+channel, err)
			continue
		}
		v.Channels = append(v.Channels, *audit)
	}
	return nil
}

// auditChannel replays a channel into a store that is thrown away. keys open its private values; nil if they are not here.
func (a *app) auditChannel(ctx context.Context, store ledger.Store, channel string, keys collection.Keys) (*channelAudit, error) {
	scratch, remove, err := openScratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	show, end := a.counter("replaying " + channel)
	defer end()
	audit := &ledger.Audit{Store: store, Channel: channel, Scratch: scratch, Keys: keys, Progress: show}
	r, err := audit.Run(ctx)
	if err != nil {
		return nil, err
	}
	return &channelAudit{r.Channel, r.Blocks, r.Transactions, r.Invalid, r.Keys, fmt.Sprintf("%x", r.Hash), r.Private}, nil
}

// openScratch makes a store that does not last.
func openScratch() (scratch ledger.Store, remove func(), err error) {
	dir, err := os.MkdirTemp("", "peerless-verify-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a place for the replay: %w", err)
	}
	store, err := pebble.Open(dir, pebble.Config{FS: scratchFS{vfs.Default}})
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, fmt.Errorf("make a place for the replay: %w", err)
	}
	return store, func() {
		store.Close()
		os.RemoveAll(dir)
	}, nil
}

// identities are the documents of the control plane, and the key that seals what is secret in them.
type identities struct {
	documents *docstore.Dir // nil if they cannot be opened
	key       *secret.Key   // nil if it is not here
	err       error         // why something is nil
	where     string        // which
}

func (a *app) openIdentities(data, sealKey string) *identities {
	dir := filepath.Join(data, node.DocumentsDir)
	if _, err := os.Stat(filepath.Join(data, endorserFile)); err == nil {
		return nil // an endorser's directory holds no identities
	}
	if _, err := os.Stat(filepath.Join(dir, organization.KindOrganization)); errors.Is(err, fs.ErrNotExist) {
		return &identities{where: "identities", err: fmt.Errorf("%s is not there: start the platform on this directory once, or restore it", dir)}
	}
	documents, err := docstore.OpenDir(dir)
	if err != nil {
		return &identities{where: "documents", err: err}
	}
	key, err := a.sealKey(data, sealKey)
	return &identities{documents, key, err, "identities"}
}

// dataKeys returns the keys of private values, nil if they cannot be opened.
func (i *identities) dataKeys(ctx context.Context) collection.Keys {
	if i == nil {
		return nil
	}
	if i.err != nil {
		return nil
	}
	return organization.DataKeys(ctx, i.documents, i.key)
}

// verify checks the documents, and what is in those of identities.
func (i *identities) verify(ctx context.Context, v *verification) {
	if i == nil {
		return
	}
	if i.documents != nil {
		if err := i.documents.Verify(); err != nil {
			v.add("documents", err)
		} else {
			v.add("keys", verifyKeys(ctx, i.documents))
		}
	}
	if i.err != nil {
		v.add(i.where, i.err)
		return
	}
	v.add("identities", organization.Verify(ctx, i.documents, i.key))
}

// verifyKeys reads all keys and tenants.
func verifyKeys(ctx context.Context, documents docstore.Store) error {
	keys, err := api.NewKeys(documents, api.KeysConfig{})
	if err != nil {
		return err
	}
	_, keysErr := keys.List(ctx, "")
	_, tenantsErr := keys.Tenants(ctx)
	return errors.Join(keysErr, tenantsErr)
}

// verifyPackages compares every package with its hash.
func verifyPackages(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	manager, err := deploy.Open(dir, deploy.Config{})
	if err != nil {
		return err
	}
	defer manager.Close()
	return manager.Verify(ctx)
}

// printPrivate says what is here of a channel's private data, and where the rest is.
func printPrivate(out io.Writer, p *ledger.PrivateReport) {
	if p == nil {
		return
	}
	fmt.Fprintf(out, "  private data: %d keys, %d values opened and as their hashes say, %d values not here; gone: %d deleted, %d purged, %d expired\n",
		p.Hashes, p.Opened, p.Absent, p.Deleted, p.Purged, p.Expired)
	if p.Sealed > 0 {
		fmt.Fprintf(out, "  private data: %d values could not be opened, and were not compared with their hashes: the key that seals them is not here\n", p.Sealed)
	}
}

func (a *app) printVerification(data string, v *verification) error {
	if a.json {
		if err := a.printJSON(v); err != nil {
			return err
		}
	} else {
		for _, c := range v.Channels {
			fmt.Fprintf(a.out, "channel %s holds: %d blocks, %d transactions (%d invalid), %d keys, last hash %s\n",
				c.Channel, c.Blocks, c.Transactions, c.Invalid, c.Keys, shorten(c.Hash, 17))
			printPrivate(a.out, c.Private)
		}
		for _, p := range v.Problems {
			fmt.Fprintf(a.out, "DAMAGED %s: %s\n", p.Where, p.Error)
		}
	}
	if !v.OK {
		return fmt.Errorf("%w: %d problems in %s: restore it from a backup", errVerify, len(v.Problems), data)
	}
	return nil
}
