package wire

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// ErrNoEndorsement: a transaction needs at least one endorsement.
var ErrNoEndorsement = errors.New("no endorsements")

// NewProposalResponsePayload returns the bytes that endorsers agree on and sign (see EndorsedMessage): the proposal's
// hash, and the chaincode's results, event, response and id. event is nil if the chaincode set none; otherwise it names
// the chaincode and the transaction already.
func NewProposalResponsePayload(proposalHash, results []byte, event *peer.ChaincodeEvent, resp *peer.Response, ccid *peer.ChaincodeID) ([]byte, error) {
	action := &peer.ChaincodeAction{Results: results, Response: resp, ChaincodeId: ccid}
	var m marshaller
	if event != nil {
		action.Events = m.marshal(event)
	}
	payload := m.marshal(&peer.ProposalResponsePayload{ProposalHash: proposalHash, Extension: m.marshal(action)})
	if m.err != nil {
		return nil, fmt.Errorf("new proposal response payload: %w", m.err)
	}
	return payload, nil
}

// EndorsedMessage returns what an endorser signs: the response payload and its own serialized identity.
func EndorsedMessage(responsePayload, endorser []byte) []byte {
	return slices.Concat(responsePayload, endorser)
}

// NewTransactionPayload returns the bytes of the common.Payload that makes an endorsed proposal a transaction: what its
// creator signs. Of endorsements by the same endorser the first is kept, as Fabric's CreateSignedTx does.
func NewTransactionPayload(p *Proposal, responsePayload []byte, endorsements []*peer.Endorsement) ([]byte, error) {
	if len(endorsements) == 0 {
		return nil, fmt.Errorf("new transaction payload: %w", ErrNoEndorsement)
	}
	var m marshaller
	action := m.marshal(&peer.ChaincodeActionPayload{
		ChaincodeProposalPayload: p.payload,
		Action: &peer.ChaincodeEndorsedAction{
			ProposalResponsePayload: responsePayload,
			Endorsements:            distinct(endorsements),
		},
	})
	payload := m.marshal(&common.Payload{
		Header: &common.Header{ChannelHeader: p.ChannelHeader, SignatureHeader: p.SignatureHeader},
		Data: m.marshal(&peer.Transaction{Actions: []*peer.TransactionAction{{
			Header:  p.SignatureHeader,
			Payload: action,
		}}}),
	})
	if m.err != nil {
		return nil, fmt.Errorf("new transaction payload: %w", m.err)
	}
	return payload, nil
}

func distinct(endorsements []*peer.Endorsement) []*peer.Endorsement {
	seen := make(map[string]bool, len(endorsements))
	kept := make([]*peer.Endorsement, 0, len(endorsements))
	for _, e := range endorsements {
		if endorser := string(e.GetEndorser()); !seen[endorser] {
			seen[endorser] = true
			kept = append(kept, e)
		}
	}
	return kept
}

// NewEnvelope returns the marshalled common.Envelope of a payload and its creator's signature.
func NewEnvelope(payload, signature []byte) []byte {
	encoded, err := proto.Marshal(&common.Envelope{Payload: payload, Signature: signature})
	if err != nil {
		panic(err) // two byte strings always encode
	}
	return encoded
}
