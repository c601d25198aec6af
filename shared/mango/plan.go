package mango

import (
	"slices"
)

// A Plan says how to find what a query wants.
type Plan struct {
	Index      *Index // nil: look at every document
	Start, End string // the index's entries to look at: Start ≤ entry < End; the empty End is open
	// Sorted says that the entries come in the query's order. Otherwise what matches has to be sorted, if the query sorts.
	Sorted bool
}

// Plan chooses among the indexes of a database. The error is an *Error: the query sorts by fields that no index holds.
func (q *Query) Plan(indexes []*Index) (Plan, error) {
	var (
		best      Plan
		bestScore = -1
	)
	constraints := q.Selector.constraints()
	for _, x := range indexes {
		plan, score, ok := q.planWith(x, constraints)
		if !ok {
			continue
		}
		if q.names(x) {
			return plan, nil
		}
		if score > bestScore || score == bestScore && x.before(best.Index) {
			best, bestScore = plan, score
		}
	}
	if best.Index == nil && !q.sortedByKey() {
		return Plan{}, invalid("no_usable_index", "No index exists for this sort, try indexing by the sort fields.")
	}
	if best.Index == nil {
		return q.Scan(), nil
	}
	return best, nil
}

// Scan is the plan that looks at every document, whatever the query sorts by.
func (q *Query) Scan() Plan {
	return Plan{Sorted: len(q.Sort) == 0 || q.sortedByKey() && !q.Sort[0].desc}
}

// sortedByKey reports whether the query wants no other order than that of the keys.
func (q *Query) sortedByKey() bool {
	return len(q.Sort) == 0 || len(q.Sort) == 1 && q.Sort[0].path.equal(path{FieldID})
}

func (q *Query) names(x *Index) bool {
	return len(q.UseIndex) > 0 && q.UseIndex[0] == x.DesignDocument && (len(q.UseIndex) == 1 || q.UseIndex[1] == x.Name)
}

// before makes the choice among equals the same at every time: by name.
func (x *Index) before(o *Index) bool {
	return o == nil || x.DesignDocument < o.DesignDocument || x.DesignDocument == o.DesignDocument && x.Name < o.Name
}

// constraint is what every selected document's field is held to.
type constraint struct {
	path path
	op   string
	arg  any
}

// constraints are the conditions that hold for every document the selector selects.
func (s *Selector) constraints() []constraint {
	var list []constraint
	var walk func(n node)
	walk = func(n node) {
		switch n := n.(type) {
		case all:
			for _, one := range n {
				walk(one)
			}
		case *field:
			list = append(list, constraint{n.path, n.op, n.arg})
		}
	}
	walk(s.root)
	return list
}

// planWith says how an index would serve, and how well: how many of its fields are held to one value, then whether the next
// is held within bounds. An index that does not hold every document that is wanted, or not all in the wanted order, does not.
func (q *Query) planWith(x *Index, constraints []constraint) (plan Plan, score int, ok bool) {
	if x.partial != nil && !q.names(x) {
		return Plan{}, 0, false // whether the selector implies its filter is for who wrote the query to know
	}
	for _, f := range x.fields {
		if !slices.ContainsFunc(constraints, func(c constraint) bool { return c.path.equal(f.path) }) && !q.sortsBy(f.path) {
			return Plan{}, 0, false
		}
	}
	fixed, prefix := x.prefix(constraints)
	plan = Plan{Index: x, Sorted: q.sortedBy(x, fixed)}
	if !plan.Sorted && !q.covers(x) {
		return Plan{}, 0, false
	}
	plan.Start, plan.End = string(prefix), after(prefix)
	score = 4 * fixed
	if fixed < len(x.fields) {
		start, end := x.bounds(prefix, x.fields[fixed], constraints)
		if start != nil {
			plan.Start = string(start)
			score++
		}
		if end != nil {
			plan.End = string(end)
			score++
		}
	}
	if plan.Sorted && len(q.Sort) > 0 {
		score += 2
	}
	return plan, score, true
}

func (q *Query) sortsBy(p path) bool {
	return slices.ContainsFunc(q.Sort, func(s Sort) bool { return s.path.equal(p) })
}

// covers reports whether the index holds all fields that the query sorts by.
func (q *Query) covers(x *Index) bool {
	for _, s := range q.Sort {
		if !slices.ContainsFunc(x.fields, func(f Sort) bool { return f.path.equal(s.path) }) {
			return false
		}
	}
	return true
}

// prefix encodes the index's first fields as far as each is held to one value, and tells how many these are.
func (x *Index) prefix(constraints []constraint) (fixed int, prefix []byte) {
	for _, f := range x.fields {
		i := slices.IndexFunc(constraints, func(c constraint) bool { return c.op == "$eq" && c.path.equal(f.path) })
		if i < 0 {
			break
		}
		prefix = appendDirected(prefix, constraints[i].arg, f.desc)
		fixed++
	}
	return fixed, prefix
}

// sortedBy reports whether the index's entries, the first fields being fixed, come in the query's order.
func (q *Query) sortedBy(x *Index, fixed int) bool {
	sort := slices.DeleteFunc(slices.Clone(q.Sort), func(s Sort) bool {
		return slices.ContainsFunc(x.fields[:fixed], func(f Sort) bool { return f.path.equal(s.path) })
	})
	rest := x.fields[fixed:]
	if len(sort) > len(rest) {
		return false
	}
	for i, s := range sort {
		if !s.path.equal(rest[i].path) || s.desc != rest[i].desc {
			return false
		}
	}
	return true
}

// bounds returns where the entries with the prefix whose next field is within the constraints begin and end; nil where nothing
// bounds them.
func (x *Index) bounds(prefix []byte, f Sort, constraints []constraint) (start, end []byte) {
	for _, c := range constraints {
		if !c.path.equal(f.path) {
			continue
		}
		var low, high bool // whether the value bounds the field from below, from above
		switch c.op {
		case "$gt", "$gte":
			low = true
		case "$lt", "$lte":
			high = true
		default:
			continue
		}
		// The value's own entries are in: whether they match is the selector's to say.
		value := appendDirected(slices.Clone(prefix), c.arg, f.desc)
		if low != f.desc {
			start = later(start, value)
		} else if high != f.desc {
			end = earlier(end, []byte(after(value)))
		}
	}
	return start, end
}

func later(a, b []byte) []byte {
	if a == nil || slices.Compare(b, a) > 0 {
		return b
	}
	return a
}

func earlier(a, b []byte) []byte {
	if a == nil || slices.Compare(b, a) < 0 {
		return b
	}
	return a
}

// after is the first string behind all that begin with the prefix, empty if there is none.
func after(prefix []byte) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := slices.Clone(prefix[:i+1])
			next[i]++
			return string(next)
		}
	}
	return ""
}
