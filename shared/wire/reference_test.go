package wire_test

import (
	"bytes"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// verdict is ParseEnvelope's code again, by unmarshalling message after message with the protobuf library, check after
// check as Fabric's sources have them. It is the measure for the parser that does not copy.
func verdict(raw []byte) peer.TxValidationCode {
	envelope, payload := &common.Envelope{}, &common.Payload{}
	if proto.Unmarshal(raw, envelope) != nil {
		return peer.TxValidationCode_INVALID_OTHER_REASON
	}
	if proto.Unmarshal(envelope.Payload, payload) != nil {
		return peer.TxValidationCode_BAD_PAYLOAD
	}
	channel, signature := &common.ChannelHeader{}, &common.SignatureHeader{}
	if payload.Header == nil || proto.Unmarshal(payload.Header.ChannelHeader, channel) != nil || proto.Unmarshal(payload.Header.SignatureHeader, signature) != nil || channel.Epoch != 0 {
		return peer.TxValidationCode_BAD_COMMON_HEADER
	}
	kind, anonymous := common.HeaderType(channel.Type), len(signature.Creator) == 0 || len(signature.Nonce) == 0
	switch {
	case kind == common.HeaderType_CONFIG && len(payload.Data) == 0:
		return peer.TxValidationCode_INVALID_CONFIG_TRANSACTION
	case kind == common.HeaderType_CONFIG:
		return peer.TxValidationCode_VALID
	case anonymous:
		return peer.TxValidationCode_BAD_COMMON_HEADER
	case kind == common.HeaderType_CONFIG_UPDATE:
		return peer.TxValidationCode_UNSUPPORTED_TX_PAYLOAD
	case kind != common.HeaderType_ENDORSER_TRANSACTION:
		return peer.TxValidationCode_BAD_COMMON_HEADER
	case channel.TxId != wire.TxID(signature.Nonce, signature.Creator):
		return peer.TxValidationCode_BAD_PROPOSAL_TXID
	}
	return verdictOnTransaction(payload, channel)
}

func verdictOnTransaction(payload *common.Payload, channel *common.ChannelHeader) peer.TxValidationCode {
	tx, header := &peer.Transaction{}, &common.SignatureHeader{}
	if proto.Unmarshal(payload.Data, tx) != nil || len(tx.Actions) != 1 ||
		proto.Unmarshal(tx.Actions[0].Header, header) != nil || len(header.Creator) == 0 || len(header.Nonce) == 0 {
		return peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	action, response := &peer.ChaincodeActionPayload{}, &peer.ProposalResponsePayload{}
	if proto.Unmarshal(tx.Actions[0].Payload, action) != nil || action.Action == nil || len(action.ChaincodeProposalPayload) == 0 ||
		proto.Unmarshal(action.Action.ProposalResponsePayload, response) != nil {
		return peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	hash := wire.DataHash([][]byte{payload.Header.ChannelHeader, tx.Actions[0].Header, action.ChaincodeProposalPayload})
	if !bytes.Equal(hash, response.ProposalHash) {
		return peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	extension, result := &peer.ChaincodeHeaderExtension{}, &peer.ChaincodeAction{}
	if proto.Unmarshal(channel.Extension, extension) != nil {
		return peer.TxValidationCode_BAD_HEADER_EXTENSION
	}
	if len(response.Extension) == 0 || proto.Unmarshal(response.Extension, result) != nil {
		return peer.TxValidationCode_BAD_RESPONSE_PAYLOAD
	}
	namespaces, twice, ok := namespacesOf(result.Results)
	switch event := (&peer.ChaincodeEvent{}); {
	case !ok:
		return peer.TxValidationCode_BAD_RWSET
	case extension.ChaincodeId == nil || result.ChaincodeId == nil:
		return peer.TxValidationCode_INVALID_OTHER_REASON
	case extension.ChaincodeId.Name == "" || extension.ChaincodeId.Name != result.ChaincodeId.Name || result.ChaincodeId.Version == "":
		return peer.TxValidationCode_INVALID_CHAINCODE
	case len(result.Events) > 0 && (proto.Unmarshal(result.Events, event) != nil || event.ChaincodeId != extension.ChaincodeId.Name):
		return peer.TxValidationCode_INVALID_OTHER_REASON
	case twice && len(namespaces) > 0:
		return peer.TxValidationCode_ILLEGAL_WRITESET
	default:
		return peer.TxValidationCode_VALID
	}
}

func namespacesOf(raw []byte) (namespaces map[string]bool, twice, ok bool) {
	set := &rwset.TxReadWriteSet{}
	if proto.Unmarshal(raw, set) != nil {
		return nil, false, false
	}
	namespaces = map[string]bool{}
	for _, ns := range set.NsRwset {
		if proto.Unmarshal(ns.Rwset, &kvrwset.KVRWSet{}) != nil {
			return nil, false, false
		}
		for _, c := range ns.CollectionHashedRwset {
			if proto.Unmarshal(c.HashedRwset, &kvrwset.HashedRWSet{}) != nil {
				return nil, false, false
			}
		}
		twice = twice || namespaces[ns.Namespace]
		namespaces[ns.Namespace] = true
	}
	return namespaces, twice, true
}
