package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gatewayclient "github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"peerless/shared/api/client"
	network "peerless/shared/conformance/remote"
	"peerless/shared/msp"
	"peerless/shared/msp/mspdir"
	"peerless/shared/toolbox"
)

// twoOrganizations is a network of one organisation of the platform's and one that has its own authority. ENDORSER is how the second
// endorses.
const twoOrganizations = `
organizations:
  - mspId: Org1MSP
  - mspId: Org2MSP
    msp: org2
    endorser: ENDORSER
channels:
  - name: trade
    organizations: [Org1MSP, Org2MSP]
    chaincodes:
      - name: asset
        source: CONTRACTS/assettransfer
      - name: probe
        source: CONTRACTS/probe
        policy: OR('Org1MSP.peer','Org2MSP.peer')
        collections: collections.json
`

const bothCollection = `[{"name": "both", "policy": "OR('Org1MSP.member','Org2MSP.member')", "requiredPeerCount": 0, "maxPeerCount": 1, "blockToLive": 0,
  "endorsementPolicy": {"signaturePolicy": "AND('Org1MSP.peer','Org2MSP.peer')"}}]`

// A consortium is a platform, and an endorser of its second organisation, as processes.
type consortium struct {
	t         *testing.T
	dir       string
	program   string
	authority *msp.CA // of Org2MSP
	platform  *network.Server
	gateway   string // the platform's gRPC address
	address   string // the endorser's

	endorser *exec.Cmd
	log      bytes.Buffer
}

