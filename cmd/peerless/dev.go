package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"peerless/shared/api"
	"peerless/shared/deploy"
)

type devConfig struct {
	http, grpc, data, ready string
	stateDatabase           string
	apply                   string
	sqs                     sqsConfig
	sealKey                 string
	dirs                    []string
}

func newDevCommand(a *app) *cobra.Command {
	var config devConfig
	cmd := &cobra.Command{
		Use:   "dev [DIR…]",
		Short: "Run contracts on this machine, and run them again when they change",
		Long: `Dev is the whole platform in one process, for development. It builds the contracts in the directories given, deploys
them to the channel main, and prints a line for each that calls it. When a contract's source changes it is built and
deployed again; while it does not compile, the old version goes on.

Without DIR it takes every contract in contracts/, if there is such a folder, else the current directory. No key is
needed: requests say who calls in X-Peerless-User, and it answers this machine only. What is committed stays in --data.`,
		Example: `  peerless dev
  peerless dev ./mycontract --http 127.0.0.1:9000 --data /tmp/mydata`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := config.sqs.check(cmd); err != nil {
				return err
			}
			config.dirs = args
			return a.dev(cmd.Context(), config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.http, "http", defaultHTTP, "the address to answer at; port 0 is any free one")
	f.StringVar(&config.grpc, "grpc", defaultGRPC, "the address for clients of the Fabric Gateway; port 0 is any free one")
	f.StringVar(&config.data, "data", defaultData, "the directory that keeps the ledger")
	stateDatabaseFlag(f, &config.stateDatabase)
	f.StringVar(&config.apply, "apply", "", "a file of organisations, channels and chaincodes to make at start, instead of the contracts in contracts/: see peerless apply")
	config.sqs.addTo(cmd)
	addSealKey(cmd, &config.sealKey)
	f.StringVar(&config.ready, "ready-file", "", "write the server's URL to this file when it is ready: for scripts")
	return cmd
}

// development is a running peerless dev.
type development struct {
	*app
	*platform
	url string

	mu sync.Mutex // held while something is written: contracts change independently
}

func (a *app) dev(ctx context.Context, config devConfig) (err error) {
	m, err := loadManifest(config.apply)
	if err != nil {
		return err
	}
	var contracts []*contract
	if m == nil || len(config.dirs) > 0 {
		if contracts, err = findContracts(config.dirs); err != nil {
			return err
		}
	}
	l, err := listen(config.http, "", "")
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := a.listenDev(config.grpc)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := a.openSealed(opening{data: config.data, stateDatabase: config.stateDatabase}, config.sealKey, slog.LevelInfo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	p.privateWebhooks = true
	if err := config.sqs.consume(ctx, p); err != nil {
		return err
	}
	if err := p.EnsureChannel(ctx, defaultChannel); err != nil {
		return fmt.Errorf("open the channel %s: %w", defaultChannel, err)
	}
	if err := a.apply(ctx, p.Node, m); err != nil {
		return err
	}
	handler, err := p.Handler(p.DevAuth(), 0)
	if err != nil {
		return err
	}
	d := &development{app: a, platform: p, url: l.url}
	d.greet(l.Addr(), config.data)
	for _, g := range f.addresses() {
		if !a.json {
			fmt.Fprintf(a.out, "Clients of the Fabric Gateway connect to %s\n", g.Address)
		}
	}

	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		defer stop()
		served <- p.serve(ctx, l, handler, api.GuardLocal(handler), f)
	}()
	var watching sync.WaitGroup
	for _, c := range contracts { // before the first build: no change is missed
		if c.watcher, err = deploy.NewWatcher(c.root); err != nil {
			d.reportUnwatched(c, err)
			continue
		}
		watching.Go(func() { d.watch(ctx, c) })
	}
	for _, c := range contracts {
		d.deploy(ctx, c)
	}
	if err = announce(config.ready, l.url); err != nil {
		stop()
	}
	watching.Wait()
	<-ctx.Done()
	return errors.Join(err, <-served)
}

// listenDev binds the address for Fabric's clients. That the default is taken, by a second peerless dev for instance, is told
// and no more.
func (a *app) listenDev(address string) (*fabric, error) {
	f, err := listenFabric([]string{address}, "", "", "")
	if err == nil || address != defaultGRPC {
		return f, err
	}
	fmt.Fprintf(a.err, "clients of the Fabric Gateway cannot connect: %v: choose another address with --grpc\n", err)
	return &fabric{}, nil
}

// A contract is one that peerless dev runs.
type contract struct {
	*deploy.Contract
	root    string          // the directory given
	watcher *deploy.Watcher // of its source; nil if it cannot be watched

	updating sync.Mutex // held while it is built and deployed
	running  string     // hash of the source that runs, empty after a failure
}

// findContracts finds the contracts in the directories given, or where they are by default.
func findContracts(dirs []string) ([]*contract, error) {
	if len(dirs) == 0 {
		var err error
		if dirs, err = defaultContracts(); err != nil {
			return nil, err
		}
	}
	var contracts []*contract
	names := make(map[string]string)
	for _, dir := range dirs {
		c, err := deploy.Detect(dir)
		if err != nil {
			return nil, fmt.Errorf("%w: name the directory of a contract, or make one with peerless init", err)
		}
		if other, twice := names[c.Name]; twice {
			return nil, fmt.Errorf("%s and %s would both be called %q: rename one of the directories", other, dir, c.Name)
		}
		names[c.Name] = dir
		contracts = append(contracts, &contract{Contract: c, root: dir})
	}
	return contracts, nil
}

// defaultContracts are the directories in the folder contracts that hold one, or else the current directory.
func defaultContracts() ([]string, error) {
	entries, err := os.ReadDir("contracts")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for contracts: %w", err)
	}
	var dirs []string
	for _, entry := range entries {
		dir := filepath.Join("contracts", entry.Name())
		if _, err := deploy.Detect(dir); err == nil {
			dirs = append(dirs, dir)
		} else if !errors.Is(err, deploy.ErrNoContract) {
			return nil, err
		}
	}
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	return dirs, nil
}

