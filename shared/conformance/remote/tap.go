package remote

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
)

// A tap is a connection that lets the caller of the client hear what the server said where the client itself does not tell: the
// whole response of an evaluation, and how a stream ended.
type tap struct{ grpc.ClientConnInterface }

// A reply is what was heard of a call.
type reply struct {
	message any // of a call; set when it has returned

	mu  sync.Mutex
	err error // the stream's last
}

type replyKey struct{}

// in returns a context for the call to listen to.
func (r *reply) in(ctx context.Context) context.Context { return context.WithValue(ctx, replyKey{}, r) }

func (r *reply) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// reason says why a stream ended.
func (r *reply) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil || errors.Is(r.err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return r.err
}

func (t tap) Invoke(ctx context.Context, method string, args, answer any, options ...grpc.CallOption) error {
	err := t.ClientConnInterface.Invoke(ctx, method, args, answer, options...)
	if r, ok := ctx.Value(replyKey{}).(*reply); ok && err == nil {
		r.message = answer
	}
	return err
}

func (t tap) NewStream(ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := t.ClientConnInterface.NewStream(ctx, description, method, options...)
	if r, ok := ctx.Value(replyKey{}).(*reply); ok && err == nil {
		return &tapped{stream, r}, nil
	}
	return stream, err
}

type tapped struct {
	grpc.ClientStream
	reply *reply
}

func (s *tapped) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err != nil {
		s.reply.ended(err)
	}
	return err
}
