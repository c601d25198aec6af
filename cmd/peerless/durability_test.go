package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"peerless/shared/api/client"
)

// How often the server is killed, and how many clients there are.
const (
	killRounds      = 50
	killRoundsShort = 10
	killClients     = 8
	// auditEvery is how many rounds there are between two audits of the whole directory; the last one is after the last.
	auditEvery = 10
)

// TestKilledServer kills the server with SIGKILL at random moments while clients submit. Then, after each restart, every
// transaction that it acknowledged is there, as it was acknowledged; every one that it accepted into its queue is committed before
// long; a call repeated with its key has run once; and at the end no transaction stands twice in the chain, the chain verifies, and the state equals a replay.
func TestKilledServer(t *testing.T) {
	rounds := killRounds
	if testing.Short() {
		rounds = killRoundsShort
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	work := t.TempDir()
	v := &victim{t: t, program: buildPeerless(t, work), data: filepath.Join(work, "data"), dir: work}

	v.start()
	v.deploy(filepath.Join("..", "..", "contracts", "assettransfer"))
	load := &load{acknowledged: make(map[string]acknowledgement), accepted: make(map[string]client.Call)}
	if err := load.prepare(t.Context(), v.client()); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range killClients {
			clients.Go(func() { load.run(ctx, v.client(), fmt.Sprintf("r%d-c%d", round, i)) })
		}
		// The moment is what is random here: from before the first commit to well into the load.
		time.Sleep(time.Duration(random.Int64N(int64(250 * time.Millisecond))))
		v.kill()
		stop()
		clients.Wait()
		if (round+1)%auditEvery == 0 {
			v.audit()
		}
		v.start()
		load.check(t, v.client())
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
	}
	load.checkChain(t, v.client())
	v.kill()
	v.audit()
	t.Logf("%d kills, %d transactions acknowledged, %d of them queued, of which %d were run after a kill, %d calls repeated after a kill, of which %d had been committed",
		rounds, len(load.acknowledged), load.queued, load.ranLater, load.repeated, load.hadCommitted)
	if load.queued < rounds {
		t.Errorf("only %d messages were accepted in %d rounds: this tests nothing", load.queued, rounds)
	}
	if len(load.acknowledged) < rounds {
		t.Errorf("only %d transactions were acknowledged in %d rounds: this tests nothing", len(load.acknowledged), rounds)
	}
}

// buildPeerless builds the program as users run it, without the race detector.
func buildPeerless(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "peerless")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// victim is a server that is killed and started again.
type victim struct {
	t                  *testing.T
	program, data, dir string

	cmd  *exec.Cmd
	logs bytes.Buffer // of the running one
	url  string
	key  string
}

func (v *victim) start() {
	v.t.Helper()
	ready := filepath.Join(v.dir, "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		v.t.Fatal(err)
	}
	v.logs.Reset()
	var out bytes.Buffer
	v.cmd = exec.Command(v.program, "serve", "--data", v.data, "--http", "127.0.0.1:0", "--ready-file", ready, "--json")
	v.cmd.Stdout, v.cmd.Stderr = &out, &v.logs
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { v.cmd.Process.Kill() })
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPause) {
		raw, err := os.ReadFile(ready)
		if err == nil {
			v.url = strings.TrimSpace(string(raw))
			break
		}
		if time.Now().After(deadline) {
			v.kill()
			v.t.Fatalf("the server is not ready after %v:\n%s", patience, v.logs.String())
		}
	}
	if v.key == "" {
		v.key = v.addKey()
	}
}

