package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"peerless/shared/mango"
)

// Indexes for rich queries. A chaincode's definition names them, in a field of the lifecycle namespace that Fabric does not have. Each
// block's batch holds what it does to their entries, so that they are as old as the state beside them, whatever interrupts an Apply.
// They follow from the chain: an audit compares them too.
//
// A definition that adds indexes or takes them away begins to move the chaincode's documents from the old indexes to the new ones, in
// the order of their keys: indexStep documents with the block that has the definition, and with each later one that has a valid
// transaction of the chaincode (file layout.go). Until all are moved a query uses the indexes that both definitions have.
//
// An index has a namespace of its own, which no transaction can write: the key is the entry (mango.Index.Entry), the value the
// document's key.
const indexMark = "$$i"

// IndexNamespace is the namespace of an index of a chaincode's public state.
func IndexNamespace(chaincode string, x *mango.Index) string {
	return chaincode + indexMark + x.DesignDocument + "/" + x.Name
}

// IsIndex reports whether a namespace is an index's. What a block writes there is derived from the documents as they were before
// it: a store whose Apply is not atomic writes it before anything else of the block.
func IsIndex(namespace string) bool { return strings.Contains(namespace, indexMark) }

// IndexesKey is the lifecycle namespace's key of a chaincode's indexes.
func IndexesKey(name string) string { return fieldKey(name, "Indexes") }

// FormatIndexes returns the value of an IndexesKey: a JSON array of definitions.
func FormatIndexes(definitions []string) ([]byte, error) {
	list := make([]json.RawMessage, len(definitions))
	for i, d := range definitions {
		list[i] = json.RawMessage(d)
	}
	return json.Marshal(list)
}

// indexSet are the indexes of a definition: those of the public state, and of collections by their names. No block fills the latter, whose
// entries would hold private values in the clear: who queries a collection makes them of its values.
type indexSet struct {
	definitions []string // of all
	public      []*mango.Index
	publicRaw   []string // their definitions
	private     map[string][]*mango.Index
}

// parseIndexes reads what FormatIndexes made. A definition that is none, or has the name of an earlier one, is left out: what
// a transaction wrote cannot be refused any more, and every reader leaves out the same.
func parseIndexes(raw []byte) (set indexSet) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return indexSet{}
	}
	for _, d := range list {
		_ = set.add(string(d))
	}
	return set
}

func (s *indexSet) add(definition string) error {
	collection, x, err := parseIndex([]byte(definition))
	if err != nil {
		return err
	}
	same := func(o *mango.Index) bool { return o.DesignDocument == x.DesignDocument && o.Name == x.Name }
	if slices.ContainsFunc(s.private[collection], same) || collection == "" && slices.ContainsFunc(s.public, same) {
		return fmt.Errorf("there are two indexes by the name %s in the design document %s", x.Name, x.DesignDocument)
	}
	s.definitions = append(s.definitions, definition)
	if collection == "" {
		s.public, s.publicRaw = append(s.public, x), append(s.publicRaw, definition)
		return nil
	}
	if s.private == nil {
		s.private = make(map[string][]*mango.Index)
	}
	s.private[collection] = append(s.private[collection], x)
	return nil
}

// collectionMember is what an index definition has beside CouchDB's members if it is a collection's.
const collectionMember = "collection"

// CollectionIndex returns the definition of an index as that of a collection's index, as Definition.Indexes has it.
func CollectionIndex(collection string, definition []byte) (string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(definition, &members); err != nil {
		return "", fmt.Errorf("the index is not a JSON object: %w", err)
	}
	name, err := json.Marshal(collection)
	if err != nil {
		return "", err
	}
	members[collectionMember] = name
	whole, err := json.Marshal(members)
	return string(whole), err
}

// parseIndex reads a definition of Definition.Indexes. collection is empty if it is of the public state.
func parseIndex(definition []byte) (collection string, x *mango.Index, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(definition, &members) == nil && members[collectionMember] != nil {
		if err := json.Unmarshal(members[collectionMember], &collection); err != nil || collection == "" {
			return "", nil, fmt.Errorf("the index's %s is not a name: %s", collectionMember, members[collectionMember])
		}
		delete(members, collectionMember)
		if definition, err = json.Marshal(members); err != nil {
			return "", nil, err
		}
	}
	x, err = mango.ParseIndex(definition)
	return collection, x, err
}

