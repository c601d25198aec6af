package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/wire"
)

// An approval is what an organisation agreed to: the definition that a chaincode is to have at a sequence. It stands in the
// organisation's implicit collection of the lifecycle namespace, in Fabric's keys (core/chaincode/lifecycle). The block holds the
// hashes, which is all that anybody needs to tell whether it is a certain definition that was approved.

// approvalFields are the fields of an approval, in the order that Fabric's metadata lists them.
var approvalFields = []string{"EndorsementInfo", "ValidationInfo", "Collections"}

const (
	approvalType = "ChaincodeParameters"
	sourceType   = "ChaincodeLocalPackage"
)

// FormatApproval returns the private keys and values that an organisation's approval of d writes. packageID is the package that the
// organisation runs for it, empty if it does not say.
func FormatApproval(d *Definition, packageID string) (map[string][]byte, error) {
	values, err := formatParameters(d)
	if err != nil {
		return nil, err
	}
	source := fmt.Sprintf("%s#%d", d.Name, d.Sequence)
	for key, m := range map[string]proto.Message{
		"chaincode-sources/metadata/" + source:              &lifecycle.StateMetadata{Datatype: sourceType, Fields: []string{"PackageID"}},
		"chaincode-sources/fields/" + source + "/PackageID": &lifecycle.StateData{Type: &lifecycle.StateData_String_{String_: packageID}},
	} {
		if values[key], err = proto.Marshal(m); err != nil {
			return nil, fmt.Errorf("format approval of %s: %w", d.Name, err)
		}
	}
	return values, nil
}

// formatParameters returns that part of an approval which organisations must have in common.
func formatParameters(d *Definition) (map[string][]byte, error) {
	approved := fmt.Sprintf("%s#%d", d.Name, d.Sequence)
	defined, err := FormatDefinition(d)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte)
	for _, field := range approvalFields {
		values[fieldKey(approved, field)] = defined[fieldKey(d.Name, field)]
	}
	values[metadataKey(approved)], err = proto.Marshal(&lifecycle.StateMetadata{Datatype: approvalType, Fields: approvalFields})
	if err != nil {
		return nil, fmt.Errorf("format approval of %s: %w", d.Name, err)
	}
	return values, nil
}

// ApprovalCollection is the implicit collection that an organisation's approvals stand in.
func ApprovalCollection(mspID string) string { return collection.ImplicitOf(mspID) }

// ApprovalWrites returns the hashed writes of an approval, for the organisation's implicit collection.
func ApprovalWrites(mspID string, values map[string][]byte) (wire.CollectionSet, error) {
	private := &kvrwset.KVRWSet{}
	hashed := &kvrwset.HashedRWSet{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		private.Writes = append(private.Writes, &kvrwset.KVWrite{Key: key, Value: values[key]})
		keyHash, valueHash := sha256.Sum256([]byte(key)), sha256.Sum256(values[key])
		hashed.HashedWrites = append(hashed.HashedWrites, &kvrwset.KVWriteHash{KeyHash: keyHash[:], ValueHash: valueHash[:]})
	}
	encoded, err := proto.Marshal(private)
	if err != nil {
		return wire.CollectionSet{}, fmt.Errorf("approval of %s: %w", mspID, err)
	}
	hash := sha256.Sum256(encoded)
	return wire.CollectionSet{Name: ApprovalCollection(mspID), Hashed: hashed, PrivateHash: hash[:]}, nil
}

// Approved reports whether an organisation's approval, as the view has it, is of this definition.
func Approved(ctx context.Context, view View, mspID string, d *Definition) (bool, error) {
	values, err := formatParameters(d)
	if err != nil {
		return false, err
	}
	keys := slices.Sorted(maps.Keys(values))
	hashes := make([]string, len(keys))
	for i, key := range keys {
		hash := sha256.Sum256([]byte(key))
		hashes[i] = string(hash[:])
	}
	items, err := view.Get(ctx, HashedNamespace(LifecycleNamespace, ApprovalCollection(mspID)), hashes)
	if err != nil {
		return false, fmt.Errorf("approval of %s by %s: %w", d.Name, mspID, err)
	}
	for i, key := range keys {
		hash := sha256.Sum256(values[key])
		if items[i] == nil || string(items[i].Value) != string(hash[:]) {
			return false, nil
		}
	}
	return true, nil
}
