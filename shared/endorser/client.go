package endorser

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"peerless/shared/gateway"
	"peerless/shared/organization"
)

// maxMessage bounds a message either way, in bytes: a block has up to 8 MiB of transactions, and one of any size.
const maxMessage = 64 << 20

// A Client asks endorsers over gRPC, as Fabric's gateway asks peers. It keeps a connection to each. The zero value works; it is safe
// for concurrent use.
type Client struct {
	mu          sync.Mutex
	connections map[string]*connection // by address
	closed      bool
}

type connection struct {
	organization.Connection
	*grpc.ClientConn
}

var _ gateway.Remote = (*Client)(nil)

// ProcessProposal implements gateway.Remote.
func (c *Client) ProcessProposal(ctx context.Context, endorser *organization.Endorser, signed *peer.SignedProposal, height uint64) (*peer.ProposalResponse, uint64, error) {
	to, err := c.connect(endorser.Connection)
	if err != nil {
		return nil, 0, status.Error(codes.Unavailable, err.Error())
	}
	ctx = metadata.AppendToOutgoingContext(ctx, gateway.HeightMetadata, strconv.FormatUint(height, 10))
	reconnect(ctx, to)
	var header metadata.MD
	response, err := peer.NewEndorserClient(to).ProcessProposal(ctx, signed, grpc.Header(&header))
	if err != nil {
		return nil, 0, err
	}
	ran := height // of an endorser that does not say: a peer of Fabric
	if values := header.Get(gateway.HeightMetadata); len(values) > 0 {
		if ran, err = strconv.ParseUint(values[0], 10, 64); err != nil {
			return nil, 0, status.Errorf(codes.Internal, "the endorser's height is %q", values[0])
		}
	}
	return response, ran, nil
}

// reconnectPatience is how long a call waits for a connection that was lost: one that is refused is known sooner.
const reconnectPatience = 250 * time.Millisecond

// reconnect has a lost connection made at once, for an endorser that is there again, instead of when its turn has come.
func reconnect(ctx context.Context, to *grpc.ClientConn) {
	if to.GetState() != connectivity.TransientFailure {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reconnectPatience)
	defer cancel()
	to.ResetConnectBackoff()
	to.WaitForStateChange(ctx, connectivity.TransientFailure)
}

// connect returns the connection to an endorser. One whose credentials changed is made anew.
func (c *Client) connect(to organization.Connection) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("the server is shutting down")
	}
	old := c.connections[to.Address]
	if old != nil && old.Equal(to) {
		return old.ClientConn, nil
	}
	made, err := Dial(to)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.Close()
	}
	if c.connections == nil {
		c.connections = make(map[string]*connection)
	}
	c.connections[to.Address] = &connection{to, made}
	return made, nil
}

// Close ends the connections.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, to := range c.connections {
		errs = append(errs, to.Close())
	}
	return errors.Join(errs...)
}

// Dial returns a connection to a gRPC server: plain text if no root certificate is given. It is made when it is first used, and again
// when it was lost, at most a second later.
func Dial(to organization.Connection) (*grpc.ClientConn, error) {
	config, err := tlsConfig(to)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to.Address, err)
	}
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	again := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}
	return grpc.NewClient(to.Address, grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: 3 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
}

// tlsConfig returns nil for plain text.
func tlsConfig(to organization.Connection) (*tls.Config, error) {
	if len(to.RootCert) == 0 {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(to.RootCert) {
		return nil, errors.New("the root certificate is no certificate in PEM")
	}
	if len(to.ClientCert) > 0 {
		pair, err := tls.X509KeyPair(to.ClientCert, to.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("the client certificate and its key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
