package chaincode_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

const conformance = "../../testdata/conformance"

// A record is a message of a recorded stream.
type record struct {
	fromChaincode bool
	raw           []byte
	msg           *peer.ChaincodeMessage
}

func readStream(t *testing.T, name string) []record {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(conformance, "wire", "streams", name))
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for len(raw) > 0 {
		if len(raw) < 5 || uint32(len(raw)-5) < binary.BigEndian.Uint32(raw[1:]) {
			t.Fatalf("%s: cut short", name)
		}
		size := 5 + int(binary.BigEndian.Uint32(raw[1:]))
		r := record{fromChaincode: raw[0] == '<', raw: raw[5:size], msg: &peer.ChaincodeMessage{}}
		if err := proto.Unmarshal(r.raw, r.msg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		records = append(records, r)
		raw = raw[size:]
	}
	return records
}

// A pipe is a stream whose other end a test holds.
type pipe struct {
	toPeer      chan *peer.ChaincodeMessage
	toChaincode chan *peer.ChaincodeMessage
	hungUp      chan struct{}
}

func newPipe() *pipe {
	return &pipe{make(chan *peer.ChaincodeMessage), make(chan *peer.ChaincodeMessage), make(chan struct{})}
}

func (p *pipe) Send(msg *peer.ChaincodeMessage) error {
	select {
	case p.toChaincode <- msg:
		return nil
	case <-p.hungUp:
		return io.EOF
	}
}

func (p *pipe) Recv() (*peer.ChaincodeMessage, error) {
	select {
	case msg := <-p.toPeer:
		return msg, nil
	case <-p.hungUp:
		return nil, io.EOF
	}
}

// say sends as the chaincode; hear receives as the chaincode.
func (p *pipe) say(t testing.TB, msg *peer.ChaincodeMessage) {
	t.Helper()
	select {
	case p.toPeer <- msg:
	case <-t.Context().Done():
		t.Fatal("the session does not read")
	}
}

func (p *pipe) hear(t testing.TB) *peer.ChaincodeMessage {
	t.Helper()
	select {
	case msg := <-p.toChaincode:
		return msg
	case <-t.Context().Done():
		t.Fatal("the session says nothing")
		return nil
	}
}

// startSession runs a session until the test ends, over the pipe returned.
func startSession(t testing.TB, config chaincode.SessionConfig) (*chaincode.Session, *pipe) {
	t.Helper()
	p := newPipe()
	session := chaincode.NewSession(p, config)
	ended := make(chan error, 1)
	go func() { ended <- session.Run(context.Background()) }()
	t.Cleanup(func() {
		select {
		case <-p.hungUp:
		default:
			close(p.hungUp)
		}
		<-ended
	})
	return session, p
}

// registered is startSession with a chaincode that has registered.
func registered(t testing.TB) (*chaincode.Session, *pipe) {
	t.Helper()
	session, p := startSession(t, chaincode.SessionConfig{})
	payload, err := proto.Marshal(&peer.ChaincodeID{Name: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	p.say(t, &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTER, Payload: payload})
	for _, want := range []peer.ChaincodeMessage_Type{peer.ChaincodeMessage_REGISTERED, peer.ChaincodeMessage_READY} {
		if got := p.hear(t); got.Type != want {
			t.Fatalf("got %s, want %s", got.Type, want)
		}
	}
	<-session.Registered()
	return session, p
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	records := readStream(t, "register.stream")
	session, p := startSession(t, chaincode.SessionConfig{})
	if got := session.Name(); got != "" {
		t.Errorf("name before registration: %q", got)
	}
	p.say(t, records[0].msg)
	for _, want := range records[1:] {
		if diff := cmp.Diff(marshal(t, p.hear(t)), want.raw); diff != "" {
			t.Errorf("answer to REGISTER (-got +want):\n%s", diff)
		}
	}
	<-session.Registered()
	if got, want := session.Name(), "probe_1:d2889057cacd4afec45e612b6d6a7ace308e4d021ac3642abef7a632239bcc3c"; got != want {
		t.Errorf("name: got %s, want %s", got, want)
	}
}

// The session says to a recorded chaincode what Fabric's peer said, byte for byte, in every stream but that of the registration.
func TestRecordedStreams(t *testing.T) {
	t.Parallel()
	streams := map[string]int{ // and the number of blocks that the state held
		"invoke.stream":     7,
		"failed.stream":     8,
		"batch.stream":      8,
		"queries.stream":    8,
		"metadata.stream":   8,
		"call.stream":       8,
		"long-range.stream": 20,
		// Nothing private is in the state: it was recorded before anything was committed.
		"private.stream":       8,
		"private-data.stream":  8,
		"private-range.stream": 8,
	}
	files, err := os.ReadDir(filepath.Join(conformance, "wire", "streams"))
	if err != nil || len(files) != len(streams)+1 {
		t.Errorf("%d streams are recorded (%v), and %d replayed", len(files), err, len(streams)+1)
	}
	blocks := simtest.Blocks(t, conformance)
	for name, height := range streams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := simtest.NewState()
			for _, block := range blocks[:height] {
				state.Commit(t, block...)
			}
			replay(t, state, readStream(t, name))
		})
	}
}

