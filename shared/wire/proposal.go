package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Errors of ParseProposal. Their texts are those a Fabric peer answers with.
var (
	// ErrMalformed: the proposal cannot be taken apart. It answers nobody's question; nothing in it is to be trusted.
	ErrMalformed = errors.New("malformed proposal")
	// ErrInvalid: the proposal can be read, but is not one that may be endorsed.
	ErrInvalid = errors.New("invalid proposal")
)

// proposalError is one of the two conditions with a peer's text, which clients see.
type proposalError struct {
	condition error
	text      string
}

func (e *proposalError) Error() string { return e.text }
func (e *proposalError) Unwrap() error { return e.condition }

func malformed(format string, args ...any) error {
	return &proposalError{ErrMalformed, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &proposalError{ErrInvalid, "error validating proposal: " + fmt.Sprintf(format, args...)}
}

// A ProposalSpec is what a client wants done.
type ProposalSpec struct {
	Channel, Chaincode string
	Args               [][]byte          // of the chaincode, its function first
	Transient          map[string][]byte // seen by the chaincode, in no transaction
	Creator            []byte            // marshalled msp.SerializedIdentity
	Nonce              []byte            // 24 random bytes, or what the transaction id shall be derived from
	Timestamp          time.Time
	IsInit             bool
}

// A Proposal is a proposal taken apart, as NewProposal and ParseProposal return it. Its fields share memory with its
// messages and are not to be modified.
type Proposal struct {
	Signed             *peer.SignedProposal // ProposalBytes, and the signature over them unless SignLater was called
	Proposal           *peer.Proposal
	Channel, Chaincode string
	TxID               string
	Creator, Nonce     []byte
	Timestamp          time.Time // UTC; zero if the header has none
	Type               common.HeaderType
	Epoch              uint64
	Input              *peer.ChaincodeInput
	Transient          map[string][]byte
	ChannelHeader      []byte // as hashed
	SignatureHeader    []byte // as hashed

	payload []byte // of the proposal, without the transient data: what goes into the transaction

	later *lateSignature // nil unless SignLater was called
}

// lateSignature is a proposal's signature that is made when it is first asked for.
type lateSignature struct {
	sign   func(message []byte) ([]byte, error)
	once   sync.Once
	signed *peer.SignedProposal
	err    error
}

// SignLater has the proposal signed when SignedProposal is first called, by a sign that may be called from any goroutine. A
// proposal's signature is seen by the chaincode alone, and few chaincodes look.
func (p *Proposal) SignLater(sign func(message []byte) ([]byte, error)) {
	p.later = &lateSignature{sign: sign}
}

// SignsLater reports whether SignLater was called.
func (p *Proposal) SignsLater() bool { return p.later != nil }

// SignedProposal returns the proposal with its signature.
func (p *Proposal) SignedProposal() (*peer.SignedProposal, error) {
	l := p.later
	if l == nil {
		return p.Signed, nil
	}
	l.once.Do(func() {
		var signature []byte
		if signature, l.err = l.sign(p.Signed.ProposalBytes); l.err == nil {
			l.signed = &peer.SignedProposal{ProposalBytes: p.Signed.ProposalBytes, Signature: signature}
		}
	})
	if l.err != nil {
		return nil, fmt.Errorf("sign proposal: %w", l.err)
	}
	return l.signed, nil
}

// NewProposal builds a proposal as fabric-gateway's client does. It is unsigned: the caller puts the creator's signature
// over Signed.ProposalBytes into Signed.Signature, or calls SignLater.
func NewProposal(spec ProposalSpec) (*Proposal, error) {
	p := &Proposal{
		Channel:   spec.Channel,
		Chaincode: spec.Chaincode,
		TxID:      TxID(spec.Nonce, spec.Creator),
		Creator:   spec.Creator,
		Nonce:     spec.Nonce,
		Timestamp: spec.Timestamp.UTC(),
		Type:      common.HeaderType_ENDORSER_TRANSACTION,
		Input:     &peer.ChaincodeInput{Args: spec.Args, IsInit: spec.IsInit},
		Transient: spec.Transient,
	}
	chaincode := &peer.ChaincodeID{Name: spec.Chaincode}

	var m marshaller
	p.ChannelHeader = m.marshal(&common.ChannelHeader{
		Type:      int32(p.Type),
		ChannelId: p.Channel,
		TxId:      p.TxID,
		Timestamp: timestamppb.New(spec.Timestamp),
		Extension: m.marshal(&peer.ChaincodeHeaderExtension{ChaincodeId: chaincode}),
	})
	p.SignatureHeader = m.marshal(&common.SignatureHeader{Creator: p.Creator, Nonce: p.Nonce})
	input := m.marshal(&peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		Type:        peer.ChaincodeSpec_GOLANG, // what the client puts there whatever the language
		ChaincodeId: chaincode,
		Input:       p.Input,
	}})
	p.payload = m.marshal(&peer.ChaincodeProposalPayload{Input: input})
	payload := p.payload
	if len(p.Transient) > 0 {
		payload = m.marshal(&peer.ChaincodeProposalPayload{Input: input, TransientMap: p.Transient})
	}
	p.Proposal = &peer.Proposal{
		Header:  m.marshal(&common.Header{ChannelHeader: p.ChannelHeader, SignatureHeader: p.SignatureHeader}),
		Payload: payload,
	}
	p.Signed = &peer.SignedProposal{ProposalBytes: m.marshal(p.Proposal)}
	if m.err != nil {
		return nil, fmt.Errorf("new proposal: %w", m.err)
	}
	return p, nil
}