// CollectionIndexes returns the indexes that a definition which was read has of a collection.
func (d *Definition) CollectionIndexes(collection string) []*mango.Index {
	return d.private[collection]
}

// CheckIndexes says what is wrong with index definitions, before they go into a chaincode's definition.
func CheckIndexes(definitions []string) error {
	var set indexSet
	for _, d := range definitions {
		if err := set.add(d); err != nil {
			return err
		}
	}
	return nil
}

// DecodeIndexes reads what FormatIndexes wrote, and says what is wrong with it.
func DecodeIndexes(raw []byte) ([]string, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("indexes: want a JSON array of their definitions: %w", err)
	}
	definitions := make([]string, len(list))
	for i, d := range list {
		definitions[i] = string(d)
	}
	return definitions, CheckIndexes(definitions)
}

// ReadIndexes returns the indexes of a chaincode's public state, and those that do not hold every document yet.
func ReadIndexes(ctx context.Context, view View, chaincode string) (usable, building []*mango.Index, err error) {
	l, err := readLayout(ctx, view, chaincode)
	if err != nil {
		return nil, nil, err
	}
	usable = l.complete()
	return usable, without(l[0].indexes, usable), nil
}

// IndexState returns a chaincode's indexes that hold every document as the lifecycle namespace would have them, and its record of
// those that do not, for a reader who cannot see that namespace; nil where there are none.
func IndexState(ctx context.Context, view View, chaincode string) (usable, layout []byte, err error) {
	l, err := readLayout(ctx, view, chaincode)
	if err != nil {
		return nil, nil, err
	}
	if len(l) > 1 {
		if layout, err = l.format(); err != nil {
			return nil, nil, err
		}
	}
	complete := l.complete()
	var definitions []string
	for i, x := range l[0].indexes {
		if slices.ContainsFunc(complete, x.Equal) {
			definitions = append(definitions, l[0].raw[i])
		}
	}
	if len(definitions) > 0 {
		usable, err = FormatIndexes(definitions)
	}
	return usable, layout, err
}

func readLayout(ctx context.Context, view View, chaincode string) (layout, error) {
	items, err := view.Get(ctx, LifecycleNamespace, []string{IndexesKey(chaincode), LayoutKey(chaincode)})
	if err != nil {
		return nil, fmt.Errorf("read indexes of %s: %w", chaincode, err)
	}
	l := layoutOf(items[0], items[1])
	if items[0] != nil && items[0].Version.Block >= view.Savepoint() {
		// Of a block that may be applied in part: how far its indexes are is not known.
		l = layout{l[0], {}}
	}
	return l, nil
}

// layoutsOf returns the layout of a namespace's indexes, nil if it can have none.
type layoutsOf func(ctx context.Context, namespace string) (layout, error)

// reindex moves a key's entries in the indexes of its namespace. It is called before the update is made.
func (u *updates) reindex(ctx context.Context, before *reader, next update) error {
	layout, err := u.layouts(ctx, next.namespace)
	if err != nil {
		return err
	}
	indexes := layout.at(next.key)
	if len(indexes) == 0 {
		return nil
	}
	var current *Item
	if up, ok := u.get(next.stateKey); ok {
		current = up.item
	} else if current, err = before.get(ctx, next.stateKey); err != nil {
		return err
	}
	for _, x := range indexes {
		namespace := IndexNamespace(next.namespace, x)
		from, had := entry(x, next.key, current)
		to, has := entry(x, next.key, next.item)
		if had && (!has || from != to) {
			u.keys.Set(update{stateKey: stateKey{namespace, from}, tx: next.tx})
		}
		if has {
			u.keys.Set(update{stateKey: stateKey{namespace, to}, tx: next.tx, item: &Item{Value: []byte(next.key), Version: next.item.Version}})
		}
	}
	return nil
}

func entry(x *mango.Index, key string, item *Item) (string, bool) {
	if item == nil || key == "" {
		return "", false
	}
	return x.Entry(mango.ParseDocument(key, item.Value))
}
