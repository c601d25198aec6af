package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/spf13/cobra"

	"peerless/contracts/assettransfer/chaincode"
	host "peerless/shared/chaincode"
	"peerless/shared/cost"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/organization"
	"peerless/shared/store/dynamodb"
	"peerless/shared/store/mem"
)

// costConfig is what the cost of a call depends on and is not measured here: it is printed with the result.
type costConfig struct {
	endpoint string
	calls    int
	gateways int

	Latency        time.Duration `json:"dynamodbCall"`     // the least that a call of DynamoDB takes
	Invoke         time.Duration `json:"invocation"`       // what Lambda adds to the contract's time, for the gateway that waits
	GatewayMemory  int           `json:"gatewayMemoryMB"`  // of template.yaml
	ContractMemory int           `json:"contractMemoryMB"` // of peerless deploy --stack
	LogBytes       int           `json:"logBytesPerCall"`  // the API's access log and a line of metrics
}

// fullCore is the memory in MB at which Lambda gives a function one vCPU: it gives CPU in proportion to memory.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
const fullCore = 1769

func newBenchCostCommand(a *app) *cobra.Command {
	var config costConfig
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "What a million calls cost in the serverless form, by what they use",
		Long: `Cost submits and evaluates with the ledger in a DynamoDB, and adds up what AWS would bill: the capacity units that DynamoDB says each
call consumed, the functions' requests and seconds, the HTTP API, logs. Prices are AWS's list prices, with their date in the output.

The DynamoDB is one that counts as AWS does: dynalite, which it starts if it finds it, or what --dynamodb names. Time is measured here and not in
AWS: every call of DynamoDB is made to take --dynamodb-call at least, and the CPU time of this machine is stretched to the share of
a core that Lambda gives a function of that memory. Invoking the contract's function adds --invocation. These three are assumptions, the rest is measured.`,
		Example: `  peerless bench cost
  peerless bench cost --dynamodb http://127.0.0.1:4567 --calls 1000 --json`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if min(config.calls, config.gateways, config.GatewayMemory, config.ContractMemory) < 1 {
				return &usageError{cmd.CommandPath(), "every number must be 1 or more"}
			}
			return a.benchCost(cmd.Context(), config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.endpoint, "dynamodb", "", "the address of a DynamoDB to use (default: a dynalite that is started)")
	f.IntVar(&config.calls, "calls", 200, "how many calls of each kind are measured")
	f.IntVar(&config.gateways, "gateways", 8, "how many gateways submit at once where they meet")
	f.DurationVar(&config.Latency, "dynamodb-call", 8*time.Millisecond, "the least that a call of DynamoDB takes")
	f.DurationVar(&config.Invoke, "invocation", 10*time.Millisecond, "what Lambda adds to a contract's time")
	f.IntVar(&config.GatewayMemory, "gateway-memory", 512, "memory of the gateway's function in MB")
	f.IntVar(&config.ContractMemory, "contract-memory", 256, "memory of the contract's function in MB")
	f.IntVar(&config.LogBytes, "log-bytes", 1000, "what a call writes to logs")
	return cmd
}

// A costRow is what a kind of call uses and costs.
type costRow struct {
	Scenario      string     `json:"scenario"`
	Title         string     `json:"title"`
	Calls         int        `json:"calls"`
	DynamoDBCalls float64    `json:"dynamodbCallsPerCall"`
	GatewayMS     float64    `json:"gatewayMilliseconds"`  // billed for one call
	ContractMS    float64    `json:"contractMilliseconds"` // billed for one call
	CPUMS         float64    `json:"cpuMilliseconds"`      // of both, measured on this machine
	Usage         cost.Usage `json:"usage"`                // of one call
	Million       cost.Bill  `json:"million"`              // dollars
}

func (a *app) benchCost(ctx context.Context, config costConfig) (err error) {
	prices, err := cost.List()
	if err != nil {
		return err
	}
	endpoint, stop, err := findDynamoDB(ctx, config.endpoint)
	if err != nil {
		return err
	}
	defer stop()
	b, err := newCostBench(ctx, config, endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	rows, err := b.measure(ctx)
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].Million = prices.Million(rows[i].Usage)
	}
	return a.printCost(config, prices, rows)
}

// A costBench is a platform over a table, with a meter between.
type costBench struct {
	costConfig
	meter *capacityMeter
	table *sdk.Client
	nodes []*node.Node // gateways over the one table
	hosts []*timedHosts
	user  *msp.Signer
	made  atomic.Int64 // assets
}

const costTable = "peerless-cost"