// addKey makes a key for the clients.
func (v *victim) addKey() string {
	v.t.Helper()
	out, err := exec.Command(v.program, "key", "add", "clients", "--data", v.data, "--scope", "admin,submit,evaluate").Output()
	if err != nil {
		v.t.Fatalf("key add: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func (v *victim) client() *client.Client {
	c, err := client.New(v.url, client.Config{Key: v.key})
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

func (v *victim) deploy(dir string) {
	v.t.Helper()
	cmd := exec.Command(v.program, "deploy", dir, "--url", v.url, "--key", v.key)
	var out []byte
	// The server notices the new key within a second.
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPause) {
		var err error
		if out, err = cmd.CombinedOutput(); err == nil {
			return
		}
		if time.Now().After(deadline) || !bytes.Contains(out, []byte("UNAUTHENTICATED")) {
			v.t.Fatalf("deploy: %v\n%s", err, out)
		}
		cmd = exec.Command(v.program, cmd.Args[1:]...)
	}
}

func (v *victim) kill() {
	v.cmd.Process.Signal(syscall.SIGKILL)
	v.cmd.Wait()
}

// audit runs peerless verify on what the killed server left.
func (v *victim) audit() {
	v.t.Helper()
	out, err := exec.Command(v.program, "verify", "--data", v.data, "--json").CombinedOutput()
	if err != nil {
		v.t.Fatalf("verify: %v\n%s\nthe server's log:\n%s", err, out, v.logs.String())
	}
	v.t.Logf("%s", bytes.TrimSpace(out))
}

// An acknowledgement is what the server said of a transaction.
type acknowledgement struct {
	block uint64
	asset string // that it created; empty if it updated the hot one
	owner string // of the asset, as created
}

// load is what the clients did.
type load struct {
	mu           sync.Mutex
	acknowledged map[string]acknowledgement // by transaction id
	fresh        []string                   // acknowledged since the last check
	unanswered   []client.Call              // whose outcome is not known
	accepted     map[string]client.Call     // into the queue, and not yet looked for, by transaction id
	queued       int                        // messages accepted
	ranLater     int                        // of these, those that a restarted server ran
	repeated     int                        // calls repeated after a kill
	hadCommitted int                        // of these, those that the first attempt had committed already
}

const hotAsset = "hot"

func (l *load) prepare(ctx context.Context, c *client.Client) error {
	_, err := c.Submit(ctx, createCall(hotAsset, "nobody", "hot"))
	return err
}

func createCall(id, owner, key string) client.Call {
	return client.Call{
		Channel: defaultChannel, Chaincode: "assettransfer", Function: "CreateAsset",
		Args: []string{id, "blue", "1", owner, "100"}, IdempotencyKey: key,
	}
}

func transferCall(owner, key string) client.Call {
	return client.Call{
		Channel: defaultChannel, Chaincode: "assettransfer", Function: "TransferAsset",
		Args: []string{hotAsset, owner}, IdempotencyKey: key,
	}
}

// run submits until the server is gone: new assets, half of them through the queue, and every fourth time a change of the one that
// all clients change.
func (l *load) run(ctx context.Context, c *client.Client, name string) {
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s-%d", name, i)
		call := createCall(key, "owner-"+key, key)
		if i%4 == 3 {
			call = transferCall("owner-"+key, key)
		}
		var outcome *client.Submitted
		var accepted *client.Accepted
		var err error
		if i%2 == 0 {
			accepted, err = c.Queue(ctx, call, "")
		} else {
			outcome, err = c.Submit(ctx, call)
		}
		l.mu.Lock()
		if err == nil && accepted != nil {
			l.accepted[accepted.TransactionID] = call
			l.queued++
		} else if err == nil {
			l.acknowledge(call, outcome)
		} else {
			l.unanswered = append(l.unanswered, call)
		}
		l.mu.Unlock()
		var problem *client.Problem
		if err != nil && !errors.As(err, &problem) {
			return // the server is gone
		}
	}
}

// acknowledge needs mu.
func (l *load) acknowledge(call client.Call, outcome *client.Submitted) {
	a := acknowledgement{block: outcome.BlockNumber}
	if call.Function == "CreateAsset" {
		a.asset, a.owner = call.Args[0], call.Args[3]
	}
	l.acknowledged[outcome.TransactionID] = a
	l.fresh = append(l.fresh, outcome.TransactionID)
}

// check asks a restarted server for everything that was acknowledged since the last check, and repeats every call that got
// no answer: it must now succeed, whether the first attempt was committed or not.
func (l *load) check(t *testing.T, c *client.Client) {
	t.Helper()
	before, err := c.Channel(t.Context(), defaultChannel)
	if err != nil {
		t.Fatalf("height after the restart: %v", err)
	}
	for _, id := range l.fresh {
		l.checkOne(t, c, id)
	}
	for _, call := range l.unanswered {
		outcome, err := c.Submit(t.Context(), call)
		if err != nil {
			t.Errorf("%s repeated: %v", call.IdempotencyKey, err)
			continue
		}
		l.repeated++
		if outcome.BlockNumber < before.Height {
			l.hadCommitted++
		}
		l.acknowledge(call, outcome)
		l.checkOne(t, c, outcome.TransactionID)
	}
	for id, call := range l.accepted {
		tx := awaitTransaction(t, c, id)
		if tx.BlockNumber >= before.Height {
			l.ranLater++
		}
		l.acknowledge(call, &client.Submitted{TransactionID: id, BlockNumber: tx.BlockNumber})
		l.checkOne(t, c, id)
	}
	l.fresh, l.unanswered = nil, nil
	clear(l.accepted)
}

// awaitTransaction waits until a transaction of the queue is committed.
func awaitTransaction(t *testing.T, c *client.Client, id string) *client.Transaction {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPause) {
		tx, err := c.Transaction(t.Context(), defaultChannel, id)
		if err == nil {
			return tx
		}
		var problem *client.Problem
		if !errors.As(err, &problem) || problem.Status != 404 || time.Now().After(deadline) {
			t.Fatalf("transaction %s was accepted: %v", id, err)
		}
	}
}

