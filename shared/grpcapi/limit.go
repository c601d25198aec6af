package grpcapi

import (
	"context"
	"time"

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

// await returns when no call is under way, or ctx has ended. It lets none begin any more.
func (l limit) await(ctx context.Context) {
	for range cap(l) {
		select {
		case l <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

func (l limit) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := l.enter(info.FullMethod); err != nil {
		return nil, err
	}
	defer func() { <-l }()
	ctx, cancel := early(ctx)
	defer cancel()
	return handle(ctx, request)
}

// answerTime is how long before a call's deadline its answer is given.
const answerTime = 50 * time.Millisecond

// early ends a context a little before its deadline, so that what a call says of its deadline reaches the client: at the deadline itself gRPC ends the
// stream, with words of its own.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(answerTime, time.Until(deadline)/10)))
}

func (l limit) stream(server any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := l.enter(info.FullMethod); err != nil {
		return err
	}
	defer func() { <-l }()
	return handle(server, s)
}
