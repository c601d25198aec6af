package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	sdkkms "github.com/aws/aws-sdk-go-v2/service/kms"
	sdklambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	sdksqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"peerless/shared/api"
	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/deploy/function"
	documents "peerless/shared/docstore/dynamodb"
	"peerless/shared/ledger"
	"peerless/shared/node"
	"peerless/shared/organization"
	"peerless/shared/queue/sqs"
	"peerless/shared/secret/kms"
	"peerless/shared/store/dynamodb"
	"peerless/shared/webhook"
)

// clients are AWS's, made once for the process. The configuration is made by hand: to look for one as the CLI does costs 6 ms of every cold start.
type clients struct {
	Config
	base aws.Config
}

func newClients(config Config) *clients {
	static := credentials.NewStaticCredentialsProvider(config.Credentials.AccessKeyID, config.Credentials.SecretAccessKey, config.Credentials.SessionToken)
	return &clients{config, aws.Config{Region: config.Region, Credentials: static, HTTPClient: awshttp.NewBuildableClient()}}
}

// of is the configuration of one service's client.
func (c *clients) of(service string) aws.Config {
	config := c.base.Copy()
	if endpoint := c.Endpoints[service]; endpoint != "" {
		config.BaseEndpoint = &endpoint
	}
	return config
}

// AWS is the configuration of a client of one service, named by its id in capitals: SQS.
func (c Config) AWS(service string) aws.Config { return newClients(c).of(service) }

// openAWS opens a platform over the stack's resources.
func openAWS(ctx context.Context, config Config, logger *slog.Logger) (*Platform, error) {
	c := newClients(config)
	tables := sdkdynamodb.NewFromConfig(c.of("DYNAMODB"))
	store, err := dynamodb.Open(dynamodb.Config{Client: tables, Table: config.Ledger, Logger: logger})
	if err != nil {
		return nil, err
	}
	control, err := documents.New(tables, config.Control)
	if err != nil {
		return nil, err
	}
	// What is sealed for one control table does not open for another.
	keys := sdkkms.NewFromConfig(c.of("KMS"))
	sealer, err := kms.NewSealer(keys, config.Key, map[string]string{"table": config.Control})
	if err != nil {
		return nil, err
	}
	var authorities organization.Authorities
	if config.AuthorityKey != "" {
		if authorities, err = kms.NewAuthorities(keys, config.AuthorityKey); err != nil {
			return nil, err
		}
	}
	functions, err := function.New(function.Config{Documents: control, Prefix: config.FunctionPrefix, Open: c.hosts(logger)})
	if err != nil {
		return nil, err
	}
	n, err := node.Open(node.Config{
		Store: store, Documents: control, Sealer: sealer, Authorities: authorities, Hosts: functions, Organization: config.Organization, Logger: logger,
		LedgerConfig: ledger.Config{Shared: true},
	})
	if err != nil {
		// Most of what can be wrong is wrong with the ledger's table too, whose check names the setting.
		return nil, errors.Join(dynamodb.Check(ctx, tables, config.Ledger), err)
	}
	p := &Platform{Node: n}
	auth, err := authenticator(config, n)
	if err != nil {
		return nil, err
	}
	serve := api.Config{
		Auth: auth, Deployer: &function.Deployer{Functions: functions, Gateway: n.Gateway, Operator: n.Operator}, NoStreams: true,
		Healthy: func(ctx context.Context) error {
			if err := dynamodb.Check(ctx, tables, config.Ledger); err != nil {
				return err
			}
			return n.Ledger.Healthy(ctx)
		},
	}
	if config.Queue != "" {
		p.Messages = &sqs.Queue{Client: sdksqs.NewFromConfig(c.of("SQS")), URL: config.Queue, DeadLettersURL: config.DeadLetters}
		serve.Queue = p.Messages
	}
	p.Webhooks = &webhook.Registry{Documents: control, Sealer: sealer, Services: []string{"sns", "events"}, AllowPrivate: config.PrivateWebhooks}
	serve.Webhooks = p.Webhooks
	handler, err := n.Serve(serve)
	if err != nil {
		return nil, err
	}
	p.HTTP = handler
	return p, nil
}

// hosts opens the hosts of functions. They share the client, and what is lent to them.
func (c *clients) hosts(logger *slog.Logger) func(channel, name string, b function.Binding) (chaincode.Host, error) {
	client := sdklambda.NewFromConfig(c.of("LAMBDA"))
	scopes := lambda.NewScopes(sts.NewFromConfig(c.of("STS")), c.ReaderRole, c.ledgerARN())
	return func(channel, name string, b function.Binding) (chaincode.Host, error) {
		return lambda.New(lambda.Config{
			Client: client, Function: b.Function + ":" + b.Qualifier, Channel: channel, Chaincode: name,
			Table: c.Ledger, Region: c.Region, Endpoint: c.Endpoints["DYNAMODB"], Credentials: scopes.Credentials, Logger: logger,
		})
	}
}

// ledgerARN is the ledger table's: it is in the account and partition of the role.
func (c *clients) ledgerARN() string {
	partition, account := "aws", ""
	if parts := strings.Split(c.ReaderRole, ":"); len(parts) > 4 {
		partition, account = parts[1], parts[4]
	}
	return fmt.Sprintf("arn:%s:dynamodb:%s:%s:table/%s", partition, c.Region, account, c.Ledger)
}
