package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"peerless/shared/grpcapi"
)

// fabric is where clients of the Fabric Gateway are answered.
type fabric struct {
	gateways []gatewayListener
	tls      *tls.Config // nil: plain text
}

// A gatewayListener answers as the gateway of an organisation; if it has none, as that which the client asks for.
type gatewayListener struct {
	net.Listener
	mspID string
}

// listenFabric binds addresses, each ADDR or MSPID=ADDR. clientCA is a PEM file of authorities whose certificates clients must
// show; empty: they show none.
func listenFabric(addresses []string, certFile, keyFile, clientCA string) (_ *fabric, err error) {
	f := &fabric{}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if certFile != "" {
		if f.tls, err = serverTLS(certFile, keyFile); err != nil {
			return nil, err
		}
	}
	if clientCA != "" {
		authorities, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, fmt.Errorf("load the clients' authorities: %w", err)
		}
		f.tls.ClientCAs, f.tls.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !f.tls.ClientCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("load the clients' authorities: %s has no certificate in PEM", clientCA)
		}
	}
	for _, address := range addresses {
		mspID, host, named := strings.Cut(address, "=")
		if !named {
			mspID, host = "", address
		}
		l, err := net.Listen("tcp", host)
		if err != nil {
			return nil, &listenError{host, "--grpc", err}
		}
		f.gateways = append(f.gateways, gatewayListener{l, mspID})
	}
	return f, nil
}

func (f *fabric) Close() error {
	var errs []error
	for _, l := range f.gateways {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// gatewayAddress is a place where clients of the Fabric Gateway are answered, as --json shows it.
type gatewayAddress struct {
	Organization string `json:"organization,omitempty"` // empty: that which the client asks for
	Address      string `json:"address"`
}

func (f *fabric) addresses() []gatewayAddress {
	var all []gatewayAddress
	for _, l := range f.gateways {
		all = append(all, gatewayAddress{l.mspID, reachable(l.Addr())})
	}
	return all
}

// serveFabric serves Fabric's clients until ctx ends, and then lets the calls that have begun end.
func (p *platform) serveFabric(ctx context.Context, f *fabric) error {
	ended := make(chan error, len(f.gateways))
	for _, l := range f.gateways {
		server := grpcapi.New(p.Gateway, grpcapi.Config{
			MSPID: l.mspID, Organizations: p.Organizations.Organizations, TLS: f.tls, Logger: p.Logger,
		})
		go func() {
			stop := context.AfterFunc(ctx, func() {
				drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
				defer cancel()
				server.Shutdown(drain)
			})
			err := server.Serve(l)
			if stop() { // it was not told to end
				err = fmt.Errorf("serve gRPC: %w", errors.Join(err, net.ErrClosed))
			}
			ended <- err
		}()
	}
	var errs []error
	for range f.gateways {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}
