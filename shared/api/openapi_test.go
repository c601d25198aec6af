package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOpenAPIRoutes(t *testing.T) {
	t.Parallel()
	document.load(t)
	var documented []string
	for path, item := range document.root["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	var served []string
	for _, route := range newHandler(t, newFake(t)).Routes() {
		served = append(served, strings.Replace(route, "...}", "}", 1))
	}
	slices.Sort(documented)
	slices.Sort(served)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("routes served (-) and documented (+):\n%s", diff)
	}
}

// TestOpenAPISchemas compiles every schema and checks the examples against theirs.
func TestOpenAPISchemas(t *testing.T) {
	t.Parallel()
	document.load(t)
	examples := 0
	for name, s := range dig(document.root, "components", "schemas").(map[string]any) {
		compiled := document.schema(t, "/components/schemas/"+name)
		list, _ := dig(s, "examples").([]any)
		for _, example := range list {
			examples++
			if err := compiled.Validate(example); err != nil {
				t.Errorf("the example of %s: %v", name, err)
			}
		}
	}
	if examples < 8 {
		t.Errorf("got %d examples", examples)
	}
}

// TestOpenAPIReferences checks that every reference leads somewhere, and that operations are complete.
func TestOpenAPIReferences(t *testing.T) {
	t.Parallel()
	document.load(t)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && dig(document.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(document.root)
	ids := make(map[any]bool)
	for path, item := range document.root["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			id := dig(operation, "operationId")
			if id == nil || ids[id] || dig(operation, "summary") == nil {
				t.Errorf("%s %s: no operationId of its own, or no summary", method, path)
			}
			ids[id] = true
			var inPath []string
			parameters, _ := dig(operation, "parameters").([]any)
			for _, p := range parameters {
				if ref, ok := dig(p, "$ref").(string); ok {
					p = dig(document.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
				}
				if dig(p, "in") == "path" {
					inPath = append(inPath, "{"+dig(p, "name").(string)+"}")
				}
			}
			if got := strings.Count(path, "{"); got != len(inPath) {
				t.Errorf("%s %s: %d parameters in the path, %d described", method, path, got, len(inPath))
			}
			for _, name := range inPath {
				if !strings.Contains(path, name) {
					t.Errorf("%s %s: %s is not in the path", method, path, name)
				}
			}
		}
	}
}
