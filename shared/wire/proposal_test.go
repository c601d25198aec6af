package wire_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"peerless/shared/wire"
)

// Proposals of a real client: parsed, compared with their facts, and made again.
func TestProposals(t *testing.T) {
	t.Parallel()
	m := golden(t)
	for _, name := range []string{"signed-proposal.pb", "signed-proposal-transient.pb", "signed-proposal-failed.pb", "signed-proposal-denied.pb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts := m.message(t, name)
			signed := goldenMessage(t, name, &peer.SignedProposal{})
			p, err := wire.ParseProposal(signed)
			if err != nil {
				t.Fatal(err)
			}
			if p.TxID != facts.TxID || p.Channel != facts.Channel || p.Chaincode != facts.Chaincode || p.Epoch != facts.Epoch || p.Type.String() != facts.Type {
				t.Errorf("got %s %s %s %d %s, want %+v", p.TxID, p.Channel, p.Chaincode, p.Epoch, p.Type, facts)
			}
			equal(t, "proposal hash", p.Hash(), facts.ProposalHash)
			equal(t, "nonce", p.Nonce, facts.Nonce)
			if !p.Timestamp.Equal(facts.Timestamp) {
				t.Errorf("timestamp %v, want %v", p.Timestamp, facts.Timestamp)
			}
			again, err := wire.NewProposal(wire.ProposalSpec{
				Channel: p.Channel, Chaincode: p.Chaincode, Args: p.Input.Args, Transient: p.Transient,
				Creator: p.Creator, Nonce: p.Nonce, Timestamp: p.Timestamp, IsInit: p.Input.IsInit,
			})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "proposal made again", again.Signed.ProposalBytes, signed.ProposalBytes)
			again.Signed.Signature = signed.Signature
			if diff := cmp.Diff(again, p, protocmp.Transform(), cmp.AllowUnexported(wire.Proposal{})); diff != "" {
				t.Errorf("made again (-got +want):\n%s", diff)
			}
			var transient map[string]string
			for field, value := range p.Transient {
				if transient == nil {
					transient = map[string]string{}
				}
				transient[field] = string(value)
			}
			if diff := cmp.Diff(transient, facts.Transient); diff != "" {
				t.Errorf("transient (-got +want):\n%s", diff)
			}
		})
	}
}

func TestBinding(t *testing.T) {
	t.Parallel()
	p := &wire.Proposal{Nonce: []byte("nonce"), Creator: []byte("creator"), Epoch: 0x0102}
	want := sha256.Sum256([]byte("noncecreator\x02\x01\x00\x00\x00\x00\x00\x00"))
	equal(t, "binding", p.Binding(), want[:])
}

