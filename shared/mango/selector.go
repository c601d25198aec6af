package mango

import (
	"encoding/json"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// Limits of a selector: what follows from them is that its cost is bounded by the documents looked at.
const (
	maxDepth = 64    // of operators and fields within each other
	maxNodes = 1_000 // conditions in all
)

// A Selector is a condition on documents. Safe for concurrent use.
type Selector struct{ root node }

// A node is one condition. Negations have been moved down to the fields: there is no "not" above a field.
type node interface {
	// match reports whether it holds for a value: a document, or an array's element.
	match(v any) bool
}

// Match reports whether the selector selects a document.
func (s *Selector) Match(d Document) bool { return s.root.match(d) }

// parseSelector reads a selector. The error is an *Error.
func parseSelector(v any) (*Selector, error) {
	p := &parser{}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("invalid_selector_json", "Selector must be a JSON object, but got: %s", text(v))
	}
	root, err := p.object(object, nil, false, 0)
	if err != nil {
		return nil, err
	}
	return &Selector{root}, nil
}

type (
	all     []node // every one holds
	either  []node // one of them holds
	nothing struct{}

	// field is a condition on one field, or on the value itself if the path is empty.
	field struct {
		path path
		test test
		op   string // the operator, as it stands after negation
		arg  any    // and its argument: what an index can be asked for
	}
	// missing holds where the field does not exist.
	missing struct{ path path }
)

// A test is a condition on a value that exists.
type test func(v any) bool

func (n all) match(v any) bool {
	for _, one := range n {
		if !one.match(v) {
			return false
		}
	}
	return true
}

func (n either) match(v any) bool {
	for _, one := range n {
		if one.match(v) {
			return true
		}
	}
	return false
}

func (nothing) match(any) bool { return false }

func (n *field) match(v any) bool {
	v, ok := n.path.get(v)
	return ok && n.test(v)
}

func (n *missing) match(v any) bool {
	_, ok := n.path.get(v)
	return !ok
}

// parser turns JSON into nodes. at is the path of the value a condition is on, negate whether the condition is to be false.
type parser struct{ nodes int }

func (p *parser) enter(depth int) error {
	if p.nodes++; p.nodes > maxNodes {
		return invalid("invalid_selector", "The selector has more than %d conditions", maxNodes)
	}
	if depth > maxDepth {
		return invalid("invalid_selector", "The selector is nested more than %d deep", maxDepth)
	}
	return nil
}

// object reads the members of an object, which must all hold.
func (p *parser) object(members map[string]any, at path, negate bool, depth int) (node, error) {
	if err := p.enter(depth); err != nil {
		return nil, err
	}
	nodes := make([]node, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		one, err := p.member(name, members[name], at, negate, depth)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, one)
	}
	return join(nodes, negate), nil
}

// join makes one node of several which must all hold, or not all.
func join(nodes []node, negate bool) node {
	switch {
	case len(nodes) == 1:
		return nodes[0]
	case negate && len(nodes) == 0:
		return nothing{}
	case negate:
		return either(nodes)
	}
	return all(nodes)
}

func (p *parser) member(name string, arg any, at path, negate bool, depth int) (node, error) {
	switch {
	case strings.HasPrefix(name, "$"):
		return p.operator(name, arg, at, negate, depth)
	case name == "":
		return nil, invalid("invalid_selector", "One or more conditions is missing a field name.")
	}
	return p.condition(arg, append(slices.Clip(at), parsePath(name)...), negate, depth+1)
}

// condition reads what stands after a field's name: an object with conditions on it or its fields, or the value it has.
func (p *parser) condition(v any, at path, negate bool, depth int) (node, error) {
	if members, ok := v.(map[string]any); ok && len(members) > 0 {
		return p.object(members, at, negate, depth)
	}
	return p.operator("$eq", v, at, negate, depth)
}

func (p *parser) operator(op string, arg any, at path, negate bool, depth int) (node, error) {
	if err := p.enter(depth); err != nil {
		return nil, err
	}
	switch op {
	case "$and", "$or", "$nor":
		return p.combination(op, arg, at, negate, depth)
	case "$not":
		members, ok := arg.(map[string]any)
		if !ok {
			return nil, badArgument(op, arg)
		}
		return p.object(members, at, !negate, depth+1)
	case "$exists":
		exists, ok := arg.(bool)
		if !ok {
			return nil, badArgument(op, arg)
		}
		if exists == negate {
			return &missing{at}, nil
		}
		return &field{path: at, op: op, arg: true, test: func(any) bool { return true }}, nil
	}
	if at == nil {
		return nil, invalid("invalid_selector", "One or more conditions is missing a field name.")
	}
	if opposite := opposites[op]; negate && opposite != "" {
		op, negate = opposite, false
	}
	t, err := p.test(op, arg, depth)
	if err != nil {
		return nil, err
	}
	if negate {
		positive := t
		return &field{path: at, op: "$not", test: func(v any) bool { return !positive(v) }}, nil
	}
	return &field{path: at, op: op, arg: arg, test: t}, nil
}

// opposites are the operators that another one negates.
var opposites = map[string]string{
	"$lt": "$gte", "$gte": "$lt", "$gt": "$lte", "$lte": "$gt", "$eq": "$ne", "$ne": "$eq", "$in": "$nin", "$nin": "$in",
}

