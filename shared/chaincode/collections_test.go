package chaincode_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
)

// collections answers for an invocation that has one collection, "c", whose values are not sealed.
func collections(t *testing.T, state *simtest.State) *chaincode.Collections {
	t.Helper()
	inv := invocation(t, state, "f")
	inv.Collection = func(_ context.Context, name string) (*chaincode.Collection, error) {
		if name != "c" {
			return nil, nil
		}
		open := func(_ string, sealed []byte) ([]byte, error) { return sealed, nil }
		return &chaincode.Collection{Collection: simulate.Collection{Name: "c", Open: open}, Read: true, Write: true}, nil
	}
	c := chaincode.NewCollections(inv)
	t.Cleanup(c.Close)
	return c
}

// TestCollectionsRefuse: who asks from elsewhere is answered about collections and nothing else.
func TestCollectionsRefuse(t *testing.T) {
	t.Parallel()
	c := collections(t, simtest.NewState())
	for kind, request := range map[peer.ChaincodeMessage_Type]proto.Message{
		peer.ChaincodeMessage_GET_STATE:             &peer.GetState{Key: "k"},
		peer.ChaincodeMessage_GET_STATE_MULTIPLE:    &peer.GetStateMultiple{Keys: []string{"k"}},
		peer.ChaincodeMessage_GET_STATE_METADATA:    &peer.GetStateMetadata{Key: "k"},
		peer.ChaincodeMessage_GET_STATE_BY_RANGE:    &peer.GetStateByRange{},
		peer.ChaincodeMessage_GET_QUERY_RESULT:      &peer.GetQueryResult{Query: "{}"},
		peer.ChaincodeMessage_GET_PRIVATE_DATA_HASH: &peer.GetState{Key: "k"},
		peer.ChaincodeMessage_PUT_STATE:             &peer.PutState{Key: "k", Value: []byte("x")},
		peer.ChaincodeMessage_DEL_STATE:             &peer.DelState{Key: "k"},
		peer.ChaincodeMessage_PUT_STATE_METADATA:    &peer.PutStateMetadata{Key: "k"},
		peer.ChaincodeMessage_PURGE_PRIVATE_DATA:    &peer.DelState{Key: "k"},
		peer.ChaincodeMessage_WRITE_BATCH_STATE:     &peer.WriteBatchState{Rec: []*peer.WriteRecord{{Type: peer.WriteRecord_PUT_STATE, Collection: "c", Key: "k"}}},
		peer.ChaincodeMessage_GET_HISTORY_FOR_KEY:   &peer.GetHistoryForKey{Key: "k"},
		peer.ChaincodeMessage_QUERY_STATE_CLOSE:     &peer.QueryStateClose{Id: "c1"},
		peer.ChaincodeMessage_INVOKE_CHAINCODE:      &peer.ChaincodeSpec{ChaincodeId: &peer.ChaincodeID{Name: "other"}},
		peer.ChaincodeMessage_COMPLETED:             &peer.Response{},
		peer.ChaincodeMessage_REGISTER:              &peer.ChaincodeID{},
		12345:                                       &peer.ChaincodeID{},
	} {
		if _, err := c.Answer(t.Context(), kind, marshal(t, request)); !errors.Is(err, chaincode.ErrProtocol) {
			t.Errorf("%s: error %v", kind, err)
		}
	}
	for kind, request := range map[peer.ChaincodeMessage_Type]proto.Message{
		peer.ChaincodeMessage_GET_STATE:          &peer.GetState{Collection: "other", Key: "k"},
		peer.ChaincodeMessage_PUT_STATE:          &peer.PutState{Collection: "test$$pc", Key: "k"},
		peer.ChaincodeMessage_GET_STATE_BY_RANGE: &peer.GetStateByRange{Collection: "x/c"},
	} {
		if _, err := c.Answer(t.Context(), kind, marshal(t, request)); err == nil || errors.Is(err, chaincode.ErrProtocol) || !strings.Contains(err.Error(), "could not be found") {
			t.Errorf("%s of no collection: error %v", kind, err)
		}
	}
	if _, err := c.Answer(t.Context(), peer.ChaincodeMessage_QUERY_STATE_NEXT, marshal(t, &peer.QueryStateNext{Id: "c1"})); err == nil || err.Error() != "query iterator not found" {
		t.Errorf("a query that nobody began: %v", err)
	}
}

// TestCollectionsRange: rows come in as few answers as may be, each of some MiB at most.
func TestCollectionsRange(t *testing.T) {
	t.Parallel()
	for size, answers := range map[int]int{10: 2, 2_000: 22} {
		state := simtest.NewState()
		const rows = 11_000
		var pairs []string
		for i := range rows {
			pairs = append(pairs, fmt.Sprintf("k%05d", i), strings.Repeat("x", size))
		}
		state.Put(t, ledger.PrivateNamespace("test", "c"), pairs...)
		c := collections(t, state)
		kind, request := peer.ChaincodeMessage_GET_STATE_BY_RANGE, marshal(t, &peer.GetStateByRange{Collection: "c"})
		next, got := 0, 0
		for more := true; more; got++ {
			raw, err := c.Answer(t.Context(), kind, request)
			if err != nil {
				t.Fatal(err)
			}
			answer := &peer.QueryResponse{}
			if err := proto.Unmarshal(raw, answer); err != nil || len(raw) > 2<<20 {
				t.Fatalf("an answer of %d bytes: %v", len(raw), err)
			}
			for _, result := range answer.Results {
				row := &queryresult.KV{}
				if err := proto.Unmarshal(result.ResultBytes, row); err != nil || row.Key != fmt.Sprintf("k%05d", next) || len(row.Value) != size {
					t.Fatalf("row %d is %s: %v", next, row.Key, err)
				}
				next++
			}
			more = answer.HasMore
			kind, request = peer.ChaincodeMessage_QUERY_STATE_NEXT, marshal(t, &peer.QueryStateNext{Id: answer.Id})
		}
		if next != rows || got != answers {
			t.Errorf("%d rows of %d bytes in %d answers, want %d in %d", next, size, got, rows, answers)
		}
	}
}