// ParseProposal takes a signed proposal apart and makes the checks of Fabric's endorser that need no identity, in its
// order (UnpackProposal, UnpackedProposal.Validate): errors are ErrMalformed or ErrInvalid, with Fabric's texts. With
// ErrInvalid the proposal is returned as well, for whoever wants to say which one it was. Whether the creator is known, and
// whether it signed, is still to be checked.
func ParseProposal(signed *peer.SignedProposal) (*Proposal, error) {
	p := &Proposal{Signed: signed, Proposal: &peer.Proposal{}}
	if err := proto.Unmarshal(signed.GetProposalBytes(), p.Proposal); err != nil {
		return nil, malformed("error unmarshalling Proposal: %v", err)
	}
	header := &common.Header{}
	if err := proto.Unmarshal(p.Proposal.GetHeader(), header); err != nil {
		return nil, malformed("error unmarshalling Header: %v", err)
	}
	if err := p.parseHeader(header); err != nil {
		return nil, err
	}
	if err := p.parsePayload(); err != nil {
		return nil, err
	}
	return p, p.validate()
}

func (p *Proposal) parseHeader(header *common.Header) error {
	channel, signature := &common.ChannelHeader{}, &common.SignatureHeader{}
	if err := proto.Unmarshal(header.GetChannelHeader(), channel); err != nil {
		return malformed("error unmarshalling ChannelHeader: %v", err)
	}
	if err := proto.Unmarshal(header.GetSignatureHeader(), signature); err != nil {
		return malformed("error unmarshalling SignatureHeader: %v", err)
	}
	extension := &peer.ChaincodeHeaderExtension{}
	if err := proto.Unmarshal(channel.GetExtension(), extension); err != nil {
		return malformed("error unmarshalling ChaincodeHeaderExtension: %v", err)
	}
	if extension.GetChaincodeId() == nil {
		return malformed("ChaincodeHeaderExtension.ChaincodeId is nil")
	}
	if extension.GetChaincodeId().GetName() == "" {
		return malformed("ChaincodeHeaderExtension.ChaincodeId.Name is empty")
	}
	p.ChannelHeader, p.SignatureHeader = header.GetChannelHeader(), header.GetSignatureHeader()
	p.Type, p.Epoch = common.HeaderType(channel.GetType()), channel.GetEpoch()
	p.Channel, p.TxID = channel.GetChannelId(), channel.GetTxId()
	p.Timestamp = timestamp(channel.GetTimestamp())
	p.Creator, p.Nonce = signature.GetCreator(), signature.GetNonce()
	p.Chaincode = extension.GetChaincodeId().GetName()
	return nil
}

func (p *Proposal) parsePayload() error {
	payload := &peer.ChaincodeProposalPayload{}
	if err := proto.Unmarshal(p.Proposal.GetPayload(), payload); err != nil {
		return malformed("error unmarshalling ChaincodeProposalPayload: %v", err)
	}
	spec := &peer.ChaincodeInvocationSpec{}
	if err := proto.Unmarshal(payload.GetInput(), spec); err != nil {
		return malformed("error unmarshalling ChaincodeInvocationSpec: %v", err)
	}
	if spec.GetChaincodeSpec() == nil {
		return malformed("chaincode invocation spec did not contain chaincode spec")
	}
	if spec.GetChaincodeSpec().GetInput() == nil {
		return malformed("chaincode input did not contain any input")
	}
	p.Input, p.Transient = spec.GetChaincodeSpec().GetInput(), payload.GetTransientMap()
	stripped, err := proto.Marshal(&peer.ChaincodeProposalPayload{Input: payload.GetInput()})
	if err != nil {
		return malformed("could not marshal non-transient portion of payload: %v", err)
	}
	p.payload = stripped
	return nil
}

func (p *Proposal) validate() error {
	switch p.Type {
	case common.HeaderType_ENDORSER_TRANSACTION, common.HeaderType_CONFIG:
	default:
		return invalid("invalid header type %s", p.Type)
	}
	if p.Epoch != 0 {
		return invalid("epoch is non-zero")
	}
	if len(p.Nonce) == 0 {
		return invalid("nonce is empty")
	}
	if len(p.Creator) == 0 {
		return invalid("creator is empty")
	}
	if want := TxID(p.Nonce, p.Creator); p.TxID != want {
		return invalid("incorrectly computed txid '%s' -- expected '%s'", p.TxID, want)
	}
	if len(p.Signed.GetProposalBytes()) == 0 {
		return invalid("empty proposal bytes")
	}
	if len(p.Signed.GetSignature()) == 0 {
		return invalid("empty signature bytes")
	}
	return nil
}

// Hash returns the proposal hash that endorsers put into their responses: SHA-256(channel header ‖ signature header ‖
// payload without transient data).
func (p *Proposal) Hash() []byte {
	return sum(p.ChannelHeader, p.SignatureHeader, p.payload)
}

// Binding returns SHA-256(nonce ‖ creator ‖ epoch in eight bytes, little endian): what the shim's GetBinding gives.
func (p *Proposal) Binding() []byte {
	return sum(p.Nonce, p.Creator, binary.LittleEndian.AppendUint64(nil, p.Epoch))
}

func timestamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// marshaller keeps the first error of a row of marshals that have one outcome. Maps are written in the order of their
// keys, so equal messages have equal bytes.
type marshaller struct{ err error }

func (m *marshaller) marshal(message proto.Message) []byte {
	if m.err != nil {
		return nil
	}
	var encoded []byte
	encoded, m.err = proto.MarshalOptions{Deterministic: true}.Marshal(message)
	return encoded
}
