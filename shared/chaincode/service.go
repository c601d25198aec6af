package chaincode

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// DefaultDialTimeout is how long a connection to a service may take.
const DefaultDialTimeout = 10 * time.Second

// servicePing is the shortest ping interval that the shims' servers accept.
const servicePing = time.Minute

// ServiceConfig says what is particular about a chaincode that runs elsewhere. The zero value works.
type ServiceConfig struct {
	// Name is the name the service must register with, its package id in Fabric (CHAINCODE_ID). Empty: any.
	Name string
	// DialTimeout bounds an attempt to connect, until the service has registered. 0: DefaultDialTimeout.
	DialTimeout time.Duration
	// TLS, if not nil, is how to talk to the service.
	TLS *tls.Config
	// Logger takes what happens to the connection. Nil discards it.
	Logger *slog.Logger
}

// A Service is a Host over chaincode as a service: a program that somebody else runs and that serves Chaincode.Connect.
// The first Execute, or Start, connects. A connection that ends is made again after 100 ms, then twice as long each time up
// to 10 s; its transactions return ErrCrashed, those that come meanwhile wait.
type Service struct{ supervisor *supervisor }

var _ Host = (*Service)(nil)

// DialService returns the service at an address, host:port. It does not connect yet.
func DialService(address string, config ServiceConfig) (*Service, error) {
	if address == "" {
		return nil, errors.New("chaincode service: no address")
	}
	timeout := cmp.Or(config.DialTimeout, DefaultDialTimeout)
	session := SessionConfig{Logger: config.Logger}
	if config.Name != "" {
		session.Register = func(name string) error {
			if name != config.Name {
				return fmt.Errorf("want the name %s", config.Name)
			}
			return nil
		}
	}
	link := linkConfig{tls: config.TLS, session: session}
	connect := func(ctx context.Context) (*connection, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer from %s within %s", address, timeout))
		defer cancel()
		return connectService(ctx, address, link)
	}
	return &Service{newSupervisor(cmp.Or(config.Name, address), 0, config.Logger, connect)}, nil
}

// Execute runs an invocation, as Host says. ErrUnavailable if the service cannot be reached.
func (s *Service) Execute(ctx context.Context, inv *Invocation) (*Result, error) {
	return s.supervisor.execute(ctx, inv)
}

// Start connects, if there is no connection, and returns when the service has registered. ErrUnavailable if it did not.
func (s *Service) Start(ctx context.Context) error { return s.supervisor.start(ctx) }

// Status says whether there is a connection.
func (s *Service) Status() Status { return s.supervisor.status() }

// Close ends the connection; the service goes on. Executions under way return ErrCrashed, later ones ErrUnavailable.
func (s *Service) Close() error {
	s.supervisor.close()
	return nil
}

func connectService(ctx context.Context, address string, config linkConfig) (*connection, error) {
	link, err := dialChaincode(ctx, address, config)
	if err != nil {
		return nil, err
	}
	select {
	case <-link.session.Registered():
	case err := <-link.ended:
		link.hangUp()
		return nil, fmt.Errorf("the stream from %s ended: %w", address, err)
	case <-ctx.Done():
		link.hangUp()
		return nil, context.Cause(ctx)
	}
	return &connection{
		session: link.session,
		ended:   link.session.Done(),
		close: func() error {
			link.hangUp()
			return fmt.Errorf("the stream from %s ended: %w", address, <-link.ended)
		},
	}, nil
}

type linkConfig struct {
	tls     *tls.Config
	session SessionConfig
}

// A link is a stream that we opened to a chaincode.
type link struct {
	session *Session
	hangUp  func()
	ended   <-chan error // gets why the session ended
}

// dialChaincode opens a stream, trying again until ctx ends. The stream then goes on until it is hung up.
func dialChaincode(ctx context.Context, address string, config linkConfig) (*link, error) {
	creds := insecure.NewCredentials()
	if config.tls != nil {
		creds = credentials.NewTLS(config.tls)
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage), grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: servicePing, Timeout: pingTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	life, cancel := context.WithCancel(context.Background())
	hangUp := func() {
		cancel()
		_ = conn.Close()
	}
	keep := context.AfterFunc(ctx, cancel)
	stream, err := peer.NewChaincodeClient(conn).Connect(life)
	if err == nil && !keep() {
		err = context.Cause(ctx)
	}
	if err != nil {
		hangUp()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	session := NewSession(stream, config.session)
	ended := make(chan error, 1)
	go func() { ended <- session.Run(life) }()
	return &link{session: session, hangUp: hangUp, ended: ended}, nil
}
