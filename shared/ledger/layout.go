package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"peerless/shared/mango"
	"peerless/shared/wire"
)

// indexStep is how many documents a block moves to new indexes. Whoever judges a block again moves as many: what it does to the state
// follows from the chain.
const indexStep = 1000

// A layout says which documents are in which indexes, by ranges of their keys in order: each segment reaches from where the one before
// it ends. There is one segment but while documents are moved: then the first has those that were moved already, and grows. A
// definition that changes the indexes again meanwhile puts a segment before them.
type layout []segment

type segment struct {
	below   string // the end of its keys; that of the last is open
	indexes []*mango.Index
	raw     []string // their definitions
}

// at returns the indexes that a document is in.
func (l layout) at(key string) []*mango.Index {
	for i, s := range l {
		if i == len(l)-1 || key < s.below {
			return s.indexes
		}
	}
	return nil
}

// complete returns the indexes that every document is in.
func (l layout) complete() []*mango.Index {
	if len(l) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(l[0].indexes), func(x *mango.Index) bool {
		return slices.ContainsFunc(l, func(s segment) bool { return !slices.ContainsFunc(s.indexes, x.Equal) })
	})
}

// without returns the indexes that are not among others.
func without(indexes, others []*mango.Index) []*mango.Index {
	return slices.DeleteFunc(slices.Clone(indexes), func(x *mango.Index) bool { return slices.ContainsFunc(others, x.Equal) })
}

// segmentOf returns a segment with the indexes of the public state that definitions name.
func segmentOf(definitions []byte) segment {
	set := parseIndexes(definitions)
	return segment{indexes: set.public, raw: set.publicRaw}
}

// LayoutKey is the lifecycle namespace's key of the record that says how far a chaincode's documents are moved to new indexes. It is
// there while they are.
func LayoutKey(name string) string { return fieldKey(name, "IndexLayout") }

// layoutRecord is a layout as it is stored.
type layoutRecord []struct {
	Below   []byte            `json:"below,omitempty"`
	Indexes []json.RawMessage `json:"indexes"`
}

func (l layout) format() ([]byte, error) {
	record := make(layoutRecord, len(l))
	for i, s := range l {
		record[i].Below = []byte(s.below)
		for _, definition := range s.raw {
			record[i].Indexes = append(record[i].Indexes, json.RawMessage(definition))
		}
	}
	return json.Marshal(record)
}

// layoutOf returns the layout that a record says, or that of a definition's indexes, which hold every document, if there is none.
func layoutOf(definitions, record *Item) layout {
	var segments layoutRecord
	if record == nil || json.Unmarshal(record.Value, &segments) != nil || len(segments) == 0 {
		var all segment
		if definitions != nil {
			all = segmentOf(definitions.Value)
		}
		return layout{all}
	}
	l := make(layout, len(segments))
	for i, s := range segments {
		raw, err := json.Marshal(s.Indexes)
		if err == nil {
			l[i] = segmentOf(raw)
		}
		l[i].below = string(s.Below)
	}
	return l
}

// layout returns that of a chaincode's indexes as the block so far leaves it.
func (j *judge) layout(ctx context.Context, namespace string) (layout, error) {
	if l, ok := j.layouts[namespace]; ok {
		return l, nil
	}
	if strings.HasPrefix(namespace, "_") || strings.Contains(namespace, "$$") {
		return nil, nil
	}
	d, err := j.definition(ctx, namespace)
	if err != nil || d == nil {
		return nil, err
	}
	return d.layout, nil
}

