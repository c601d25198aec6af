package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"peerless/shared/ledger"
	"peerless/shared/store/mem"
	"peerless/shared/store/pebble"
)

type benchConfig struct {
	data                   string
	duration               time.Duration
	clients                int
	transactions           int // of memory and restart
	keys                   int // of scale
	channels               int // of idle
	cpuProfile, memProfile string
}

// A benchScenario measures one thing. It returns when its servers have ended.
type benchScenario struct {
	name, about string
	run         func(*bench, context.Context) error
}

var benchScenarios = []benchScenario{
	{"creates", "new assets, the contract in the server's process", (*bench).creates},
	{"child", "new assets, the contract in a process of its own", (*bench).child},
	{"gateway", "new assets and reads through the Fabric Gateway client, the contract in a process of its own", (*bench).gateway},
	{"latency", "new assets by one client that is alone", (*bench).latency},
	{"evaluate", "reads of a thousand assets", (*bench).evaluate},
	{"query", "sorted rich queries by an index over 100,000 documents, in pages of 10 and of 500", (*bench).query},
	{"hotkey", "updates of one asset by 16, 64 and 256 clients", (*bench).hotKey},
	{"memory", "the server's memory after --transactions", (*bench).memory},
	{"restart", "the time to the first answer with --transactions on disk", (*bench).restart},
	{"scale", "new assets among a thousand and among --keys", (*bench).scale},
	{"idle", "the server's memory for --channels that were used once", (*bench).idle},
}

func benchScenarioNames() []string {
	names := make([]string, len(benchScenarios))
	for i, s := range benchScenarios {
		names[i] = s.name
	}
	return names
}

func newBenchCommand(a *app) *cobra.Command {
	var config benchConfig
	var about strings.Builder
	for _, s := range benchScenarios {
		fmt.Fprintf(&about, "  %-9s %s\n", s.name, s.about)
	}
	cmd := &cobra.Command{
		Use:   "bench [SCENARIO…]",
		Short: "Measure this machine: the benchmarks that the README quotes",
		Long: `Bench measures what the platform does on this machine, with every scenario or those named:

` + about.String() + `
Each scenario starts a server of its own, on a loopback port and in a new directory on disk, and calls it over HTTP with
connections that are kept open, from the same cores; gateway calls it with the unmodified Fabric Gateway client for Go. A transaction counts when its answer says VALID: it is on the disk by
then. Assets have 150 bytes. Afterwards the server is stopped, its chain audited, and the transactions in it counted; only
the scenarios with very many transactions leave that out.`,
		Example: `  peerless bench
  peerless bench creates hotkey --duration 30s --json
  peerless bench creates --cpuprofile cpu.pprof`,
		ValidArgs: benchScenarioNames(),
		Args: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if !slices.Contains(benchScenarioNames(), name) {
					return &usageError{cmd.CommandPath(), fmt.Sprintf("there is no scenario %q: there are %s", name, strings.Join(benchScenarioNames(), ", "))}
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if config.duration <= 0 || min(config.clients, config.transactions, config.keys, config.channels) < 1 {
				return &usageError{cmd.CommandPath(), "every number must be 1 or more"}
			}
			return a.bench(cmd.Context(), config, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.data, "data", "", "the directory to work in, on the disk to measure (default: the user's cache directory)")
	f.DurationVar(&config.duration, "duration", 10*time.Second, "how long each load lasts")
	f.IntVar(&config.clients, "clients", 64, "how many clients call at once")
	f.IntVar(&config.transactions, "transactions", 200_000, "how many transactions memory and restart commit")
	f.IntVar(&config.keys, "keys", 1_000_000, "how many keys the larger ledger of scale has")
	f.IntVar(&config.channels, "channels", 1000, "how many channels idle makes")
	f.StringVar(&config.cpuProfile, "cpuprofile", "", "write a CPU profile of the server to this file (of a second server to FILE.2, and so on)")
	f.StringVar(&config.memProfile, "memprofile", "", "write a heap profile of the server to this file")
	cmd.AddCommand(newBenchServerCommand(a), newBenchCostCommand(a))
	return cmd
}

// bench runs scenarios and reports.
func (a *app) bench(ctx context.Context, config benchConfig, names []string) (err error) {
	parent := config.data
	if parent == "" {
		if parent, err = os.UserCacheDir(); err != nil {
			return fmt.Errorf("find a directory to work in: %w: name one with --data", err)
		}
	}
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return fmt.Errorf("make the directory to work in: %w", err)
	}
	if parent, err = filepath.Abs(parent); err != nil {
		return fmt.Errorf("find the directory to work in: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "peerless-bench-")
	if err != nil {
		return fmt.Errorf("make the directory to work in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{app: a, config: config, dir: dir, environment: describeEnvironment(ctx, dir)}
	if !b.environment.Disk {
		a.note("note: %s is on %s, which is no disk: what is measured there is not what a disk does", parent, b.environment.Filesystem)
	}
	for _, s := range benchScenarios {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		b.scenario = s.name
		if err := s.run(b, ctx); ctx.Err() != nil {
			return ctx.Err() // whatever else went wrong then
		} else if err != nil {
			return fmt.Errorf("bench %s: %w", s.name, err)
		}
	}
	return b.report()
}

// A bench is one run of the command.
type bench struct {
	*app
	config      benchConfig
	dir         string // holds the servers' data, removed at the end
	environment benchEnvironment
	scenario    string // the one that runs
	servers     int    // started
	program     string // the contract, built
	filled      string // the data of a killed server with config.transactions in its ledger, if there is one
	rows        []benchRow
}

// newData returns a directory for a server's data.
func (b *bench) newData() (string, error) {
	return os.MkdirTemp(b.dir, b.scenario+"-")
}

// add adds rows to the report, and takes the scenario's name down in them.
func (b *bench) add(rows ...benchRow) {
	for _, row := range rows {
		row.Scenario = b.scenario
		b.rows = append(b.rows, row)
	}
}

// closeAndAudit stops a server, audits its chain, and counts what is in it: exactly what the server acknowledged. It removes the
// data.
func (b *bench) closeAndAudit(ctx context.Context, s *benchServer) error {
	if err := s.stop(); err != nil {
		return err
	}
	store, err := openStore(s.data, pebble.Config{})
	if err != nil {
		return err
	}
	update, end := b.counter("audit")
	audit := ledger.Audit{Store: store, Channel: defaultChannel, Scratch: mem.New(mem.Config{}), Progress: update}
	report, err := audit.Run(ctx)
	end()
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	if want := s.Base + uint64(s.acknowledged); report.Transactions != want || report.Invalid > 0 {
		return fmt.Errorf("the chain holds %d transactions, %d of them invalid, and %d were acknowledged", report.Transactions, report.Invalid, want)
	}
	return os.RemoveAll(s.data)
}
