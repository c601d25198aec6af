package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/awstest"
	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

var nonces atomic.Int64

// invocationOf makes an invocation of chaincode mine on channel ch over the table's state.
func (c *cloud) invocationOf(t testing.TB, args ...string) *chaincode.Invocation {
	t.Helper()
	spec := wire.ProposalSpec{Channel: "ch", Chaincode: "mine", Creator: []byte("creator"), Nonce: fmt.Appendf(nil, "%024d", nonces.Add(1)), Timestamp: time.Unix(1, 0)}
	for _, a := range args {
		spec.Args = append(spec.Args, []byte(a))
	}
	p, err := wire.NewProposal(spec)
	if err != nil {
		t.Fatal(err)
	}
	p.Signed.Signature = []byte("signature")
	view, err := c.store.View(t.Context(), "ch")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { view.Close() })
	return &chaincode.Invocation{Channel: "ch", Chaincode: "mine", Proposal: p, Input: p.Input, Tx: simulate.New(view, p.TxID)}
}

// put writes a block with one key to a channel.
func (c *cloud) put(t testing.TB, channel, ns, key, value string) {
	t.Helper()
	height, err := c.store.Height(t.Context(), channel)
	if err != nil {
		t.Fatal(err)
	}
	version := ledger.Version{Block: height}
	batch := &ledger.Batch{
		Block: height, Hash: fmt.Appendf(nil, "%032d", height),
		Writes:  []ledger.Write{{Namespace: ns, Key: key, Item: &ledger.Item{Value: []byte(value), Version: version}}},
		History: []ledger.Change{{Namespace: ns, Key: key, Version: version, TxID: fmt.Sprint("tx", height), Value: []byte(value), Timestamp: time.Unix(1, 0).UTC()}},
	}
	if err := c.store.Append(t.Context(), channel, fmt.Appendf(nil, "block %d", height), batch); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Apply(t.Context(), channel, batch); err != nil {
		t.Fatal(err)
	}
}

// execute runs an invocation with a time that a slow machine needs too.
func execute(t testing.TB, host chaincode.Host, inv *chaincode.Invocation) (*chaincode.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return host.Execute(ctx, inv)
}