// A broken proposal, each in one way, with the condition and the text that Fabric's endorser has for it.
func TestParseProposalRefuses(t *testing.T) {
	t.Parallel()
	garbage := []byte{0xff}
	for _, test := range []struct {
		name      string
		spoil     func(t *testing.T, b *brokenProposal)
		condition error
		text      string // "" if the text is the protobuf library's
	}{
		{"garbage", func(t *testing.T, b *brokenProposal) { b.raw = garbage }, wire.ErrMalformed, ""},
		{"garbage header", func(t *testing.T, b *brokenProposal) { b.proposal.Header = garbage }, wire.ErrMalformed, ""},
		{"nothing", func(t *testing.T, b *brokenProposal) { b.proposal = &peer.Proposal{} }, wire.ErrMalformed, "ChaincodeHeaderExtension.ChaincodeId is nil"},
		{"no chaincode", func(t *testing.T, b *brokenProposal) {
			b.channel.Extension = marshal(t, &peer.ChaincodeHeaderExtension{ChaincodeId: &peer.ChaincodeID{}})
		}, wire.ErrMalformed, "ChaincodeHeaderExtension.ChaincodeId.Name is empty"},
		{"garbage payload", func(t *testing.T, b *brokenProposal) { b.proposal.Payload = garbage }, wire.ErrMalformed, ""},
		{"no spec", func(t *testing.T, b *brokenProposal) { b.proposal.Payload = nil }, wire.ErrMalformed, "chaincode invocation spec did not contain chaincode spec"},
		{"no input", func(t *testing.T, b *brokenProposal) {
			spec := marshal(t, &peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{}})
			b.proposal.Payload = marshal(t, &peer.ChaincodeProposalPayload{Input: spec})
		}, wire.ErrMalformed, "chaincode input did not contain any input"},
		{"type", func(t *testing.T, b *brokenProposal) { b.channel.Type = int32(common.HeaderType_MESSAGE) }, wire.ErrInvalid, "error validating proposal: invalid header type MESSAGE"},
		{"epoch", func(t *testing.T, b *brokenProposal) { b.channel.Epoch = 1 }, wire.ErrInvalid, "error validating proposal: epoch is non-zero"},
		{"nonce", func(t *testing.T, b *brokenProposal) { b.signature.Nonce = nil }, wire.ErrInvalid, "error validating proposal: nonce is empty"},
		{"creator", func(t *testing.T, b *brokenProposal) { b.signature.Creator = nil }, wire.ErrInvalid, "error validating proposal: creator is empty"},
		{"id", func(t *testing.T, b *brokenProposal) { b.channel.TxId = "f00" }, wire.ErrInvalid, "error validating proposal: incorrectly computed txid 'f00' -- expected '2bbd8b00bd381b190c516bfd464095d4cdd765157135d53de276ccdac7c07889'"},
		{"signature", func(t *testing.T, b *brokenProposal) { b.signed.Signature = nil }, wire.ErrInvalid, "error validating proposal: empty signature bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := breakable(t)
			test.spoil(t, b)
			_, err := wire.ParseProposal(b.assemble(t))
			if !errors.Is(err, test.condition) {
				t.Fatalf("got %v, want %v", err, test.condition)
			}
			if test.text != "" && err.Error() != test.text {
				t.Errorf("got %q, want %q", err, test.text)
			}
		})
	}
	if _, err := wire.ParseProposal(nil); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("nil: %v", err)
	}
}

// brokenProposal is a real proposal whose parts a test replaces.
type brokenProposal struct {
	signed    *peer.SignedProposal
	proposal  *peer.Proposal
	header    []byte
	channel   *common.ChannelHeader
	signature *common.SignatureHeader
	raw       []byte
}

func breakable(t *testing.T) *brokenProposal {
	t.Helper()
	b := &brokenProposal{channel: &common.ChannelHeader{}, signature: &common.SignatureHeader{}}
	b.signed = goldenMessage(t, "signed-proposal.pb", &peer.SignedProposal{})
	p, err := wire.ParseProposal(b.signed)
	if err != nil {
		t.Fatal(err)
	}
	b.proposal, b.header = p.Proposal, p.Proposal.Header
	if err := errors.Join(proto.Unmarshal(p.ChannelHeader, b.channel), proto.Unmarshal(p.SignatureHeader, b.signature)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *brokenProposal) assemble(t *testing.T) *peer.SignedProposal {
	t.Helper()
	if bytes.Equal(b.proposal.Header, b.header) {
		b.proposal.Header = marshal(t, &common.Header{ChannelHeader: marshal(t, b.channel), SignatureHeader: marshal(t, b.signature)})
	}
	b.signed.ProposalBytes = b.raw
	if b.raw == nil {
		b.signed.ProposalBytes = marshal(t, b.proposal)
	}
	return b.signed
}

func TestNewProposalNeedsText(t *testing.T) {
	t.Parallel()
	_, err := wire.NewProposal(wire.ProposalSpec{Channel: "\xff", Chaincode: "c", Timestamp: time.Unix(0, 0)})
	if err == nil {
		t.Error("a channel's name that is not UTF-8 went through")
	}
}

func TestSignLater(t *testing.T) {
	t.Parallel()
	p, err := wire.NewProposal(wire.ProposalSpec{Channel: "c", Chaincode: "cc", Creator: []byte("creator"), Nonce: []byte("nonce")})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	p.SignLater(func(message []byte) ([]byte, error) {
		calls++
		return append([]byte("signed:"), message...), nil
	})
	for range 2 {
		signed, err := p.SignedProposal()
		if err != nil || string(signed.Signature) != "signed:"+string(p.Signed.ProposalBytes) {
			t.Fatalf("signed proposal %v, %v", signed, err)
		}
	}
	if calls != 1 {
		t.Errorf("signed %d times, want once", calls)
	}
	p.SignLater(func([]byte) ([]byte, error) { return nil, wire.ErrInvalid })
	if _, err := p.SignedProposal(); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("a signer that fails: %v", err)
	}
}
