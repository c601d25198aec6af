package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

func TestTransactionsOfBlocks(t *testing.T) {
	t.Parallel()
	for _, block := range golden(t).Blocks {
		t.Run(block.File, func(t *testing.T) {
			t.Parallel()
			for i, raw := range goldenBlock(t, block.File).Data.Data {
				checkTransaction(t, raw, block.Transactions[i])
			}
		})
	}
}

func TestTransactionsOfMessages(t *testing.T) {
	t.Parallel()
	m := golden(t)
	checkTransaction(t, goldenFile(t, "messages/envelope.pb"), m.message(t, "envelope.pb"))
	prepared := goldenMessage(t, "gateway-endorse-response.pb", &gateway.EndorseResponse{}).GetPreparedTransaction()
	checkTransaction(t, marshal(t, prepared), m.message(t, "gateway-endorse-response.pb"))
	submitted := goldenMessage(t, "gateway-submit-request.pb", &gateway.SubmitRequest{}).GetPreparedTransaction()
	checkTransaction(t, marshal(t, submitted), m.message(t, "gateway-submit-request.pb"))
}

// checkTransaction compares an envelope taken apart with its facts. Every envelope of the real network is well formed.
func checkTransaction(t *testing.T, raw []byte, facts txFacts) {
	t.Helper()
	tx, code := wire.ParseEnvelope(raw)
	if code != peer.TxValidationCode_VALID {
		t.Fatalf("transaction %s: %s", facts.TxID, code)
	}
	type header struct {
		TxID, Channel, Type string
		Epoch               uint64
		Nonce               []byte
	}
	got := header{tx.TxID, tx.Channel, tx.Type.String(), tx.Epoch, tx.Nonce}
	if diff := cmp.Diff(got, header{facts.TxID, facts.Channel, facts.Type, facts.Epoch, facts.Nonce}); diff != "" {
		t.Errorf("header (-got +want):\n%s", diff)
	}
	if !tx.Timestamp.Equal(facts.Timestamp) {
		t.Errorf("timestamp %v, want %v", tx.Timestamp, facts.Timestamp)
	}
	equal(t, "envelope made again", wire.NewEnvelope(tx.Payload, tx.Signature), raw)
	if tx.Type != common.HeaderType_ENDORSER_TRANSACTION {
		if tx.RWSet != nil || len(tx.Data) == 0 {
			t.Errorf("a %s has a read-write set or no data", tx.Type)
		}
		return
	}
	checkAction(t, tx, facts)
}

func checkAction(t *testing.T, tx *wire.Transaction, facts txFacts) {
	t.Helper()
	if got := wire.TxID(tx.Nonce, tx.Creator); got != facts.TxID {
		t.Errorf("transaction id %s, want %s", got, facts.TxID)
	}
	equal(t, "proposal hash", tx.ProposalHash, facts.Action.ProposalHash)
	if tx.Chaincode != facts.Chaincode || tx.ChaincodeID.GetName() != facts.Action.Chaincode.Name || tx.ChaincodeID.GetVersion() != facts.Action.Chaincode.Version {
		t.Errorf("chaincode %s, %v; want %s, %v", tx.Chaincode, tx.ChaincodeID, facts.Chaincode, facts.Action.Chaincode)
	}
	var args [][]byte
	for _, arg := range facts.Args {
		args = append(args, arg)
	}
	if diff := cmp.Diff(tx.Args, args); diff != "" {
		t.Errorf("arguments (-got +want):\n%s", diff)
	}
	if tx.Response.GetStatus() != facts.Action.Response.Status || tx.Response.GetMessage() != facts.Action.Response.Message {
		t.Errorf("response %v, want %v", tx.Response, facts.Action.Response)
	}
	if e := facts.Action.Event; (e == nil) != (tx.Event == nil) ||
		e != nil && (tx.Event.GetEventName() != e.Name || tx.Event.GetChaincodeId() != e.Chaincode || tx.Event.GetTxId() != e.TxID) {
		t.Errorf("event %v, want %v", tx.Event, e)
	}
	if got, want := len(tx.Endorsements), len(facts.Endorsements); got != want {
		t.Fatalf("%d endorsements, want %d", got, want)
	}
	for i, e := range tx.Endorsements {
		equal(t, "endorsement", e.GetSignature(), facts.Endorsements[i].Signature)
	}
	checkRWSet(t, tx, facts)

	again, err := wire.NewProposalResponsePayload(tx.ProposalHash, tx.Results, tx.Event, tx.Response, tx.ChaincodeID)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "response payload made again", again, tx.ResponsePayload)
}

