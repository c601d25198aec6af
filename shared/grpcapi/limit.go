package grpcapi

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A limit is how many calls may be under way at once: a token for each.
type limit chan struct{}

func newLimit(n int) limit { return make(limit, n) }

// enter takes a token, or refuses as Fabric words it.
func (l limit) enter(method string) error {
	select {
	case l <- struct{}{}:
		return nil
	default:
		return status.Errorf(codes.ResourceExhausted, "too many requests for %s, exceeding concurrency limit (%d)", method, cap(l))
	}
}

func (l limit) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := l.enter(info.FullMethod); err != nil {
		return nil, err
	}
	defer func() { <-l }()
	return handle(ctx, request)
}

func (l limit) stream(server any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := l.enter(info.FullMethod); err != nil {
		return err
	}
	defer func() { <-l }()
	return handle(server, s)
}
