package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
)

// capacity is what calls of DynamoDB used.
type capacity struct {
	calls       int
	read, write float64 // units
}

// A capacityMeter asks DynamoDB, at each call of a client, what it consumed, and adds that up. Calls take some time at least.
type capacityMeter struct {
	least time.Duration

	mu   sync.Mutex
	used capacity
}

func (m *capacityMeter) take() capacity {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := m.used
	m.used = capacity{}
	return used
}

// add puts the meter into a client.
func (m *capacityMeter) add(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("capacity", m.handle), middleware.Before)
}

func (m *capacityMeter) handle(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	reads := true
	switch p := in.Parameters.(type) {
	case *sdk.GetItemInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *sdk.BatchGetItemInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *sdk.QueryInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *sdk.PutItemInput:
		p.ReturnConsumedCapacity, reads = types.ReturnConsumedCapacityTotal, false
	case *sdk.UpdateItemInput:
		p.ReturnConsumedCapacity, reads = types.ReturnConsumedCapacityTotal, false
	case *sdk.DeleteItemInput:
		p.ReturnConsumedCapacity, reads = types.ReturnConsumedCapacityTotal, false
	case *sdk.BatchWriteItemInput:
		p.ReturnConsumedCapacity, reads = types.ReturnConsumedCapacityTotal, false
	default:
		return middleware.InitializeOutput{}, middleware.Metadata{}, fmt.Errorf("bench cost: what %T costs is not known here", p)
	}
	begin := time.Now()
	out, metadata, err := next.HandleInitialize(ctx, in)
	if rest := m.least - time.Since(begin); rest > 0 {
		time.Sleep(rest)
	}
	units := consumed(out.Result)
	if isRefusal(err) {
		units = 1 // a condition that does not hold costs a write of the item's size: at least one unit
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used.calls++
	if reads {
		m.used.read += units
	} else {
		m.used.write += units
	}
	return out, metadata, err
}

func isRefusal(err error) bool {
	var refused *types.ConditionalCheckFailedException
	return errors.As(err, &refused)
}

// consumed is what an answer says that the call consumed.
func consumed(result any) float64 {
	var all []types.ConsumedCapacity
	one := func(c *types.ConsumedCapacity) {
		if c != nil {
			all = append(all, *c)
		}
	}
	switch r := result.(type) {
	case *sdk.GetItemOutput:
		one(r.ConsumedCapacity)
	case *sdk.QueryOutput:
		one(r.ConsumedCapacity)
	case *sdk.PutItemOutput:
		one(r.ConsumedCapacity)
	case *sdk.UpdateItemOutput:
		one(r.ConsumedCapacity)
	case *sdk.DeleteItemOutput:
		one(r.ConsumedCapacity)
	case *sdk.BatchGetItemOutput:
		all = r.ConsumedCapacity
	case *sdk.BatchWriteItemOutput:
		all = r.ConsumedCapacity
	}
	units := 0.0
	for _, c := range all {
		if c.CapacityUnits != nil {
			units += *c.CapacityUnits
		}
	}
	return units
}

// itemOverhead is what DynamoDB adds to an item's attributes when it bills storage.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
const itemOverhead = 100

// tableSize adds up the items of a table, in bytes as DynamoDB counts them: names and values.
func tableSize(ctx context.Context, client *sdk.Client, table string) (size int, err error) {
	pages := sdk.NewScanPaginator(client, &sdk.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("measure the table: %w", err)
		}
		for _, item := range page.Items {
			size += itemOverhead
			for name, value := range item {
				size += len(name) + valueSize(value)
			}
		}
	}
	return size, nil
}

func valueSize(value types.AttributeValue) int {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 1
	case *types.AttributeValueMemberL:
		size := 3
		for _, member := range v.Value {
			size += 1 + valueSize(member)
		}
		return size
	case *types.AttributeValueMemberM:
		size := 3
		for name, member := range v.Value {
			size += 1 + len(name) + valueSize(member)
		}
		return size
	}
	return 1
}

// findDynamoDB returns the address of the DynamoDB to use. Without one it starts a dynalite, which stop ends.
func findDynamoDB(ctx context.Context, endpoint string) (address string, stop func(), err error) {
	if endpoint != "" {
		if !strings.Contains(endpoint, "://") {
			endpoint = "http://" + endpoint
		}
		return endpoint, func() {}, nil
	}
	program, err := exec.LookPath("dynalite")
	if err != nil {
		if program, err = filepath.Abs(filepath.Join(".ci", "tools", "node_modules", ".bin", "dynalite")); err == nil {
			_, err = os.Stat(program)
		}
	}
	if err != nil {
		return "", nil, errors.New("there is no dynalite: npm install -g dynalite, or name a DynamoDB with --dynamodb")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(program, "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--createTableMs", "0")
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start dynalite: %w", err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			c.Close()
			return "http://" + address, stop, nil
		}
		if ctx.Err() != nil || time.Now().After(until) {
			stop()
			return "", nil, errors.Join(errors.New("dynalite does not answer"), ctx.Err())
		}
	}
}
