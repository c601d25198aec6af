package mango

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// MaxIndexFields bounds the fields of an index.
const MaxIndexFields = 16

// An Index keeps the documents that have all of its fields in the order of these.
type Index struct {
	DesignDocument, Name string

	fields  []Sort
	partial *Selector // documents that it keeps; nil: all
	text    string    // the definition, the same for the same index
}

// Equal reports whether two indexes have the same name and keep the same.
func (x *Index) Equal(o *Index) bool {
	return x.DesignDocument == o.DesignDocument && x.Name == o.Name && x.text == o.text
}

// ParseIndex reads an index definition: a file of a chaincode package's META-INF/statedb/couchdb/indexes. An index without a name
// is named by its hash, one without a design document is alone in one by its name.
func ParseIndex(raw []byte) (*Index, error) {
	v, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the index is not JSON: %w", err)
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the index is not a JSON object")
	}
	for name := range members {
		if !slices.Contains([]string{"index", "ddoc", "name", "type", "partitioned"}, name) {
			return nil, fmt.Errorf("the index has a member %q: it takes index, ddoc, name and type", name)
		}
	}
	if kind, ok := members["type"]; ok && kind != "json" {
		return nil, fmt.Errorf("the index has the type %s: only json is supported", text(kind))
	}
	x := &Index{}
	for name, to := range map[string]*string{"ddoc": &x.DesignDocument, "name": &x.Name} {
		if v, ok := members[name]; ok {
			if *to, ok = v.(string); !ok || *to == "" {
				return nil, fmt.Errorf("the index's %s is not a name: %s", name, text(v))
			}
		}
	}
	x.DesignDocument = strings.TrimPrefix(x.DesignDocument, "_design/")
	index, ok := members["index"].(map[string]any)
	if !ok {
		return nil, errors.New(`the index has no "index" object with its fields`)
	}
	if err := x.readFields(index); err != nil {
		return nil, err
	}
	canonical, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	x.text = string(canonical)
	if x.Name == "" {
		sum := sha256.Sum256(canonical)
		x.Name = hex.EncodeToString(sum[:8])
	}
	if x.DesignDocument == "" {
		x.DesignDocument = x.Name
	}
	return x, nil
}

func (x *Index) readFields(index map[string]any) (err error) {
	list, ok := index["fields"].([]any)
	if !ok || len(list) == 0 || len(list) > MaxIndexFields {
		return fmt.Errorf("an index has between 1 and %d fields", MaxIndexFields)
	}
	if x.fields, err = parseSort(list); err != nil {
		return err
	}
	for name, v := range index {
		switch name {
		case "fields":
		case "partial_filter_selector":
			if x.partial, err = parseSelector(v); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the index has a member index.%s: it takes fields and partial_filter_selector", name)
		}
	}
	return nil
}

// Entry returns the key under which the index keeps a document, and whether it keeps it. Entries order as the fields do, those
// with equal fields by document key.
func (x *Index) Entry(d Document) (string, bool) {
	if x.partial != nil && !x.partial.Match(d) {
		return "", false
	}
	var entry []byte
	for _, f := range x.fields {
		v, ok := f.path.get(d)
		if !ok {
			return "", false
		}
		entry = appendDirected(entry, v, f.desc)
	}
	return string(append(entry, d[FieldID].(string)...)), true
}

// The encoding of a value begins with its rank and is nowhere the beginning of another's. A byte below all ranks ends arrays
// and objects.
const endMark = 0x01

func appendValue(to []byte, v any) []byte {
	to = append(to, byte(0x10+rank(v)))
	switch v := v.(type) {
	case json.Number:
		bits := math.Float64bits(float(v) + 0) // -0 is 0
		if bits&(1<<63) != 0 {
			bits = ^bits
		} else {
			bits |= 1 << 63
		}
		to = binary.BigEndian.AppendUint64(to, bits)
	case string:
		to = appendString(to, v)
	case []any:
		for _, element := range v {
			to = appendValue(to, element)
		}
		to = append(to, endMark)
	case map[string]any, Document:
		members := object(v)
		for _, name := range slices.Sorted(maps.Keys(members)) {
			to = appendValue(append(to, 0x02), name)
			to = appendValue(to, members[name])
		}
		to = append(to, endMark)
	}
	return to
}

// appendString appends a string's collation key, ended by two zeros; a zero in it is followed by 0xff.
func appendString(to []byte, s string) []byte {
	for _, b := range appendCollationKey(nil, s) {
		if to = append(to, b); b == 0 {
			to = append(to, 0xff)
		}
	}
	return append(to, 0, 0)
}

// appendDirected appends a value, with all bits inverted where a field descends.
func appendDirected(to []byte, v any, desc bool) []byte {
	from := len(to)
	to = appendValue(to, v)
	if desc {
		for i := from; i < len(to); i++ {
			to[i] ^= 0xff
		}
	}
	return to
}
