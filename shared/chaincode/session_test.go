package chaincode_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// A misbehaving chaincode is played by the test, which holds the other end of the stream.

// of makes a message of a transaction.
func of(inv *chaincode.Invocation, kind peer.ChaincodeMessage_Type, payload []byte) *peer.ChaincodeMessage {
	return &peer.ChaincodeMessage{Type: kind, Payload: payload, Txid: inv.Proposal.TxID, ChannelId: inv.Channel}
}

// begin executes an invocation and waits until the chaincode has been told.
func begin(t *testing.T, session *chaincode.Session, p *pipe, inv *chaincode.Invocation) <-chan outcome {
	t.Helper()
	results := execute(t.Context(), session, inv)
	if got := p.hear(t); got.Type != peer.ChaincodeMessage_TRANSACTION || got.Txid != inv.Proposal.TxID {
		t.Fatalf("start of an execution: got %v", got)
	}
	return results
}

// complete answers a transaction and checks that its execution has the answer.
func complete(t *testing.T, p *pipe, inv *chaincode.Invocation, results <-chan outcome) {
	t.Helper()
	want := &peer.Response{Status: 200, Payload: []byte("done")}
	p.say(t, of(inv, peer.ChaincodeMessage_COMPLETED, marshal(t, want)))
	got := <-results
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff(got.result, &chaincode.Result{Response: want}, protocmp.Transform()); diff != "" {
		t.Errorf("result (-got +want):\n%s", diff)
	}
}

func TestGarbageRequests(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	inv := invocation(t, simtest.NewState(), "f")
	results := begin(t, session, p, inv)
	for _, kind := range []peer.ChaincodeMessage_Type{
		peer.ChaincodeMessage_GET_STATE, peer.ChaincodeMessage_GET_STATE_MULTIPLE, peer.ChaincodeMessage_PUT_STATE,
		peer.ChaincodeMessage_DEL_STATE, peer.ChaincodeMessage_WRITE_BATCH_STATE, peer.ChaincodeMessage_GET_STATE_METADATA,
		peer.ChaincodeMessage_PUT_STATE_METADATA, peer.ChaincodeMessage_GET_STATE_BY_RANGE, peer.ChaincodeMessage_GET_HISTORY_FOR_KEY,
		peer.ChaincodeMessage_GET_QUERY_RESULT, peer.ChaincodeMessage_QUERY_STATE_NEXT, peer.ChaincodeMessage_QUERY_STATE_CLOSE,
		peer.ChaincodeMessage_INVOKE_CHAINCODE, peer.ChaincodeMessage_GET_PRIVATE_DATA_HASH, peer.ChaincodeMessage_PURGE_PRIVATE_DATA,
	} {
		p.say(t, of(inv, kind, []byte("\xff\xff garbage")))
		got := p.hear(t)
		if want := kind.String() + " failed: transaction ID: " + inv.Proposal.TxID + ": "; got.Type != peer.ChaincodeMessage_ERROR || !strings.HasPrefix(string(got.Payload), want) {
			t.Errorf("garbage %s: got %v", kind, got)
		}
	}
	p.say(t, of(inv, peer.ChaincodeMessage_WRITE_BATCH_STATE, marshal(t, &peer.WriteBatchState{Rec: []*peer.WriteRecord{{Type: 77}}})))
	if got, want := string(p.hear(t).Payload), "WRITE_BATCH_STATE failed: transaction ID: "+inv.Proposal.TxID+": unknown operation type"; got != want {
		t.Errorf("unknown write: got %s, want %s", got, want)
	}
	p.say(t, of(inv, peer.ChaincodeMessage_QUERY_STATE_NEXT, marshal(t, &peer.QueryStateNext{Id: "nosuch"})))
	if got, want := string(p.hear(t).Payload), "QUERY_STATE_NEXT failed: transaction ID: "+inv.Proposal.TxID+": query iterator not found"; got != want {
		t.Errorf("unknown iterator: got %s, want %s", got, want)
	}
	complete(t, p, inv, results)
}

// What a chaincode does wrong ends its own transaction; another under way goes on.
func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	state := simtest.NewState()
	for name, c := range map[string]struct {
		kind    peer.ChaincodeMessage_Type
		payload string
		want    error
	}{
		"READY":            {peer.ChaincodeMessage_READY, "", chaincode.ErrProtocol},
		"REGISTER":         {peer.ChaincodeMessage_REGISTER, "", chaincode.ErrProtocol},
		"RESPONSE":         {peer.ChaincodeMessage_RESPONSE, "", chaincode.ErrProtocol},
		"TRANSACTION":      {peer.ChaincodeMessage_TRANSACTION, "", chaincode.ErrProtocol},
		"no such type":     {4711, "", chaincode.ErrProtocol},
		"garbage response": {peer.ChaincodeMessage_COMPLETED, "\xff\xff", chaincode.ErrProtocol},
		"ERROR":            {peer.ChaincodeMessage_ERROR, "text", chaincode.ErrFailed},
	} {
		bad, good := invocation(t, state, "bad"), invocation(t, state, "good")
		badResults, goodResults := begin(t, session, p, bad), begin(t, session, p, good)
		p.say(t, of(bad, c.kind, []byte(c.payload)))
		if got := <-badResults; !errors.Is(got.err, c.want) || got.result != nil {
			t.Errorf("%s: got %v, %v, want %v", name, got.result, got.err, c.want)
		}
		complete(t, p, good, goodResults)
	}
}

