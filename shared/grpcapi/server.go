// Package grpcapi serves Fabric's gateway service, gateway.Gateway, over gRPC, so that clients of the Fabric Gateway work
// unchanged. Messages, status codes and error details are Fabric's; see shared/gateway for what the calls do. Whoever may sign
// for an identity of a channel's organisation may call: a request proves itself, no key is needed.
package grpcapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"peerless/shared/gateway"
)

// MaxMessage is the largest message taken, in bytes: a transaction and what a request has around it.
const MaxMessage = gateway.MaxTransaction + 1<<20

// Server serves one gateway.Service.
type Server struct {
	grpc    *grpc.Server
	closing context.Context
	close   context.CancelFunc
}

// New returns a server. Every caller is served as the gateway of its own organisation. logger may be nil.
func New(service *gateway.Service, logger *slog.Logger) *Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{grpc: grpc.NewServer(
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)}
	s.closing, s.close = context.WithCancel(context.Background())
	pb.RegisterGatewayServer(s.grpc, &calls{endpoint: service.At(""), closing: s.closing, logger: logger})
	return s
}

// Serve serves connections until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown ends event streams, lets calls that have begun end until ctx does, and then ends them too.
func (s *Server) Shutdown(ctx context.Context) {
	s.close()
	drained := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		s.grpc.Stop()
		<-drained
	}
}

type calls struct {
	pb.UnimplementedGatewayServer
	endpoint *gateway.Endpoint
	closing  context.Context
	logger   *slog.Logger
}

var _ pb.GatewayServer = (*calls)(nil)

func (c *calls) Evaluate(ctx context.Context, r *pb.EvaluateRequest) (*pb.EvaluateResponse, error) {
	response, err := c.endpoint.Evaluate(ctx, r)
	return response, c.status("evaluate", err)
}

func (c *calls) Endorse(ctx context.Context, r *pb.EndorseRequest) (*pb.EndorseResponse, error) {
	response, err := c.endpoint.Endorse(ctx, r)
	return response, c.status("endorse", err)
}

func (c *calls) Submit(ctx context.Context, r *pb.SubmitRequest) (*pb.SubmitResponse, error) {
	response, err := c.endpoint.Submit(ctx, r)
	return response, c.status("submit", err)
}

func (c *calls) CommitStatus(ctx context.Context, r *pb.SignedCommitStatusRequest) (*pb.CommitStatusResponse, error) {
	response, err := c.endpoint.CommitStatus(ctx, r)
	return response, c.status("commit status", err)
}

func (c *calls) ChaincodeEvents(r *pb.SignedChaincodeEventsRequest, stream pb.Gateway_ChaincodeEventsServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	err := c.endpoint.ChaincodeEvents(ctx, r, stream.Send)
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
