package mango

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A Query asks for documents.
type Query struct {
	Selector *Selector
	Sort     []Sort   // empty: in no order that is promised
	Limit    int      // documents at most; negative: no limit of the query's own
	Skip     int      // documents left out at the beginning
	Bookmark string   // where an earlier page ended; empty: from the beginning
	UseIndex []string // a design document, and the name of an index in it; empty: the planner chooses

	fields []path // what to return of a document; nil: all
}

// A Sort is one field to sort by.
type Sort struct {
	path path
	desc bool
}

// ParseQuery reads a query as a contract gives it to GetQueryResult. Members that CouchDB knows and that make no difference here
// (r, conflicts, stable, update, execution_stats) are taken. The error is an *Error, or says what is wrong with the JSON.
func ParseQuery(raw []byte) (*Query, error) {
	v, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the query is not JSON: %w", err)
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the query is not a JSON object")
	}
	q := &Query{Limit: -1}
	selector, ok := members["selector"]
	if !ok {
		return nil, invalid("missing_required_key", "Missing required key: selector")
	}
	if q.Selector, err = parseSelector(selector); err != nil {
		return nil, err
	}
	for _, read := range []func(map[string]any) error{q.readNumbers, q.readSort, q.readFields, q.readIndex} {
		if err := read(members); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (q *Query) readNumbers(members map[string]any) error {
	for name, to := range map[string]*int{"limit": &q.Limit, "skip": &q.Skip} {
		v, ok := members[name]
		if !ok {
			continue
		}
		n, ok := integer(v)
		if !ok || n.Sign() < 0 || !n.IsInt64() || n.Int64() > 1<<31-1 {
			return invalid("invalid_non_neg_integer", "Invalid non-negative integer for %s: %s", name, text(v))
		}
		*to = int(n.Int64())
	}
	if v, ok := members["bookmark"]; ok && v != nil {
		if q.Bookmark, ok = v.(string); !ok {
			return invalid("invalid_bookmark", "Invalid bookmark value: %s", text(v))
		}
		if q.Bookmark == "nil" { // what CouchDB gives where there is nothing to go on with
			q.Bookmark = ""
		}
	}
	return nil
}

func (q *Query) readSort(members map[string]any) (err error) {
	v, ok := members["sort"]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return invalid("invalid_sort_json", "Invalid sort: %s", text(v))
	}
	if q.Sort, err = parseSort(list); err != nil {
		return err
	}
	for _, s := range q.Sort {
		if s.desc != q.Sort[0].desc {
			return invalid("unsupported_mixed_sort", "Sorts currently only support a single direction for all fields.")
		}
	}
	return nil
}

// parseSort reads fields with their directions: "a", or {"a": "asc"}.
func parseSort(list []any) ([]Sort, error) {
	sorts := make([]Sort, 0, len(list))
	for _, one := range list {
		name, direction := one, any("asc")
		if object, ok := one.(map[string]any); ok {
			if len(object) != 1 {
				return nil, invalid("invalid_sort_field", "Invalid sort field: %s", text(one))
			}
			for n, d := range object {
				name, direction = n, d
			}
		}
		field, ok := name.(string)
		if !ok || field == "" {
			return nil, invalid("invalid_sort_field", "Invalid sort field: %s", text(one))
		}
		if direction != "asc" && direction != "desc" {
			return nil, invalid("invalid_sort_dir", "Invalid sort direction: %s", text(direction))
		}
		sorts = append(sorts, Sort{path: parsePath(field), desc: direction == "desc"})
	}
	return sorts, nil
}

func (q *Query) readFields(members map[string]any) error {
	v, ok := members["fields"]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return errors.New("fields definition must be an array")
	}
	for _, one := range list {
		name, ok := one.(string)
		if !ok || name == "" {
			return invalid("invalid_fields_json", "Fields must be an array of strings, not: %s", text(one))
		}
		q.fields = append(q.fields, parsePath(name))
	}
	return nil
}

func (q *Query) readIndex(members map[string]any) error {
	v, ok := members["use_index"]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, one := range list {
		name, ok := one.(string)
		if !ok {
			return invalid("invalid_index_name", "Invalid type for index name: %s", text(one))
		}
		q.UseIndex = append(q.UseIndex, strings.TrimPrefix(name, "_design/"))
	}
	if len(q.UseIndex) > 2 {
		return invalid("invalid_index_name", "Invalid index name: %s", text(v))
	}
	return nil
}

// Project returns what the query wants of a document that was read with this value: the value itself if it names no fields.
func (q *Query) Project(d Document, value []byte) ([]byte, error) {
	if q.fields == nil {
		return value, nil
	}
	out := make(map[string]any)
	for _, p := range q.fields {
		if len(p) == 1 && p[0] == FieldID {
			continue // the key is told beside the value
		}
		if v, ok := p.get(d); ok {
			p.put(out, v)
		}
	}
	return json.Marshal(out)
}

// Order compares two documents by the query's sort, then by key.
func (q *Query) Order(a, b Document) int {
	for _, s := range q.Sort {
		va, oka := s.path.get(a)
		vb, okb := s.path.get(b)
		c := 0
		switch {
		case oka && okb:
			c = Compare(va, vb)
		case oka:
			c = 1
		case okb:
			c = -1
		}
		if s.desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	c := strings.Compare(a[FieldID].(string), b[FieldID].(string))
	if len(q.Sort) > 0 && q.Sort[0].desc {
		return -c
	}
	return c
}
