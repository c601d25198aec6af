package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"go.uber.org/goleak"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(code int) {
			if contractCache != "" {
				os.RemoveAll(contractCache)
			}
			os.Exit(code)
		}),
		// The shim reports each message it sends to a loop that is gone when its stream has ended (shim/handler.go).
		goleak.IgnoreAnyFunction("github.com/hyperledger/fabric-chaincode-go/v2/shim.(*Handler).serialSendAsync.func1"),
	)
}

const (
	contractDir = "../chaincode/testdata/contract"
	here        = runtime.GOOS + "/" + runtime.GOARCH
)

// contractProgram is the path of the chaincode tests' contract, built once.
var contractProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "peerless-test-")
	if err != nil {
		return "", err
	}
	contractCache = dir
	program, err := Build(context.Background(), contractDir, BuildConfig{CacheDir: dir})
	if err != nil {
		return "", err
	}
	return program.Path, nil
})

// contractCache is empty if no test has needed the program.
var contractCache string

// contractPackage makes a small package: its program is a script that becomes the contract.
func contractPackage(t testing.TB, label string) []byte {
	t.Helper()
	program, err := contractProgram()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := PackBinary(label, here, fmt.Appendf(nil, "#!/bin/sh\nexec %s \"$@\"\n", program), "")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func open(t testing.TB, dir string, config Config) *Manager {
	t.Helper()
	m, err := Open(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func mustInstall(t testing.TB, m *Manager, raw []byte) string {
	t.Helper()
	id, err := m.Install(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustBind(t testing.TB, m *Manager, channel, name, id string) {
	t.Helper()
	if err := m.Bind(t.Context(), channel, name, id); err != nil {
		t.Fatal(err)
	}
}

// call runs a function and returns its payload.
func call(t testing.TB, m *Manager, channel, name string, args ...string) (string, error) {
	t.Helper()
	host, err := m.Host(t.Context(), channel, name, "")
	if err != nil {
		return "", err
	}
	return execute(t, host, channel, name, args...)
}

func execute(t testing.TB, host chaincode.Host, channel, name string, args ...string) (string, error) {
	t.Helper()
	nonce := make([]byte, 24)
	rand.Read(nonce)
	input := &peer.ChaincodeInput{}
	for _, arg := range args {
		input.Args = append(input.Args, []byte(arg))
	}
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: channel, Chaincode: name, Args: input.Args, Creator: []byte("creator"), Nonce: nonce, Timestamp: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	view, err := mem.New(mem.Config{}).View(t.Context(), channel)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	result, err := host.Execute(ctx, &chaincode.Invocation{
		Channel: channel, Chaincode: name, Proposal: proposal, Input: input, Tx: simulate.New(view, proposal.TxID),
	})
	if err != nil {
		return "", err
	}
	if result.Response.Status != 200 {
		return "", fmt.Errorf("status %d: %s", result.Response.Status, result.Response.Message)
	}
	return string(result.Response.Payload), nil
}

func mustCall(t testing.TB, m *Manager, channel, name string, args ...string) string {
	t.Helper()
	payload, err := call(t, m, channel, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestManagerSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := open(t, dir, Config{Env: []string{"CORE_PEER_LOCALMSPID=Org1MSP"}})
	id := mustInstall(t, m, contractPackage(t, "basic_1"))
	if again := mustInstall(t, m, contractPackage(t, "basic_1")); again != id {
		t.Errorf("installed again as %s, was %s", again, id)
	}
	mustBind(t, m, "main", "basic", id)
	if got := mustCall(t, m, "main", "basic", "environment"); !strings.Contains(got, "CORE_PEER_LOCALMSPID=Org1MSP") || strings.Contains(got, "GOPATH") {
		t.Errorf("environment %s", got)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, m, "main", "basic", "pid"); !errors.Is(err, chaincode.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}

	m = open(t, dir, Config{})
	want := []Installation{{Package: id, Type: Binary, Label: "basic_1", Bindings: []Name{{"main", "basic"}}, Status: chaincode.Status{State: chaincode.Stopped}}}
	installed, err := m.Installed()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, installed); diff != "" {
		t.Errorf("before the first call: %s", diff)
	}
	mustCall(t, m, "main", "basic", "pid")
	want[0].Status.State = chaincode.Running
	if installed, err = m.Installed(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, installed); diff != "" {
		t.Errorf("after it: %s", diff)
	}
}

func TestManagerBuildsSource(t *testing.T) {
	t.Parallel()
	raw, err := Pack(t.Context(), contractDir, "basic_1", BuildConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, t.TempDir(), Config{})
	mustBind(t, m, "main", "basic", mustInstall(t, m, raw))
	if got := mustCall(t, m, "main", "basic", "echo", "hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
	if got, err := m.Binding("main", "basic"); err != nil || got.Type != Golang {
		t.Errorf("binding %+v, %v", got, err)
	}
}

func TestManagerSharesOneHost(t *testing.T) {
	t.Parallel()
	m := open(t, t.TempDir(), Config{})
	id := mustInstall(t, m, contractPackage(t, "basic_1"))
	mustBind(t, m, "alpha", "one", id)
	mustBind(t, m, "beta", "two", id)
	pid := mustCall(t, m, "alpha", "one", "pid")
	if other := mustCall(t, m, "beta", "two", "pid"); other != pid {
		t.Errorf("two processes, %s and %s", pid, other)
	}
	if err := m.Unbind(t.Context(), "alpha", "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, m, "alpha", "one", "pid"); !errors.Is(err, ErrNotFound) || !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("unbound: %v, want %v", err, ErrNotFound)
	}
	if err := m.Uninstall(t.Context(), id); !errors.Is(err, ErrInUse) {
		t.Errorf("uninstall: %v, want %v", err, ErrInUse)
	}
	if other := mustCall(t, m, "beta", "two", "pid"); other != pid {
		t.Errorf("process %s became %s", pid, other)
	}
	if err := m.Unbind(t.Context(), "beta", "two"); err != nil {
		t.Fatal(err)
	}
	if err := m.Uninstall(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := m.Bind(t.Context(), "beta", "two", id); !errors.Is(err, ErrNotFound) {
		t.Errorf("bind what is uninstalled: %v, want %v", err, ErrNotFound)
	}
	if err := m.Uninstall(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("uninstalled twice: %v, want %v", err, ErrNotFound)
	}
}

// TestManagerOrganizations: organisations run packages of their own, those that run the same have one host, and so after a restart.
func TestManagerOrganizations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := open(t, dir, Config{})
	one, two := mustInstall(t, m, contractPackage(t, "one_1")), mustInstall(t, m, contractPackage(t, "two_1"))
	targets := map[string]Target{"": {Package: one}, "Org2MSP": {Package: two}, "Org3MSP": {Package: one}, "Org4MSP": {Package: two}}
	if err := m.BindEach(t.Context(), "main", "basic", targets); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		hosts := map[string]chaincode.Host{}
		for _, mspID := range []string{"Org1MSP", "Org2MSP", "Org3MSP", "Org4MSP"} {
			host, err := m.Host(t.Context(), "main", "basic", mspID)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			hosts[mspID] = host
			label := map[string]string{"Org1MSP": "one_1", "Org2MSP": "two_1", "Org3MSP": "one_1", "Org4MSP": "two_1"}[mspID]
			if got, err := execute(t, host, "main", "basic", "environment"); err != nil || !strings.Contains(got, "CORE_CHAINCODE_ID_NAME="+label+":") {
				t.Errorf("%s: %s runs %q, %v; want package %s", when, mspID, got, err, label)
			}
		}
		if hosts["Org1MSP"] != hosts["Org3MSP"] || hosts["Org2MSP"] != hosts["Org4MSP"] || hosts["Org1MSP"] == hosts["Org2MSP"] {
			t.Errorf("%s: one host for each package is %v", when, hosts)
		}
		if got := m.Targets("main", "basic"); !maps.EqualFunc(got, targets, Target.Equal) {
			t.Errorf("%s: targets %v", when, got)
		}
	}
	check("bound")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, Config{})
	check("after a restart")
	if err := m.BindEach(t.Context(), "main", "basic", map[string]Target{"": {Package: one}, "Org2MSP": {Package: "none:0"}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a package that is not there: %v", err)
	}
	check("after a failure")
	mustBind(t, m, "main", "basic", two) // for all of them
	if got := m.Targets("main", "basic"); len(got) != 1 {
		t.Errorf("targets %v", got)
	}
	if err := m.Unbind(t.Context(), "main", "basic"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Host(t.Context(), "main", "basic", "Org2MSP"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Unbind: %v", err)
	}
}

// gate is a contract whose transactions wait.
type gate struct{ entered, leave chan struct{} }

func (gate) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (g gate) Invoke(shim.ChaincodeStubInterface) *peer.Response {
	g.entered <- struct{}{}
	<-g.leave
	return shim.Success([]byte("from the gate"))
}

func TestManagerSwapLetsTransactionsFinish(t *testing.T) {
	t.Parallel()
	m := open(t, t.TempDir(), Config{})
	g := gate{make(chan struct{}), make(chan struct{})}
	old, err := chaincode.StartInProcess("gate", g, chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.BindHost("main", "basic", old, "gate"); err != nil {
		t.Fatal(err)
	}
	if err := m.BindHost("main", "other", old, "gate"); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Binding("main", "other"); err != nil || got.Type != InProcess {
		t.Errorf("binding %+v, %v", got, err)
	}
	type outcome struct {
		payload string
		err     error
	}
	running := make(chan outcome, 1)
	go func() {
		payload, err := call(t, m, "main", "basic", "anything")
		running <- outcome{payload, err}
	}()
	<-g.entered
	mustBind(t, m, "main", "basic", mustInstall(t, m, contractPackage(t, "basic_1")))
	if err := m.Unbind(t.Context(), "main", "other"); err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, m, "main", "basic", "echo", "new"); got != "new" {
		t.Errorf("a new call: %q", got)
	}
	close(g.leave)
	if got := <-running; got.err != nil || got.payload != "from the gate" {
		t.Errorf("the running one: %+v", got)
	}
	// The old host is closed once nothing uses it.
	m.closing.Wait()
	if _, err := execute(t, old, "main", "basic", "anything"); !errors.Is(err, chaincode.ErrCrashed) {
		t.Errorf("the old host: %v, want %v", err, chaincode.ErrCrashed)
	}
}

func TestManagerKeepsWhatWorks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := open(t, dir, Config{StopTimeout: 100 * time.Millisecond})
	good := mustInstall(t, m, contractPackage(t, "basic_1"))
	mustBind(t, m, "main", "basic", good)
	pid := mustCall(t, m, "main", "basic", "pid")

	broken, err := PackBinary("broken", here, []byte("#!/bin/sh\necho the licence has expired >&2\nexit 3\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	id := mustInstall(t, m, broken)
	err = m.Bind(t.Context(), "main", "basic", id)
	if !errors.Is(err, chaincode.ErrUnavailable) || !strings.Contains(err.Error(), "the licence has expired") {
		t.Errorf("a package that does not start: %v", err)
	}
	_, err = m.Install(t.Context(), wrap(t, `{"type":"golang","label":"typo","path":"example.org/m"}`,
		archive(t, text("src/go.mod", "module example.org/m\n\ngo 1.24\n"), text("src/main.go", "package main\n\nfunc main() { typo() }\n"))))
	var failed *BuildError
	if !errors.As(err, &failed) || !strings.Contains(failed.Output, "main.go:3:15: undefined: typo") {
		t.Errorf("a package that does not compile: %v", err)
	}
	if _, err = m.Install(t.Context(), []byte("nonsense")); !errors.Is(err, ErrInvalidPackage) {
		t.Errorf("nonsense: %v", err)
	}
	elsewhere, err := PackBinary("elsewhere", "plan9/mips", []byte("program"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = m.Install(t.Context(), elsewhere); !errors.Is(err, ErrUnsupportedPackage) {
		t.Errorf("another platform: %v", err)
	}
	if got := mustCall(t, m, "main", "basic", "pid"); got != pid {
		t.Errorf("process %s became %s", pid, got)
	}
	ids, err := m.Packages()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{good, id}, ids); diff != "" {
		t.Error(diff)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "programs", "new-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestManagerBindService(t *testing.T) {
	t.Parallel()
	program, err := contractProgram()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil { // the service takes the port
		t.Fatal(err)
	}
	service := exec.Command(program)
	service.Env = []string{"CHAINCODE_SERVER_ADDRESS=" + address, "CHAINCODE_ID=any", "CHAINCODE_TLS_DISABLED=true"}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Kill()
		_ = service.Wait() // killed
	})
	dir := t.TempDir()
	m := open(t, dir, Config{})
	connection := Connection{Address: address, DialTimeout: Duration(20 * time.Second)}
	if err := m.BindService(t.Context(), "main", "basic", connection); err != nil {
		t.Fatal(err)
	}
	if got, want := mustCall(t, m, "main", "basic", "pid"), fmt.Sprint(service.Process.Pid); got != want {
		t.Errorf("process %s, want %s", got, want)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, Config{})
	mustCall(t, m, "main", "basic", "pid")
	if got, err := m.Binding("main", "basic"); err != nil || got.Address != connection.Address || got.Type != Service || got.Status.State != chaincode.Running {
		t.Errorf("binding %+v, %v", got, err)
	}
	// A package names the service, as Fabric's peer does.
	raw, err := PackService("basic_1", connection)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Bind(t.Context(), "main", "packaged", mustInstall(t, m, raw)); !errors.Is(err, chaincode.ErrUnavailable) || !strings.Contains(err.Error(), "want the name basic_1:") {
		t.Errorf("a service of another name: %v", err)
	}
}

func TestManagerDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := open(t, dir, Config{})
	id := mustInstall(t, m, contractPackage(t, "basic_1"))
	mustBind(t, m, "main", "basic", id)
	if err := m.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, hash, _ := splitPackageID(id)
	damage := func(path string) {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(path), os.WriteFile(path, flipped(raw), 0o500)); err != nil {
			t.Fatal(err)
		}
	}

	damage(filepath.Join(dir, "programs", hash, "chaincode"))
	m = open(t, dir, Config{})
	if err := m.Verify(t.Context()); !errors.Is(err, ErrDamaged) || !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("a damaged program: %v", err)
	}
	mustCall(t, m, "main", "basic", "pid") // it is made again
	if err := errors.Join(m.Verify(t.Context()), m.Close()); err != nil {
		t.Error(err)
	}

	damage(filepath.Join(dir, "packages", "basic_1."+hash+".tar.gz"))
	if err := os.RemoveAll(filepath.Join(dir, "programs", hash)); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, Config{})
	if _, err := call(t, m, "main", "basic", "pid"); !errors.Is(err, chaincode.ErrUnavailable) || !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged package: %v", err)
	}
	if got, err := m.Binding("main", "basic"); err != nil || got.Status.State != chaincode.Failing || !strings.Contains(got.Status.Reason, "damaged") {
		t.Errorf("binding %+v, %v", got, err)
	}
	if err := errors.Join(m.Verify(t.Context())); !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: %v", err)
	}
	if _, err := m.Install(t.Context(), contractPackage(t, "basic_1")); err != nil {
		t.Fatal(err)
	}
	mustCall(t, m, "main", "basic", "pid") // installing it again heals it

	bindings := filepath.Join(dir, "bindings.json")
	raw, err := os.ReadFile(bindings)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			spoilt := append([]byte(nil), raw...)
			spoilt[i] ^= 1 << bit
			if err := os.WriteFile(bindings, spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			if saved, err := m.loadBindings(); err == nil {
				t.Fatalf("byte %d, bit %d: read %+v", i, bit, saved)
			}
		}
	}
	if err := os.WriteFile(bindings, []byte(strings.Replace(string(raw), `"version": 2`, `"version": 4`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{}); err == nil || !strings.Contains(err.Error(), "has version 4, this program knows 3") {
		t.Errorf("a newer version: %v", err)
	}
}

func TestManagerNames(t *testing.T) {
	t.Parallel()
	m := open(t, t.TempDir(), Config{})
	host, err := chaincode.StartInProcess("gate", gate{}, chaincode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for _, name := range []Name{{"", "basic"}, {"Main", "basic"}, {"main/../x", "basic"}, {"main", ""}, {"main", "a b"}, {"main", "-a"}, {"main", "a__b"}, {"main", "ä"}} {
		if err := m.BindHost(name.Channel, name.Chaincode, host, "gate"); !errors.Is(err, wire.ErrName) {
			t.Errorf("%s: %v, want %v", name, err, wire.ErrName)
		}
	}
	if _, err := m.Host(t.Context(), "main", "absent", "Org1MSP"); !errors.Is(err, ErrNotFound) {
		t.Errorf("host: %v, want %v", err, ErrNotFound)
	}
	for _, id := range []string{"", "absent", "../../etc:" + strings.Repeat("0", 64), "absent:" + strings.Repeat("0", 64)} {
		if err := m.Bind(t.Context(), "main", "basic", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("package %q: %v, want %v", id, err, ErrNotFound)
		}
	}
	if err := m.Unbind(t.Context(), "main", "absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unbind: %v, want %v", err, ErrNotFound)
	}
}