func checkRWSet(t *testing.T, tx *wire.Transaction, facts txFacts) {
	t.Helper()
	again, err := tx.RWSet.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "read-write set made again", again, tx.Results)
	if got, want := len(tx.RWSet.Namespaces), len(facts.Action.RWSet); got != want {
		t.Fatalf("%d namespaces, want %d", got, want)
	}
	for i, want := range facts.Action.RWSet {
		ns := tx.RWSet.Namespaces[i]
		if ns.Namespace != want.Namespace || len(ns.KV.GetReads()) != len(want.Reads) || len(ns.KV.GetWrites()) != len(want.Writes) {
			t.Errorf("namespace %s with %d reads and %d writes; want %s, %d, %d", ns.Namespace,
				len(ns.KV.GetReads()), len(ns.KV.GetWrites()), want.Namespace, len(want.Reads), len(want.Writes))
		}
		if len(ns.Collections) != len(want.Collections) {
			t.Fatalf("%d collections, want %d", len(ns.Collections), len(want.Collections))
		}
		for j, c := range want.Collections {
			if ns.Collections[j].Name != c.Name {
				t.Errorf("collection %s, want %s", ns.Collections[j].Name, c.Name)
			}
			equal(t, "private hash", ns.Collections[j].PrivateHash, c.PrivateHash)
		}
	}
}

// The real client's envelope, made from the proposal and both peers' answers.
func TestNewTransactionPayload(t *testing.T) {
	t.Parallel()
	p, err := wire.ParseProposal(goldenMessage(t, "signed-proposal.pb", &peer.SignedProposal{}))
	if err != nil {
		t.Fatal(err)
	}
	org1 := goldenMessage(t, "proposal-response-org1.pb", &peer.ProposalResponse{})
	org2 := goldenMessage(t, "proposal-response-org2.pb", &peer.ProposalResponse{})
	real := goldenMessage(t, "envelope.pb", &common.Envelope{})

	twice := []*peer.Endorsement{org1.Endorsement, org2.Endorsement, org1.Endorsement}
	payload, err := wire.NewTransactionPayload(p, org1.Payload, twice)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "payload", payload, real.Payload)
	equal(t, "envelope", wire.NewEnvelope(payload, real.Signature), goldenFile(t, "messages/envelope.pb"))

	if _, err := wire.NewTransactionPayload(p, org1.Payload, nil); err == nil {
		t.Error("made a transaction without endorsement")
	}
}

// What the real gateway answered a client, made again of the client's request and the endorsements in the answer.
func TestEndorseResponse(t *testing.T) {
	t.Parallel()
	request := goldenMessage(t, "gateway-endorse-request.pb", &gateway.EndorseRequest{})
	p, err := wire.ParseProposal(request.ProposedTransaction)
	if err != nil {
		t.Fatal(err)
	}
	if p.TxID != request.TransactionId || p.Channel != request.ChannelId {
		t.Errorf("the proposal is %s on %s, the request says %s on %s", p.TxID, p.Channel, request.TransactionId, request.ChannelId)
	}
	answer := goldenMessage(t, "gateway-endorse-response.pb", &gateway.EndorseResponse{}).GetPreparedTransaction()
	tx, _ := wire.ParseEnvelope(marshal(t, answer))
	if tx == nil {
		t.Fatal("the answer is no transaction")
	}
	payload, err := wire.NewTransactionPayload(p, tx.ResponsePayload, tx.Endorsements)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "payload", payload, answer.Payload)
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