func newCostBench(ctx context.Context, config costConfig, endpoint string) (b *costBench, err error) {
	b = &costBench{costConfig: config, meter: &capacityMeter{least: config.Latency}}
	options := aws.Config{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", "")}
	b.table = sdk.NewFromConfig(options)
	if _, err := b.table.CreateTable(ctx, dynamodb.Description(costTable)); err != nil {
		return nil, fmt.Errorf("make a table at %s: %w", endpoint, err)
	}
	metered := sdk.NewFromConfig(options, func(o *sdk.Options) { o.APIOptions = append(o.APIOptions, b.meter.add) })
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	registry, err := organization.Open(ctx, organization.Config{})
	if err != nil {
		return nil, err
	}
	for range config.gateways {
		if err := b.addGateway(metered, registry); err != nil {
			return nil, err
		}
	}
	return b, b.deploy(ctx)
}

// addGateway makes one more gateway, which shares nothing with the others but the table and the keys.
func (b *costBench) addGateway(client *sdk.Client, registry *organization.Registry) error {
	store, err := dynamodb.Open(dynamodb.Config{Client: client, Table: costTable})
	if err != nil {
		return err
	}
	contract, err := chaincode.New()
	if err != nil {
		return err
	}
	started, err := host.StartInProcess(benchChaincode, contract, host.Config{})
	if err != nil {
		return err
	}
	timed := &timedHosts{host: started}
	n, err := node.Open(node.Config{Store: store, Registry: registry, Hosts: timed, LedgerConfig: ledger.Config{Shared: true}})
	if err != nil {
		return errors.Join(err, started.Close())
	}
	b.nodes, b.hosts = append(b.nodes, n), append(b.hosts, timed)
	return nil
}

// deploy makes the channel and defines the contract.
func (b *costBench) deploy(ctx context.Context) (err error) {
	n := b.nodes[0]
	if err := n.CreateChannel(ctx, defaultChannel, nil); err != nil {
		return err
	}
	if b.user, err = n.User("", "operator", nil); err != nil {
		return err
	}
	_, err = n.Gateway.Define(ctx, defaultChannel, b.user, gateway.Definition{Name: benchChaincode, Version: "1.0"})
	return err
}

func (b *costBench) close() error {
	var errs []error
	for i, n := range b.nodes {
		errs = append(errs, n.Close(), b.hosts[i].host.Close())
	}
	return errors.Join(errs...)
}

// measure runs the calls of each kind, and audits the chain that they leave.
func (b *costBench) measure(ctx context.Context) ([]costRow, error) {
	for _, n := range b.nodes { // what a process does once: certificates, definitions
		if err := b.create(ctx, n); err != nil {
			return nil, err
		}
		if err := b.evaluate(ctx, n); err != nil {
			return nil, err
		}
	}
	alone, together := b.nodes[:1], b.nodes
	var rows []costRow
	for _, s := range []struct {
		name, title string
		nodes       []*node.Node
		call        func(context.Context, *node.Node) error
	}{
		{"submit", "submit: a new asset", alone, b.create},
		{"update", "submit: a change of one", alone, b.update},
		{"contended", fmt.Sprintf("submit: %d gateways at once", len(together)), together, b.create},
		{"evaluate", "evaluate: a read of one", alone, b.evaluate},
	} {
		row, err := b.run(ctx, s.nodes, s.call)
		if err != nil {
			return nil, fmt.Errorf("bench cost: %s: %w", s.name, err)
		}
		row.Scenario, row.Title = s.name, s.title
		rows = append(rows, *row)
	}
	store, err := dynamodb.Open(dynamodb.Config{Client: b.table, Table: costTable})
	if err != nil {
		return nil, err
	}
	_, err = (&ledger.Audit{Store: store, Channel: defaultChannel, Scratch: mem.New(mem.Config{})}).Run(ctx)
	return rows, err
}

// run makes calls on some gateways, each one after the other.
func (b *costBench) run(ctx context.Context, nodes []*node.Node, call func(context.Context, *node.Node) error) (*costRow, error) {
	stored, err := tableSize(ctx, b.table, costTable)
	if err != nil {
		return nil, err
	}
	for _, h := range b.hosts {
		h.take()
	}
	b.meter.take()
	var waited time.Duration
	var mu sync.Mutex
	cpu := processCPU()
	each := max(1, b.calls/len(nodes))
	errs := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() {
			begin := time.Now()
			var err error
			for i := 0; i < each && err == nil; i++ {
				err = call(ctx, n)
			}
			mu.Lock()
			waited += time.Since(begin)
			mu.Unlock()
			errs <- err
		}()
	}
	for range nodes {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return nil, err
	}
	cpu = processCPU() - cpu
	grown, err := tableSize(ctx, b.table, costTable)
	if err != nil {
		return nil, err
	}
	var inContract time.Duration
	for _, h := range b.hosts {
		inContract += h.take()
	}
	used := b.meter.take()
	calls := float64(each * len(nodes))
	return b.row(calls, used, waited, inContract, cpu, float64(grown-stored)), nil
}

