package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdklambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/awstest"
	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/invocation"
)

// A counter is a client that counts the proposals of each invocation, and holds up the first ones until it is told.
type counter struct {
	lambda.Client
	hold    int           // invocations
	arrived chan struct{} // gets one for each that is held up
	release chan struct{}

	mu    sync.Mutex
	sizes []int
}

func (c *counter) Invoke(ctx context.Context, in *sdklambda.InvokeInput, options ...func(*sdklambda.Options)) (*sdklambda.InvokeOutput, error) {
	request, err := invocation.ParseRequest(in.Payload)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.sizes = append(c.sizes, len(request.Proposals))
	held := len(c.sizes) <= c.hold
	c.mu.Unlock()
	if held {
		c.arrived <- struct{}{}
		select {
		case <-c.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c.Client.Invoke(ctx, in, options...)
}

// counted deploys the probe behind a counter, with one invocation at a time of which the first is held up.
func (c *cloud) counted(t *testing.T, form string, change ...func(*lambda.Config)) (*lambda.Host, *counter) {
	counter := &counter{hold: 1, arrived: make(chan struct{}, 1), release: make(chan struct{})}
	host := c.deploy(form, "ch", "mine", func(f *awstest.Function, config *lambda.Config) {
		f.Name = strings.ReplaceAll(t.Name(), "/", "-")
		config.Function, config.Client = f.Name, c.client(f.Name)
		counter.Client = config.Client
		config.Client, config.Concurrency, config.BatchTime = counter, 1, time.Minute
		for _, f := range change {
			f(config)
		}
	})
	return host, counter
}

// together has the operations executed in one batch, behind one that is under way, and returns their payloads or errors.
func together(t *testing.T, c *cloud, host *lambda.Host, counter *counter, operations ...string) []string {
	t.Helper()
	first := make(chan error, 1)
	go func() {
		_, err := host.Execute(t.Context(), c.invocationOf(t, "run", "[]"))
		first <- err
	}()
	<-counter.arrived
	got := make([]string, len(operations))
	var wg sync.WaitGroup
	for i, ops := range operations {
		inv := c.invocationOf(t, "run", ops)
		wg.Go(func() {
			result, err := host.Execute(t.Context(), inv)
			if err != nil {
				got[i] = err.Error()
				return
			}
			got[i] = string(result.Response.Payload)
		})
	}
	lambda.AwaitQueue(host, len(operations))
	close(counter.release)
	wg.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	return got
}

// TestBatch: what waits while an invocation is under way goes together.
func TestBatch(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")
	host, counter := c.counted(t, "probe", func(config *lambda.Config) { config.MaxBatch = 4 })
	var operations, want []string
	for i := range 6 {
		operations = append(operations, fmt.Sprintf(`[{"op":"GetState","key":"k"},{"op":"PutState","key":"k%d","value":"x"}]`, i))
		want = append(want, `[{"op":"GetState","value":"value"},{"op":"PutState","value":null}]`)
	}
	if diff := cmp.Diff(together(t, c, host, counter, operations...), want); diff != "" {
		t.Errorf("payloads (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(counter.sizes, []int{1, 4, 2}); diff != "" {
		t.Errorf("proposals in each invocation (-got +want):\n%s", diff)
	}
}

// TestBatchSpoiled: what one proposal of a batch does to the function does not reach the others.
func TestBatchSpoiled(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe-wrapped")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")
	read, value := `[{"op":"GetState","key":"k"}]`, `[{"op":"GetState","value":"value"}]`
	for name, test := range map[string]struct {
		form, spoiler, want string
		sizes               []int
	}{
		"a crash of the program":  {"probe-wrapped", `[{"op":"panic","message":"as told"}]`, "terminated", []int{1, 3, 1, 1, 1}},
		"a panic in process":      {"probe", `[{"op":"panic","message":"as told"}]`, "terminated", []int{1, 3, 1}},
		"an answer too large":     {"probe", `[{"op":"PutState","key":"l","value":{"repeat":"x","count":5000000}}]`, "6291456", []int{1, 3, 1}},
		"a contract that is slow": {"probe", `[{"op":"sleep","ms":3000}]`, `[{"op":"sleep","value":null}]`, []int{1, 3, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, counter := c.counted(t, test.form, func(config *lambda.Config) {
				if name == "a contract that is slow" {
					config.BatchTime = time.Second
				}
			})
			got := together(t, c, host, counter, read, test.spoiler, read)
			if got[0] != value || got[2] != value || !strings.Contains(got[1], test.want) {
				t.Errorf("got %.300q", got)
			}
			if !slices.Equal(counter.sizes, test.sizes) {
				t.Errorf("proposals in each invocation: %v, want %v", counter.sizes, test.sizes)
			}
		})
	}
}

// TestAbandoned: who gives up leaves its place, in the queue and under way.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")
	host, counter := c.counted(t, "probe")
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 {
		inv := c.invocationOf(t, "run", "[]")
		go func() {
			_, err := host.Execute(ctx, inv)
			errs <- err
		}()
	}
	<-counter.arrived
	lambda.AwaitQueue(host, 1)
	cancel()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := execute(t, host, c.invocationOf(t, "run", "[]")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(counter.sizes, []int{1, 1}); diff != "" {
		t.Errorf("proposals in each invocation (-got +want):\n%s", diff)
	}
}

// TestOnceAtATime: a transaction that comes back to a chaincode, by way of another, is refused as in one process.
func TestOnceAtATime(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")
	host := c.deploy("probe", "ch", "mine")
	inv := c.invocationOf(t, "run", `[{"op":"InvokeChaincode","chaincode":"other","ops":[]}]`)
	inv.Call = func(ctx context.Context, _, _ string, _ *peer.ChaincodeInput) (*peer.Response, error) {
		again := *inv
		_, err := host.Execute(ctx, &again)
		if !errors.Is(err, chaincode.ErrDuplicate) {
			t.Errorf("error %v", err)
		}
		return nil, err
	}
	result, err := execute(t, host, inv)
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct{ Value struct{ Payload string } }
	if err := json.Unmarshal(result.Response.Payload, &answers); err != nil || !strings.Contains(answers[0].Value.Payload, "exists") {
		t.Errorf("payload %s", result.Response.Payload)
	}
}
