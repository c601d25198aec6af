package remote_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/api"
	"peerless/shared/api/client"
	"peerless/shared/chaincode"
	"peerless/shared/conformance"
	"peerless/shared/conformance/local"
	"peerless/shared/conformance/remote"
	"peerless/shared/msp"
	"peerless/shared/store/mem"
)

// overHTTP sends the Fabric Gateway client's calls over HTTP, and reads streams where they are.
type overHTTP struct {
	*remote.Network
	streams conformance.Network
}

func (n overHTTP) ChaincodeEvents(ctx context.Context, mspID string, request *gateway.SignedChaincodeEventsRequest) (conformance.EventStream, error) {
	return n.streams.ChaincodeEvents(ctx, mspID, request)
}

func (n overHTTP) FilteredBlocks(ctx context.Context, mspID string, user *msp.Signer, channel string, from uint64) (conformance.BlockStream, error) {
	return n.streams.FilteredBlocks(ctx, mspID, user, channel, from)
}

// nothing deploys nothing, and lets nobody in: the gateway's routes need neither.
type nothing struct{ api.Deployer }

func (nothing) Authenticate(r *http.Request) (*api.Principal, error) {
	return nil, errors.New("nobody has a key")
}

// TestScenariosOverHTTP drives every scenario with the Fabric Gateway client's messages in HTTP requests.
func TestScenariosOverHTTP(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	network, identities, err := local.Start(t.Context(), local.Config{Store: store, Host: func(name string) (chaincode.Host, error) {
		return chaincode.StartInProcess(name, probe.New(), chaincode.Config{})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	service := network.Service()
	handler, err := api.New(api.Config{
		Gateway: api.Over(service, nil), Deployer: nothing{}, Auth: nothing{},
		Fabric: func(mspID string) api.FabricGateway { return service.At(mspID) },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	connection, err := client.New(server.URL, client.Config{HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	connections := map[string]grpc.ClientConnInterface{}
	for _, mspID := range conformance.Organizations {
		connections[mspID] = connection.GatewayConn(mspID)
	}
	over, err := remote.Over(connections, identities["org1user"])
	if err != nil {
		t.Fatal(err)
	}
	check(t, overHTTP{over, network}, identities)
}