func newConsortium(t *testing.T) *consortium {
	t.Helper()
	c := &consortium{t: t, dir: t.TempDir()}
	c.program = filepath.Join(c.dir, "peerless")
	self, err := os.Executable()
	c.must(err)
	c.must(os.Symlink(self, c.program))
	c.authority, err = msp.NewCA("Org2MSP")
	c.must(err)
	c.must(mspdir.Write(c.path("org2"), c.authority.Config(), nil, nil))
	c.issue("peer", c.authority)
	c.must(os.WriteFile(c.path("collections.json"), []byte(bothCollection), 0o600))
	tls, err := network.NewAuthority(c.dir)
	c.must(err)
	for _, name := range []string{"server", "client"} {
		_, _, err := tls.Issue(name)
		c.must(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	c.must(err)
	c.address = free.Addr().String()
	c.must(free.Close())
	// The chaincodes are defined while the platform has the key; then it is taken away.
	c.manifest("{cert: peer.pem, key: peer.key}")
	succeed(t, c.program, "apply", "-f", c.path("network.yaml"), "--data", c.path("platform"))
	c.manifest(fmt.Sprintf("{address: %q, cert: peer.pem, tls: {rootCert: tls-ca.pem, clientCert: client.pem, clientKey: client.key}}", c.address))
	out, err := exec.Command(c.program, "apply", "-f", c.path("network.yaml"), "--data", c.path("platform")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "organization Org2MSP updated\n") {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	out, err = exec.Command(c.program, "apply", "-f", c.path("network.yaml"), "--data", c.path("platform")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "organization Org2MSP unchanged\n") {
		t.Fatalf("apply again: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.platform, err = network.Serve(ctx, c.program, os.Stderr, "--data", c.path("platform"), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
	c.must(err)
	t.Cleanup(func() {
		if err := c.platform.Stop(); err != nil {
			t.Errorf("stop the platform: %v", err)
		}
	})
	c.gateway = c.platform.Gateways[""]
	out, err = exec.Command(c.program, "apply", "-f", c.path("network.yaml"), "--url", c.platform.URL, "--key", c.platform.Key).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "organization Org2MSP unchanged\n") {
		t.Fatalf("apply to the server: %v\n%s", err, out)
	}
	return c
}

func (c *consortium) path(name string) string { return filepath.Join(c.dir, name) }

func (c *consortium) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// issue writes a peer's certificate and key.
func (c *consortium) issue(name string, authority *msp.CA) {
	c.t.Helper()
	certificate, key, err := authority.Issue(msp.IssueRequest{CommonName: name + ".org2", Role: msp.RolePeer})
	c.must(errors.Join(err, os.WriteFile(c.path(name+".pem"), certificate, 0o600), os.WriteFile(c.path(name+".key"), key, 0o600)))
}

func (c *consortium) manifest(endorser string) {
	c.t.Helper()
	text := strings.NewReplacer("ENDORSER", endorser, "CONTRACTS", filepath.Join(toolbox.Root(), "contracts")).Replace(twoOrganizations)
	c.must(os.WriteFile(c.path("network.yaml"), []byte(text), 0o600))
}

// command is peerless endorser with an identity, a data directory and contracts.
func (c *consortium) command(identity, data string, chaincodes ...string) *exec.Cmd {
	args := []string{"endorser", "--json", "--organization", "Org2MSP", "--cert", c.path(identity + ".pem"), "--key", c.path(identity + ".key"),
		"--from", c.gateway, "--channel", "trade", "--listen", c.address, "--data", c.path(data), "--ready-file", c.path("ready"),
		"--tls-cert", c.path("server.pem"), "--tls-key", c.path("server.key"), "--tls-client-ca", c.path("tls-ca.pem")}
	for _, chaincode := range chaincodes {
		args = append(args, "--chaincode", chaincode)
	}
	return exec.Command(c.program, args...)
}

// start starts the endorser and returns when it answers.
func (c *consortium) start(identity, data string, chaincodes ...string) {
	c.t.Helper()
	if err := os.Remove(c.path("ready")); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	c.log.Reset()
	c.endorser = c.command(identity, data, chaincodes...)
	c.endorser.Stderr = &c.log
	c.must(c.endorser.Start())
	process := c.endorser
	c.t.Cleanup(func() { process.Process.Kill(); process.Wait() })
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPause) {
		if _, err := os.Stat(c.path("ready")); err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.endorser.Process.Kill()
			c.endorser.Wait()
			c.t.Fatalf("the endorser does not answer:\n%s", c.log.String())
		}
	}
}

// stop ends the endorser as an operator does.
func (c *consortium) stop() {
	c.t.Helper()
	c.must(c.endorser.Process.Signal(syscall.SIGTERM))
	if err := c.endorser.Wait(); err != nil {
		c.t.Errorf("the endorser ended with %v:\n%s", err, c.log.String())
	}
}

func (c *consortium) client() *client.Client {
	c.t.Helper()
	made, err := client.New(c.platform.URL, client.Config{Key: c.platform.Key})
	c.must(err)
	return made
}

func (c *consortium) submit(chaincode, function string, args ...string) (*client.Submitted, error) {
	return c.client().Submit(c.t.Context(), client.Call{Channel: "trade", Chaincode: chaincode, Function: function, Args: args})
}

// endorsers are those of a committed transaction.
func (c *consortium) endorsers(chaincode, function string, args ...string) string {
	c.t.Helper()
	done, err := c.submit(chaincode, function, args...)
	c.must(err)
	tx, err := c.client().Transaction(c.t.Context(), "trade", done.TransactionID)
	c.must(err)
	var who []string
	for _, name := range []string{"endorser.Org1MSP", "peer.org2"} {
		if strings.Contains(string(tx.Raw), name) {
			who = append(who, name)
		}
	}
	return strings.Join(who, " ")
}

const both = "endorser.Org1MSP peer.org2"

// TestEndorser: an organisation's endorser is a process of its own, with its own key, packages and ledger.
func TestEndorser(t *testing.T) {
	t.Parallel()
	c := newConsortium(t)
	contracts := filepath.Join(toolbox.Root(), "contracts")
	asset, probe := "asset="+filepath.Join(contracts, "assettransfer"), "trade/probe="+filepath.Join(contracts, "probe")

	t.Log("before it runs")
	_, err := c.submit("asset", "CreateAsset", "a0", "blue", "5", "tom", "100")
	c.unavailable(err)

	t.Log("over HTTP")
	c.start("peer", "org2data", asset, probe)
	if who := c.endorsers("asset", "CreateAsset", "a1", "blue", "5", "tom", "100"); who != both {
		t.Errorf("endorsed by %s", who)
	}
	if _, err := c.submit("asset", "CreateAsset", "a1", "blue", "5", "tom", "100"); err == nil || !strings.Contains(err.Error(), "the asset a1 already exists (CHAINCODE_ERROR)") {
		t.Errorf("a contract's error: %v", err)
	}

	t.Log("policies of keys and of collections")
	const own = `{"op":"PutState","key":"own","value":"1"}`
	if who := c.endorsers("probe", "run", `[`+own+`,{"op":"SetStateValidationParameter","key":"own","policy":{"role":"PEER","orgs":["Org2MSP"]}}]`); who != "endorser.Org1MSP" {
		t.Errorf("a key without a policy: endorsed by %s", who)
	}
	if who := c.endorsers("probe", "run", `[`+own+`]`); who != "peer.org2" {
		t.Errorf("a key of Org2MSP's: endorsed by %s", who)
	}
	if who := c.endorsers("probe", "run", `[{"op":"PutPrivateData","collection":"both","key":"k","value":"v"}]`); who != both {
		t.Errorf("a collection whose policy names both: endorsed by %s", who)
	}
	if _, err := c.client().Submit(t.Context(), client.Call{Channel: "trade", Chaincode: "probe", Function: "run", Organizations: []string{"Org1MSP", "Org2MSP"},
		Args: []string{`[{"op":"GetPrivateData","collection":"both","key":"k"}]`}}); err == nil || !strings.Contains(err.Error(), "Org2MSP") {
		t.Errorf("private values are not there, and it endorses: %v", err)
	}

	t.Log("with the Fabric Gateway's client, of either organisation")
	certificate, key, err := c.authority.Issue(msp.IssueRequest{CommonName: "olga", Role: msp.RoleClient})
	c.must(err)
	contract := c.contract("Org2MSP", certificate, key)
	if _, err := contract.SubmitTransaction("CreateAsset", "a2", "red", "6", "olga", "200"); err != nil {
		t.Errorf("submit: %v", explainStatus(err))
	}
	if asset, err := contract.EvaluateTransaction("ReadAsset", "a2"); err != nil || !strings.Contains(string(asset), `"Owner":"olga"`) {
		t.Errorf("evaluate: %s, %v", asset, explainStatus(err))
	}
	if _, err := contract.SubmitTransaction("CreateAsset", "a2", "red", "6", "olga", "200"); err == nil ||
		explainStatus(err) != "failed to endorse transaction, see attached details for more info ["+c.address+" Org2MSP: chaincode response 500, the asset a2 already exists]" {
		t.Errorf("a contract's error: %v", explainStatus(err))
	}

	t.Log("it endorses its organisation's approval of a definition, and the commit")
	c.define()

	t.Log("a lagging endorser is waited for")
	c.must(c.endorser.Process.Signal(syscall.SIGSTOP))
	for i := range 20 {
		if _, err := c.submit("probe", "run", fmt.Sprintf(`[{"op":"PutState","key":"k%d","value":"1"}]`, i)); err != nil {
			t.Fatal(err)
		}
	}
	resumed := make(chan error, 1)
	go func() {
		_, err := c.submit("asset", "TransferAsset", "a1", "maria")
		resumed <- err
	}()
	c.must(c.endorser.Process.Signal(syscall.SIGCONT))
	if err := <-resumed; err != nil {
		t.Errorf("a lagging endorser: %v", err)
	}

	t.Log("many at once, and a hot key")
	var all []chan error
	for i := range 16 {
		done := make(chan error, 1)
		all = append(all, done)
		go func() {
			_, err := c.submit("asset", "TransferAsset", "a1", fmt.Sprint("owner", i))
			done <- err
		}()
	}
	for _, done := range all {
		if err := <-done; err != nil {
			t.Errorf("a hot key: %v", err)
		}
	}

	t.Log("killed")
	c.must(c.endorser.Process.Kill())
	c.endorser.Wait()
	_, err = c.submit("asset", "TransferAsset", "a1", "nina")
	c.unavailable(err)
	if _, err := contract.SubmitTransaction("TransferAsset", "a1", "nina"); err == nil ||
		!strings.HasPrefix(explainStatus(err), "failed to collect enough transaction endorsements, see attached details for more info ["+c.address+" Org2MSP: rpc error: code = Unavailable") {
		t.Errorf("its gateway client: %v", explainStatus(err))
	}
	other := c.contractOf("probe", "Org2MSP", certificate, key) // whose policy the first organisation satisfies
	if _, err := other.SubmitTransaction("run", `[{"op":"PutState","key":"z","value":"1"}]`); err != nil {
		t.Errorf("where the policy needs it not: %v", explainStatus(err))
	}
	if _, err := other.EvaluateTransaction("run", `[{"op":"GetState","key":"z"}]`); err != nil {
		t.Errorf("evaluate where another can answer: %v", explainStatus(err))
	}

	t.Log("restarted, with the packages it had")
	c.start("peer", "org2data")
	if who := c.endorsers("asset", "TransferAsset", "a1", "nina"); who != both {
		t.Errorf("endorsed by %s", who)
	}
	c.stop()

	t.Log("another package")
	c.must(os.CopyFS(c.path("cheaper"), os.DirFS(filepath.Join(contracts, "assettransfer"))))
	c.cheapen()
	c.start("peer", "org2data", "asset="+c.path("cheaper"))
	_, err = c.submit("asset", "CreateAsset", "a3", "blue", "5", "tom", "100")
	want := `failed to collect enough transaction endorsements, see attached details for more info: Org2MSP: ProposalResponsePayloads do not match: ` +
		`namespace asset, key "a3": written {"AppraisedValue":100,"Color":"blue","ID":"a3","Owner":"tom","Size":5} by Org1MSP, ` +
		`written {"AppraisedValue":50,"Color":"blue","ID":"a3","Owner":"tom","Size":5} by Org2MSP (ENDORSEMENT_POLICY_FAILURE): have the organisations of the policy endorse`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	c.stop()

	t.Log("another certificate of the organisation")
	c.issue("second", c.authority)
	c.start("second", "second", asset)
	_, err = c.submit("asset", "CreateAsset", "a4", "blue", "5", "tom", "100")
	if err == nil || !strings.Contains(err.Error(), "it is signed by second.org2 of Org2MSP, and the organisation endorses as peer.org2") {
		t.Errorf("another certificate: %v", err)
	}
	c.stop()

	t.Log("a certificate of nobody's")
	stranger, err := msp.NewCA("Org2MSP")
	c.must(err)
	c.issue("stranger", stranger)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	cmd := c.command("stranger", "stranger")
	refused := exec.CommandContext(ctx, cmd.Path, append(cmd.Args[1:], "--verbose")...)
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "the platform answers FORBIDDEN") {
		t.Errorf("blocks for a stranger: %v\n%s", err, out)
	}

	succeed(t, c.program, "verify", "--data", c.path("org2data"))
	for data, want := range map[string]string{"platform": "is the data directory of a platform", "org2": "is not a data directory of Peerless"} {
		if out, err := c.command("peer", data).CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("with --data %s: %v\n%s", data, err, out)
		}
	}
}

