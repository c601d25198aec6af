package adapter

import (
	"context"
	"fmt"

	"peerless/shared/chaincode"
)

// later is a host that is being opened.
type later struct {
	opened chan struct{} // closed when the rest is set
	host   chaincode.Host
	err    error
}

func openLater(open func() (chaincode.Host, error)) *later {
	l := &later{opened: make(chan struct{})}
	go func() {
		defer close(l.opened)
		l.host, l.err = open()
	}()
	return l
}

// Execute implements chaincode.Host: it waits until the host is open.
func (l *later) Execute(ctx context.Context, inv *chaincode.Invocation) (*chaincode.Result, error) {
	select {
	case <-l.opened:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the contract is being made: %w", chaincode.ErrUnavailable, ctx.Err())
	}
	if l.err != nil {
		return nil, l.err
	}
	return l.host.Execute(ctx, inv)
}

// Close implements chaincode.Host.
func (l *later) Close() error {
	<-l.opened
	if l.err != nil {
		return nil
	}
	return l.host.Close()
}
