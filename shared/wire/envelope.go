package wire

import (
	"bytes"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// A Transaction is an envelope taken apart. Byte slices are copies of the envelope's, shared among the fields.
type Transaction struct {
	TxID, Channel   string
	Type            common.HeaderType
	Creator, Nonce  []byte
	Timestamp       time.Time // UTC; zero if the header has none
	Epoch           uint64
	Payload         []byte // the creator signs this
	Signature       []byte // of the creator
	Data            []byte // of the payload: a marshalled peer.Transaction or common.ConfigEnvelope
	Chaincode       string
	Args            [][]byte            // nil if they cannot be read, which no validator minds
	Endorsements    []*peer.Endorsement // each signs EndorsedMessage(ResponsePayload, Endorser)
	ResponsePayload []byte
	ProposalHash    []byte
	Response        *peer.Response
	Event           *peer.ChaincodeEvent // nil if there is none
	ChaincodeID     *peer.ChaincodeID
	Results         []byte
	RWSet           *RWSet
}

// ParseEnvelope takes a transaction apart and makes the checks of Fabric's validation that need neither identity nor
// ledger, in its order (validation.ValidateTransaction, plugindispatcher.Dispatch). The code is VALID if all pass, or
// that of the first to fail; the transaction is nil if its header could not be read, and else has what was read until
// then.
//
// Fabric makes two further checks between these. The creator's signature comes right after the header: if the
// transaction is not nil, a bad signature is BAD_CREATOR_SIGNATURE whatever the code. The look-up of the transaction id
// comes after INVALID_ENDORSER_TRANSACTION: a known id is DUPLICATE_TXID unless the code is BAD_PROPOSAL_TXID,
// INVALID_ENDORSER_TRANSACTION or UNSUPPORTED_TX_PAYLOAD.
//
// A CONFIG transaction has the fields up to Data. It may lack creator and nonce, as in a genesis block, which Fabric
// takes without validation.
func ParseEnvelope(raw []byte) (*Transaction, peer.TxValidationCode) {
	envelope := &common.Envelope{}
	if err := proto.Unmarshal(raw, envelope); err != nil {
		return nil, peer.TxValidationCode_INVALID_OTHER_REASON
	}
	payload := &common.Payload{}
	if err := proto.Unmarshal(envelope.GetPayload(), payload); err != nil {
		return nil, peer.TxValidationCode_BAD_PAYLOAD
	}
	t := &Transaction{Payload: envelope.GetPayload(), Signature: envelope.GetSignature(), Data: payload.GetData()}
	extension, ok := t.parseHeader(payload.GetHeader())
	if !ok {
		return nil, peer.TxValidationCode_BAD_COMMON_HEADER
	}
	switch t.Type {
	case common.HeaderType_ENDORSER_TRANSACTION:
		return t, t.parseEndorserTransaction(payload.GetHeader(), extension)
	case common.HeaderType_CONFIG:
		if len(t.Data) == 0 {
			return t, peer.TxValidationCode_INVALID_CONFIG_TRANSACTION
		}
		return t, peer.TxValidationCode_VALID
	default:
		return t, peer.TxValidationCode_UNSUPPORTED_TX_PAYLOAD
	}
}

// parseHeader reads both headers and returns the channel header's extension.
func (t *Transaction) parseHeader(header *common.Header) (extension []byte, ok bool) {
	channel, signature := &common.ChannelHeader{}, &common.SignatureHeader{}
	if header == nil ||
		proto.Unmarshal(header.GetChannelHeader(), channel) != nil ||
		proto.Unmarshal(header.GetSignatureHeader(), signature) != nil {
		return nil, false
	}
	t.TxID, t.Channel = channel.GetTxId(), channel.GetChannelId()
	t.Type, t.Epoch = common.HeaderType(channel.GetType()), channel.GetEpoch()
	t.Timestamp = timestamp(channel.GetTimestamp())
	t.Creator, t.Nonce = signature.GetCreator(), signature.GetNonce()

	signed := len(t.Creator) > 0 && len(t.Nonce) > 0
	switch t.Type {
	case common.HeaderType_ENDORSER_TRANSACTION, common.HeaderType_CONFIG_UPDATE:
		ok = signed
	case common.HeaderType_CONFIG:
		ok = true
	}
	return channel.GetExtension(), ok && t.Epoch == 0
}

func (t *Transaction) parseEndorserTransaction(header *common.Header, rawExtension []byte) peer.TxValidationCode {
	if t.TxID != TxID(t.Nonce, t.Creator) {
		return peer.TxValidationCode_BAD_PROPOSAL_TXID
	}
	response, ok := t.parseAction(header)
	if !ok {
		return peer.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	extension := &peer.ChaincodeHeaderExtension{}
	if err := proto.Unmarshal(rawExtension, extension); err != nil {
		return peer.TxValidationCode_BAD_HEADER_EXTENSION
	}
	action := &peer.ChaincodeAction{}
	if len(t.ResponsePayload) == 0 || len(response.GetExtension()) == 0 || proto.Unmarshal(response.GetExtension(), action) != nil {
		return peer.TxValidationCode_BAD_RESPONSE_PAYLOAD
	}
	t.Response, t.ChaincodeID, t.Results = action.GetResponse(), action.GetChaincodeId(), action.GetResults()
	set, err := ParseRWSet(t.Results)
	if err != nil {
		return peer.TxValidationCode_BAD_RWSET
	}
	t.RWSet = set
	return t.checkChaincode(extension.GetChaincodeId(), action.GetEvents())
}

// parseAction reads the transaction's single action, and checks that its endorsers answered this very proposal.
func (t *Transaction) parseAction(header *common.Header) (*peer.ProposalResponsePayload, bool) {
	tx := &peer.Transaction{}
	if len(t.Data) == 0 || proto.Unmarshal(t.Data, tx) != nil || len(tx.GetActions()) != 1 {
		return nil, false
	}
	action := tx.GetActions()[0]
	// The action's header is hashed in place of the payload's. Fabric wants a nonce and a creator in it, no more.
	signature := t.signatureHeader(header, action.GetHeader())
	if len(signature.GetCreator()) == 0 || len(signature.GetNonce()) == 0 {
		return nil, false
	}
	payload, response := &peer.ChaincodeActionPayload{}, &peer.ProposalResponsePayload{}
	if proto.Unmarshal(action.GetPayload(), payload) != nil ||
		payload.GetAction() == nil ||
		len(payload.GetChaincodeProposalPayload()) == 0 ||
		proto.Unmarshal(payload.GetAction().GetProposalResponsePayload(), response) != nil {
		return nil, false
	}
	t.ResponsePayload = payload.GetAction().GetProposalResponsePayload()
	t.Endorsements = payload.GetAction().GetEndorsements()
	t.ProposalHash = response.GetProposalHash()
	hash := sum(header.GetChannelHeader(), action.GetHeader(), payload.GetChaincodeProposalPayload())
	if !bytes.Equal(hash, t.ProposalHash) {
		return nil, false
	}
	t.Args = args(payload.GetChaincodeProposalPayload())
	return response, true
}

// signatureHeader parses an action's header, which nearly always equals the payload's.
func (t *Transaction) signatureHeader(header *common.Header, raw []byte) *common.SignatureHeader {
	if bytes.Equal(raw, header.GetSignatureHeader()) {
		return &common.SignatureHeader{Creator: t.Creator, Nonce: t.Nonce}
	}
	signature := &common.SignatureHeader{}
	if proto.Unmarshal(raw, signature) != nil {
		return nil
	}
	return signature
}

func args(proposalPayload []byte) [][]byte {
	payload, spec := &peer.ChaincodeProposalPayload{}, &peer.ChaincodeInvocationSpec{}
	if proto.Unmarshal(proposalPayload, payload) != nil || proto.Unmarshal(payload.GetInput(), spec) != nil {
		return nil
	}
	return spec.GetChaincodeSpec().GetInput().GetArgs()
}

// checkChaincode checks that header, action and event name one chaincode, and that no namespace stands twice.
func (t *Transaction) checkChaincode(named *peer.ChaincodeID, event []byte) peer.TxValidationCode {
	if named == nil || t.ChaincodeID == nil {
		return peer.TxValidationCode_INVALID_OTHER_REASON
	}
	t.Chaincode = named.GetName()
	if t.Chaincode == "" || t.Chaincode != t.ChaincodeID.GetName() || t.ChaincodeID.GetVersion() == "" {
		return peer.TxValidationCode_INVALID_CHAINCODE
	}
	if len(event) > 0 {
		e := &peer.ChaincodeEvent{}
		if proto.Unmarshal(event, e) != nil || e.GetChaincodeId() != t.Chaincode {
			return peer.TxValidationCode_INVALID_OTHER_REASON
		}
		t.Event = e
	}
	seen := make(map[string]struct{}, len(t.RWSet.Namespaces))
	for i := range t.RWSet.Namespaces {
		seen[t.RWSet.Namespaces[i].Namespace] = struct{}{}
	}
	if len(seen) < len(t.RWSet.Namespaces) {
		return peer.TxValidationCode_ILLEGAL_WRITESET
	}
	return peer.TxValidationCode_VALID
}
