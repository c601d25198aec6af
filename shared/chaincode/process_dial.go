package chaincode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// MaxMessage is the size of the largest message of a chaincode stream, in bytes: the shims' own limit (fabric-chaincode-go,
// shim/internal/client.go).
const MaxMessage = 100 << 20

// A program whose end of the connection does not answer pings, because it is stopped or swapped out, has ended. The shims
// ping once a minute themselves.
const (
	pingInterval    = 20 * time.Second
	pingTimeout     = 20 * time.Second
	minPingInterval = 10 * time.Second
)

// dial starts the program and lets it dial in. Each run listens for itself and stops listening when the program has
// registered: there is nothing left to dial, and no program can take another's connections.
func (r *run) dial(ctx context.Context) error {
	listener, address, err := r.listen()
	if err != nil {
		return fmt.Errorf("listen for it: %w", err)
	}
	defer listener.Close()
	if err := r.spawn([]string{r.config.AddressFlag, address}); err != nil {
		return err
	}

	desk := newDesk(SessionConfig{Register: r.register, Logger: r.config.Logger})
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingInterval, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	peer.RegisterChaincodeSupportServer(server, desk)
	r.hangUp = server.Stop
	go func() {
		_ = server.Serve(&doorkeeper{Listener: listener, pid: r.child.pid(), logger: r.config.Logger}) // ends with the listener
	}()

	refused := desk.refused
	if r.config.Transport == TCP {
		refused = nil // it can have been anybody
	}
	select {
	case arrival := <-desk.arrived:
		r.session, r.ended = arrival.session, arrival.ended
	case err := <-refused:
		return err
	case <-r.child.exited:
		return errExited
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return r.registered(ctx)
}

// listen opens what the program is to dial, and says what that is called.
func (r *run) listen() (net.Listener, string, error) {
	if r.config.Transport == TCP {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		return listener, listener.Addr().String(), nil
	}
	path := filepath.Join(r.private, "peer.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, "", err
	}
	return listener, "unix://" + path, nil
}

// A desk takes the registration of one program.
type desk struct {
	peer.UnimplementedChaincodeSupportServer
	config  SessionConfig
	taken   atomic.Bool
	arrived chan arrival // gets the one that registered
	refused chan error   // gets why the first one that did not was turned away
}

type arrival struct {
	session *Session
	ended   <-chan error // gets why the session ended
}

func newDesk(config SessionConfig) *desk {
	return &desk{config: config, arrived: make(chan arrival, 1), refused: make(chan error, 1)}
}

// Register is the call that a chaincode makes.
func (d *desk) Register(stream peer.ChaincodeSupport_RegisterServer) error {
	ended := make(chan error, 1)
	var session *Session
	config := d.config
	config.Register = func(name string) error {
		if err := d.config.Register(name); err != nil {
			return err
		}
		if !d.taken.CompareAndSwap(false, true) {
			return errors.New("it has a stream already")
		}
		d.arrived <- arrival{session, ended}
		return nil
	}
	session = NewSession(stream, config)
	err := session.Run(stream.Context())
	ended <- err
	if !d.taken.Load() {
		select {
		case d.refused <- err:
		default:
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return status.Error(codes.Aborted, err.Error())
}

// A doorkeeper lets only the program in.
type doorkeeper struct {
	net.Listener
	pid    int
	logger *slog.Logger
}

func (d *doorkeeper) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		err = verifyPeer(conn, d.pid)
		if err == nil {
			return conn, nil
		}
		d.logger.Warn("somebody else dialled in for a chaincode", "error", err)
		conn.Close()
	}
}
