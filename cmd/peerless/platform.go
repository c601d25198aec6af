package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"

	"peerless/shared/api"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/node"
	"peerless/shared/queue"
	"peerless/shared/secret"
	"peerless/shared/store/pebble"
)

// What lies where in a data directory. The node keeps identities and packages beside these.
const (
	storeDir    = "ledger"
	oldKeysFile = "keys.json" // before keys were documents
)

const (
	defaultData         = ".peerless"
	defaultOrganization = node.DefaultOrganization
	defaultHTTP         = "127.0.0.1:8080"
	defaultGRPC         = "127.0.0.1:7051"
	// idleContract is how long a contract's program runs without being called: then it is ended, and started by the next call.
	idleContract = 10 * time.Minute
	// drainTime is how long requests may take to end when the server stops: a contract's time and a little.
	drainTime = 30 * time.Second
)

// A platform is a data directory, open and ready to be served.
type platform struct {
	*node.Node
	store *pebble.Store
	queue *queue.Queue
	jobs  []func(context.Context) error // run while it is served, until their context ends

	privateWebhooks bool // webhooks may lead to this machine and to private networks
}

// collectAt is how much the heap grows between collections, in percent, unless GOGC says otherwise. A transaction leaves some
// 60 KB of garbage and the heap that lives is small: collecting at Go's 100 costs a tenth of all CPU.
const collectAt = 300

// opening says which data directory is opened, and how.
type opening struct {
	data          string
	stateDatabase string        // that contracts are to find (gateway.Config.StateDatabase)
	sealer        secret.Sealer // of private keys; nil: the key in the directory itself
}

func openPlatform(o opening, logger *slog.Logger) (*platform, error) {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(collectAt)
	}
	store, err := openStore(o.data, pebble.Config{Logger: logger})
	if err != nil {
		return nil, err
	}
	n, err := node.Open(node.Config{Store: store, Data: o.data, Sealer: o.sealer, Logger: logger, DeployConfig: deploy.Config{IdleTimeout: idleContract},
		GatewayConfig: gateway.Config{StateDatabase: o.stateDatabase}})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.data, err), store.Close())
	}
	p := &platform{Node: n, store: store}
	if p.queue, err = queue.Open(context.Background(), queue.Config{Store: queue.Sealed(store.Records(), n.Sealer), Handler: n.QueueHandler(), Logger: logger}); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.data, err), p.Close())
	}
	return p, nil
}

// openStore opens the ledger of a data directory, and makes it if it is not there.
func openStore(data string, config pebble.Config) (*pebble.Store, error) {
	if err := checkData(data); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w: choose another with --data", err)
	}
	return pebble.Open(filepath.Join(data, storeDir), config)
}

// checkData refuses a directory that holds something else, before anything is written to it.
func checkData(data string) error {
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the data directory: %w: choose another with --data", err)
	}
	if len(entries) == 1 && entries[0].Name() == node.SealKeyFile {
		return nil // opening it was interrupted, or the key was put there first
	}
	if _, err := os.Stat(filepath.Join(data, storeDir)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a data directory of Peerless, and not empty: choose another with --data", data)
	}
	return nil
}

// Close ends the contracts and then the store.
func (p *platform) Close() error {
	return errors.Join(p.Node.Close(), p.store.Close())
}

// listener is where a server answers.
type listener struct {
	net.Listener
	url string
}

// listen binds the address. With a certificate it speaks TLS.
func listen(address, certFile, keyFile string) (*listener, error) {
	var config *tls.Config
	if certFile != "" || keyFile != "" {
		var err error
		if config, err = serverTLS(certFile, keyFile); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &listenError{address, "--http", err}
	}
	bound := &listener{Listener: l, url: "http://" + reachable(l.Addr())}
	if config != nil {
		bound.Listener, bound.url = tls.NewListener(l, config), "https://"+reachable(l.Addr())
	}
	return bound, nil
}

// serverTLS is how a server with a certificate and its key, PEM files, speaks TLS.
func serverTLS(certFile, keyFile string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load the TLS certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// reachable is an address at which this machine reaches a listener, also one that is bound to all addresses.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return address.String()
	}
	return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
}

// A listenError is an address that cannot be bound.
type listenError struct {
	address string
	flag    string // that gave it
	err     error
}

func (e *listenError) Error() string { return fmt.Sprintf("listen on %s: %v", e.address, e.err) }
func (e *listenError) Unwrap() error { return e.err }

// serve serves HTTP, Fabric's clients where there are listeners for them, and the queue, and runs the jobs, until ctx ends or one of them fails.
func (p *platform) serve(ctx context.Context, l *listener, handler *api.Handler, root http.Handler, f *fabric) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	handler.Queue = p.queue
	webhooks, sender, changed := p.Webhooks(p.privateWebhooks)
	handler.Webhooks = webhooks
	p.jobs = append(p.jobs, func(ctx context.Context) error { return sender.Run(ctx, changed) })
	p.queue.Start()
	defer p.stopQueue()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		if len(f.gateways) == 0 {
			<-ctx.Done()
		}
		ended <- p.serveFabric(ctx, f)
	}()
	failed := make(chan error, len(p.jobs))
	for _, job := range p.jobs {
		go func() {
			err := job(ctx)
			if err != nil {
				stop()
			}
			failed <- err
		}()
	}
	errs := []error{serveHTTP(ctx, l, handler, root)}
	stop()
	errs = append(errs, <-ended)
	for range p.jobs {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// stopQueue lets the messages that have been begun end. The others are run after the next start.
func (p *platform) stopQueue() {
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	p.queue.Stop(drain)
}

// serveHTTP serves until ctx ends, and then lets the requests that have begun end.
func serveHTTP(ctx context.Context, l net.Listener, handler *api.Handler, root http.Handler) error {
	server := api.NewServer(handler, root)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
		return fmt.Errorf("stop serving HTTP: some requests did not end within %v: %w", drainTime, err)
	}
	return nil
}

// announce writes the server's URL to a file, if one is asked for, once it answers: for scripts that wait for it. The file
// appears whole.
func announce(path, url string) error {
	if path == "" {
		return nil
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(url+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	return nil
}

// stateDatabaseFlag adds the flag that says what contracts find.
func stateDatabaseFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "state-database", gateway.CouchDB, "what contracts are to find: "+gateway.CouchDB+" answers rich queries, "+gateway.LevelDB+" refuses them as Fabric does")
}
