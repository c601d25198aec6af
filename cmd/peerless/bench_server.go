package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"peerless/contracts/assettransfer/chaincode"
	"peerless/shared/api"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
)

// The server that is measured runs in a process of its own, so that its memory and its collector are its own, and is told by
// lines on its standard input what to do beside serving: each is answered by a line of JSON on its standard output. It
// stops when its input ends.
const (
	orderMemory  = "memory"  // say how much memory there is, before and after a collection
	orderChannel = "channel" // make the channel of the name that follows, with the contract
)

// benchReady is a server's first line, but for those that say how far it is.
type benchReady struct {
	Loaded  int    `json:"loaded,omitempty"` // assets so far; it is not ready yet
	Address string `json:"address"`
	Key     string `json:"key"`
	Base    uint64 `json:"base"` // transactions in the chain; of a new ledger

	Fabric                  string `json:"fabric"`     // address of the Fabric Gateway
	Certificate, PrivateKey string `json:",omitempty"` // of a user, in PEM
}

// benchMemory is the answer to orderMemory, in bytes.
type benchMemory struct {
	Resident  uint64 `json:"resident"`
	Peak      uint64 `json:"peak"`      // of Resident, since the process started
	Collected uint64 `json:"collected"` // Resident after a collection, with what is free given back
	Live      uint64 `json:"live"`      // in Go's heap after it
}

type benchAnswer struct {
	Error string `json:"error,omitempty"`
	benchMemory
}

// benchServerConfig is what a server is started with.
type benchServerConfig struct {
	data                   string
	program                string // the contract's; empty: the contract runs in the server's process
	preload                int    // assets that a new ledger has from the start
	query                  bool   // the assets are indexed, and what loads them stays, to query them
	cpuProfile, memProfile string
}