// combination reads an operator over several selectors. None at all is no condition.
func (p *parser) combination(op string, arg any, at path, negate bool, depth int) (node, error) {
	list, ok := arg.([]any)
	if !ok {
		return nil, badArgument(op, arg)
	}
	each := negate != (op == "$nor") // whether each selector is negated
	nodes := make([]node, len(list))
	for i, one := range list {
		members, ok := one.(map[string]any)
		if !ok && at == nil {
			return nil, badArgument(op, arg)
		}
		var err error
		if ok {
			nodes[i], err = p.object(members, at, each, depth+1)
		} else {
			nodes[i], err = p.operator("$eq", one, at, each, depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(nodes) == 0 {
		return join(nil, negate), nil
	}
	conjunction := op != "$or"
	return join(nodes, conjunction == negate), nil
}

// test makes the test of an operator on a field.
func (p *parser) test(op string, arg any, depth int) (test, error) {
	switch op {
	case "$eq":
		return func(v any) bool { return Compare(v, arg) == 0 }, nil
	case "$ne":
		return func(v any) bool { return Compare(v, arg) != 0 }, nil
	case "$lt":
		return func(v any) bool { return Compare(v, arg) < 0 }, nil
	case "$lte":
		return func(v any) bool { return Compare(v, arg) <= 0 }, nil
	case "$gt":
		return func(v any) bool { return Compare(v, arg) > 0 }, nil
	case "$gte":
		return func(v any) bool { return Compare(v, arg) >= 0 }, nil
	case "$type":
		name, ok := arg.(string)
		if !ok {
			return nil, badArgument(op, arg)
		}
		return func(v any) bool { return typeName(v) == name }, nil
	case "$size":
		size, ok := integer(arg)
		if !ok || size.Sign() < 0 {
			return nil, badArgument(op, arg)
		}
		return func(v any) bool {
			list, ok := v.([]any)
			return ok && size.IsInt64() && int64(len(list)) == size.Int64()
		}, nil
	case "$regex", "$beginsWith":
		return textTest(op, arg)
	case "$mod":
		return modTest(arg)
	case "$in", "$nin", "$all":
		return listTest(op, arg)
	case "$elemMatch", "$allMatch", "$keyMapMatch":
		return p.elementTest(op, arg, depth)
	}
	return nil, invalid("invalid_operator", "Invalid operator: %s", op)
}

func textTest(op string, arg any) (test, error) {
	pattern, ok := arg.(string)
	if !ok {
		return nil, badArgument(op, arg)
	}
	if op == "$beginsWith" {
		return func(v any) bool {
			s, ok := v.(string)
			return ok && strings.HasPrefix(s, pattern)
		}, nil
	}
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return nil, badArgument(op, arg)
	}
	return func(v any) bool {
		s, ok := v.(string)
		return ok && expression.MatchString(s)
	}, nil
}

// modTest is {"$mod": [divisor, remainder]}, for whole numbers; the remainder has the sign of the value.
func modTest(arg any) (test, error) {
	list, _ := arg.([]any)
	if len(list) != 2 {
		return nil, badArgument("$mod", arg)
	}
	divisor, ok := integer(list[0])
	remainder, also := integer(list[1])
	if !ok || !also || divisor.Sign() == 0 {
		return nil, badArgument("$mod", arg)
	}
	return func(v any) bool {
		n, ok := integer(v)
		return ok && new(big.Int).Rem(n, divisor).Cmp(remainder) == 0
	}, nil
}

// listTest tests membership. Of an array that is asked for with $in or $nin, any element counts.
func listTest(op string, arg any) (test, error) {
	wanted, ok := arg.([]any)
	if !ok {
		return nil, badArgument(op, arg)
	}
	if op == "$all" {
		return func(v any) bool {
			list, ok := v.([]any)
			if !ok || len(wanted) == 0 {
				return false
			}
			if _, nested := wanted[0].([]any); nested && len(wanted) == 1 && Compare(wanted[0], v) == 0 {
				return true
			}
			for _, w := range wanted {
				if !contains(list, w) {
					return false
				}
			}
			return true
		}, nil
	}
	in := func(v any) bool {
		if list, ok := v.([]any); ok {
			return slices.ContainsFunc(list, func(element any) bool { return contains(wanted, element) })
		}
		return contains(wanted, v)
	}
	if op == "$nin" {
		return func(v any) bool { return !in(v) }, nil
	}
	return in, nil
}

func contains(list []any, v any) bool {
	return slices.ContainsFunc(list, func(one any) bool { return Compare(one, v) == 0 })
}

// elementTest applies a selector to an array's elements, or to the names of an object's members.
func (p *parser) elementTest(op string, arg any, depth int) (test, error) {
	members, ok := arg.(map[string]any)
	if !ok {
		return nil, badArgument(op, arg)
	}
	n, err := p.object(members, path{}, false, depth+1)
	if err != nil {
		return nil, err
	}
	switch op {
	case "$elemMatch":
		return func(v any) bool {
			list, _ := v.([]any)
			return slices.ContainsFunc(list, n.match)
		}, nil
	case "$allMatch":
		return func(v any) bool {
			list, _ := v.([]any)
			return len(list) > 0 && all{n}.each(list)
		}, nil
	}
	return func(v any) bool {
		members, _ := v.(map[string]any)
		for name := range members {
			if n.match(name) {
				return true
			}
		}
		return false
	}, nil
}

// each reports whether the condition holds for every value.
func (n all) each(values []any) bool {
	return !slices.ContainsFunc(values, func(v any) bool { return !n.match(v) })
}

// text is a value as JSON, shortened for a message.
func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(raw) > 200 {
		return string(raw[:200]) + "…"
	}
	return string(raw)
}