// noteIndexes notes which chaincodes' documents may have to be moved with the block, after a valid transaction.
func (j *judge) noteIndexes(ctx context.Context, tx *wire.Transaction) error {
	for _, namespace := range written(tx) {
		j.indexing[namespace] = true
	}
	for i := range tx.RWSet.Namespaces {
		ns := &tx.RWSet.Namespaces[i]
		if ns.Namespace != LifecycleNamespace {
			continue
		}
		for _, w := range ns.KV.GetWrites() {
			name, ok := strings.CutSuffix(strings.TrimPrefix(w.Key, "namespaces/fields/"), "/Indexes")
			if !ok || w.Key != IndexesKey(name) {
				continue
			}
			if err := j.redefine(ctx, name, w.Value); err != nil {
				return fmt.Errorf("indexes of chaincode %s: %w", name, err)
			}
		}
	}
	return nil
}

// redefine begins to move a chaincode's documents to the indexes of a new definition, if it has others.
func (j *judge) redefine(ctx context.Context, name string, definitions []byte) error {
	was, err := j.layout(ctx, name)
	if err != nil {
		return err
	}
	if len(was) == 0 { // it is not defined: a record may be left of when it was
		record, err := j.before.get(ctx, stateKey{LifecycleNamespace, LayoutKey(name)})
		if err != nil {
			return err
		}
		if record != nil && record.Version.Block == j.updates.number {
			return nil
		}
		was = layoutOf(nil, record)
	}
	first := segmentOf(definitions)
	j.indexing[name] = true
	switch {
	case j.stepped(name): // by this block, when it was applied in part
		return nil
	case len(without(first.indexes, was[0].indexes))+len(without(was[0].indexes, first.indexes)) == 0:
		j.layouts[name] = was
		return nil
	}
	return j.setLayout(name, append(layout{first}, was...))
}

// stepped reports whether the record that was read of a chaincode's layout is this block's: an Apply of it was interrupted after all
// entries were written, and the record says what it came to.
func (j *judge) stepped(name string) bool {
	_, here := j.layouts[name]
	d := j.definitions[name]
	return !here && d != nil && d.layoutSince != nil && d.layoutSince.Block == j.updates.number
}

func (j *judge) setLayout(name string, l layout) error {
	j.layouts[name] = l
	k := stateKey{LifecycleNamespace, LayoutKey(name)}
	if len(l) == 1 {
		j.set(k, nil)
		return nil
	}
	value, err := l.format()
	if err != nil {
		return fmt.Errorf("layout of %s's indexes: %w", name, err)
	}
	j.set(k, &Item{Value: value, Version: Version{j.updates.number, j.position}})
	return nil
}

// moveDocuments moves the next documents of the block's chaincodes to new indexes, where there are some.
func (j *judge) moveDocuments(ctx context.Context) error {
	for name := range j.indexing {
		l, err := j.layout(ctx, name)
		if err != nil {
			return err
		}
		if len(l) < 2 || j.stepped(name) {
			continue
		}
		if err := j.move(ctx, name, slices.Clone(l)); err != nil {
			return fmt.Errorf("build indexes of %s: %w", name, err)
		}
	}
	return nil
}

func (j *judge) move(ctx context.Context, name string, l layout) error {
	over := &overlay{View: j.view, updates: j.updates.snapshot()}
	rows, err := over.Range(ctx, name, l[0].below, "", indexStep)
	if err != nil {
		return err
	}
	version := Version{j.updates.number, j.position}
	for _, row := range rows {
		from := l[1:].at(row.Key)
		for _, x := range without(from, l[0].indexes) {
			if key, ok := entry(x, row.Key, row.Item); ok {
				j.set(stateKey{IndexNamespace(name, x), key}, nil)
			}
		}
		for _, x := range without(l[0].indexes, from) {
			if key, ok := entry(x, row.Key, row.Item); ok {
				j.set(stateKey{IndexNamespace(name, x), key}, &Item{Value: []byte(row.Key), Version: version})
			}
		}
	}
	if len(rows) < indexStep {
		return j.setLayout(name, l[:1])
	}
	l[0].below = rows[len(rows)-1].Key + "\x00"
	rest := l[1:]
	for len(rest) > 1 && rest[0].below <= l[0].below {
		rest = rest[1:]
	}
	return j.setLayout(name, append(layout{l[0]}, rest...))
}