// define defines a chaincode that the platform cannot define alone: the second organisation's administrator approves it, which only its
// own endorser signs; the platform approves for the first, and commits, which both endorse.
func (c *consortium) define() {
	c.t.Helper()
	certificate, key, err := c.authority.Issue(msp.IssueRequest{CommonName: "admin", Role: msp.RoleAdmin})
	c.must(err)
	for file, content := range map[string][]byte{"signcerts/cert.pem": certificate, "keystore/key.pem": key} {
		c.must(os.MkdirAll(filepath.Dir(c.path("admin/"+file)), 0o700))
		c.must(os.WriteFile(c.path("admin/"+file), content, 0o600))
	}
	approve := func(more ...string) (string, error) {
		out, err := exec.Command(c.program, append([]string{"approve", "second", "--version", "1", "--channel", "trade", "--organization", "Org2MSP",
			"--msp", c.path("admin"), "--from", c.gateway}, more...)...).CombinedOutput()
		return string(out), err
	}
	deploy := func() (string, error) {
		out, err := exec.Command(c.program, "deploy", filepath.Join(toolbox.Root(), "contracts", "assettransfer"), "--name", "second", "--version", "1",
			"--channel", "trade", "--url", c.platform.URL, "--key", c.platform.Key).CombinedOutput()
		return string(out), err
	}
	if out, err := deploy(); err != nil || !strings.Contains(out, "is approved by Org1MSP and awaits Org2MSP") {
		c.t.Errorf("deploy before the other approves: %v\n%s", err, out)
	}
	if out, err := approve("--sequence", "2"); err == nil || !strings.Contains(out, "Org2MSP: ") || !strings.Contains(out, "requested sequence 2 is larger than the next available sequence number 1") {
		c.t.Errorf("approve another sequence: %v\n%s", err, out)
	}
	if out, err := approve("--channel", "nowhere"); err == nil || !strings.Contains(out, "approve second for Org2MSP: no peers available to evaluate chaincode _lifecycle in channel nowhere") &&
		!strings.Contains(out, "could not get last config for channel nowhere") {
		c.t.Errorf("approve on no channel: %v\n%s", err, out)
	}
	if out, err := approve(); err != nil || !strings.Contains(out, "second, version 1, sequence 1 on trade: approved by Org2MSP in transaction ") {
		c.t.Errorf("approve: %v\n%s", err, out)
	}
	if out, err := deploy(); err != nil {
		c.t.Errorf("deploy after the other approved: %v\n%s", err, out)
	}
	shown, err := c.client().Chaincode(c.t.Context(), "trade", "second")
	if err != nil || shown.Version != "1" || shown.Sequence != 1 {
		c.t.Errorf("defined: %+v, %v", shown, err)
	}
}

