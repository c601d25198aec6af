package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
	"peerless/shared/api/client"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/msp"
)

// serve starts the API over a fake and returns a client of it.
func serve(t *testing.T, fake *apitest.Fake, wrap func(http.Handler) http.Handler) *client.Client {
	t.Helper()
	h, err := api.New(api.Config{Gateway: fake, Deployer: fake, Auth: &api.DevAuth{Organization: "Org1MSP",
		Signer: func(mspID, user string, _ map[string]string) (*msp.Signer, error) {
			return &msp.Signer{Identity: &msp.Identity{MSPID: mspID, Serialized: []byte(user)}}, nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	var root http.Handler = h
	if wrap != nil {
		root = wrap(h)
	}
	server := httptest.NewServer(root)
	t.Cleanup(func() {
		h.Close()
		server.Close()
	})
	c, err := client.New(server.URL, client.Config{User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{}
	var got gateway.Request
	fake.Submit = func(_ context.Context, r gateway.Request) (*gateway.Outcome, error) {
		got = r
		return &gateway.Outcome{TransactionID: apitest.TxID, Block: 9, Response: &peer.Response{Payload: []byte{0xff}}}, nil
	}
	c := serve(t, fake, nil)
	call := client.Call{Channel: "main", Chaincode: "assets", Function: "f", Args: []string{"a", "<&>"}, Transient: map[string][]byte{"k": {1}}, IdempotencyKey: "7"}
	submitted, err := c.Submit(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := submitted.Bytes()
	if submitted.TransactionID != apitest.TxID || submitted.BlockNumber != 9 || submitted.Code != "VALID" || string(payload) != "\xff" || err != nil {
		t.Errorf("got %+v %q %v", submitted, payload, err)
	}
	if user := string(got.User.Serialized); user != "alice" {
		t.Errorf("user: got %q", user)
	}
	got.User = nil
	if diff := cmp.Diff(got, gateway.Request{Channel: "main", Chaincode: "assets", Function: "f", Args: [][]byte{[]byte("a"), []byte("<&>")}, Transient: map[string][]byte{"k": {1}}, IdempotencyKey: "7"}); diff != "" {
		t.Error(diff)
	}
	for arg, want := range map[string]string{"": "", `{"a":1}`: `{"a":1}`, "text": "text", `"text"`: "text", "7": "7"} {
		evaluated, err := c.Evaluate(t.Context(), client.Call{Channel: "main", Chaincode: "assets", Function: "f", Args: []string{arg}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := evaluated.Bytes(); string(got) != want || err != nil || evaluated.Height != 8 {
			t.Errorf("%q: got %q %v", arg, got, err)
		}
	}
}

// TestProblems: refusals are typed, and say in one line what to do.
func TestProblems(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{}
	c := serve(t, fake, nil)
	for _, test := range []struct {
		err  error
		want string
	}{
		{&gateway.Error{Kind: gateway.ChaincodeError, ChaincodeMessage: "the asset a1\nalready exists", ChaincodeStatus: 500}, "the asset a1 already exists (CHAINCODE_ERROR)"},
		{&gateway.Error{Kind: gateway.OutcomeUnknown, Message: "the disk is full", TransactionID: "abc"}, "the disk is full (OUTCOME_UNKNOWN): ask with peerless tx abc"},
		{&gateway.Error{Kind: gateway.MVCCReadConflict, Message: "lost the race"}, "lost the race (MVCC_READ_CONFLICT): try again"},
		{&api.Problem{Code: api.CodeQuotaExceeded, Detail: "slow down", RetryAfter: 3 * time.Second}, "slow down (QUOTA_EXCEEDED): try again in 3 s"},
	} {
		fake.Submit = func(context.Context, gateway.Request) (*gateway.Outcome, error) { return nil, test.err }
		_, err := c.Submit(t.Context(), client.Call{Channel: "main", Chaincode: "assets", Function: "f"})
		var problem *client.Problem
		if !errors.As(err, &problem) || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if _, err := c.Channel(t.Context(), "a b/c"); !strings.Contains(err.Error(), "INVALID_REQUEST") {
		t.Errorf("got %v", err)
	}
	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	other, err := client.New(stranger.URL, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Channels(t.Context()); err == nil || !strings.Contains(err.Error(), "is it Peerless?") {
		t.Errorf("another server: got %v", err)
	}
	stranger.Close()
	if _, err := other.Channels(t.Context()); err == nil || !strings.Contains(err.Error(), "is the server running?") || strings.Contains(err.Error(), "\n") {
		t.Errorf("no server: got %v", err)
	}
	for _, address := range []string{"", "ftp://x", "http://", "http://x?y", "::"} {
		if _, err := client.New(address, client.Config{}); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}

func TestKeyIsSent(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"channels": []any{map[string]string{"name": r.Header.Get("Authorization")}}})
	}))
	defer server.Close()
	c, err := client.New(strings.TrimPrefix(server.URL, "http://"), client.Config{Key: "pk_x"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Channels(t.Context()); err != nil || got[0] != "Bearer pk_x" {
		t.Errorf("got %v %v", got, err)
	}
}

func TestChannelsAndChaincodes(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{}
	c := serve(t, fake, nil)
	ctx := t.Context()
	if err := c.Healthy(ctx); err != nil {
		t.Error(err)
	}
	if channel, err := c.CreateChannel(ctx, "trade", "Org1MSP", "Org2MSP"); err != nil || channel.Name != "trade" || len(channel.Organizations) != 2 {
		t.Errorf("got %+v %v", channel, err)
	}
	if names, err := c.Channels(ctx); err != nil || !cmp.Equal(names, []string{"trade"}) {
		t.Errorf("got %v %v", names, err)
	}
	pipe, writer := io.Pipe() // streamed: its length is not known
	go func() {
		fmt.Fprint(writer, "PK\x03\x04the package")
		writer.Close()
	}()
	spec := client.DeploySpec{Channel: "trade", Name: "assets", Version: "2.0", Policy: "OR('Org1MSP.peer')", Sequence: 4}
	if _, err := c.Deploy(ctx, spec, pipe); err != nil || string(fake.Package("trade", "assets")) != "PK\x03\x04the package" {
		t.Errorf("got %v", err)
	}
	want := client.Chaincode{Name: "assets", Version: "2.0", Sequence: 4, Policy: "OR('Org1MSP.peer')", Language: "golang"}
	if list, err := c.Chaincodes(ctx, "trade"); err != nil || !cmp.Equal(list, []client.Chaincode{want}) {
		t.Errorf("got %+v %v", list, err)
	}
	private := `[{"name":"prices","policy":"OR('Org1MSP.member')"}]`
	spec = client.DeploySpec{Channel: "trade", Name: "offers", Collections: private}
	if got, err := c.Deploy(ctx, spec, strings.NewReader("PK\x03\x04more")); err != nil || string(got.Collections) != private || string(fake.Package("trade", "offers")) != "PK\x03\x04more" {
		t.Errorf("with collections: got %+v %v", got, err)
	}
	spec = client.DeploySpec{Channel: "trade", Name: "loans", Version: "3", Policy: "OR('Org1MSP.peer')", Collections: private, Sequence: 7}
	function := client.Function{Name: "stage-trade-loans-0123456789", Qualifier: "p-1", PackageID: "loans:12"}
	wantFunction := client.Chaincode{Name: "loans", Version: "3", Sequence: 7, Policy: spec.Policy, PackageID: "loans:12", Language: "function", Collections: json.RawMessage(private)}
	if got, err := c.DeployFunction(ctx, spec, function, nil); err != nil || !cmp.Equal(*got, wantFunction) || string(fake.Package("trade", "loans")) != "stage-trade-loans-0123456789:p-1" {
		t.Errorf("a function: got %+v %v", got, err)
	}
	if one, err := c.Chaincode(ctx, "trade", "assets"); err != nil || !cmp.Equal(*one, want) {
		t.Errorf("got %+v %v", one, err)
	}
	if err := c.Remove(ctx, "trade", "assets"); err != nil {
		t.Error(err)
	}
	var problem *client.Problem
	if _, err := c.Chaincode(ctx, "trade", "assets"); !errors.As(err, &problem) || problem.Status != 404 {
		t.Errorf("got %v", err)
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	raw := []byte{0x0a, 0x02, 0x08, 0x00, 0x12, 0x03, 0x0a, 0x01, 0x00} // a block with one envelope that is none
	fake := &apitest.Fake{
		Blocks: map[string][][]byte{"main": {raw, raw, raw}},
		Txs:    map[string]map[string]ledger.TxEntry{"main": {"t/1": {TxID: "t/1", Version: ledger.Version{Block: 2}}}},
	}
	for i := range 250 {
		if fake.Changes == nil {
			fake.Changes = make(map[string][]ledger.Change)
		}
		fake.Changes["main assets .."] = append(fake.Changes["main assets .."], ledger.Change{TxID: fmt.Sprint(i), Version: ledger.Version{Block: uint64(1000 - i)}, Value: []byte(`{}`)})
	}
	c := serve(t, fake, nil)
	ctx := t.Context()
	page, err := c.Blocks(ctx, "main", -2, 1)
	if err != nil || page.Height != 3 || len(page.Blocks) != 1 || *page.Next != 2 || len(page.Blocks[0].Raw) == 0 {
		t.Errorf("got %+v %v", page, err)
	}
	if block, err := c.Block(ctx, "main", 1); err != nil || block.Size != len(raw) {
		t.Errorf("got %+v %v", block, err)
	}
	if got, err := c.RawBlock(ctx, "main", 1); err != nil || string(got) != string(raw) {
		t.Errorf("got %x %v", got, err)
	}
	if tx, err := c.Transaction(ctx, "main", "t/1"); err != nil || tx.BlockNumber != 2 || tx.ValidationCode != "VALID" || len(tx.Raw) == 0 {
		t.Errorf("got %+v %v", tx, err)
	}
	var seen int
	err = c.History(ctx, "main", "assets", "..", func(change client.Change) error {
		if change.TransactionID != fmt.Sprint(seen) {
			t.Errorf("change %d: got %+v", seen, change)
		}
		seen++
		return nil
	})
	if err != nil || seen != 250 {
		t.Errorf("got %d changes, %v", seen, err)
	}
	if err := c.History(ctx, "main", "assets", "..", func(client.Change) error { return io.EOF }); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

// breaker lets only so many bytes of each stream through, then breaks the connection.
type breaker struct {
	http.ResponseWriter
	left int
}

func (b *breaker) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		b.ResponseWriter.Write(p[:max(0, len(p)+b.left)])
		http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return b.ResponseWriter.Write(p)
}

func (b *breaker) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// TestEventsResume breaks every connection after some bytes: no event is lost, and none comes twice.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{Blocks: map[string][][]byte{"main": nil}}
	const n = 40
	for i := range n {
		fake.Commit(gateway.Event{Block: uint64(i / 3), Tx: uint64(i % 3), TransactionID: "t", Chaincode: "assets", Name: fmt.Sprint(i), Payload: []byte("{}")})
	}
	var connections atomic.Int64
	c := serve(t, fake, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&breaker{w, 1000 + 97*int(connections.Add(1))}, r)
		})
	})
	var got, want []string
	done := errors.New("enough")
	err := c.Events(t.Context(), client.EventsRequest{Channel: "main", From: "0"}, func(e client.Event) error {
		if got = append(got, e.Name); len(got) == n {
			return done
		}
		return nil
	})
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	if err != done || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if connections.Load() < 3 {
		t.Errorf("only %d connections were needed: nothing was tested", connections.Load())
	}
}

func TestEventsEnd(t *testing.T) {
	t.Parallel()
	fake := &apitest.Fake{Blocks: map[string][][]byte{"main": nil}}
	c := serve(t, fake, nil)
	var problem *client.Problem
	if err := c.Events(t.Context(), client.EventsRequest{Channel: "nope"}, nil); !errors.As(err, &problem) || problem.Status != 404 {
		t.Errorf("no channel: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Events(ctx, client.EventsRequest{Channel: "main"}, nil) }()
	if err := fake.AwaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
