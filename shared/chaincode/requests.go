package chaincode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// What a chaincode may ask for but does not get.
var (
	errPrivateInit = errors.New("private data APIs are not allowed in chaincode Init()")
	errRichQuery   = errors.New("ExecuteQuery not supported for leveldb")
	errRichPage    = errors.New("ExecuteQueryWithMetadata not supported for leveldb")
	errPurgePublic = errors.New("only applicable for private data")
)

// maxAnswer is the size of the largest answer to a request, in bytes: a message over MaxMessage would end the stream, and with it every transaction
// of the chaincode. The rest is for what stands around it.
const maxAnswer = MaxMessage - 4<<10

// handle answers one request of the chaincode. What goes wrong is told to the contract; an error ends the execution.
func (e *execution) handle(ctx context.Context, msg *peer.ChaincodeMessage) (*peer.ChaincodeMessage, error) {
	request := requests[msg.Type]
	if request == nil {
		return nil, fmt.Errorf("%w: message of type %s within a transaction", ErrProtocol, msg.Type)
	}
	payload, err := request(e, ctx, msg.Payload)
	if err == nil && len(payload) > maxAnswer {
		err = fmt.Errorf("the answer has %d bytes, the limit is %d: ask for less at once", len(payload), maxAnswer)
	}
	if err != nil {
		return failure(msg, err), nil
	}
	return &peer.ChaincodeMessage{
		Type:      peer.ChaincodeMessage_RESPONSE,
		Payload:   payload,
		Txid:      msg.Txid,
		ChannelId: msg.ChannelId,
	}, nil
}

// requests holds what answers each kind of message, with the payload of the response.
var requests = map[peer.ChaincodeMessage_Type]func(*execution, context.Context, []byte) ([]byte, error){
	peer.ChaincodeMessage_GET_STATE:             decoded(collected(peer.ChaincodeMessage_GET_STATE, (*execution).getState)),
	peer.ChaincodeMessage_GET_STATE_MULTIPLE:    decoded(collected(peer.ChaincodeMessage_GET_STATE_MULTIPLE, (*execution).getMultipleStates)),
	peer.ChaincodeMessage_PUT_STATE:             decoded(putState),
	peer.ChaincodeMessage_DEL_STATE:             decoded(delState),
	peer.ChaincodeMessage_WRITE_BATCH_STATE:     decoded((*execution).writeBatch),
	peer.ChaincodeMessage_GET_STATE_METADATA:    decoded(collected(peer.ChaincodeMessage_GET_STATE_METADATA, (*execution).getMetadata)),
	peer.ChaincodeMessage_PUT_STATE_METADATA:    decoded(putMetadata),
	peer.ChaincodeMessage_GET_STATE_BY_RANGE:    decoded(collected(peer.ChaincodeMessage_GET_STATE_BY_RANGE, (*execution).getRange)),
	peer.ChaincodeMessage_GET_HISTORY_FOR_KEY:   decoded((*execution).getHistory),
	peer.ChaincodeMessage_GET_QUERY_RESULT:      decoded(collected(peer.ChaincodeMessage_GET_QUERY_RESULT, (*execution).getQueryResult)),
	peer.ChaincodeMessage_QUERY_STATE_NEXT:      decoded(queryNext),
	peer.ChaincodeMessage_QUERY_STATE_CLOSE:     decoded((*execution).queryClose),
	peer.ChaincodeMessage_INVOKE_CHAINCODE:      decoded((*execution).invoke),
	peer.ChaincodeMessage_GET_PRIVATE_DATA_HASH: decoded(collected(peer.ChaincodeMessage_GET_PRIVATE_DATA_HASH, (*execution).getPrivateDataHash)),
	peer.ChaincodeMessage_PURGE_PRIVATE_DATA:    decoded(purge),
}

// decoded lets a handler take its request as a message.
func decoded[T any, M interface {
	*T
	proto.Message
}](handler func(*execution, context.Context, M) ([]byte, error)) func(*execution, context.Context, []byte) ([]byte, error) {
	return func(e *execution, ctx context.Context, payload []byte) ([]byte, error) {
		message := M(new(T))
		if err := proto.Unmarshal(payload, message); err != nil {
			return nil, fmt.Errorf("unmarshal failed: %w", err)
		}
		return handler(e, ctx, message)
	}
}

