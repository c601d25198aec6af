package chaincode

import (
	"context"
	"fmt"
	"net"
)

// serve starts the program, lets it serve on a free port and connects. Should somebody else get the port first, the
// program ends, or what we reach does not know its name.
func (r *run) serve(ctx context.Context) error {
	address, err := freePort()
	if err != nil {
		return fmt.Errorf("find a port for it: %w", err)
	}
	if err := r.spawn(nil, "CHAINCODE_SERVER_ADDRESS="+address, "CHAINCODE_ID="+r.name, "CHAINCODE_TLS_DISABLED=true"); err != nil {
		return err
	}
	// The end of the program ends the attempts to reach it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-r.child.exited:
			cancel(errExited)
		case <-over:
		}
	}()
	link, err := dialChaincode(ctx, address, linkConfig{session: SessionConfig{Register: r.register, Logger: r.config.Logger}})
	if err != nil {
		return err
	}
	r.session, r.ended, r.hangUp = link.session, link.ended, link.hangUp
	return r.registered(ctx)
}

// freePort returns a loopback address that nobody listens on at the moment.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
