package ledger

import (
	"context"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/mango"
)

// LifecycleNamespace is the namespace of chaincode definitions, Fabric's _lifecycle.
const LifecycleNamespace = "_lifecycle"

// A Definition is a chaincode as the channel's state defines it, in the keys and messages of Fabric's _lifecycle.
type Definition struct {
	Name         string
	Version      string
	Sequence     int64
	InitRequired bool
	Policy       *peer.ApplicationPolicy
	Collections  *peer.CollectionConfigPackage // nil if there are none
	Indexes      []string                      // definitions of the indexes of the public state, each as mango.ParseIndex takes it

	indexes []*mango.Index // Indexes, of a definition that was read
}

// GetCollections returns the collections, nil also of no definition.
func (d *Definition) GetCollections() *peer.CollectionConfigPackage {
	if d == nil {
		return nil
	}
	return d.Collections
}

// GetSequence returns the sequence, 0 of no definition.
func (d *Definition) GetSequence() int64 {
	if d == nil {
		return 0
	}
	return d.Sequence
}

// The keys of Fabric's lifecycle, core/chaincode/lifecycle/serializer.go.
func metadataKey(name string) string     { return "namespaces/metadata/" + name }
func fieldKey(name, field string) string { return "namespaces/fields/" + name + "/" + field }

// SequenceKey is the key of the lifecycle namespace that every transaction of a chaincode reads, so that a change of its
// definition is a conflict for what was endorsed before.
func SequenceKey(name string) string { return fieldKey(name, "Sequence") }

// The fields of a definition, in the order that Fabric's metadata lists them.
var definitionFields = []string{"Sequence", "EndorsementInfo", "ValidationInfo", "Collections"}

// definitionType is the datatype of the metadata entry.
const definitionType = "ChaincodeDefinition"

// FormatDefinition returns the lifecycle namespace's writes that make d the definition, sorted by key.
func FormatDefinition(d *Definition) (map[string][]byte, error) {
	policy, err := proto.Marshal(d.Policy)
	if err != nil {
		return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
	}
	endorsement, err := proto.Marshal(&lifecycle.ChaincodeEndorsementInfo{Version: d.Version, InitRequired: d.InitRequired, EndorsementPlugin: "escc"})
	if err != nil {
		return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
	}
	validation, err := proto.Marshal(&lifecycle.ChaincodeValidationInfo{ValidationPlugin: "vscc", ValidationParameter: policy})
	if err != nil {
		return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
	}
	collections := d.Collections
	if collections == nil {
		collections = &peer.CollectionConfigPackage{}
	}
	packed, err := proto.Marshal(collections)
	if err != nil {
		return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
	}
	writes := make(map[string][]byte)
	messages := map[string]proto.Message{
		metadataKey(d.Name):                 &lifecycle.StateMetadata{Datatype: definitionType, Fields: definitionFields},
		SequenceKey(d.Name):                 &lifecycle.StateData{Type: &lifecycle.StateData_Int64{Int64: d.Sequence}},
		fieldKey(d.Name, "EndorsementInfo"): &lifecycle.StateData{Type: &lifecycle.StateData_Bytes{Bytes: endorsement}},
		fieldKey(d.Name, "ValidationInfo"):  &lifecycle.StateData{Type: &lifecycle.StateData_Bytes{Bytes: validation}},
		fieldKey(d.Name, "Collections"):     &lifecycle.StateData{Type: &lifecycle.StateData_Bytes{Bytes: packed}},
	}
	for key, m := range messages {
		if writes[key], err = proto.Marshal(m); err != nil {
			return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
		}
	}
	if len(d.Indexes) > 0 {
		if writes[IndexesKey(d.Name)], err = formatIndexes(d.Indexes); err != nil {
			return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
		}
	}
	return writes, nil
}

// FabricDefinitionKeys returns the lifecycle namespace's keys of a chaincode's definition that Fabric has.
func FabricDefinitionKeys(name string) []string {
	keys := []string{metadataKey(name)}
	for _, f := range definitionFields {
		keys = append(keys, fieldKey(name, f))
	}
	return keys
}

// DefinitionKeys returns all the lifecycle namespace's keys of a chaincode's definition.
func DefinitionKeys(name string) []string {
	return append(FabricDefinitionKeys(name), IndexesKey(name))
}

// ReadDefinition returns the definition of a chaincode, nil if the channel has none.
func ReadDefinition(ctx context.Context, view View, name string) (*Definition, error) {
	items, err := view.Get(ctx, LifecycleNamespace, DefinitionKeys(name))
	if err != nil {
		return nil, fmt.Errorf("read definition of %s: %w", name, err)
	}
	if items[0] == nil || items[1] == nil {
		return nil, nil
	}
	d := &Definition{Name: name}
	fields := make([]*lifecycle.StateData, len(items))
	for i, item := range items[1 : 1+len(definitionFields)] {
		fields[i] = &lifecycle.StateData{}
		if item == nil {
			continue
		}
		if err := proto.Unmarshal(item.Value, fields[i]); err != nil {
			return nil, fmt.Errorf("read definition of %s: field %s: %w", name, definitionFields[i], ErrDamaged)
		}
	}
	endorsement, validation := &lifecycle.ChaincodeEndorsementInfo{}, &lifecycle.ChaincodeValidationInfo{}
	d.Policy = &peer.ApplicationPolicy{}
	d.Sequence = fields[0].GetInt64()
	if proto.Unmarshal(fields[1].GetBytes(), endorsement) != nil || proto.Unmarshal(fields[2].GetBytes(), validation) != nil ||
		proto.Unmarshal(validation.ValidationParameter, d.Policy) != nil {
		return nil, fmt.Errorf("read definition of %s: %w", name, ErrDamaged)
	}
	d.Version, d.InitRequired = endorsement.Version, endorsement.InitRequired
	if packed := fields[3].GetBytes(); len(packed) > 0 {
		d.Collections = &peer.CollectionConfigPackage{}
		if proto.Unmarshal(packed, d.Collections) != nil {
			return nil, fmt.Errorf("read definition of %s: collections: %w", name, ErrDamaged)
		}
	}
	if item := items[len(items)-1]; item != nil {
		d.Indexes, d.indexes = parseIndexes(item.Value)
	}
	return d, nil
}

// ReadDefinitions returns the channel's definitions, by name.
func ReadDefinitions(ctx context.Context, view View) ([]*Definition, error) {
	const prefix = "namespaces/metadata/"
	var found []*Definition
	start, end := prefix, prefix[:len(prefix)-1]+"0"
	for {
		rows, err := view.Range(ctx, LifecycleNamespace, start, end, 100)
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		for _, row := range rows {
			d, err := ReadDefinition(ctx, view, row.Key[len(prefix):])
			if err != nil {
				return nil, err
			}
			if d != nil {
				found = append(found, d)
			}
		}
		if len(rows) < 100 {
			return found, nil
		}
		start = rows[len(rows)-1].Key + "\x00"
	}
}
