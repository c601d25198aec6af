package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"peerless/shared/api"
)

type serveConfig struct {
	privateWebhooks     bool
	sqs                 sqsConfig
	http, data, ready   string
	grpc                []string
	apply               string
	cert, key, clientCA string
	stateDatabase       string
	sealKey             string
	jwt                 jwtConfig
	verbose             bool
}

func newServeCommand(a *app) *cobra.Command {
	var config serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server for real use: it needs keys",
		Long: `Serve runs the platform on one machine, for real use. Every request needs an API key: if there is none yet, it makes
one for its operator and prints it, once; peerless key makes more. Contracts are deployed with peerless deploy.

On SIGTERM or SIGINT it takes no new requests, lets those that have begun end, ends the contracts, and closes the
ledger. What it has acknowledged is on the disk in any case.`,
		Example: `  peerless serve --data /var/lib/peerless
  peerless serve --data /var/lib/peerless --grpc 127.0.0.1:7051
  peerless serve --data /var/lib/peerless --apply network.yaml
  peerless serve --data /var/lib/peerless --http :8443 --tls-cert server.pem --tls-key server.key`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (config.cert == "") != (config.key == "") {
				return &usageError{cmd.CommandPath(), "--tls-cert and --tls-key go together"}
			}
			if config.clientCA != "" && config.cert == "" {
				return &usageError{cmd.CommandPath(), "--tls-client-ca needs --tls-cert and --tls-key"}
			}
			if err := config.sqs.check(cmd); err != nil {
				return err
			}
			return a.serve(cmd.Context(), config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.data, "data", defaultData, "the directory that keeps the ledger, the identities and the keys")
	f.StringVar(&config.http, "http", defaultHTTP, "the address to answer at; port 0 is any free one")
	f.StringArrayVar(&config.grpc, "grpc", nil, "the address for clients of the Fabric Gateway, "+defaultGRPC+" for instance; none if left out. "+
		"MSPID=ADDRESS answers as that organisation's gateway. May be repeated")
	f.StringVar(&config.apply, "apply", "", "a file of organisations, channels and chaincodes to make at start: see peerless apply")
	f.StringVar(&config.cert, "tls-cert", "", "a PEM file with the server's certificate, to answer over HTTPS and TLS")
	f.StringVar(&config.key, "tls-key", "", "a PEM file with its key")
	f.StringVar(&config.clientCA, "tls-client-ca", "", "a PEM file with authorities: clients of the Fabric Gateway must show a certificate of theirs")
	config.sqs.addTo(cmd)
	f.BoolVar(&config.privateWebhooks, "private-webhooks", false, "let webhooks send to this machine and to private networks, and over http")
	addSealKey(cmd, &config.sealKey)
	config.jwt.addTo(cmd)
	f.StringVar(&config.ready, "ready-file", "", "write the server's URL to this file when it is ready: for scripts")
	stateDatabaseFlag(f, &config.stateDatabase)
	f.BoolVarP(&config.verbose, "verbose", "v", false, "log every request")
	return cmd
}

func (a *app) serve(ctx context.Context, config serveConfig) (err error) {
	m, err := loadManifest(config.apply)
	if err != nil {
		return err
	}
	l, err := listen(config.http, config.cert, config.key)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := listenFabric(config.grpc, config.cert, config.key, config.clientCA)
	if err != nil {
		return err
	}
	defer f.Close()
	level := slog.LevelInfo
	if config.verbose {
		level = slog.LevelDebug
	}
	p, err := a.openSealed(opening{data: config.data, stateDatabase: config.stateDatabase}, config.sealKey, level)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	p.privateWebhooks = config.privateWebhooks
	if err := config.sqs.consume(ctx, p); err != nil {
		return err
	}
	if err := p.EnsureChannel(ctx, defaultChannel); err != nil {
		return fmt.Errorf("open the channel %s: %w", defaultChannel, err)
	}
	if err := a.apply(ctx, p.Node, m); err != nil {
		return err
	}
	keys, err := keysOn(ctx, p.Documents, config.data)
	if err != nil {
		return err
	}
	secret, err := firstKey(ctx, keys)
	if err != nil {
		return err
	}
	tokens, err := config.jwt.tokens(p)
	if err != nil {
		return err
	}
	handler, err := p.Handler(&api.KeyAuth{Keys: keys, Organization: p.Organization, Signer: p.User, Tokens: tokens}, 0)
	if err != nil {
		return err
	}
	if err := a.greetOperator(l.url, config.data, secret, f); err != nil {
		return err
	}
	if err := announce(config.ready, l.url); err != nil {
		return err
	}
	return p.serve(ctx, l, handler, handler, f)
}

// firstKey makes the operator's key if there is no key at all. It returns "" if there is one.
func firstKey(ctx context.Context, keys *api.Keys) (secret string, err error) {
	list, err := keys.List(ctx, "")
	if err != nil || len(list) > 0 {
		return "", err
	}
	secret, _, err = keys.Create(ctx, api.Key{Name: "operator", Organization: defaultOrganization, Scopes: api.Scopes})
	if err != nil {
		return "", fmt.Errorf("make the first key: %w", err)
	}
	return secret, nil
}

func (a *app) greetOperator(url, data, secret string, f *fabric) error {
	if a.json {
		return a.printJSON(struct {
			Event    string           `json:"event"` // listening
			URL      string           `json:"url"`
			Key      string           `json:"key,omitempty"` // the operator's, when it has just been made
			Gateways []gatewayAddress `json:"gateways,omitempty"`
		}{"listening", url, secret, f.addresses()})
	}
	fmt.Fprintf(a.out, "Peerless answers at %s, and keeps its ledger in %s\n", url, data)
	for _, g := range f.addresses() {
		as := ""
		if g.Organization != "" {
			as = " of " + g.Organization
		}
		fmt.Fprintf(a.out, "Clients of the Fabric Gateway%s connect to %s\n", as, g.Address)
	}
	if secret != "" {
		fmt.Fprintf(a.out, "The operator's key, which is not shown again:\n  %s\n", secret)
	}
	return nil
}

// logger logs to standard error.
func (a *app) logger(level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if a.json {
		return slog.New(slog.NewJSONHandler(a.err, options))
	}
	return slog.New(slog.NewTextHandler(a.err, options))
}
