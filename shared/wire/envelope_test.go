package wire_test

import (
	"errors"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// pieces is a real envelope taken apart to its last message. A test changes some; assemble makes an envelope of them,
// with a proposal hash that fits unless the test says otherwise.
type pieces struct {
	envelope  *common.Envelope
	payload   *common.Payload
	channel   *common.ChannelHeader
	signature *common.SignatureHeader
	extension *peer.ChaincodeHeaderExtension
	tx        *peer.Transaction
	action    *peer.ChaincodeActionPayload
	response  *peer.ProposalResponsePayload
	result    *peer.ChaincodeAction
	event     *peer.ChaincodeEvent
	results   *rwset.TxReadWriteSet

	// raw replaces a message with bytes, by its name.
	raw  map[string][]byte
	hash []byte
}

func takeApart(t testing.TB) *pieces {
	t.Helper()
	p := &pieces{
		&common.Envelope{}, &common.Payload{}, &common.ChannelHeader{}, &common.SignatureHeader{}, &peer.ChaincodeHeaderExtension{},
		&peer.Transaction{}, &peer.ChaincodeActionPayload{}, &peer.ProposalResponsePayload{}, &peer.ChaincodeAction{},
		&peer.ChaincodeEvent{}, &rwset.TxReadWriteSet{}, map[string][]byte{}, nil,
	}
	if err := errors.Join(
		proto.Unmarshal(goldenFile(t, "messages/envelope.pb"), p.envelope),
		proto.Unmarshal(p.envelope.Payload, p.payload),
		proto.Unmarshal(p.payload.Header.ChannelHeader, p.channel),
		proto.Unmarshal(p.payload.Header.SignatureHeader, p.signature),
		proto.Unmarshal(p.channel.Extension, p.extension),
		proto.Unmarshal(p.payload.Data, p.tx),
		proto.Unmarshal(p.tx.Actions[0].Payload, p.action),
		proto.Unmarshal(p.action.Action.ProposalResponsePayload, p.response),
		proto.Unmarshal(p.response.Extension, p.result),
		proto.Unmarshal(p.result.Events, p.event),
		proto.Unmarshal(p.result.Results, p.results),
	); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pieces) bytes(t testing.TB, name string, message proto.Message) []byte {
	t.Helper()
	if raw, ok := p.raw[name]; ok {
		return raw
	}
	return marshal(t, message)
}

func (p *pieces) assemble(t testing.TB) []byte {
	t.Helper()
	if p.payload.Header != nil {
		p.channel.Extension = p.bytes(t, "extension", p.extension)
		p.payload.Header.ChannelHeader = p.bytes(t, "channel", p.channel)
		p.payload.Header.SignatureHeader = p.bytes(t, "signature", p.signature)
	}
	p.result.Events = p.bytes(t, "event", p.event)
	p.result.Results = p.bytes(t, "results", p.results)
	p.response.Extension = p.bytes(t, "result", p.result)
	if len(p.tx.Actions) > 0 && p.payload.Header != nil {
		p.response.ProposalHash = p.hash
		if p.hash == nil {
			p.response.ProposalHash = wire.DataHash([][]byte{
				p.payload.Header.ChannelHeader, p.tx.Actions[0].Header, p.action.ChaincodeProposalPayload,
			})
		}
	}
	if p.action.Action != nil {
		p.action.Action.ProposalResponsePayload = p.bytes(t, "response", p.response)
	}
	if len(p.tx.Actions) > 0 {
		p.tx.Actions[0].Payload = p.bytes(t, "action", p.action)
	}
	p.payload.Data = p.bytes(t, "tx", p.tx)
	p.envelope.Payload = p.bytes(t, "payload", p.payload)
	return p.bytes(t, "envelope", p.envelope)
}

// An envelope broken in one way each, and the code that Fabric's validation gives it. header says whether the header
// can be read, so that the creator's signature is looked at first.
func TestParseEnvelopeCodes(t *testing.T) {
	t.Parallel()
	garbage := []byte{0xff}
	for _, test := range []struct {
		name   string
		spoil  func(p *pieces)
		want   peer.TxValidationCode
		header bool
	}{
		{"nothing wrong", func(p *pieces) {}, peer.TxValidationCode_VALID, true},
		{"empty", func(p *pieces) { p.raw["envelope"] = nil }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"garbage", func(p *pieces) { p.raw["envelope"] = garbage }, peer.TxValidationCode_INVALID_OTHER_REASON, false},
		{"garbage payload", func(p *pieces) { p.raw["payload"] = garbage }, peer.TxValidationCode_BAD_PAYLOAD, false},
		{"no header", func(p *pieces) { p.payload.Header = nil }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"garbage channel header", func(p *pieces) { p.raw["channel"] = garbage }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"garbage signature header", func(p *pieces) { p.raw["signature"] = garbage }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"unknown type", func(p *pieces) { p.channel.Type = 77 }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"message type", func(p *pieces) { p.channel.Type = int32(common.HeaderType_MESSAGE) }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"epoch", func(p *pieces) { p.channel.Epoch = 1 }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"no nonce", func(p *pieces) { p.signature.Nonce = nil }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"no creator", func(p *pieces) { p.signature.Creator = nil }, peer.TxValidationCode_BAD_COMMON_HEADER, false},
		{"update", func(p *pieces) { p.channel.Type = int32(common.HeaderType_CONFIG_UPDATE) }, peer.TxValidationCode_UNSUPPORTED_TX_PAYLOAD, true},
		{"configuration without data", func(p *pieces) {
			p.channel.Type = int32(common.HeaderType_CONFIG)
			p.raw["tx"] = nil
		}, peer.TxValidationCode_INVALID_CONFIG_TRANSACTION, true},
		{"id", func(p *pieces) { p.channel.TxId = "f00" }, peer.TxValidationCode_BAD_PROPOSAL_TXID, true},
		{"other nonce", func(p *pieces) { p.signature.Nonce = []byte("other") }, peer.TxValidationCode_BAD_PROPOSAL_TXID, true},
		{"no data", func(p *pieces) { p.raw["tx"] = nil }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"garbage data", func(p *pieces) { p.raw["tx"] = garbage }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"no action", func(p *pieces) { p.tx.Actions = nil }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"two actions", func(p *pieces) { p.tx.Actions = append(p.tx.Actions, p.tx.Actions[0]) }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"garbage action header", func(p *pieces) { p.tx.Actions[0].Header = garbage }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"no action header", func(p *pieces) { p.tx.Actions[0].Header = nil }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"garbage action", func(p *pieces) { p.raw["action"] = garbage }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"no endorsed action", func(p *pieces) { p.action.Action = nil }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"no proposal", func(p *pieces) { p.action.ChaincodeProposalPayload = nil }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"garbage response", func(p *pieces) { p.raw["response"] = garbage }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"another proposal's", func(p *pieces) { p.hash = []byte("other") }, peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION, true},
		{"garbage extension", func(p *pieces) { p.raw["extension"] = garbage }, peer.TxValidationCode_BAD_HEADER_EXTENSION, true},
		{"no result", func(p *pieces) { p.raw["result"] = nil }, peer.TxValidationCode_BAD_RESPONSE_PAYLOAD, true},
		{"garbage result", func(p *pieces) { p.raw["result"] = garbage }, peer.TxValidationCode_BAD_RESPONSE_PAYLOAD, true},
		{"garbage results", func(p *pieces) { p.raw["results"] = garbage }, peer.TxValidationCode_BAD_RWSET, true},
		{"garbage namespace", func(p *pieces) { p.results.NsRwset[0].Rwset = garbage }, peer.TxValidationCode_BAD_RWSET, true},
		{"garbage collection", func(p *pieces) {
			p.results.NsRwset[0].CollectionHashedRwset = []*rwset.CollectionHashedReadWriteSet{{HashedRwset: garbage}}
		}, peer.TxValidationCode_BAD_RWSET, true},
		{"no chaincode in the header", func(p *pieces) { p.extension.ChaincodeId = nil }, peer.TxValidationCode_INVALID_OTHER_REASON, true},
		{"no chaincode in the result", func(p *pieces) { p.result.ChaincodeId = nil }, peer.TxValidationCode_INVALID_OTHER_REASON, true},
		{"no name", func(p *pieces) { p.extension.ChaincodeId.Name = "" }, peer.TxValidationCode_INVALID_CHAINCODE, true},
		{"two names", func(p *pieces) { p.result.ChaincodeId.Name = "other" }, peer.TxValidationCode_INVALID_CHAINCODE, true},
		{"no version", func(p *pieces) { p.result.ChaincodeId.Version = "" }, peer.TxValidationCode_INVALID_CHAINCODE, true},
		{"garbage event", func(p *pieces) { p.raw["event"] = garbage }, peer.TxValidationCode_INVALID_OTHER_REASON, true},
		{"another chaincode's event", func(p *pieces) { p.event.ChaincodeId = "other" }, peer.TxValidationCode_INVALID_OTHER_REASON, true},
		{"a namespace twice", func(p *pieces) { p.results.NsRwset = append(p.results.NsRwset, p.results.NsRwset[0]) }, peer.TxValidationCode_ILLEGAL_WRITESET, true},
		{"no event", func(p *pieces) { p.raw["event"] = nil }, peer.TxValidationCode_VALID, true},
		{"no results", func(p *pieces) { p.raw["results"] = nil }, peer.TxValidationCode_VALID, true},
		{"no endorsement", func(p *pieces) { p.action.Action.Endorsements = nil }, peer.TxValidationCode_VALID, true},
		{"no signature", func(p *pieces) { p.envelope.Signature = nil }, peer.TxValidationCode_VALID, true},
		{"garbage arguments", func(p *pieces) { p.action.ChaincodeProposalPayload = garbage }, peer.TxValidationCode_VALID, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := takeApart(t)
			test.spoil(p)
			raw := p.assemble(t)
			tx, code := wire.ParseEnvelope(raw)
			if code != test.want {
				t.Errorf("got %s, want %s", code, test.want)
			}
			if reference := verdict(raw); reference != test.want {
				t.Errorf("unmarshalled one by one: %s, want %s", reference, test.want)
			}
			if (tx != nil) != test.header {
				t.Fatalf("header read: %t, want %t", tx != nil, test.header)
			}
			if tx != nil && (len(tx.Payload) == 0 || len(tx.Creator) == 0) {
				t.Error("nothing to check the creator's signature with")
			}
		})
	}
}

// Of an action's own signature header, Fabric wants that it can be read and is in the hash. It need not be the payload's.
func TestParseEnvelopeWithTwoSignatureHeaders(t *testing.T) {
	t.Parallel()
	p := takeApart(t)
	p.tx.Actions[0].Header = marshal(t, &common.SignatureHeader{Creator: []byte("somebody"), Nonce: []byte("else")})
	tx, code := wire.ParseEnvelope(p.assemble(t))
	if code != peer.TxValidationCode_VALID {
		t.Fatalf("got %s", code)
	}
	equal(t, "creator", tx.Creator, p.signature.Creator)
}