// cheapen changes the contract in "cheaper", and has it build as a module of its own.
func (c *consortium) cheapen() {
	c.t.Helper()
	file := c.path("cheaper/chaincode/smartcontract.go")
	source, err := os.ReadFile(file)
	c.must(err)
	changed := bytes.ReplaceAll(source, []byte("AppraisedValue: appraisedValue"), []byte("AppraisedValue: appraisedValue / 2"))
	if bytes.Equal(changed, source) {
		c.t.Fatal("the contract is not what it was")
	}
	c.must(os.WriteFile(file, changed, 0o600))
	main, err := os.ReadFile(c.path("cheaper/main.go"))
	c.must(err)
	c.must(os.WriteFile(c.path("cheaper/main.go"), bytes.ReplaceAll(main, []byte("peerless/contracts/assettransfer"), []byte("example/cheaper")), 0o600))
	c.must(writeModule(c.dir))
}

// unavailable checks what a caller is told when the endorser cannot be reached.
func (c *consortium) unavailable(err error) {
	c.t.Helper()
	var problem *client.Problem
	if !errors.As(err, &problem) || problem.Code != "UNAVAILABLE" || problem.Status != 503 ||
		!strings.HasPrefix(problem.Detail, "failed to collect enough transaction endorsements, see attached details for more info: Org2MSP: rpc error: code = Unavailable") ||
		!strings.Contains(problem.Detail, c.address) {
		c.t.Errorf("an endorser that cannot be reached: %v", err)
	}
}