// encoded is the end of a handler that answers with a message.
func encoded(message proto.Message) ([]byte, error) {
	payload, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("marshal failed: %w", err)
	}
	return payload, nil
}

// forReading returns the collection that a request reads from, nil for the public state.
func (e *execution) forReading(ctx context.Context, name string) (*Collection, error) {
	if name == "" {
		return nil, nil
	}
	c, err := e.collection(ctx, name)
	if err != nil {
		return nil, err
	}
	if !c.Read {
		return nil, fmt.Errorf("tx creator does not have read access permission on privatedata in chaincodeName:%s collectionName: %s", e.inv.Chaincode, name)
	}
	return c, nil
}

// forWriting returns the collection that a request writes to, nil for the public state.
func (e *execution) forWriting(ctx context.Context, name string) (*Collection, error) {
	if name == "" {
		return nil, nil
	}
	c, err := e.collection(ctx, name)
	if err != nil {
		return nil, err
	}
	if !c.Write {
		return nil, fmt.Errorf("tx creator does not have write access permission on privatedata in chaincodeName:%s collectionName: %s", e.inv.Chaincode, name)
	}
	return c, nil
}

func (e *execution) collection(ctx context.Context, name string) (*Collection, error) {
	c, err := e.findCollection(ctx, name)
	if err == nil && c == nil {
		err = fmt.Errorf("collection %s/%s/%s could not be found", e.inv.Channel, e.inv.Chaincode, name)
	}
	return c, err
}

func (e *execution) findCollection(ctx context.Context, name string) (*Collection, error) {
	if e.inv.Init {
		return nil, errPrivateInit
	}
	if e.inv.Collection == nil {
		return nil, nil
	}
	return e.inv.Collection(ctx, name)
}