// Requests for transactions that are not under way are refused, answers forgotten.
func TestStrayMessages(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	state := simtest.NewState()
	inv, over := invocation(t, state, "f"), invocation(t, state, "f")
	complete(t, p, over, begin(t, session, p, over))
	results := begin(t, session, p, inv)

	elsewhere := of(inv, peer.ChaincodeMessage_GET_STATE, nil)
	elsewhere.ChannelId = "beta"
	for _, c := range []struct {
		msg  *peer.ChaincodeMessage
		want string
	}{
		{of(over, peer.ChaincodeMessage_GET_STATE, nil), "no ledger context"},
		{of(over, peer.ChaincodeMessage_INVOKE_CHAINCODE, nil), "could not get valid transaction"},
		{elsewhere, "no ledger context"},
		{&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_PUT_STATE}, "no ledger context"},
	} {
		p.say(t, c.msg)
		got := p.hear(t)
		want := &peer.ChaincodeMessage{
			Type: peer.ChaincodeMessage_ERROR, Txid: c.msg.Txid, ChannelId: c.msg.ChannelId,
			Payload: []byte(c.msg.Type.String() + " failed: transaction ID: " + c.msg.Txid + ": " + c.want),
		}
		if diff := cmp.Diff(got, want, protocmp.Transform()); diff != "" {
			t.Errorf("stray %s (-got +want):\n%s", c.msg.Type, diff)
		}
	}
	for _, kind := range []peer.ChaincodeMessage_Type{
		peer.ChaincodeMessage_COMPLETED, peer.ChaincodeMessage_ERROR, peer.ChaincodeMessage_READY, peer.ChaincodeMessage_KEEPALIVE, 4711,
	} {
		p.say(t, of(over, kind, []byte("stray")))
	}
	complete(t, p, inv, results)
}

func TestDuplicate(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	inv := invocation(t, simtest.NewState(), "f")
	results := begin(t, session, p, inv)
	_, err := session.Execute(t.Context(), inv)
	if want := "error sending: txid: " + inv.Proposal.TxID + "(alpha) exists"; !errors.Is(err, chaincode.ErrDuplicate) || err.Error() != want {
		t.Errorf("second execution: got %v, want %s", err, want)
	}
	elsewhere := *inv
	elsewhere.Channel = "beta"
	complete(t, p, &elsewhere, begin(t, session, p, &elsewhere))
	complete(t, p, inv, results)
	complete(t, p, inv, begin(t, session, p, inv))
}

// A chaincode that answers and is gone has answered.
func TestEndOfStream(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	state := simtest.NewState()
	answered, waiting := invocation(t, state, "f"), invocation(t, state, "f")
	answeredResults, waitingResults := begin(t, session, p, answered), begin(t, session, p, waiting)
	p.say(t, of(answered, peer.ChaincodeMessage_COMPLETED, nil))
	close(p.hungUp)
	if got := <-answeredResults; got.err != nil {
		t.Errorf("answered before the end: got %v", got.err)
	}
	got := <-waitingResults
	if !errors.Is(got.err, chaincode.ErrCrashed) || got.err.Error() != "error sending: chaincode stream terminated" {
		t.Errorf("waiting at the end: got %v, want ErrCrashed in Fabric's words", got.err)
	}
	<-session.Done()
	if _, err := session.Execute(t.Context(), waiting); !errors.Is(err, chaincode.ErrCrashed) {
		t.Errorf("after the end: got %v, want ErrCrashed", err)
	}
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	run := func(ctx context.Context, config chaincode.SessionConfig, messages ...*peer.ChaincodeMessage) error {
		p := newPipe()
		session := chaincode.NewSession(p, config)
		ended := make(chan error, 1)
		go func() { ended <- session.Run(ctx) }()
		for _, msg := range messages {
			p.say(t, msg)
		}
		err := <-ended
		close(p.hungUp)
		select {
		case <-session.Done():
		default:
			t.Error("the session has not ended with Run")
		}
		return err
	}
	refused := errors.New("refused")
	register := &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTER, Payload: marshal(t, &peer.ChaincodeID{Name: "n"})}
	for name, c := range map[string]struct {
		config  chaincode.SessionConfig
		message *peer.ChaincodeMessage
		want    error
	}{
		"not registered":   {message: &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_GET_STATE}, want: chaincode.ErrProtocol},
		"garbage name":     {message: &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTER, Payload: []byte("\xff")}, want: chaincode.ErrProtocol},
		"no name":          {message: &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTER}, want: chaincode.ErrProtocol},
		"nil message":      {message: nil, want: chaincode.ErrProtocol},
		"refused register": {config: chaincode.SessionConfig{Register: func(string) error { return refused }}, message: register, want: refused},
	} {
		if err := run(t.Context(), c.config, c.message); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, chaincode.SessionConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	p := newPipe()
	close(p.hungUp)
	if err := chaincode.NewSession(p, chaincode.SessionConfig{}).Run(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("closed stream: got %v, want io.EOF", err)
	}
}

