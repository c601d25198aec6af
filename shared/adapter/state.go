package adapter

import (
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
)

// maxClients is how many clients are kept: credentials are renewed once an hour, and few gateways renew them apart.
const maxClients = 16

// tables reads the state from DynamoDB. The client for credentials is kept, the connections are everybody's.
type tables struct {
	connections aws.HTTPClient

	mu      sync.Mutex
	clients map[invocation.State]*sdk.Client
}

func newTables() *tables {
	return &tables{connections: awshttp.NewBuildableClient(), clients: make(map[invocation.State]*sdk.Client)}
}

func (t *tables) view(state invocation.State, channel string, height uint64) ledger.View {
	return dynamodb.NewReader(t.client(state), state.Table, channel).View(height)
}

func (t *tables) client(state invocation.State) *sdk.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	if client := t.clients[state]; client != nil {
		return client
	}
	options := sdk.Options{
		Region: state.Region, HTTPClient: t.connections,
		Credentials: credentials.NewStaticCredentialsProvider(state.Credentials.AccessKeyID, state.Credentials.SecretAccessKey, state.Credentials.SessionToken),
	}
	if state.Endpoint != "" {
		options.BaseEndpoint = &state.Endpoint
	}
	if len(t.clients) >= maxClients {
		clear(t.clients)
	}
	client := sdk.New(options)
	t.clients[state] = client
	return client
}