func (e *execution) getState(ctx context.Context, m *peer.GetState) ([]byte, error) {
	c, err := e.forReading(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	if c != nil {
		return e.inv.Tx.GetPrivateData(ctx, e.inv.Chaincode, c.Collection, m.Key)
	}
	return e.inv.Tx.GetState(ctx, e.inv.Chaincode, m.Key)
}

func (e *execution) getMultipleStates(ctx context.Context, m *peer.GetStateMultiple) ([]byte, error) {
	c, err := e.forReading(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	var values [][]byte
	if c != nil {
		values, err = e.inv.Tx.GetMultiplePrivateData(ctx, e.inv.Chaincode, c.Collection, m.Keys)
	} else {
		values, err = e.inv.Tx.GetMultipleStates(ctx, e.inv.Chaincode, m.Keys)
	}
	if err != nil {
		return nil, err
	}
	return encoded(&peer.GetStateMultipleResult{Values: values})
}

func (e *execution) putState(ctx context.Context, m *peer.PutState) ([]byte, error) {
	c, err := e.forWriting(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	if c != nil {
		return nil, e.inv.Tx.PutPrivateData(e.inv.Chaincode, c.Name, m.Key, m.Value)
	}
	return nil, e.inv.Tx.PutState(e.inv.Chaincode, m.Key, m.Value)
}

func (e *execution) delState(ctx context.Context, m *peer.DelState) ([]byte, error) {
	c, err := e.forWriting(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	if c != nil {
		return nil, e.inv.Tx.DelPrivateData(e.inv.Chaincode, c.Name, m.Key)
	}
	return nil, e.inv.Tx.DelState(e.inv.Chaincode, m.Key)
}

// writeBatch makes the writes in order, up to the first that fails.
func (e *execution) writeBatch(ctx context.Context, m *peer.WriteBatchState) ([]byte, error) {
	for _, write := range m.Rec {
		var err error
		switch write.GetType() {
		case peer.WriteRecord_PUT_STATE:
			_, err = putState(e, ctx, &peer.PutState{Key: write.GetKey(), Value: write.GetValue(), Collection: write.GetCollection()})
		case peer.WriteRecord_DEL_STATE:
			_, err = delState(e, ctx, &peer.DelState{Key: write.GetKey(), Collection: write.GetCollection()})
		case peer.WriteRecord_PURGE_PRIVATE_DATA:
			_, err = purge(e, ctx, &peer.DelState{Key: write.GetKey(), Collection: write.GetCollection()})
		case peer.WriteRecord_PUT_STATE_METADATA:
			_, err = putMetadata(e, ctx, &peer.PutStateMetadata{Key: write.GetKey(), Collection: write.GetCollection(), Metadata: write.GetMetadata()})
		default:
			err = errors.New("unknown operation type")
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (e *execution) getMetadata(ctx context.Context, m *peer.GetStateMetadata) ([]byte, error) {
	c, err := e.forReading(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	var entries map[string][]byte
	if c != nil {
		entries, err = e.inv.Tx.GetPrivateMetadata(ctx, e.inv.Chaincode, c.Name, m.Key)
	} else {
		entries, err = e.inv.Tx.GetStateMetadata(ctx, e.inv.Chaincode, m.Key)
	}
	if err != nil {
		return nil, err
	}
	result := &peer.StateMetadataResult{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		result.Entries = append(result.Entries, &peer.StateMetadata{Metakey: name, Value: entries[name]})
	}
	return encoded(result)
}

func (e *execution) putMetadata(ctx context.Context, m *peer.PutStateMetadata) ([]byte, error) {
	c, err := e.forWriting(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	entries := map[string][]byte{m.Metadata.GetMetakey(): m.Metadata.GetValue()}
	if c != nil {
		return nil, e.inv.Tx.SetPrivateMetadata(e.inv.Chaincode, c.Name, m.Key, entries)
	}
	return nil, e.inv.Tx.SetStateMetadata(e.inv.Chaincode, m.Key, entries)
}

// getPrivateDataHash needs no permission: the hash stands in the block.
func (e *execution) getPrivateDataHash(ctx context.Context, m *peer.GetState) ([]byte, error) {
	c, err := e.findCollection(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("collection [%s] not defined in the collection config for chaincode [%s]", m.Collection, e.inv.Chaincode)
	}
	return e.inv.Tx.GetPrivateDataHash(ctx, e.inv.Chaincode, c.Name, m.Key)
}

func (e *execution) purge(ctx context.Context, m *peer.DelState) ([]byte, error) {
	if m.Collection == "" {
		return nil, errPurgePublic
	}
	c, err := e.forWriting(ctx, m.Collection)
	if err != nil {
		return nil, err
	}
	return nil, e.inv.Tx.PurgePrivateData(e.inv.Chaincode, c.Name, m.Key)
}

// invoke runs another chaincode, or this one on another channel, as a part of this transaction. Its name may be given as
// name:version/channel; the version is ignored, as in Fabric. The call ends with the session.
func (e *execution) invoke(ctx context.Context, m *peer.ChaincodeSpec) ([]byte, error) {
	if e.inv.Call == nil {
		return nil, ErrNoCalls
	}
	name, channel, _ := strings.Cut(m.GetChaincodeId().GetName(), "/")
	name, _, _ = strings.Cut(name, ":")
	answered := channel
	if channel == "" || channel == e.inv.Channel {
		channel, answered = "", e.inv.Channel
	}
	input := &peer.ChaincodeInput{Args: m.GetInput().GetArgs(), IsInit: m.GetInput().GetIsInit()}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-e.session.done:
			cancel()
		case <-e.session.retired:
			cancel()
		case <-finished:
		}
	}()
	response, err := e.inv.Call(ctx, channel, name, input)
	if err != nil {
		return nil, err
	}
	payload, err := encoded(response)
	if err != nil {
		return nil, err
	}
	return encoded(&peer.ChaincodeMessage{
		Type:      peer.ChaincodeMessage_COMPLETED,
		Payload:   payload,
		Txid:      e.key.txID,
		ChannelId: answered,
	})
}
