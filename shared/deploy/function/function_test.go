package function_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	assets "peerless/contracts/assettransfer/chaincode"
	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/api"
	"peerless/shared/chaincode"
	"peerless/shared/deploy/function"
	"peerless/shared/docstore"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/node"
	"peerless/shared/store/mem"
)

// hosts runs contracts in process in the place of functions: the qualifier says which contract.
type hosts struct {
	mu     sync.Mutex
	opened []function.Binding
	broken map[string]error // by qualifier, of Start
}

// startable is a host that can be asked whether it is there, as a function's can.
type startable struct {
	chaincode.Host
	err error
}

func (s startable) Start(context.Context) error { return s.err }

func (h *hosts) open(_, name string, b function.Binding) (chaincode.Host, error) {
	h.mu.Lock()
	h.opened = append(h.opened, b)
	err := h.broken[b.Qualifier]
	h.mu.Unlock()
	var contract shim.Chaincode = probe.New()
	if strings.HasPrefix(b.Qualifier, "assets") {
		var newErr error
		if contract, newErr = assets.New(); newErr != nil {
			return nil, newErr
		}
	}
	host, startErr := chaincode.StartInProcess(name, contract, chaincode.Config{})
	if startErr != nil {
		return nil, startErr
	}
	return startable{host, err}, nil
}

