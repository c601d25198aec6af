package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	service "peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// hosts are the chaincodes of a test, by channel and name, and the organisation if it has its own.
type hosts map[string]chaincode.Host

func (h hosts) Host(_ context.Context, channel, name, mspID string) (chaincode.Host, error) {
	if host := h[channel+"/"+name+"/"+mspID]; host != nil {
		return host, nil
	}
	if host := h[channel+"/"+name]; host != nil {
		return host, nil
	}
	return nil, fmt.Errorf("chaincode %s on %s: %w", name, channel, ledger.ErrNotFound)
}

// A platform is a service with one organisation and one contract, "cc", in process on the channel "main".
type platform struct {
	*service.Service
	user  *msp.Signer
	store ledger.Store
	spec  channelconfig.Spec // of "main"
}

func newPlatform(tb testing.TB, store ledger.Store, contract shim.Chaincode, config service.Config) *platform {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	organizations, err := organization.Open(context.Background(), organization.Config{})
	must(err)
	own, err := organizations.Organization("PeerlessMSP")
	must(err)
	orderer, err := organizations.Orderer()
	must(err)
	config.Organizations = organizations
	config.Ledger, err = ledger.Open(ledger.Config{Store: store, Signer: orderer.Orderer(), Keys: organizations, RetryPause: time.Millisecond})
	must(err)
	host, err := chaincode.StartInProcess("cc", contract, chaincode.Config{})
	must(err)
	config.Chaincodes = hosts{"main/cc": host}
	s, err := service.New(config)
	must(err)
	spec := channelconfig.Spec{Channel: "main",
		Organizations: []channelconfig.Organization{{MSPID: "PeerlessMSP", MSP: own.MSPConfig()}},
		Orderer:       channelconfig.Organization{MSPID: organization.OrdererMSP, MSP: orderer.MSPConfig()}}
	genesis, err := channelconfig.Genesis(spec, time.Now())
	must(err)
	user, err := own.User("alice", nil)
	must(err)
	retry := func(f func() error) {
		for range 100 {
			if err = f(); !errors.Is(err, mem.ErrInjected) {
				break
			}
		}
		if !errors.Is(err, ledger.ErrExists) {
			must(err)
		}
	}
	retry(func() error { return s.CreateChannel(tb.Context(), genesis) })
	retry(func() error {
		_, err := s.Define(tb.Context(), "main", user, service.Definition{Name: "cc", Version: "1"})
		return err
	})
	tb.Cleanup(func() {
		host.Close()
		if err := config.Ledger.Close(); err != nil {
			tb.Errorf("close ledger: %v", err)
		}
	})
	return &platform{s, user, store, spec}
}

// process returns another process's service of the same platform, which shares its channels over a store.
func (p *platform) process(tb testing.TB, store ledger.Store) *platform {
	tb.Helper()
	return p.processWith(tb, store, ledger.Config{RetryPause: time.Millisecond, InboxPatience: 60 * time.Millisecond})
}

func (p *platform) processWith(tb testing.TB, store ledger.Store, own ledger.Config) *platform {
	tb.Helper()
	config := p.Service.Config
	own.Store, own.Signer, own.Shared = store, p.Ledger.Signer, true
	var err error
	if config.Ledger, err = ledger.Open(own); err != nil {
		tb.Fatal(err)
	}
	s, err := service.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := config.Ledger.Close(); err != nil {
			tb.Errorf("close ledger: %v", err)
		}
	})
	return &platform{s, p.user, store, p.spec}
}

// addChannel makes another channel, with the contract that "main" has.
func (p *platform) addChannel(tb testing.TB, name string) string {
	tb.Helper()
	spec := p.spec
	spec.Channel = name
	genesis, err := channelconfig.Genesis(spec, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.CreateChannel(tb.Context(), genesis); err != nil {
		tb.Fatal(err)
	}
	p.Chaincodes.(hosts)[name+"/cc"] = p.Chaincodes.(hosts)["main/cc"]
	if _, err := p.Define(tb.Context(), name, p.user, service.Definition{Name: "cc", Version: "1"}); err != nil {
		tb.Fatal(err)
	}
	return name
}

// audit checks chain and state at the end of a test.
func (p *platform) audit(t *testing.T) {
	t.Helper()
	if err := p.Ledger.Close(); err != nil {
		t.Errorf("close ledger: %v", err)
	}
	audit := ledger.Audit{Store: p.store, Channel: "main", Scratch: mem.New(mem.Config{})}
	if _, err := audit.Run(context.Background()); err != nil {
		t.Errorf("audit: %v", err)
	}
}

func (p *platform) request(function string, args ...string) service.Request {
	r := service.Request{Channel: "main", Chaincode: "cc", Function: function, User: p.user}
	for _, arg := range args {
		r.Args = append(r.Args, []byte(arg))
	}
	return r
}

func (p *platform) submit(ctx context.Context, function string, args ...string) (string, error) {
	outcome, err := p.SubmitTransaction(ctx, p.request(function, args...))
	if err != nil {
		return "", err
	}
	return string(outcome.Response.Payload), nil
}

func (p *platform) evaluate(ctx context.Context, function string, args ...string) (string, error) {
	answer, err := p.EvaluateTransaction(ctx, p.request(function, args...))
	if err != nil {
		return "", err
	}
	return string(answer.Response.Payload), nil
}

// counters is a contract of numbers: add KEY N, get KEY, fill KEY N (with as many bytes), sum (a range over all), fail, and what a test puts in slow.
type counters struct {
	runs func(function string) // called at the start of each execution
}

func (c *counters) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (c *counters) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	if c.runs != nil {
		c.runs(function)
	}
	switch function {
	case "add":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return shim.Error(err.Error())
		}
		value, err := stub.GetState(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		old, _ := strconv.Atoi(string(value))
		sum := []byte(strconv.Itoa(old + n))
		if err := stub.PutState(args[0], sum); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(sum)
	case "get":
		value, err := stub.GetState(args[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		if value == nil {
			value = []byte("0")
		}
		return shim.Success(value)
	case "fill":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return shim.Error(err.Error())
		}
		if err := stub.PutState(args[0], bytes.Repeat([]byte{'x'}, n)); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success([]byte(args[1]))
	case "sum":
		rows, err := stub.GetStateByRange("", "")
		if err != nil {
			return shim.Error(err.Error())
		}
		defer rows.Close()
		total := 0
		for rows.HasNext() {
			row, err := rows.Next()
			if err != nil {
				return shim.Error(err.Error())
			}
			n, _ := strconv.Atoi(string(row.Value))
			total += n
		}
		if len(args) > 0 {
			if err := stub.PutState(args[0], []byte(strconv.Itoa(total))); err != nil {
				return shim.Error(err.Error())
			}
		}
		return shim.Success([]byte(strconv.Itoa(total)))
	}
	return shim.Error("no function " + function)
}

// announcer is a contract whose every transaction sets an event.
type announcer struct{ counters }

func (a *announcer) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	_, args := stub.GetFunctionAndParameters()
	if err := stub.SetEvent("announced", []byte(args[0])); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}