// TestAttackers: what a function may try that its tenant wrote from nothing.
func TestAttackers(t *testing.T) {
	t.Parallel()
	functionCode(t, "attacker")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "mine")
	c.put(t, "ch", "victim", "k", "secret")
	c.put(t, "other", "mine", "k", "secret")
	host := c.deploy("attacker", "ch", "mine")

	t.Run("takes the credentials elsewhere", func(t *testing.T) {
		t.Parallel()
		result, err := execute(t, host, c.invocationOf(t, "steal"))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		if err := json.Unmarshal(result.Response.Payload, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, map[string]bool{"get state#ch#mine": true, "query state#ch#mine": true}); diff != "" {
			t.Errorf("what its credentials reach (-got +want):\n%s", diff)
		}
	})

	for what, want := range map[string]struct {
		err  error
		text string
	}{
		"write for another":                 {chaincode.ErrProtocol, `namespace "victim", its own is mine`},
		"write for the lifecycle":           {chaincode.ErrProtocol, `namespace "_lifecycle"`},
		"write for itself and another":      {chaincode.ErrProtocol, `namespace "victim"`},
		"write itself twice":                {chaincode.ErrProtocol, `namespace "mine"`},
		"write hashes of private data":      {chaincode.ErrProtocol, "private data"},
		"write out of order":                {chaincode.ErrProtocol, "out of order"},
		"noise for a set":                   {chaincode.ErrProtocol, "malformed"},
		"noise for a response":              {chaincode.ErrProtocol, "response"},
		"an event without a name":           {chaincode.ErrProtocol, "event"},
		"the result of another transaction": {chaincode.ErrProtocol, "another"},
		"no results":                        {chaincode.ErrProtocol, "0 results"},
		"more results":                      {chaincode.ErrProtocol, "2 results"},
		"a million results":                 {chaincode.ErrProtocol, "more than 1000 results"},
		"results of another kind":           {chaincode.ErrProtocol, "no list"},
		"a million questions":               {chaincode.ErrProtocol, "more than 20000 calls"},
		"asks without end":                  {chaincode.ErrProtocol, "more than 127 times"},
		"asks, and is done":                 {chaincode.ErrProtocol, "more than 127 times"},
		"a million reads":                   {chaincode.ErrProtocol, "entries, the limit is 200000"},
		"a million rows":                    {chaincode.ErrProtocol, "entries, the limit is 200000"},
		"another version":                   {chaincode.ErrUnavailable, "version 7"},
		"calls without end":                 {chaincode.ErrProtocol, "more than 32 calls"},
		"7 MB":                              {chaincode.ErrTooLarge, "6291456"},
		"exit":                              {chaincode.ErrCrashed, "exit status 1"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inv := c.invocationOf(t, what)
			inv.Call = func(context.Context, string, string, *peer.ChaincodeInput) (*peer.Response, error) {
				return &peer.Response{Status: 200}, nil
			}
			_, err := execute(t, host, inv)
			if !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.text) {
				t.Fatalf("error %v", err)
			}
			set, err := inv.Tx.Results()
			if err != nil {
				t.Fatal(err)
			}
			for _, ns := range set.Namespaces {
				if ns.Namespace != "mine" {
					t.Errorf("the transaction has something of namespace %s: %v", ns.Namespace, ns.KV)
				}
			}
		})
	}

	t.Run("never returns", func(t *testing.T) {
		t.Parallel()
		slow := c.deploy("attacker", "ch", "mine", func(f *awstest.Function, config *lambda.Config) {
			f.Name, f.Timeout = "hanging", 2*time.Second
			config.Function = f.Name
			config.Client = c.client(f.Name)
		})
		if _, err := execute(t, slow, c.invocationOf(t, "hang")); !errors.Is(err, chaincode.ErrTimeout) || !strings.Contains(err.Error(), "its Timeout setting") {
			t.Errorf("error %v", err)
		}
		if _, err := execute(t, slow, c.invocationOf(t, "nothing")); err != nil {
			t.Errorf("the next transaction: %v", err)
		}
	})

	t.Run("floods its output", func(t *testing.T) {
		t.Parallel()
		if _, err := execute(t, host, c.invocationOf(t, "flood")); err != nil {
			t.Error(err)
		}
	})

	t.Run("forges an event of another", func(t *testing.T) {
		t.Parallel()
		inv := c.invocationOf(t, "an event of another")
		result, err := execute(t, host, inv)
		if err != nil {
			t.Fatal(err)
		}
		if result.Event.ChaincodeId != "mine" || result.Event.TxId != inv.Proposal.TxID {
			t.Errorf("event %v", result.Event)
		}
	})

	t.Run("answers its own call of another", func(t *testing.T) {
		t.Parallel()
		inv := c.invocationOf(t, "an answered call")
		inv.Call = func(_ context.Context, channel, name string, input *peer.ChaincodeInput) (*peer.Response, error) {
			return &peer.Response{Status: 200, Payload: fmt.Appendf(nil, "%s%s was asked to %s", channel, name, input.Args[0])}, nil
		}
		result, err := execute(t, host, inv)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(result.Response.Payload); got != "victim was asked to pay" {
			t.Errorf("the caller was told %q", got)
		}
	})

	t.Run("is asked for another tenant's", func(t *testing.T) {
		t.Parallel()
		for _, other := range [][2]string{{"ch", "victim"}, {"other", "mine"}} {
			inv := c.invocationOf(t, "count")
			inv.Channel, inv.Chaincode = other[0], other[1]
			if _, err := execute(t, host, inv); !errors.Is(err, chaincode.ErrUnavailable) || !strings.Contains(err.Error(), "is chaincode mine of channel ch, not") {
				t.Errorf("error %v", err)
			}
		}
	})
}

// TestSharedFunction: a gateway that was told to run a chaincode in another one's function is refused by the function.
func TestSharedFunction(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "mine")
	host := c.deploy("probe", "ch", "mine", func(f *awstest.Function, _ *lambda.Config) {
		f.Environment["PEERLESS_CHAINCODE"] = "victim"
	})
	_, err := execute(t, host, c.invocationOf(t, "run", "[]"))
	if !errors.Is(err, chaincode.ErrUnavailable) || !strings.Contains(err.Error(), "this function is chaincode victim of channel ch (PEERLESS_CHAINCODE, PEERLESS_CHANNEL)") {
		t.Errorf("error %v", err)
	}
}

// TestEnvironment: a function has no credentials but its role's, which may do nothing, and no other tenant's settings.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	functionCode(t, "attacker")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "mine")
	result, err := execute(t, c.deploy("attacker", "ch", "mine"), c.invocationOf(t, "environment"))
	if err != nil {
		t.Fatal(err)
	}
	var environment []string
	if err := json.Unmarshal(result.Response.Payload, &environment); err != nil {
		t.Fatal(err)
	}
	for _, variable := range environment {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PEERLESS_") && name != "PEERLESS_CHANNEL" && name != "PEERLESS_CHAINCODE" {
			t.Errorf("it is told %s", variable)
		}
	}
}