// A clock stands still until it is told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newManager(t *testing.T, documents docstore.Store, h *hosts, c *clock) *function.Manager {
	t.Helper()
	m, err := function.New(function.Config{Documents: documents, Prefix: "peerless-dev-", Open: h.open, Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestBindings(t *testing.T) {
	t.Parallel()
	documents, c, h := docstore.NewMem(0), &clock{now: time.Unix(1, 0)}, &hosts{broken: map[string]error{"bad": chaincode.ErrUnavailable}}
	here, there := newManager(t, documents, h, c), newManager(t, documents, h, c) // two processes
	ctx := t.Context()
	if _, err := here.Host(ctx, "alpha", "assets", "Org1MSP"); !errors.Is(err, function.ErrNotFound) || !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("nothing is bound: got %v", err)
	}
	first := function.Binding{Function: "peerless-dev-alpha-assets-1", Qualifier: "assets1", PackageID: "a:1"}
	if err := here.Bind(ctx, "alpha", "assets", first); err != nil {
		t.Fatal(err)
	}
	one, err := there.Host(ctx, "alpha", "assets", "Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := there.Host(ctx, "alpha", "assets", "Org1MSP"); err != nil || again != one {
		t.Errorf("another host for the same binding: %v", err)
	}

	// What another process binds is seen after a while, and the host that was in use stays open until then and longer.
	second := first
	second.Qualifier = "assets2"
	if err := here.Bind(ctx, "alpha", "assets", second); err != nil {
		t.Fatal(err)
	}
	if other, err := there.Host(ctx, "alpha", "assets", "Org1MSP"); err != nil || other != one {
		t.Errorf("at once: got another host, %v", err)
	}
	c.add(function.DefaultTrust + time.Second)
	two, err := there.Host(ctx, "alpha", "assets", "Org1MSP")
	if err != nil || two == one {
		t.Errorf("after %v: got the same host, %v", function.DefaultTrust, err)
	}

	// What does not start changes nothing.
	bad := first
	bad.Qualifier = "bad"
	if err := here.Bind(ctx, "alpha", "assets", bad); !errors.Is(err, chaincode.ErrUnavailable) {
		t.Errorf("a function that does not start: got %v", err)
	}
	if got, err := here.Binding(ctx, "alpha", "assets"); err != nil || got != second {
		t.Errorf("after that: got %+v, %v, want %+v", got, err, second)
	}

	if err := here.Unbind(ctx, "alpha", "assets"); err != nil {
		t.Fatal(err)
	}
	if err := here.Unbind(ctx, "alpha", "assets"); !errors.Is(err, function.ErrNotFound) {
		t.Errorf("unbound again: got %v", err)
	}
	c.add(function.DefaultTrust + time.Second)
	for _, m := range []*function.Manager{here, there} {
		if _, err := m.Host(ctx, "alpha", "assets", "Org1MSP"); !errors.Is(err, function.ErrNotFound) {
			t.Errorf("after it was unbound: got %v", err)
		}
	}
}

// TestTenants: nobody can have a function bound that is or was another one's, or no contract at all.
func TestTenants(t *testing.T) {
	t.Parallel()
	documents, h, c := docstore.NewMem(0), &hosts{}, &clock{}
	m, ctx := newManager(t, documents, h, c), t.Context()
	mine := function.Binding{Function: "peerless-dev-alpha-assets-1", Qualifier: "1"}
	if err := m.Bind(ctx, "alpha", "assets", mine); err != nil {
		t.Fatal(err)
	}
	opened := len(h.opened)
	for name, bind := range map[string]func() error{
		"another channel":   func() error { return m.Bind(ctx, "beta", "assets", mine) },
		"another chaincode": func() error { return m.Bind(ctx, "alpha", "assets2", mine) },
		"another qualifier": func() error {
			return m.Bind(ctx, "beta", "assets", function.Binding{Function: mine.Function, Qualifier: "2"})
		},
		"another stack's": func() error {
			return m.Bind(ctx, "beta", "assets", function.Binding{Function: "peerless-prod-x", Qualifier: "1"})
		},
		"the gateway itself": func() error {
			return m.Bind(ctx, "beta", "assets", function.Binding{Function: "peerless-gateway", Qualifier: "1"})
		},
		"the prefix elsewhere": func() error {
			return m.Bind(ctx, "beta", "assets", function.Binding{Function: "x-peerless-dev-y", Qualifier: "1"})
		},
	} {
		if err := bind(); !errors.Is(err, function.ErrForeign) || strings.Contains(err.Error(), "alpha/") {
			t.Errorf("%s: got %v, want ErrForeign that does not tell whose it is", name, err)
		}
	}
	if err := m.Unbind(ctx, "alpha", "assets"); err != nil {
		t.Fatal(err)
	}
	if err := m.Bind(ctx, "beta", "assets", mine); !errors.Is(err, function.ErrForeign) {
		t.Errorf("after it was removed: got %v, want ErrForeign: its process may be warm", err)
	}
	if len(h.opened) != opened {
		t.Error("a function that was refused was opened")
	}
	if err := m.Bind(ctx, "alpha", "assets", mine); err != nil {
		t.Errorf("its own again: %v", err)
	}
}

// TestDeployer: what the API asks for, over a whole node.
func TestDeployer(t *testing.T) {
	t.Parallel()
	h := &hosts{broken: map[string]error{"bad": chaincode.ErrUnavailable}}
	m := newManager(t, docstore.NewMem(0), h, &clock{})
	store := mem.New(mem.Config{})
	n, err := node.Open(node.Config{Store: store, Hosts: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if _, err := (&ledger.Audit{Store: store, Channel: "alpha", Scratch: mem.New(mem.Config{})}).Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	if err := n.CreateChannel(ctx, "alpha", nil); err != nil {
		t.Fatal(err)
	}
	user, err := n.User("", "operator", nil)
	if err != nil {
		t.Fatal(err)
	}
	by := &api.Principal{MSPID: user.MSPID, Signer: func() (*msp.Signer, error) { return user, nil }}
	d := &function.Deployer{Functions: m, Gateway: n.Gateway}
	spec := func(qualifier string, change ...func(*api.DeploySpec)) api.DeploySpec {
		s := api.DeploySpec{Name: "assets", Version: "1.0", Function: api.Function{Name: "peerless-dev-alpha-assets-1", Qualifier: qualifier, PackageID: "assets:" + qualifier}}
		for _, f := range change {
			f(&s)
		}
		return s
	}
	want := api.Chaincode{Name: "assets", Version: "1.0", Sequence: 1, PackageID: "assets:assets1", Language: "function"}
	for range 2 { // the same again changes nothing
		got, err := d.Deploy(ctx, by, "alpha", spec("assets1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Approvals) != 1 || !got.Approvals[0].Approved || got.Approvals[0].TransactionID == "" {
			t.Errorf("approvals: %+v", got.Approvals)
		}
		want.Approvals = got.Approvals
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("deployed (-want +got):\n%s", diff)
		}
	}
	call := func(name, function string, args ...string) (string, error) {
		request := gateway.Request{Channel: "alpha", Chaincode: name, Function: function, User: user}
		for _, a := range args {
			request.Args = append(request.Args, []byte(a))
		}
		outcome, err := n.Gateway.SubmitTransaction(ctx, request)
		if err != nil {
			return "", err
		}
		return string(outcome.Response.Payload), nil
	}
	if _, err := call("assets", "CreateAsset", "a1", "blue", "5", "tom", "100"); err != nil {
		t.Fatal(err)
	}

	// What is refused leaves what there was.
	for name, s := range map[string]api.DeploySpec{
		"a bad policy":      spec("assets2", func(s *api.DeploySpec) { s.Policy = "OR(" }),
		"a wrong sequence":  spec("assets2", func(s *api.DeploySpec) { s.Sequence, s.Version = 9, "2.0" }),
		"bad collections":   spec("assets2", func(s *api.DeploySpec) { s.Collections = "{" }),
		"no function":       spec("", func(s *api.DeploySpec) { s.Function = api.Function{} }),
		"another's":         spec("assets2", func(s *api.DeploySpec) { s.Name = "thief" }),
		"it does not start": spec("bad"),
	} {
		_, err := d.Deploy(ctx, by, "alpha", s, strings.NewReader("a package"))
		var problem *api.Problem
		var failed *gateway.Error
		if !errors.As(err, &problem) && !errors.As(err, &failed) {
			t.Errorf("%s: got %v, want what a caller can be told", name, err)
		}
		if _, err := call("assets", "TransferAsset", "a1", name); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	if _, err := d.Chaincode(ctx, "alpha", "thief"); err == nil {
		t.Error("a chaincode with another's function is defined")
	}
	list, err := d.Chaincodes(ctx, "alpha")
	if err != nil || len(list) != 1 || !cmp.Equal(list[0], want) {
		t.Errorf("list: got %+v, %v", list, err)
	}
	if err := d.Remove(ctx, by, "alpha", "assets"); err != nil {
		t.Fatal(err)
	}
	if _, err := call("assets", "TransferAsset", "a1", "x"); err == nil {
		t.Error("a removed chaincode runs")
	}
	if err := d.Remove(ctx, by, "alpha", "assets"); err == nil {
		t.Error("removed twice")
	}
}
