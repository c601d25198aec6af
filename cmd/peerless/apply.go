package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"peerless/shared/deploy"
	"peerless/shared/manifest"
	"peerless/shared/node"
	"peerless/shared/store/pebble"
)

type applyConfig struct{ file, data, sealKey string }

func newApplyCommand(a *app) *cobra.Command {
	var config applyConfig
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make organisations, channels and chaincodes what a file says",
		Long: `Apply reads a YAML file and makes what it says: organisations, of existing Fabric MSP directories or made here; channels
of them; chaincodes, from a source directory, a package, or a service that runs at an address. Running it again changes
nothing. Another source, policy or collections file makes a new definition of the chaincode. Paths are relative to FILE.

  organizations:
    - mspId: Org1MSP
      msp: crypto/org1/msp                  # left out: Peerless makes an authority
      endorser: {cert: e.pem, key: e.key}   # left out: an identity the platform keeps
    - mspId: Org2MSP
      msp: crypto/org2/msp                  # endorses away from the platform: see peerless endorser
      endorser: {address: host:9051, cert: e.pem, tls: {rootCert: ca.pem, clientCert: c.pem, clientKey: c.key}}
  channels:
    - name: trade
      organizations: [Org1MSP, Org2MSP]
      chaincodes:
        - name: asset
          source: contracts/asset           # or a .tar.gz, or {address: host:port, tls: {rootCert: ca.pem}}
          sources: {Org2MSP: contracts/other} # what an organisation runs instead
          policy: AND('Org1MSP.peer','Org2MSP.peer')
          collections: collections.json

It works on the server that --url, PEERLESS_URL or the configuration file names, with the operator's key: source is built here, and
private keys go over https only, or to a server on this machine. With --data, or if no server is named, it works on a data directory
that no server runs on; peerless serve --apply FILE and peerless dev --apply FILE do the same at start.`,
		Example: `  peerless apply -f network.yaml --url https://peerless.example:8443
  peerless apply -f network.yaml --data /var/lib/peerless
  peerless serve --data /var/lib/peerless --apply network.yaml`,
		Args: arguments(0, 0, "no arguments"),
	}
	r := newRemote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if config.file == "" {
			return &usageError{cmd.CommandPath(), "name the file with -f"}
		}
		named, err := r.named(a.getenv)
		if err != nil {
			return err
		}
		data, seal := cmd.Flags().Changed("data"), cmd.Flags().Changed("seal-key")
		switch {
		case (data || seal) && (r.URL != "" || r.Stack != ""):
			return &usageError{cmd.CommandPath(), "--url is a server, --data and --seal-key are a directory that none runs on: one of them"}
		case named && !data && !seal:
			return a.applyRemote(cmd.Context(), r, config.file)
		}
		return a.applyTo(cmd.Context(), config)
	}
	f := cmd.Flags()
	f.StringVarP(&config.file, "file", "f", "", "the YAML file")
	f.StringVar(&config.data, "data", defaultData, "the data directory, if no server is named")
	addSealKey(cmd, &config.sealKey)
	return cmd
}

// applyTo applies a file to a data directory.
func (a *app) applyTo(ctx context.Context, config applyConfig) (err error) {
	m, err := manifest.Load(config.file)
	if err != nil {
		return err
	}
	p, err := a.openSealed(opening{data: config.data}, config.sealKey, slog.LevelWarn)
	if errors.Is(err, pebble.ErrInUse) {
		return fmt.Errorf("%v: apply to the server that runs on it, with --url", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return a.apply(ctx, p.Node, m)
}

// applyRemote applies a file to a server.
func (a *app) applyRemote(ctx context.Context, r *remote, file string) error {
	m, err := manifest.Load(file)
	if err != nil {
		return err
	}
	if err := r.open(a); err != nil {
		return err
	}
	if r.stack != nil {
		return errors.New("apply: a platform on AWS makes its organisations itself: use peerless channels create and peerless deploy")
	}
	if err := m.Apply(ctx, remoteTarget{a, r.Client}, deploy.BuildConfig{}, a.tellChange); err != nil {
		return &applyError{err}
	}
	return nil
}

// An applyError says what could not be made as the file says, and why.
type applyError struct{ error }

func (e *applyError) Error() string { return "apply: " + e.error.Error() }
func (e *applyError) Unwrap() error { return e.error }

// apply applies a manifest to a node, and says what it did. A nil manifest says nothing.
func (a *app) apply(ctx context.Context, n *node.Node, m *manifest.Manifest) error {
	if m == nil {
		return nil
	}
	if err := n.Apply(ctx, m, a.tellChange); err != nil {
		return &applyError{err}
	}
	return nil
}

// loadManifest reads the file of --apply, nil if there is none.
func loadManifest(file string) (*manifest.Manifest, error) {
	if file == "" {
		return nil, nil
	}
	return manifest.Load(file)
}

// change is manifest.Change as --json shows it.
type change struct {
	Event   string `json:"event"` // created, updated, unchanged
	Kind    string `json:"kind"`  // organization, channel, chaincode
	Name    string `json:"name"`
	Channel string `json:"channel,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

func (a *app) tellChange(c manifest.Change) {
	if a.json {
		a.printJSON(change{c.Action, c.Kind, c.Name, c.Channel, c.Detail})
		return
	}
	line := fmt.Sprintf("%s %s", c.Kind, c.Name)
	if c.Channel != "" {
		line += " on " + c.Channel
	}
	line += " " + c.Action
	if c.Detail != "" {
		line += ": " + c.Detail
	}
	fmt.Fprintln(a.out, line)
}
