package wire_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// seeds calls add with every envelope of the real network.
func seeds(f *testing.F, add func(envelope []byte)) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(goldenDir, "blocks", "*.pb"))
	if err != nil || len(files) == 0 {
		f.Fatalf("%d blocks, %v", len(files), err)
	}
	for _, file := range files {
		for _, envelope := range goldenBlock(f, "blocks/"+filepath.Base(file)).Data.Data {
			add(envelope)
		}
	}
}

func FuzzParseEnvelope(f *testing.F) {
	seeds(f, func(envelope []byte) { f.Add(envelope) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		tx, code := wire.ParseEnvelope(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("it wrote to its argument")
		}
		if want := verdict(raw); code != want {
			t.Fatalf("got %s, want %s", code, want)
		}
		if code != peer.TxValidationCode_VALID {
			return
		}
		again, code := wire.ParseEnvelope(wire.NewEnvelope(tx.Payload, tx.Signature))
		if code != peer.TxValidationCode_VALID || again.TxID != tx.TxID || !bytes.Equal(again.Results, tx.Results) {
			t.Fatalf("made again it is another: %s", code)
		}
		if tx.Type == common.HeaderType_ENDORSER_TRANSACTION && (tx.TxID != wire.TxID(tx.Nonce, tx.Creator) || tx.RWSet == nil || tx.Chaincode == "") {
			t.Fatalf("a valid transaction lacks something: %+v", tx)
		}
	})
}

func FuzzParseProposal(f *testing.F) {
	for _, name := range []string{"signed-proposal.pb", "signed-proposal-transient.pb", "signed-proposal-failed.pb"} {
		f.Add(goldenMessage(f, name, &peer.SignedProposal{}).ProposalBytes)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := wire.ParseProposal(&peer.SignedProposal{ProposalBytes: raw, Signature: []byte("signature")})
		if err != nil {
			return
		}
		again, err := proto.Marshal(p.Proposal)
		if err != nil {
			t.Fatal(err)
		}
		q, err := wire.ParseProposal(&peer.SignedProposal{ProposalBytes: again, Signature: []byte("signature")})
		if err != nil {
			t.Fatal(err)
		}
		if q.TxID != p.TxID || q.Chaincode != p.Chaincode || !bytes.Equal(q.Hash(), p.Hash()) {
			t.Fatal("made again it is another")
		}
		payload, err := wire.NewTransactionPayload(p, []byte("response"), []*peer.Endorsement{{Endorser: []byte("endorser")}})
		if err != nil {
			t.Fatal(err)
		}
		tx, code := wire.ParseEnvelope(wire.NewEnvelope(payload, nil))
		if p.Type == common.HeaderType_ENDORSER_TRANSACTION && (tx == nil || tx.TxID != p.TxID) {
			t.Fatalf("its transaction has another header: %s", code)
		}
	})
}

func FuzzParseBlock(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "blocks", "*.pb"))
	if err != nil || len(files) == 0 {
		f.Fatalf("%d blocks, %v", len(files), err)
	}
	for _, file := range files {
		f.Add(goldenFile(f, "blocks/"+filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := wire.ParseBlock(raw)
		if err != nil {
			return
		}
		_, _ = wire.ValidationCodes(b)
		_, _, _ = wire.BlockSignatures(b)
		wire.CommitHash(b)
		encoded, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := wire.ParseBlock(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(wire.HeaderHash(again.Header), wire.HeaderHash(b.Header)) {
			t.Fatal("made again it has another hash")
		}
	})
}

func FuzzParseRWSet(f *testing.F) {
	seeds(f, func(envelope []byte) {
		if tx, _ := wire.ParseEnvelope(envelope); tx != nil {
			f.Add(tx.Results)
		}
	})
	f.Fuzz(func(t *testing.T, raw []byte) {
		set, err := wire.ParseRWSet(raw)
		if err != nil {
			return
		}
		first, err := set.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := wire.ParseRWSet(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%x\n%x", first, second)
		}
	})
}
