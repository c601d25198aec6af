package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/deploy"
	"peerless/shared/endorser"
	"peerless/shared/grpcapi"
	"peerless/shared/msp"
	"peerless/shared/msp/mspdir"
	"peerless/shared/store/pebble"
)

type endorserConfig struct {
	organization   string
	msp, cert, key string
	platformConfig
	listen, data, ready  string
	tlsCert, tlsKey      string
	clientCA             string
	channels, chaincodes []string
	stateDatabase        string
	verbose              bool
}

// What lies in an endorser's data directory beside its store: packages, and a file that says whose it is.
const (
	packagesDir  = "chaincodes"
	endorserFile = "endorser"
)

func newEndorserCommand(a *app) *cobra.Command {
	var config endorserConfig
	cmd := &cobra.Command{
		Use:   "endorser",
		Short: "Endorse for one organisation, away from the platform",
		Long: `Endorser signs one organisation's endorsements with a key that the platform does not have. It follows the channels from the
platform's gRPC listener (peerless serve --grpc), judges every block itself, and keeps the chain in its own data directory;
a chain that does not hold ends it. On that state it runs the organisation's own packages of the contracts.

The platform is told where it is by the file of peerless apply:

  organizations:
    - mspId: Org2MSP
      msp: crypto/org2/msp
      endorser: {address: org2.example.com:9051, cert: peer.pem, tls: {rootCert: ca.pem}}

It has no private data: a contract that reads values of a collection fails here, as on a Fabric peer without them.`,
		Example: `  peerless endorser --organization Org2MSP --msp crypto/org2/peer/msp --from 127.0.0.1:7051 --channel trade --chaincode asset=contracts/asset --data /var/lib/org2`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.check(); err != nil {
				return &usageError{cmd.CommandPath(), err.Error()}
			}
			return a.endorser(cmd.Context(), config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.organization, "organization", "", "the MSP id of the organisation")
	f.StringVar(&config.msp, "msp", "", "an MSP directory with the endorser's certificate and key in signcerts and keystore")
	f.StringVar(&config.cert, "cert", "", "a PEM file with the endorser's certificate, in place of --msp")
	f.StringVar(&config.key, "key", "", "a PEM file with its key")
	config.platformConfig.addTo(f, "from which the blocks come")
	f.StringArrayVar(&config.channels, "channel", nil, "a channel to endorse on. May be repeated")
	f.StringArrayVar(&config.chaincodes, "chaincode", nil, "NAME=SOURCE: what a chaincode runs, a directory or a package; CHANNEL/NAME=SOURCE on one channel. "+
		"What was installed before is kept. May be repeated")
	f.StringVar(&config.listen, "listen", "127.0.0.1:9051", "the address to answer the platform at; port 0 is any free one")
	f.StringVar(&config.tlsCert, "tls-cert", "", "a PEM file with the server's certificate, to answer over TLS")
	f.StringVar(&config.tlsKey, "tls-key", "", "a PEM file with its key")
	f.StringVar(&config.clientCA, "tls-client-ca", "", "a PEM file with authorities: who asks must show a certificate of theirs")
	f.StringVar(&config.data, "data", defaultData, "the directory that keeps the chain and the packages: not the platform's")
	f.StringVar(&config.ready, "ready-file", "", "write the address to this file when it is ready: for scripts")
	stateDatabaseFlag(f, &config.stateDatabase)
	f.BoolVarP(&config.verbose, "verbose", "v", false, "log more")
	return cmd
}

func (c *endorserConfig) check() error {
	switch {
	case c.organization == "":
		return errors.New("name the organisation with --organization")
	case (c.msp == "") == (c.cert == "" && c.key == ""):
		return errors.New("give the endorser's identity with --msp, or with --cert and --key")
	case (c.cert == "") != (c.key == ""):
		return errors.New("--cert and --key go together")
	case len(c.channels) == 0:
		return errors.New("name a channel with --channel")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case c.clientCA != "" && c.tlsCert == "":
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	}
	return c.platformConfig.check()
}

// endorser runs until ctx ends, or a chain does not hold.
func (a *app) endorser(ctx context.Context, config endorserConfig) (err error) {
	signer, err := config.signer()
	if err != nil {
		return err
	}
	from, err := config.connection()
	if err != nil {
		return err
	}
	packages, err := a.endorserPackages(ctx, config)
	if err != nil {
		return err
	}
	security, err := config.tls()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", config.listen)
	if err != nil {
		return &listenError{config.listen, "--listen", err}
	}
	defer l.Close()
	level := slog.LevelWarn
	if config.verbose {
		level = slog.LevelDebug
	}
	logger := a.logger(level)
	if err := config.checkData(); err != nil {
		return err
	}
	store, err := openStore(config.data, pebble.Config{Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := os.WriteFile(filepath.Join(config.data, endorserFile), []byte(config.organization+"\n"), 0o600); err != nil {
		return fmt.Errorf("mark the data directory: %w", err)
	}
	e, err := endorser.Open(ctx, endorser.Config{
		Signer: signer, Channels: config.channels, From: from, Store: store, Packages: filepath.Join(config.data, packagesDir),
		Deploy: deploy.Config{IdleTimeout: idleContract}, StateDatabase: config.stateDatabase, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := bindPackages(ctx, e, packages); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	followed := make(chan error, 1)
	go func() {
		defer stop()
		followed <- e.Run(ctx)
	}()
	if err := e.Ready(ctx); err == nil {
		if err := a.serveEndorser(ctx, l, e, security, config); err != nil {
			stop()
			return errors.Join(err, <-followed)
		}
	}
	stop()
	return <-followed
}

// serveEndorser answers until ctx ends, and then lets what has begun end.
func (a *app) serveEndorser(ctx context.Context, l net.Listener, e *endorser.Endorser, security *tls.Config, config endorserConfig) error {
	server := grpcapi.NewEndorser(e.Gateway, grpcapi.Config{MSPID: config.organization, TLS: security, Logger: a.logger(slog.LevelWarn)})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	address := reachable(l.Addr())
	if a.json {
		if err := a.printJSON(struct {
			Event        string `json:"event"` // listening
			Address      string `json:"address"`
			Organization string `json:"organization"`
		}{"listening", address, config.organization}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out, "The endorser of %s answers at %s, and keeps its chain in %s\n", config.organization, address, config.data)
	}
	if err := announce(config.ready, address); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return fmt.Errorf("serve gRPC: %w", errors.Join(err, net.ErrClosed))
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	server.Shutdown(drain)
	return nil
}

func (c *endorserConfig) signer() (*msp.Signer, error) {
	var cert, key []byte
	var err error
	if c.msp != "" {
		if cert, key, err = mspdir.Signer(c.msp); err == nil && cert == nil {
			err = fmt.Errorf("%s has no certificate in signcerts", c.msp)
		}
	} else if cert, err = os.ReadFile(c.cert); err == nil {
		key, err = os.ReadFile(c.key)
	}
	if err != nil {
		return nil, fmt.Errorf("the endorser's identity: %w", err)
	}
	signer, err := msp.NewSigner(c.organization, cert, key)
	if err != nil {
		return nil, fmt.Errorf("the endorser's identity: %w", err)
	}
	return signer, nil
}

// checkData refuses the data directory of a platform, or of another organisation's endorser.
func (c *endorserConfig) checkData() error {
	owner, err := os.ReadFile(filepath.Join(c.data, endorserFile))
	switch is := strings.TrimSpace(string(owner)); {
	case err == nil && is != c.organization:
		return fmt.Errorf("%s is the data directory of an endorser of %s: choose another with --data", c.data, is)
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := os.Stat(filepath.Join(c.data, storeDir)); err == nil {
		return fmt.Errorf("%s is the data directory of a platform: choose another with --data", c.data)
	}
	return nil
}

// tls is how the endorser answers; nil: plain text.
func (c *endorserConfig) tls() (*tls.Config, error) {
	if c.tlsCert == "" {
		return nil, nil
	}
	config, err := serverTLS(c.tlsCert, c.tlsKey)
	if err != nil || c.clientCA == "" {
		return config, err
	}
	authorities, err := os.ReadFile(c.clientCA)
	if err != nil {
		return nil, fmt.Errorf("load the clients' authorities: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("load the clients' authorities: %s has no certificate in PEM", c.clientCA)
	}
	return config, nil
}

// An endorserPackage is what a chaincode is to run.
type endorserPackage struct {
	channels []string
	name     string
	pkg      []byte
}

// endorserPackages reads, or builds, what the chaincodes are to run.
func (a *app) endorserPackages(ctx context.Context, config endorserConfig) ([]endorserPackage, error) {
	var all []endorserPackage
	for _, given := range config.chaincodes {
		where, source, ok := strings.Cut(given, "=")
		if !ok {
			return nil, fmt.Errorf("--chaincode %s: want NAME=SOURCE, or CHANNEL/NAME=SOURCE", given)
		}
		p := endorserPackage{channels: config.channels, name: where}
		if channel, name, one := strings.Cut(where, "/"); one {
			if !slices.Contains(config.channels, channel) {
				return nil, fmt.Errorf("--chaincode %s: no --channel %s is given", given, channel)
			}
			p.channels, p.name = []string{channel}, name
		}
		var err error
		if p.pkg, err = a.readPackage(ctx, source, &deployConfig{name: p.name}); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func bindPackages(ctx context.Context, e *endorser.Endorser, packages []endorserPackage) error {
	for _, p := range packages {
		id, err := e.Chaincodes.Install(ctx, p.pkg)
		if err != nil {
			return fmt.Errorf("install chaincode %s: %w", p.name, err)
		}
		for _, channel := range p.channels {
			if e.Chaincodes.Targets(channel, p.name)[""].Package == id {
				continue
			}
			if err := e.Chaincodes.Bind(ctx, channel, p.name, id); err != nil {
				return err
			}
		}
	}
	return nil
}