// row divides what all calls used by their number. The share of the CPU that is the contract's is not known: its function is billed as if
// all of a call's were its own, and so is the gateway's.
func (b *costBench) row(calls float64, used capacity, waited, inContract, cpu time.Duration, stored float64) *costRow {
	per := func(d time.Duration) float64 { return milliseconds(d) / calls }
	stretch := func(memory int) float64 { return max(0, fullCore/float64(memory)-1) * per(cpu) }
	contract := per(inContract) + stretch(b.ContractMemory)
	gateway := per(waited) + stretch(b.GatewayMemory) + milliseconds(b.Invoke) + stretch(b.ContractMemory)
	seconds := func(ms float64, memory int) float64 { return ms / 1000 * float64(memory) / 1024 }
	return &costRow{
		Calls: int(calls), DynamoDBCalls: float64(used.calls) / calls, GatewayMS: gateway, ContractMS: contract, CPUMS: per(cpu),
		Usage: cost.Usage{
			WriteUnits: used.write / calls, ReadUnits: used.read / calls, Invocations: 2, Requests: 1, LogBytes: float64(b.LogBytes),
			GBSeconds: seconds(gateway, b.GatewayMemory) + seconds(contract, b.ContractMemory), StoredBytes: max(0, stored) / calls,
		},
	}
}

func (b *costBench) request(function string, args ...string) gateway.Request {
	r := gateway.Request{Channel: defaultChannel, Chaincode: benchChaincode, Function: function, User: b.user}
	for _, a := range args {
		r.Args = append(r.Args, []byte(a))
	}
	return r
}

func (b *costBench) create(ctx context.Context, n *node.Node) error {
	id := "asset" + strconv.FormatInt(b.made.Add(1), 10)
	_, err := n.Gateway.SubmitTransaction(ctx, b.request("CreateAsset", id, "blue", "5", "tomoko", "300"))
	return err
}

func (b *costBench) update(ctx context.Context, n *node.Node) error {
	_, err := n.Gateway.SubmitTransaction(ctx, b.request("TransferAsset", "asset1", "maria"))
	return err
}

func (b *costBench) evaluate(ctx context.Context, n *node.Node) error {
	_, err := n.Gateway.EvaluateTransaction(ctx, b.request("ReadAsset", "asset1"))
	return err
}

// timedHosts is one host for every chaincode, whose executions are timed.
type timedHosts struct {
	host host.Host

	mu    sync.Mutex
	spent time.Duration
}

func (h *timedHosts) Host(context.Context, string, string, string) (host.Host, error) { return h, nil }

func (h *timedHosts) Execute(ctx context.Context, inv *host.Invocation) (*host.Result, error) {
	begin := time.Now()
	result, err := h.host.Execute(ctx, inv)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spent += time.Since(begin)
	return result, err
}

func (h *timedHosts) Close() error { return nil }

func (h *timedHosts) take() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	spent := h.spent
	h.spent = 0
	return spent
}

// processCPU is what this process has computed so far.
func processCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// printCost prints the table, and below it what it rests on.
func (a *app) printCost(config costConfig, prices *cost.Prices, rows []costRow) error {
	if a.json {
		return a.printJSON(struct {
			Prices      *cost.Prices `json:"prices"`
			Assumed     costConfig   `json:"assumed"`
			FabricMonth float64      `json:"managedFabricMonth"`
			Results     []costRow    `json:"results"`
		}{prices, config, prices.FabricMonth(), rows})
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		dollars := func(d float64) string { return fmt.Sprintf("%.2f", d) }
		cells[i] = []string{
			r.Title, fmt.Sprintf("%.2f", r.Usage.WriteUnits), fmt.Sprintf("%.2f", r.Usage.ReadUnits), fmt.Sprintf("%.1f", r.DynamoDBCalls), fmt.Sprintf("%.0f", r.GatewayMS), fmt.Sprintf("%.0f", r.ContractMS),
			dollars(r.Million.DynamoDB), dollars(r.Million.Lambda), dollars(r.Million.HTTPAPI), dollars(r.Million.Logs), dollars(r.Million.Total), dollars(r.Million.Stored),
		}
	}
	err := a.printTable([]string{"", "WRITE UNITS", "READ UNITS", "DB CALLS", "GATEWAY MS", "CONTRACT MS", "$ DYNAMODB", "$ LAMBDA", "$ HTTP API", "$ LOGS", "$ A MILLION", "$ STORED A MONTH"}, cells)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, `%d calls each, %.1f ms of CPU for a submit on this machine. Assumed: %v for a call of DynamoDB, %v for an invocation, %d and %d MB, %d bytes of logs.
List prices of %s, %s, without free tiers. Idle, only what is stored costs, and $%.0f a month for the key that seals keys, if the stack makes it. A smallest managed
Fabric network costs $%.0f a month idle.
`, rows[0].Calls, rows[0].CPUMS, config.Latency, config.Invoke, config.GatewayMemory, config.ContractMemory, config.LogBytes, prices.Region, prices.Date, prices.KMS.KeyMonth, prices.FabricMonth())
	return err
}