func newBenchServerCommand(a *app) *cobra.Command {
	var config benchServerConfig
	cmd := &cobra.Command{
		Use:     "server",
		Short:   "The server that bench measures",
		Example: "  peerless bench server --data DIR",
		Hidden:  true,
		Args:    arguments(0, 0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.benchServer(cmd.Context(), config) },
	}
	f := cmd.Flags()
	f.StringVar(&config.data, "data", "", "the directory of the data")
	f.StringVar(&config.program, "program", "", "run this program as the contract")
	f.IntVar(&config.preload, "preload", 0, "assets that a new ledger has")
	f.BoolVar(&config.query, "query", false, "index the assets, and answer rich queries")
	f.StringVar(&config.cpuProfile, "cpuprofile", "", "write a CPU profile")
	f.StringVar(&config.memProfile, "memprofile", "", "write a heap profile at the end")
	if err := cmd.MarkFlagRequired("data"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// benchServer serves until its standard input ends.
func (a *app) benchServer(ctx context.Context, config benchServerConfig) (err error) {
	l, err := listen("127.0.0.1:0", "", "")
	if err != nil {
		return err
	}
	defer l.Close()
	fabric, err := listenFabric([]string{"127.0.0.1:0"}, "", "", "")
	if err != nil {
		return err
	}
	defer fabric.Close()
	p, err := openPlatform(opening{data: config.data}, a.logger(slog.LevelWarn))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	server := &benchHost{platform: p, query: config.query, loaded: func(n int) error { return a.printJSON(benchReady{Loaded: n}) }}
	if config.program != "" {
		if server.pkg, err = packProgram(config.program); err != nil {
			return err
		}
	}
	if err := server.prepare(ctx, config.preload); err != nil {
		return err
	}
	keys, err := keysOn(ctx, p.Documents, config.data)
	if err != nil {
		return err
	}
	secret, _, err := keys.Create(ctx, api.Key{Name: "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36), Organization: defaultOrganization, Scopes: api.Scopes})
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	handler, err := p.Handler(&api.KeyAuth{Keys: keys, Organization: p.Organization, Signer: p.User}, 0)
	if err != nil {
		return err
	}
	user, err := p.User("", "bench", nil)
	if err != nil {
		return err
	}
	certificate, key, err := user.PEM()
	if err != nil {
		return err
	}
	endProfile, err := startProfile(config.cpuProfile)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		defer stop()
		served <- p.serve(ctx, l, handler, handler, fabric)
	}()
	ready := benchReady{
		Address: l.Addr().String(), Key: secret, Base: server.transactions,
		Fabric: fabric.addresses()[0].Address, Certificate: string(certificate), PrivateKey: string(key),
	}
	if err := a.printJSON(ready); err != nil {
		return err
	}
	server.obey(ctx, a)
	stop()
	return errors.Join(<-served, endProfile(), writeHeapProfile(config.memProfile))
}

// A benchHost is a platform with the benchmarks' contract.
type benchHost struct {
	*platform
	pkg          []byte          // nil: the contract runs in process
	query        bool            // the loader stays
	transactions uint64          // made so far, of the channel that is measured
	loaded       func(int) error // is told how many assets have been loaded
}

// prepare makes the channel that is measured, unless it is there, and deploys the contract on it.
func (h *benchHost) prepare(ctx context.Context, preload int) error {
	existing, err := h.Gateway.Channels(ctx)
	if err != nil {
		return err
	}
	if err := h.EnsureChannel(ctx, defaultChannel); err != nil {
		return err
	}
	h.transactions++
	if preload > 0 && len(existing) == 0 {
		if err := h.load(ctx, preload); err != nil {
			return fmt.Errorf("load %d assets: %w", preload, err)
		}
	}
	if h.query {
		return nil
	}
	h.transactions++
	return h.deployOn(ctx, defaultChannel)
}

func (h *benchHost) deployOn(ctx context.Context, channel string) error {
	definition := gateway.Definition{Name: benchChaincode, Version: "1.0"}
	if h.pkg != nil {
		_, err := h.Deploy(ctx, channel, h.pkg, definition)
		return err
	}
	contract, err := chaincode.New()
	if err != nil {
		return err
	}
	_, err = h.DeployInProcess(ctx, channel, contract, definition)
	return err
}

// load writes assets as fast as it can.
func (h *benchHost) load(ctx context.Context, count int) error {
	definition := gateway.Definition{Name: benchChaincode, Version: "0"}
	if h.query {
		definition.Indexes = []string{assetIndex}
	}
	if _, err := h.DeployInProcess(ctx, defaultChannel, assetLoader{}, definition); err != nil {
		return err
	}
	h.transactions++
	user, err := h.User("", "loader", nil)
	if err != nil {
		return err
	}
	for from := 0; from < count; from += loadBatch {
		to := min(from+loadBatch, count)
		request := gateway.Request{
			Channel: defaultChannel, Chaincode: benchChaincode, Function: "load", User: user,
			Args: [][]byte{strconv.AppendInt(nil, int64(from), 10), strconv.AppendInt(nil, int64(to), 10)},
		}
		if _, err := h.Gateway.SubmitTransaction(ctx, request); err != nil {
			return err
		}
		h.transactions++
		if err := h.loaded(to); err != nil {
			return err
		}
	}
	return nil
}

// packProgram makes a package of a program for this machine.
func packProgram(path string) ([]byte, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the contract's program: %w", err)
	}
	return deploy.PackBinary(benchChaincode, runtime.GOOS+"/"+runtime.GOARCH, program, "")
}

// obey follows orders until there are no more.
func (h *benchHost) obey(ctx context.Context, a *app) {
	orders := bufio.NewScanner(a.in)
	for ctx.Err() == nil && orders.Scan() {
		var answer benchAnswer
		order, argument, _ := strings.Cut(orders.Text(), " ")
		err := fmt.Errorf("there is no order %q", order)
		switch order {
		case orderMemory:
			answer.benchMemory, err = measureMemory()
		case orderChannel:
			if err = h.EnsureChannel(ctx, argument); err == nil {
				err = h.deployOn(ctx, argument)
			}
		}
		if err != nil {
			answer.Error = err.Error()
		}
		if a.printJSON(answer) != nil {
			return
		}
	}
}

func measureMemory() (benchMemory, error) {
	var m benchMemory
	var err error
	if m.Resident, m.Peak, err = processMemory(); err != nil {
		return m, err
	}
	debug.FreeOSMemory()
	if m.Collected, _, err = processMemory(); err != nil {
		return m, err
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m.Live = stats.HeapAlloc
	return m, nil
}

// startProfile writes a CPU profile to a file, if one is named, until end is called.
func startProfile(path string) (end func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write the CPU profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func writeHeapProfile(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the heap profile: %w", err)
	}
	runtime.GC() // the profile is as of the last collection
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}