// A chaincode that reads nothing cannot hold an execution beyond its deadline.
func TestChaincodeThatDoesNotRead(t *testing.T) {
	t.Parallel()
	session, _ := registered(t)
	state := simtest.NewState()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	var all []<-chan outcome
	for range 100 { // more than the session queues
		all = append(all, execute(ctx, session, invocation(t, state, "f")))
	}
	for _, results := range all {
		if got := <-results; !errors.Is(got.err, chaincode.ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", got.err)
		}
	}
}

func TestUnregistered(t *testing.T) {
	t.Parallel()
	session, _ := startSession(t, chaincode.SessionConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := session.Execute(ctx, invocation(t, simtest.NewState(), "f")); !errors.Is(err, chaincode.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	_, p := startSession(t, chaincode.SessionConfig{KeepAlive: time.Millisecond})
	if got := p.hear(t).Type; got != peer.ChaincodeMessage_KEEPALIVE {
		t.Errorf("got %s, want KEEPALIVE", got)
	}
	p.say(t, &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_KEEPALIVE})
}

// slowView reads nothing before it is released.
type slowView struct {
	ledger.View
	entered, release chan struct{}
}

func (v *slowView) Get(ctx context.Context, ns string, keys []string) ([]*ledger.Item, error) {
	close(v.entered)
	select {
	case <-v.release:
		return v.View.Get(ctx, ns, keys)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// What a chaincode asks for after it has answered is refused, also if it was quicker than the session.
func TestRequestsAfterTheAnswer(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	state := simtest.NewState()
	inv := invocation(t, state, "f")
	view := &slowView{state.View(t), make(chan struct{}), make(chan struct{})}
	inv.Tx = simulate.New(view, inv.Proposal.TxID)
	results := begin(t, session, p, inv)
	get := of(inv, peer.ChaincodeMessage_GET_STATE, marshal(t, &peer.GetState{Key: "k"}))
	p.say(t, get)
	<-view.entered
	p.say(t, of(inv, peer.ChaincodeMessage_COMPLETED, nil))
	p.say(t, get)
	p.say(t, &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_KEEPALIVE}) // the session has taken the others
	close(view.release)
	for _, want := range []peer.ChaincodeMessage_Type{peer.ChaincodeMessage_RESPONSE, peer.ChaincodeMessage_ERROR} {
		if got := p.hear(t).Type; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := <-results; got.err != nil {
		t.Error(got.err)
	}
}

// A slow read of one transaction delays no other, and a chaincode that floods its transaction meanwhile loses it.
func TestSlowReadAndFlood(t *testing.T) {
	t.Parallel()
	session, p := registered(t)
	state := simtest.NewState()
	slow, quick := invocation(t, state, "slow"), invocation(t, state, "quick")
	view := &slowView{state.View(t), make(chan struct{}), make(chan struct{})}
	slow.Tx = simulate.New(view, slow.Proposal.TxID)
	slowResults := begin(t, session, p, slow)
	get := marshal(t, &peer.GetState{Key: "k"})
	p.say(t, of(slow, peer.ChaincodeMessage_GET_STATE, get))
	<-view.entered

	quickResults := begin(t, session, p, quick)
	p.say(t, of(quick, peer.ChaincodeMessage_GET_STATE, get))
	if got := p.hear(t); got.Type != peer.ChaincodeMessage_RESPONSE || got.Txid != quick.Proposal.TxID {
		t.Errorf("read beside a slow one: got %v", got)
	}
	complete(t, p, quick, quickResults)

	for range 100 {
		p.say(t, of(slow, peer.ChaincodeMessage_GET_STATE, get))
	}
	close(view.release)
	for {
		select {
		case <-p.toChaincode:
			continue
		case got := <-slowResults:
			if !errors.Is(got.err, chaincode.ErrProtocol) {
				t.Errorf("flood: got %v, want ErrProtocol", got.err)
			}
		}
		break
	}
}
