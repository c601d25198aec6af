package wire_test

import (
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/wire"
)

func benchProposal(b *testing.B) *wire.Proposal {
	b.Helper()
	p, err := wire.ParseProposal(goldenMessage(b, "signed-proposal.pb", &peer.SignedProposal{}))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkNewProposal(b *testing.B) {
	p := benchProposal(b)
	spec := wire.ProposalSpec{
		Channel: p.Channel, Chaincode: p.Chaincode, Args: p.Input.Args,
		Creator: p.Creator, Nonce: p.Nonce, Timestamp: p.Timestamp,
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.NewProposal(spec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseProposal(b *testing.B) {
	signed := benchProposal(b).Signed
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ParseProposal(signed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewProposalResponsePayload(b *testing.B) {
	tx, _ := wire.ParseEnvelope(goldenFile(b, "messages/envelope.pb"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.NewProposalResponsePayload(tx.ProposalHash, tx.Results, tx.Event, tx.Response, tx.ChaincodeID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewTransactionPayload(b *testing.B) {
	p := benchProposal(b)
	tx, _ := wire.ParseEnvelope(goldenFile(b, "messages/envelope.pb"))
	b.ReportAllocs()
	for b.Loop() {
		payload, err := wire.NewTransactionPayload(p, tx.ResponsePayload, tx.Endorsements)
		if err != nil {
			b.Fatal(err)
		}
		wire.NewEnvelope(payload, tx.Signature)
	}
}

func BenchmarkParseEnvelope(b *testing.B) {
	raw := goldenFile(b, "messages/envelope.pb")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, code := wire.ParseEnvelope(raw); code != peer.TxValidationCode_VALID {
			b.Fatal(code)
		}
	}
}

func BenchmarkMarshalRWSet(b *testing.B) {
	tx, _ := wire.ParseEnvelope(goldenFile(b, "messages/envelope.pb"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tx.RWSet.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}
