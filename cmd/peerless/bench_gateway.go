package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// clientsPerConnection share a connection, as an application's callers do: gRPC carries their calls side by side.
const clientsPerConnection = 16

// gateway measures what an application with the unmodified Fabric Gateway client sees: it signs each proposal, transaction and
// request for a commit status itself, in this process.
func (b *bench) gateway(ctx context.Context) error {
	program, err := b.buildContract(ctx)
	if err != nil {
		return err
	}
	return b.with(ctx, benchServerConfig{program: program, preload: evaluated}, func(s *benchServer) error {
		g, err := s.dialGateway(b.config.clients)
		if err != nil {
			return err
		}
		defer g.close()
		first := 1 << 20 // behind the assets that are read
		for _, load := range []struct {
			title   string
			clients int
			call    func(*client.Contract, context.Context, int) error
			submits bool
		}{
			{"Fabric Gateway client, creates", b.config.clients, createThrough(first), true},
			{"Fabric Gateway client, creates, one client alone", 1, createThrough(2 * first), true},
			{"Fabric Gateway client, reads", b.config.clients, readThrough, false},
		} {
			r, err := b.run(ctx, s, benchLoad{
				what: b.scenario, submits: load.submits, clients: load.clients, duration: b.config.duration,
				open: func(context.Context) (benchSender, error) { return &gatewaySender{g.next(), load.call}, nil },
			})
			if err != nil {
				return err
			}
			b.add(loadRow(load.title, load.clients, r))
		}
		return nil
	})
}

func createThrough(first int) func(*client.Contract, context.Context, int) error {
	return func(contract *client.Contract, ctx context.Context, n int) error {
		n += first
		_, err := contract.SubmitWithContext(ctx, "CreateAsset", client.WithArguments(assetID(n), "blue", "5", assetOwner(n), "300"))
		return err
	}
}

func readThrough(contract *client.Contract, ctx context.Context, n int) error {
	_, err := contract.EvaluateWithContext(ctx, "ReadAsset", client.WithArguments(assetID(n%evaluated)))
	return err
}

// gatewayClients are the clients' connections.
type gatewayClients struct {
	connections []*grpc.ClientConn
	contracts   []*client.Contract
	given       atomic.Int64
}

// dialGateway connects so many clients to a server, as one user.
func (s *benchServer) dialGateway(clients int) (*gatewayClients, error) {
	fail := func(err error) (*gatewayClients, error) { return nil, fmt.Errorf("connect to the gateway: %w", err) }
	certificate, err := identity.CertificateFromPEM([]byte(s.Certificate))
	if err != nil {
		return fail(err)
	}
	user, err := identity.NewX509Identity(defaultOrganization, certificate)
	if err != nil {
		return fail(err)
	}
	key, err := identity.PrivateKeyFromPEM([]byte(s.PrivateKey))
	if err != nil {
		return fail(err)
	}
	sign, err := identity.NewPrivateKeySign(key)
	if err != nil {
		return fail(err)
	}
	g := &gatewayClients{}
	for range (clients + clientsPerConnection - 1) / clientsPerConnection {
		connection, err := grpc.NewClient(s.Fabric, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return fail(errors.Join(err, g.close()))
		}
		g.connections = append(g.connections, connection)
		connected, err := client.Connect(user, client.WithSign(sign), client.WithHash(hash.SHA256), client.WithClientConnection(connection))
		if err != nil {
			return fail(errors.Join(err, g.close()))
		}
		g.contracts = append(g.contracts, connected.GetNetwork(defaultChannel).GetContract(benchChaincode))
	}
	return g, nil
}

// next returns the contract of the next client.
func (g *gatewayClients) next() *client.Contract {
	return g.contracts[int(g.given.Add(1)-1)%len(g.contracts)]
}

func (g *gatewayClients) close() error {
	var errs []error
	for _, connection := range g.connections {
		errs = append(errs, connection.Close())
	}
	return errors.Join(errs...)
}

// gatewaySender is one client: SubmitTransaction and EvaluateTransaction as an application calls them.
type gatewaySender struct {
	contract *client.Contract
	call     func(*client.Contract, context.Context, int) error
}

func (s *gatewaySender) Close() error { return nil }

func (s *gatewaySender) send(ctx context.Context, n int) (string, error) {
	err := s.call(s.contract, ctx, n)
	var commit *client.CommitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &commit):
		return commit.Code.String(), nil
	}
	if code := status.Code(err); code != 0 {
		return code.String(), nil
	}
	return strconv.Quote(err.Error()), nil
}