func (l *load) checkOne(t *testing.T, c *client.Client, id string) {
	t.Helper()
	want := l.acknowledged[id]
	tx, err := c.Transaction(t.Context(), defaultChannel, id)
	if err != nil {
		t.Errorf("acknowledged transaction %s: %v", id, err)
		return
	}
	if tx.BlockNumber != want.block || tx.ValidationCode != "VALID" {
		t.Errorf("transaction %s is %s in block %d, and was acknowledged as VALID in block %d", id, tx.ValidationCode, tx.BlockNumber, want.block)
	}
	if want.asset == "" {
		return
	}
	answer, err := c.Evaluate(t.Context(), client.Call{Channel: defaultChannel, Chaincode: "assettransfer", Function: "ReadAsset", Args: []string{want.asset}})
	if err != nil {
		t.Errorf("asset %s of transaction %s: %v", want.asset, id, err)
		return
	}
	var asset struct{ Owner string }
	if err := json.Unmarshal(answer.Result, &asset); err != nil || asset.Owner != want.owner {
		t.Errorf("asset %s is %s, want the owner %s (%v)", want.asset, answer.Result, want.owner, err)
	}
}

// checkChain walks all blocks: every acknowledged transaction stands there once, and nothing twice.
func (l *load) checkChain(t *testing.T, c *client.Client) {
	t.Helper()
	seen := make(map[string]uint64)
	for next := new(uint64); next != nil; {
		page, err := c.Blocks(t.Context(), defaultChannel, int64(*next), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Blocks {
			for _, tx := range b.Transactions {
				if first, twice := seen[tx.TransactionID]; twice {
					t.Errorf("transaction %s is in block %d and in block %d", tx.TransactionID, first, b.Number)
				}
				seen[tx.TransactionID] = b.Number
			}
		}
		next = page.Next
	}
	for id, want := range l.acknowledged {
		if block, ok := seen[id]; !ok || block != want.block {
			t.Errorf("transaction %s is in block %d (%v), and was acknowledged in block %d", id, block, ok, want.block)
		}
	}
}
