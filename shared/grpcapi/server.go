// Package grpcapi serves what Fabric's clients call a peer for, over gRPC and unchanged: gateway.Gateway, protos.Endorser, and
// protos.Deliver for block events. Messages, status codes and error details are Fabric's; see shared/gateway for what the calls do. Whoever may sign
// for an identity of a channel's organisation may call: a request proves itself, no key is needed.
package grpcapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"peerless/shared/gateway"
)

// MaxMessage is the largest message taken, in bytes: a transaction and what a request has around it.
const MaxMessage = gateway.MaxTransaction + 1<<20

// Limits of what one server does at a time. What is over them is refused with RESOURCE_EXHAUSTED. A Config may lower them.
const (
	// MaxCalls under way at once: each may hold a transaction.
	MaxCalls = 2500
	// MaxStreams of events and blocks at once, Fabric's peer.limits.concurrency.deliverService. A stream holds a block or
	// two, however slowly its client reads.
	MaxStreams = 2500
)

// workers serve calls one after the other on stacks that have grown already: verifying a signature needs more than a new goroutine has.
// What comes while all are busy gets a goroutine of its own.
const workers = 64

// unreadTime is what clients have, once the calls have ended and the server is to, to read what was sent to them.
const unreadTime = time.Second

// A Config says how a server is reached. The zero value works.
type Config struct {
	// MSPID is the organisation as whose gateway the server answers. Empty: the one whose MSP id is the host that the client asks
	// for (:authority), or that host's first label, if it is one of Organizations; else the client's own organisation.
	MSPID string
	// Organizations returns the MSP ids that a host may stand for. Nil: none.
	Organizations        func() []string
	MaxCalls, MaxStreams int // default MaxCalls, MaxStreams
	// TLS of the server; with client certificates, block requests must be bound to theirs, as Fabric wants it. Nil: plain text.
	TLS    *tls.Config
	Logger *slog.Logger // default: none
}

// Server serves one gateway.Service.
type Server struct {
	grpc    *grpc.Server
	calls   limit
	closing context.Context
	close   context.CancelFunc
}

// New returns a server of all that a peer's clients call.
func New(service *gateway.Service, config Config) *Server {
	s, calls := newServer(service, config)
	pb.RegisterGatewayServer(s.grpc, calls)
	peer.RegisterEndorserServer(s.grpc, &endorser{calls: calls})
	peer.RegisterDeliverServer(s.grpc, &deliver{service: service, closing: s.closing, logger: calls.logger})
	return s
}

// NewEndorser returns a server that endorses and does nothing else: protos.Endorser.
func NewEndorser(service *gateway.Service, config Config) *Server {
	s, calls := newServer(service, config)
	peer.RegisterEndorserServer(s.grpc, &endorser{calls: calls})
	return s
}

func newServer(service *gateway.Service, config Config) (*Server, *calls) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	unary, streams := newLimit(cmp.Or(config.MaxCalls, MaxCalls)), newLimit(cmp.Or(config.MaxStreams, MaxStreams))
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.NumStreamWorkers(workers),
		grpc.UnaryInterceptor(unary.unary), grpc.StreamInterceptor(streams.stream),
	}
	if config.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config.TLS)))
	}
	s := &Server{grpc: grpc.NewServer(options...), calls: unary}
	s.closing, s.close = context.WithCancel(context.Background())
	return s, &calls{service: service, config: config, closing: s.closing, logger: config.Logger}
}

// Serve serves connections until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown ends event streams, lets calls that have begun end until ctx does, and then ends them too. A client that does not read what
// it was sent holds it up for no more than a second.
func (s *Server) Shutdown(ctx context.Context) {
	s.close()
	drained := make(chan struct{})
	go func() {
		s.grpc.GracefulStop() // waits for clients to have read everything
		close(drained)
	}()
	s.calls.await(ctx)
	select {
	case <-drained:
	case <-time.After(unreadTime):
		s.grpc.Stop()
		<-drained
	}
}

type calls struct {
	pb.UnimplementedGatewayServer
	service *gateway.Service
	config  Config
	closing context.Context
	logger  *slog.Logger
}

var _ pb.GatewayServer = (*calls)(nil)

// at returns the service as the gateway that a call asks for.
func (c *calls) at(ctx context.Context) *gateway.Endpoint {
	if c.config.MSPID != "" || c.config.Organizations == nil {
		return c.service.At(c.config.MSPID)
	}
	host := authority(ctx)
	label, _, _ := strings.Cut(host, ".")
	for _, id := range c.config.Organizations() {
		if name := strings.ToLower(id); name == host || name == label {
			return c.service.At(id)
		}
	}
	return c.service.At("")
}

func (c *calls) Evaluate(ctx context.Context, r *pb.EvaluateRequest) (*pb.EvaluateResponse, error) {
	response, err := c.at(ctx).Evaluate(ctx, r)
	return response, c.status("evaluate", err)
}

func (c *calls) Endorse(ctx context.Context, r *pb.EndorseRequest) (*pb.EndorseResponse, error) {
	response, err := c.at(ctx).Endorse(ctx, r)
	return response, c.status("endorse", err)
}

func (c *calls) Submit(ctx context.Context, r *pb.SubmitRequest) (*pb.SubmitResponse, error) {
	response, err := c.at(ctx).Submit(ctx, r)
	return response, c.status("submit", err)
}

func (c *calls) CommitStatus(ctx context.Context, r *pb.SignedCommitStatusRequest) (*pb.CommitStatusResponse, error) {
	response, err := c.at(ctx).CommitStatus(ctx, r)
	return response, c.status("commit status", err)
}

func (c *calls) ChaincodeEvents(r *pb.SignedChaincodeEventsRequest, stream pb.Gateway_ChaincodeEventsServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	err := c.at(ctx).ChaincodeEvents(ctx, r, stream.Send)
	if c.closing.Err() != nil {
		return status.Error(codes.Unavailable, "the server is shutting down")
	}
	return c.status("chaincode events", err)
}

// status makes an error one that gRPC sends as it is. What is not the caller's business is logged.
func (c *calls) status(call string, err error) error {
	if err == nil {
		return nil
	}
	var known *gateway.Error
	if errors.As(err, &known) {
		if known.Kind == gateway.Internal {
			c.logger.Error("gateway call failed", "call", call, "error", err)
		}
		return known.GRPCStatus().Err()
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	c.logger.Error("gateway call failed", "call", call, "error", err)
	return status.FromContextError(err).Err()
}
