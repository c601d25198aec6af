package mango

import (
	"slices"
	"strconv"
	"strings"
)

// A path leads to a field: names joined by dots. A dot, or a leading dollar sign, that belongs to a name has a backslash before it.
type path []string

func parsePath(text string) path {
	var (
		p    path
		name strings.Builder
	)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '.' || text[i+1] == '$' || text[i+1] == '\\'):
			i++
			name.WriteByte(text[i])
		case c == '.':
			p = append(p, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	return append(p, name.String())
}

// String is the path as parsePath reads it.
func (p path) String() string {
	escape := strings.NewReplacer(`\`, `\\`, `.`, `\.`)
	names := make([]string, len(p))
	for i, name := range p {
		names[i] = escape.Replace(name)
		if strings.HasPrefix(name, "$") {
			names[i] = `\` + names[i]
		}
	}
	return strings.Join(names, ".")
}

// get returns the value of the field, and whether there is one. An array's elements are named by their position.
func (p path) get(v any) (any, bool) {
	for _, name := range p {
		switch in := v.(type) {
		case map[string]any, Document:
			next, ok := object(in)[name]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// put sets a field of an object, making the objects on the way. It reports false if something else is in the way.
func (p path) put(in map[string]any, v any) bool {
	for _, name := range p[:len(p)-1] {
		next, ok := in[name]
		if !ok {
			next = make(map[string]any)
			in[name] = next
		}
		if in, ok = next.(map[string]any); !ok {
			return false
		}
	}
	in[p[len(p)-1]] = v
	return true
}

func (p path) equal(o path) bool { return slices.Equal(p, o) }
