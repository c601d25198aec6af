package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
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

// approvalName is the name that an approval's keys have where a definition's have the chaincode's.
func approvalName(name string, sequence int64) string { return fmt.Sprintf("%s#%d", name, sequence) }

// Keys of an approval's source, in the manner of metadataKey and fieldKey.
func sourceMetadataKey(approval string) string { return "chaincode-sources/metadata/" + approval }
func packageKey(approval string) string        { return "chaincode-sources/fields/" + approval + "/PackageID" }

// ApprovalKeys returns the private keys of an approval: the metadata of its parameters and of its source, under which the
// others stand.
func ApprovalKeys(name string, sequence int64) (parameters, source string) {
	approval := approvalName(name, sequence)
	return metadataKey(approval), sourceMetadataKey(approval)
}

// FormatApproval returns the private keys and values that an organisation's approval of d writes. packageID is the package that the
// organisation runs for it, empty if it does not say.
func FormatApproval(d *Definition, packageID string) (map[string][]byte, error) {
	values, err := formatParameters(d)
	if err != nil {
		return nil, err
	}
	approval := approvalName(d.Name, d.Sequence)
	for key, m := range map[string]proto.Message{
		sourceMetadataKey(approval): &lifecycle.StateMetadata{Datatype: sourceType, Fields: []string{"PackageID"}},
		packageKey(approval):        &lifecycle.StateData{Type: &lifecycle.StateData_String_{String_: packageID}},
	} {
		if values[key], err = proto.Marshal(m); err != nil {
			return nil, fmt.Errorf("format approval of %s: %w", d.Name, err)
		}
	}
	return values, nil
}

// formatParameters returns that part of an approval which organisations must have in common.
func formatParameters(d *Definition) (map[string][]byte, error) {
	approved := approvalName(d.Name, d.Sequence)
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

// ParseApproval reads an approval; get returns the value of a private key, nil if there is none. There is none if d is nil.
func ParseApproval(name string, sequence int64, get func(key string) ([]byte, error)) (d *Definition, packageID string, err error) {
	approval := approvalName(name, sequence)
	metadata, err := get(metadataKey(approval))
	if err != nil || metadata == nil {
		return nil, "", err
	}
	values := make([][]byte, len(approvalFields))
	for i, field := range approvalFields {
		if values[i], err = get(fieldKey(approval, field)); err != nil {
			return nil, "", err
		}
	}
	source, err := get(packageKey(approval))
	if err != nil {
		return nil, "", err
	}
	data := &lifecycle.StateData{}
	d = &Definition{Name: name, Sequence: sequence}
	if err := errors.Join(d.parse(approvalFields, values), proto.Unmarshal(source, data)); err != nil {
		return nil, "", fmt.Errorf("read approval of %s: %w", approval, errors.Join(ErrDamaged, err))
	}
	return d, data.GetString_(), nil
}

// ApprovalOf returns what a private key in DefinitionRange is the approval of, false if of nothing.
func ApprovalOf(key string) (name string, sequence int64, ok bool) {
	key, ok = strings.CutPrefix(key, metadataKey(""))
	name, number, cut := strings.Cut(key, "#")
	sequence, err := strconv.ParseInt(number, 10, 64)
	return name, sequence, ok && cut && err == nil
}

// ApprovalCollection is the implicit collection that an organisation's approvals stand in.
func ApprovalCollection(mspID string) string { return collection.ImplicitOf(mspID) }

// Disagreements says where an organisation's approval is not of this definition, in Fabric's words: the fields that differ, or
// the name of the whole where there is no approval. None: it is. hash returns the hash of the value of a private key of the
// organisation's implicit collection, nil if there is none.
func Disagreements(d *Definition, hash func(key string) ([]byte, error)) ([]string, error) {
	values, err := formatParameters(d)
	if err != nil {
		return nil, err
	}
	approval := approvalName(d.Name, d.Sequence)
	var fields []string
	agrees := func(key string) (bool, error) {
		stored, err := hash(key)
		wanted := sha256.Sum256(values[key])
		return bytes.Equal(stored, wanted[:]), err
	}
	whole, err := agrees(metadataKey(approval))
	if err != nil {
		return nil, fmt.Errorf("approval of %s: %w", approval, err)
	}
	for _, field := range approvalFields { // all are read, as Fabric does
		same, err := agrees(fieldKey(approval, field))
		if err != nil {
			return nil, fmt.Errorf("approval of %s: %w", approval, err)
		}
		if !same {
			fields = append(fields, field)
		}
	}
	if !whole {
		return []string{approvalType}, nil
	}
	return fields, nil
}

// Approved reports whether an organisation's approval, as the view has it, is of this definition, and, unless packageID is
// nil, of this package.
func Approved(ctx context.Context, view View, mspID string, d *Definition, packageID *string) (bool, error) {
	var id string
	if packageID != nil {
		id = *packageID
	}
	values, err := FormatApproval(d, id)
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
	ofPackage := packageKey(approvalName(d.Name, d.Sequence))
	for i, key := range keys {
		if key == ofPackage && packageID == nil {
			continue
		}
		if hash := sha256.Sum256(values[key]); items[i] == nil || string(items[i].Value) != string(hash[:]) {
			return false, nil
		}
	}
	return true, nil
}
