package wire

import (
	"bytes"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A Transaction is an envelope taken apart. Its byte slices lie in the envelope, but for those within messages: neither
// is to be modified.
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
	payload, signature, ok := pair(raw)
	if !ok {
		return nil, peer.TxValidationCode_INVALID_OTHER_REASON
	}
	t := &Transaction{Payload: payload, Signature: signature}
	var header headers
	if !scan(payload, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			return pairInto(value, &header.channel, &header.signature)
		case 2:
			t.Data = value
		}
		return true
	}) {
		return nil, peer.TxValidationCode_BAD_PAYLOAD
	}
	extension, ok := t.parseHeader(header)
	if !ok {
		return nil, peer.TxValidationCode_BAD_COMMON_HEADER
	}
	switch t.Type {
	case common.HeaderType_ENDORSER_TRANSACTION:
		return t, t.parseEndorserTransaction(header, extension)
	case common.HeaderType_CONFIG:
		if len(t.Data) == 0 {
			return t, peer.TxValidationCode_INVALID_CONFIG_TRANSACTION
		}
		return t, peer.TxValidationCode_VALID
	default:
		return t, peer.TxValidationCode_UNSUPPORTED_TX_PAYLOAD
	}
}

// headers are a common.Header's two parts, as hashed.
type headers struct{ channel, signature []byte }

// parseHeader reads both headers and returns the channel header's extension.
func (t *Transaction) parseHeader(header headers) (extension []byte, ok bool) {
	channel := &common.ChannelHeader{}
	if proto.Unmarshal(header.channel, channel) != nil {
		return nil, false
	}
	if t.Creator, t.Nonce, ok = pair(header.signature); !ok {
		return nil, false
	}
	t.TxID, t.Channel = channel.GetTxId(), channel.GetChannelId()
	t.Type, t.Epoch = common.HeaderType(channel.GetType()), channel.GetEpoch()
	t.Timestamp = timestamp(channel.GetTimestamp())

	signed := len(t.Creator) > 0 && len(t.Nonce) > 0
	switch t.Type {
	case common.HeaderType_ENDORSER_TRANSACTION, common.HeaderType_CONFIG_UPDATE:
		ok = signed
	case common.HeaderType_CONFIG:
	default:
		ok = false
	}
	return channel.GetExtension(), ok && t.Epoch == 0
}

func (t *Transaction) parseEndorserTransaction(header headers, rawExtension []byte) peer.TxValidationCode {
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
	event, ok := t.parseResult(response)
	if !ok {
		return peer.TxValidationCode_BAD_RESPONSE_PAYLOAD
	}
	set, err := ParseRWSet(t.Results)
	if err != nil {
		return peer.TxValidationCode_BAD_RWSET
	}
	t.RWSet = set
	return t.checkChaincode(extension.GetChaincodeId(), event)
}

// parseAction reads the transaction's single action, and checks that its endorsers answered this very proposal. It
// returns what they answered: a marshalled peer.ChaincodeAction.
func (t *Transaction) parseAction(header headers) (result []byte, ok bool) {
	actions, single := 0, []byte(nil)
	if !scan(t.Data, func(field protowire.Number, value []byte) bool {
		if field == 1 {
			actions, single = actions+1, value
		}
		return true
	}) || actions != 1 {
		return nil, false
	}
	// The action's header is hashed in place of the payload's. Fabric wants a nonce and a creator in it, no more.
	actionHeader, payload, ok := pair(single)
	if !ok {
		return nil, false
	}
	if creator, nonce, ok := pair(actionHeader); !ok || len(creator) == 0 || len(nonce) == 0 {
		return nil, false
	}
	proposal, ok := t.parseActionPayload(payload)
	if !ok || len(proposal) == 0 {
		return nil, false
	}
	if t.ProposalHash, result, ok = pair(t.ResponsePayload); !ok {
		return nil, false
	}
	if !bytes.Equal(sum(header.channel, actionHeader, proposal), t.ProposalHash) {
		return nil, false
	}
	t.Args = args(proposal)
	return result, true
}

// parseActionPayload reads a peer.ChaincodeActionPayload and returns the proposal's payload in it.
func (t *Transaction) parseActionPayload(payload []byte) (proposal []byte, ok bool) {
	endorsed := false
	ok = scan(payload, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			proposal = value
		case 2:
			endorsed = true
			return t.parseEndorsedAction(value)
		}
		return true
	})
	return proposal, ok && endorsed
}

func (t *Transaction) parseEndorsedAction(endorsed []byte) bool {
	return scan(endorsed, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			t.ResponsePayload = value
		case 2:
			endorser, signature, ok := pair(value)
			t.Endorsements = append(t.Endorsements, &peer.Endorsement{Endorser: endorser, Signature: signature})
			return ok
		}
		return true
	})
}

// parseResult reads a peer.ChaincodeAction and returns the event in it, still marshalled.
func (t *Transaction) parseResult(result []byte) (event []byte, ok bool) {
	ok = scan(result, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			t.Results = value
		case 2:
			event = value
		case 3:
			if t.Response == nil {
				t.Response = &peer.Response{}
			}
			return proto.UnmarshalOptions{Merge: true}.Unmarshal(value, t.Response) == nil
		case 4:
			if t.ChaincodeID == nil {
				t.ChaincodeID = &peer.ChaincodeID{}
			}
			return proto.UnmarshalOptions{Merge: true}.Unmarshal(value, t.ChaincodeID) == nil
		}
		return true
	})
	return event, ok && len(result) > 0
}

func args(proposalPayload []byte) [][]byte {
	input, _, ok := pair(proposalPayload)
	spec := &peer.ChaincodeInvocationSpec{}
	if !ok || proto.Unmarshal(input, spec) != nil {
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