// contract is asset for the Fabric Gateway's client.
func (c *consortium) contract(mspID string, certificate, key []byte) *gatewayclient.Contract {
	return c.contractOf("asset", mspID, certificate, key)
}

func (c *consortium) contractOf(chaincode, mspID string, certificate, key []byte) *gatewayclient.Contract {
	c.t.Helper()
	parsed, err := identity.CertificateFromPEM(certificate)
	c.must(err)
	private, err := identity.PrivateKeyFromPEM(key)
	c.must(err)
	id, err := identity.NewX509Identity(mspID, parsed)
	c.must(err)
	sign, err := identity.NewPrivateKeySign(private)
	c.must(err)
	connection, err := grpc.NewClient(c.gateway, grpc.WithTransportCredentials(insecure.NewCredentials()))
	c.must(err)
	gateway, err := gatewayclient.Connect(id, gatewayclient.WithSign(sign), gatewayclient.WithClientConnection(connection))
	c.must(err)
	c.t.Cleanup(func() { gateway.Close(); connection.Close() })
	return gateway.GetNetwork("trade").GetContract(chaincode)
}

// explainStatus shows a client's error with the details of its status.
func explainStatus(err error) string {
	if err == nil {
		return "no error"
	}
	st := status.Convert(errors.Unwrap(err))
	var details []string
	for _, d := range st.Details() {
		if detail, ok := d.(*gatewaypb.ErrorDetail); ok {
			details = append(details, strings.TrimSpace(detail.GetAddress()+" "+detail.GetMspId()+": "+detail.GetMessage()))
		}
	}
	slices.Sort(details)
	return fmt.Sprintf("%s [%s]", st.Message(), strings.Join(details, "; "))
}