func (d *development) greet(address net.Addr, data string) {
	if d.json {
		d.printJSON(devEvent{Event: "listening", URL: d.url})
		return
	}
	fmt.Fprintf(d.out, "Peerless answers at %s (try %s/docs), and keeps its ledger in %s\n", d.url, d.url, data)
	if tcp, ok := address.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		d.note("warning: %s is not of this machine alone, and no key is needed: for others to use it, run peerless serve", address)
	}
}

// A devEvent is a line of peerless dev --json.
type devEvent struct {
	Event     string `json:"event"` // listening, deployed, failed
	URL       string `json:"url,omitempty"`
	Chaincode string `json:"chaincode,omitempty"`
	Version   string `json:"version,omitempty"`
	Sequence  int64  `json:"sequence,omitempty"`
	Curl      string `json:"curl,omitempty"`
	Error     string `json:"error,omitempty"`
	Output    string `json:"output,omitempty"` // the compiler's
}

// watch deploys a contract again whenever its source changes, until ctx ends.
func (d *development) watch(ctx context.Context, c *contract) {
	if err := c.watcher.Run(ctx, func() { d.deploy(ctx, c) }); err != nil {
		d.reportUnwatched(c, err)
	}
}

// follow watches what the contract imports, as its source is now.
func (d *development) follow(ctx context.Context, c *contract) {
	if c.watcher == nil {
		return
	}
	sources, err := c.Sources(ctx, deploy.BuildConfig{})
	if err != nil {
		return // the build says why
	}
	if err := c.watcher.Follow(sources); err != nil {
		d.reportUnwatched(c, err)
	}
}

func (d *development) reportUnwatched(c *contract, err error) {
	d.report(c, fmt.Errorf("changes of %s are not noticed any more: %w", c.root, err))
}