func replay(t *testing.T, state *simtest.State, records []record) {
	start, end := records[0].msg, records[len(records)-1].msg
	proposal, err := wire.ParseProposal(start.Proposal)
	if err != nil {
		t.Fatal(err)
	}
	inv := &chaincode.Invocation{
		Channel: start.ChannelId, Chaincode: "probe", Proposal: proposal, Input: proposal.Input,
		Tx: simulate.New(state.View(t), start.Txid), LevelDB: true, // as the recorded network's peers
		Collection: func(_ context.Context, name string) (*chaincode.Collection, error) {
			if name != "shared" {
				return nil, nil
			}
			open := func(string, []byte) ([]byte, error) { return nil, errors.New("nothing private is in the state") }
			return &chaincode.Collection{Collection: simulate.Collection{Name: name, Open: open}, Read: true, Write: true}, nil
		},
		Call: func(_ context.Context, channel, name string, _ *peer.ChaincodeInput) (*peer.Response, error) {
			if channel != "" || name != "other" {
				return nil, errors.New("execute failed: invalid invocation: [channel alpha] failed to get chaincode container info for nosuch: chaincode nosuch not found")
			}
			return &peer.Response{Status: 200, Payload: []byte(`[{"op":"GetState","value":null}]`)}, nil
		},
	}
	session, p := registered(t)
	results := execute(t.Context(), session, inv)

	ids := map[string]string{} // our iterators by the recorded name
	var request *peer.ChaincodeMessage
	for i, r := range records {
		if r.fromChaincode {
			request = r.msg
			p.say(t, withID(t, request, ids))
			continue
		}
		got := p.hear(t)
		learnID(t, request, got, r.msg, ids)
		if diff := cmp.Diff(marshal(t, got), r.raw); diff != "" {
			t.Fatalf("message %d, %s (-got +want):\n%s\n%s", i, r.msg.Type, diff, cmp.Diff(got, r.msg, protocmp.Transform()))
		}
	}
	got := <-results
	if got.err != nil {
		t.Fatal(got.err)
	}
	want := &peer.Response{}
	if err := proto.Unmarshal(end.Payload, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.result.Response, want, protocmp.Transform()); diff != "" {
		t.Errorf("response (-got +want):\n%s", diff)
	}
	event := end.ChaincodeEvent
	if event != nil {
		event.ChaincodeId, event.TxId = "probe", start.Txid
	}
	if diff := cmp.Diff(got.result.Event, event, protocmp.Transform()); diff != "" {
		t.Errorf("event (-got +want):\n%s", diff)
	}
}

// The answer to a client whose transaction failed is what the chaincode said.
func TestRecordedFailure(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(conformance, "wire", "messages", "proposal-response-failed.pb"))
	if err != nil {
		t.Fatal(err)
	}
	answer, said := &peer.ProposalResponse{}, &peer.Response{}
	records := readStream(t, "failed.stream")
	if err := errors.Join(proto.Unmarshal(raw, answer), proto.Unmarshal(records[len(records)-1].msg.Payload, said)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answer, &peer.ProposalResponse{Response: said}, protocmp.Transform()); diff != "" {
		t.Errorf("the answer (-got +what the chaincode said):\n%s", diff)
	}
}

// withID puts our iterator's id into a recorded request.
func withID(t *testing.T, msg *peer.ChaincodeMessage, ids map[string]string) *peer.ChaincodeMessage {
	t.Helper()
	if msg.Type != peer.ChaincodeMessage_QUERY_STATE_NEXT && msg.Type != peer.ChaincodeMessage_QUERY_STATE_CLOSE {
		return msg
	}
	request := &peer.QueryStateNext{} // QueryStateClose has the same shape
	if err := proto.Unmarshal(msg.Payload, request); err != nil {
		t.Fatal(err)
	}
	request.Id = ids[request.Id]
	own := proto.CloneOf(msg)
	own.Payload = marshal(t, request)
	return own
}

// learnID puts the recorded iterator's id, which is random, into our answer.
func learnID(t *testing.T, request, got, want *peer.ChaincodeMessage, ids map[string]string) {
	t.Helper()
	if want.Type != peer.ChaincodeMessage_RESPONSE {
		return
	}
	switch request.Type {
	case peer.ChaincodeMessage_GET_STATE_BY_RANGE, peer.ChaincodeMessage_GET_HISTORY_FOR_KEY,
		peer.ChaincodeMessage_QUERY_STATE_NEXT, peer.ChaincodeMessage_QUERY_STATE_CLOSE:
	default:
		return
	}
	ours, theirs := &peer.QueryResponse{}, &peer.QueryResponse{}
	if err := errors.Join(proto.Unmarshal(got.Payload, ours), proto.Unmarshal(want.Payload, theirs)); err != nil {
		t.Fatal(err)
	}
	if known, ok := ids[theirs.Id]; ok && known != ours.Id {
		t.Errorf("iterator %s is now %s", known, ours.Id)
	}
	ids[theirs.Id] = ours.Id
	ours.Id = theirs.Id
	got.Payload = marshal(t, ours)
}

type outcome struct {
	result *chaincode.Result
	err    error
}

func execute(ctx context.Context, host interface {
	Execute(context.Context, *chaincode.Invocation) (*chaincode.Result, error)
}, inv *chaincode.Invocation) <-chan outcome {
	results := make(chan outcome, 1)
	go func() {
		result, err := host.Execute(ctx, inv)
		results <- outcome{result, err}
	}()
	return results
}

func marshal(t testing.TB, msg proto.Message) []byte {
	t.Helper()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
