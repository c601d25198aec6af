package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// at is an error about a node.
func at(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", node.Line, fmt.Sprintf(format, args...))
}

// fields reads a mapping: each field once, and none but the known ones.
func fields(node *yaml.Node, what string, known map[string]func(*yaml.Node) error) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	if node.Kind != yaml.MappingNode {
		return at(node, "%s is a mapping of %s", what, names)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read := known[key.Value]
		if read == nil {
			return at(key, "unknown field %q: %s has %s", key.Value, what, names)
		}
		if seen[key.Value] {
			return at(key, "field %q is there twice", key.Value)
		}
		seen[key.Value] = true
		if value.Tag == "!!null" { // a name with nothing behind it
			continue
		}
		if err := read(value); err != nil {
			return err
		}
	}
	return nil
}

// list reads a sequence.
func list[T any](name string, into *[]T, read func(*yaml.Node) (T, error)) func(*yaml.Node) error {
	return func(node *yaml.Node) error {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if node.Kind != yaml.SequenceNode {
			return at(node, "%s is a list", name)
		}
		for _, item := range node.Content {
			value, err := read(item)
			if err != nil {
				return err
			}
			*into = append(*into, value)
		}
		return nil
	}
}

// text reads a scalar as it is written, so that a version 1.0 stays that.
func text(name string, into *string) func(*yaml.Node) error {
	return func(node *yaml.Node) (err error) {
		*into, err = readText(name)(node)
		return err
	}
}

func readText(name string) func(*yaml.Node) (string, error) {
	return func(node *yaml.Node) (string, error) {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
			return "", at(node, "%s is text", name)
		}
		return node.Value, nil
	}
}
