package chaincode_test

import (
	"context"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"peerless/shared/simulate/simtest"
)

// FuzzSession plays a chaincode that says anything during a transaction. The data is a list of messages, each with its
// length before it. Those without a transaction id are of the transaction that runs.
//
// Execute always returns, a response only if the chaincode has completed, and the session still serves another
// transaction unless the stream was ended for something said before registration.
func FuzzSession(f *testing.F) {
	seed := func(messages ...*peer.ChaincodeMessage) {
		var data []byte
		for _, msg := range messages {
			data = protowire.AppendBytes(data, marshal(f, msg))
		}
		f.Add(data)
	}
	message := func(kind peer.ChaincodeMessage_Type, payload proto.Message) *peer.ChaincodeMessage {
		return &peer.ChaincodeMessage{Type: kind, Payload: marshal(f, payload)}
	}
	seed(
		message(peer.ChaincodeMessage_GET_STATE, &peer.GetState{Key: "k1"}),
		message(peer.ChaincodeMessage_GET_STATE_MULTIPLE, &peer.GetStateMultiple{Keys: []string{"k1", "no"}}),
		message(peer.ChaincodeMessage_PUT_STATE, &peer.PutState{Key: "k", Value: []byte("v")}),
		message(peer.ChaincodeMessage_DEL_STATE, &peer.DelState{Key: "k"}),
		message(peer.ChaincodeMessage_COMPLETED, &peer.Response{Status: 200}),
	)
	seed(
		message(peer.ChaincodeMessage_GET_STATE_BY_RANGE, &peer.GetStateByRange{}),
		message(peer.ChaincodeMessage_QUERY_STATE_NEXT, &peer.QueryStateNext{Id: "1"}),
		message(peer.ChaincodeMessage_QUERY_STATE_CLOSE, &peer.QueryStateClose{Id: "1"}),
		message(peer.ChaincodeMessage_GET_STATE_BY_RANGE, &peer.GetStateByRange{Metadata: marshal(f, &peer.QueryMetadata{PageSize: 3, Bookmark: "k2"})}),
		message(peer.ChaincodeMessage_GET_HISTORY_FOR_KEY, &peer.GetHistoryForKey{Key: "k1"}),
		message(peer.ChaincodeMessage_GET_QUERY_RESULT, &peer.GetQueryResult{Query: "{}"}),
	)
	seed(
		message(peer.ChaincodeMessage_WRITE_BATCH_STATE, &peer.WriteBatchState{Rec: []*peer.WriteRecord{{Type: peer.WriteRecord_PUT_STATE_METADATA}, {Type: peer.WriteRecord_PURGE_PRIVATE_DATA}}}),
		message(peer.ChaincodeMessage_GET_STATE_METADATA, &peer.GetStateMetadata{Key: "k1"}),
		message(peer.ChaincodeMessage_PUT_STATE_METADATA, &peer.PutStateMetadata{Key: "k1"}),
		message(peer.ChaincodeMessage_INVOKE_CHAINCODE, &peer.ChaincodeSpec{}),
		message(peer.ChaincodeMessage_INVOKE_CHAINCODE, &peer.ChaincodeSpec{ChaincodeId: &peer.ChaincodeID{Name: "other:1/beta"}}),
		&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_ERROR, Payload: []byte("text")},
		&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_PUT_STATE, Txid: "another", ChannelId: "beta"},
	)
	state := simtest.NewState()
	var pairs []string
	for i := range 250 {
		pairs = append(pairs, "k"+string(rune('0'+i)), "v")
	}
	state.Put(f, "test", pairs...)

	f.Fuzz(func(t *testing.T, data []byte) {
		session, p := registered(t)
		inv := invocation(t, state, "f")
		inv.Call = func(context.Context, string, string, *peer.ChaincodeInput) (*peer.Response, error) {
			return &peer.Response{Status: 200}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		results := execute(ctx, session, inv)
		stop, drained := make(chan struct{}), make(chan struct{})
		go func() { // the chaincode reads all that it is told
			defer close(drained)
			for {
				select {
				case <-p.toChaincode:
				case <-stop:
					return
				}
			}
		}()
		completed := false
		for len(data) > 0 {
			raw, n := protowire.ConsumeBytes(data)
			if n < 0 {
				break
			}
			data = data[n:]
			msg := &peer.ChaincodeMessage{}
			if proto.Unmarshal(raw, msg) != nil {
				continue
			}
			if msg.Txid == "" {
				msg.Txid, msg.ChannelId = inv.Proposal.TxID, inv.Channel
			}
			completed = completed || msg.Type == peer.ChaincodeMessage_COMPLETED && msg.Txid == inv.Proposal.TxID
			p.say(t, msg)
		}
		cancel()
		got := <-results
		switch {
		case got.err == nil && (!completed || got.result.Response == nil):
			t.Errorf("a result from nowhere: %v", got.result)
		case got.err != nil && got.result != nil:
			t.Errorf("a result and an error: %v", got)
		}
		close(stop)
		<-drained

		again := invocation(t, state, "f")
		results = execute(t.Context(), session, again)
		for msg := p.hear(t); msg.Type != peer.ChaincodeMessage_TRANSACTION || msg.Txid != again.Proposal.TxID; {
			msg = p.hear(t)
		}
		complete(t, p, again, results)
	})
}
