package ledger

import (
	"context"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"
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
	Indexes      []string                      // definitions of indexes, each as mango.ParseIndex takes it or CollectionIndex makes it

	indexSet             // Indexes, of a definition that was read
	layout      layout   // of the indexes of a definition that was read
	layoutSince *Version // of its record, nil if there is none
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

// The plugins that definitions name, and that validation has.
const (
	EndorsementPlugin = "escc"
	ValidationPlugin  = "vscc"
)

// definitionType is the datatype of the metadata entry.
const definitionType = "ChaincodeDefinition"

// FormatDefinition returns the lifecycle namespace's writes that make d the definition, sorted by key.
func FormatDefinition(d *Definition) (map[string][]byte, error) {
	policy, err := proto.Marshal(d.Policy)
	if err != nil {
		return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
	}
	endorsement, err := proto.Marshal(&lifecycle.ChaincodeEndorsementInfo{Version: d.Version, InitRequired: d.InitRequired, EndorsementPlugin: EndorsementPlugin})
	if err != nil {
		return nil, fmt.Errorf("format definition of %s: %w", d.Name, err)
	}
	validation, err := proto.Marshal(&lifecycle.ChaincodeValidationInfo{ValidationPlugin: ValidationPlugin, ValidationParameter: policy})
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
		if writes[IndexesKey(d.Name)], err = FormatIndexes(d.Indexes); err != nil {
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

// definitionState returns the keys of a definition and of what follows from it.
func definitionState(name string) []string { return append(DefinitionKeys(name), LayoutKey(name)) }

// ReadDefinition returns the definition of a chaincode, nil if the channel has none.
func ReadDefinition(ctx context.Context, view View, name string) (*Definition, error) {
	items, err := view.Get(ctx, LifecycleNamespace, definitionState(name))
	if err != nil {
		return nil, fmt.Errorf("read definition of %s: %w", name, err)
	}
	if items[0] == nil || items[1] == nil {
		return nil, nil
	}
	values := make([][]byte, len(definitionFields))
	for i, item := range items[1 : 1+len(definitionFields)] {
		if item != nil {
			values[i] = item.Value
		}
	}
	d, err := ParseDefinition(name, values)
	if err != nil {
		return nil, err
	}
	indexes, record := items[len(items)-2], items[len(items)-1]
	if indexes != nil {
		d.indexSet = parseIndexes(indexes.Value)
		d.Indexes = d.definitions
	}
	if d.layout = layoutOf(indexes, record); record != nil {
		d.layoutSince = &record.Version
	}
	return d, nil
}

// ParseDefinition reads the values of a definition's fields, in the order of FabricDefinitionKeys after the first; nil where there
// is none. The error is ErrDamaged.
func ParseDefinition(name string, values [][]byte) (*Definition, error) {
	d := &Definition{Name: name}
	if err := d.parse(definitionFields, values); err != nil {
		return nil, fmt.Errorf("read definition of %s: %w", name, err)
	}
	return d, nil
}

// parse reads the values of fields, each a StateData.
func (d *Definition) parse(fields []string, values [][]byte) error {
	d.Policy = &peer.ApplicationPolicy{}
	for i, field := range fields {
		data := &lifecycle.StateData{}
		if err := proto.Unmarshal(values[i], data); err != nil {
			return fmt.Errorf("field %s: %w", field, ErrDamaged)
		}
		var err error
		switch field {
		case "Sequence":
			d.Sequence = data.GetInt64()
		case "EndorsementInfo":
			info := &lifecycle.ChaincodeEndorsementInfo{}
			err = proto.Unmarshal(data.GetBytes(), info)
			d.Version, d.InitRequired = info.Version, info.InitRequired
		case "ValidationInfo":
			info := &lifecycle.ChaincodeValidationInfo{}
			if err = proto.Unmarshal(data.GetBytes(), info); err == nil {
				err = proto.Unmarshal(info.ValidationParameter, d.Policy)
			}
		case "Collections":
			if packed := data.GetBytes(); len(packed) > 0 {
				d.Collections = &peer.CollectionConfigPackage{}
				err = proto.Unmarshal(packed, d.Collections)
			}
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", field, ErrDamaged)
		}
	}
	return nil
}

// ParseSequence reads the value of a SequenceKey; no value is 0.
func ParseSequence(value []byte) (int64, error) {
	data := &lifecycle.StateData{}
	if err := proto.Unmarshal(value, data); err != nil {
		return 0, fmt.Errorf("read sequence: %w", ErrDamaged)
	}
	return data.GetInt64(), nil
}

// DefinitionRange is the range of the lifecycle namespace's keys that stand for definitions, one for each: the start and the
// chaincode's name. In an organisation's implicit collection it is that of the approvals: ApprovalOf.
func DefinitionRange() (start, end string) { return metadataKey(""), metadataKey("\x7f") }

// FormatSequence returns what ParseSequence reads.
func FormatSequence(sequence int64) ([]byte, error) {
	return proto.Marshal(&lifecycle.StateData{Type: &lifecycle.StateData_Int64{Int64: sequence}})
}

// ReadSequence returns how often a chaincode was defined, and its definition removed; 0 if never.
func ReadSequence(ctx context.Context, view View, name string) (int64, error) {
	items, err := view.Get(ctx, LifecycleNamespace, []string{SequenceKey(name)})
	if err != nil {
		return 0, fmt.Errorf("read sequence of %s: %w", name, err)
	}
	if items[0] == nil {
		return 0, nil
	}
	return ParseSequence(items[0].Value)
}

// ReadDefinitions returns the channel's definitions, by name.
func ReadDefinitions(ctx context.Context, view View) ([]*Definition, error) {
	var found []*Definition
	start, end := DefinitionRange()
	prefix := start
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
