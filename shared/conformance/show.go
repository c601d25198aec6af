package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// showResponse shows a chaincode's response.
func (r *run) showResponse(answer object, response *peer.Response) {
	answer["response"] = object{"status": response.GetStatus(), "message": r.names.text(response.GetMessage())}
	answer["result"] = r.names.payload(response.GetPayload())
}

// showTransaction shows what was endorsed.
func (r *run) showTransaction(ctx context.Context, answer object, p *proposed) error {
	encoded, err := proto.Marshal(p.envelope)
	if err != nil {
		return err
	}
	tx, code := wire.ParseEnvelope(encoded)
	if code != peer.TxValidationCode_VALID {
		return fmt.Errorf("the endorsed transaction cannot be read: %s", code)
	}
	r.showResponse(answer, tx.Response)
	if event := tx.Event; event != nil {
		answer["event"] = object{
			"chaincode": event.GetChaincodeId(),
			"name":      event.GetEventName(),
			"payload":   r.names.payload(event.GetPayload()),
		}
	}
	endorsers := make([]string, len(tx.Endorsements))
	for i, e := range tx.Endorsements {
		endorsers[i] = mspOf(e.GetEndorser())
	}
	slices.Sort(endorsers)
	answer["endorsers"] = endorsers
	namespaces := []object{}
	for i := range tx.RWSet.Namespaces {
		shown, err := r.showNamespace(ctx, p.channel, &tx.RWSet.Namespaces[i])
		if err != nil {
			return fmt.Errorf("show read-write set: %w", err)
		}
		namespaces = append(namespaces, shown)
	}
	answer["rwset"] = namespaces
	return nil
}

// put adds a list to an object unless it is empty.
func put(o object, name string, list []object) {
	if len(list) > 0 {
		o[name] = list
	}
}

func (r *run) showNamespace(ctx context.Context, channel string, set *wire.NamespaceSet) (object, error) {
	shown := object{"namespace": set.Namespace}
	reads, err := r.showReads(ctx, channel, set.KV.GetReads())
	if err != nil {
		return nil, err
	}
	put(shown, "reads", reads)
	var ranges, writes, metadata, collections []object
	for _, info := range set.KV.GetRangeQueriesInfo() {
		entry := object{"start": info.GetStartKey(), "end": info.GetEndKey(), "exhausted": info.GetItrExhausted()}
		reads, err := r.showReads(ctx, channel, info.GetRawReads().GetKvReads())
		if err != nil {
			return nil, err
		}
		put(entry, "reads", reads)
		if merkle := info.GetReadsMerkleHashes(); merkle != nil {
			entry["merkle"] = object{
				"maxDegree": merkle.GetMaxDegree(), "maxLevel": merkle.GetMaxLevel(), "hashes": len(merkle.GetMaxLevelHashes()),
			}
		}
		ranges = append(ranges, entry)
	}
	for _, write := range set.KV.GetWrites() {
		if write.GetIsDelete() {
			writes = append(writes, object{"key": write.GetKey(), "delete": true})
		} else {
			writes = append(writes, object{"key": write.GetKey(), "value": r.names.bytes(write.GetValue())})
		}
	}
	for _, write := range set.KV.GetMetadataWrites() {
		metadata = append(metadata, object{"key": write.GetKey(), "entries": showEntries(write.GetEntries())})
	}
	for i := range set.Collections {
		collection, err := r.showCollection(ctx, channel, &set.Collections[i])
		if err != nil {
			return nil, err
		}
		collections = append(collections, collection)
	}
	put(shown, "ranges", ranges)
	put(shown, "writes", writes)
	put(shown, "metadata", metadata)
	put(shown, "collections", collections)
	return shown, nil
}

func (r *run) showReads(ctx context.Context, channel string, reads []*kvrwset.KVRead) ([]object, error) {
	var shown []object
	for _, read := range reads {
		version, err := r.version(ctx, channel, read.GetVersion())
		if err != nil {
			return nil, err
		}
		shown = append(shown, object{"key": read.GetKey(), "version": version})
	}
	return shown, nil
}

func showEntries(entries []*kvrwset.KVMetadataEntry) object {
	shown := object{}
	for _, entry := range entries {
		shown[entry.GetName()] = entry.GetValue() // base64 in JSON
	}
	return shown
}

func (r *run) showCollection(ctx context.Context, channel string, set *wire.CollectionSet) (object, error) {
	shown := object{"collection": set.Name}
	if len(set.PrivateHash) > 0 {
		shown["privateSetHash"] = hex.EncodeToString(set.PrivateHash)
	}
	var reads, writes, metadata []object
	for _, read := range set.Hashed.GetHashedReads() {
		version, err := r.version(ctx, channel, read.GetVersion())
		if err != nil {
			return nil, err
		}
		reads = append(reads, object{"keyHash": hex.EncodeToString(read.GetKeyHash()), "version": version})
	}
	for _, write := range set.Hashed.GetHashedWrites() {
		entry := object{"keyHash": hex.EncodeToString(write.GetKeyHash())}
		if write.GetIsDelete() {
			entry["delete"] = true
		} else {
			entry["valueHash"] = hex.EncodeToString(write.GetValueHash())
		}
		if write.GetIsPurge() {
			entry["purge"] = true
		}
		writes = append(writes, entry)
	}
	for _, write := range set.Hashed.GetMetadataWrites() {
		metadata = append(metadata, object{
			"keyHash": hex.EncodeToString(write.GetKeyHash()), "entries": showEntries(write.GetEntries()),
		})
	}
	put(shown, "reads", reads)
	put(shown, "writes", writes)
	put(shown, "metadata", metadata)
	return shown, nil
}

func (r *run) showFiltered(tx *peer.FilteredTransaction) object {
	shown := object{
		"tx": r.names.text(tx.GetTxid()), "type": tx.GetType().String(), "code": tx.GetTxValidationCode().String(),
	}
	var events []string
	for _, action := range tx.GetTransactionActions().GetChaincodeActions() {
		if event := action.GetChaincodeEvent(); event != nil {
			events = append(events, event.GetEventName())
		}
	}
	if events != nil {
		shown["events"] = events
	}
	return shown
}

// isStructure tells whether bytes are shown as JSON: an array or an object.
func isStructure(b []byte) bool {
	return bytes.HasPrefix(b, []byte("[")) || bytes.HasPrefix(b, []byte("{"))
}
