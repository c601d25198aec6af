package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Difference is one place where the answer to a step is not the recorded one.
type Difference struct {
	Step string // its label
	Path string // in the step's result, as in rwset[1].writes[0].value
	Got  string // JSON; empty if there is nothing
	Want string // JSON; empty if there is nothing
}

// String gives the difference in one line.
func (d Difference) String() string {
	show := func(encoded string) string {
		if encoded == "" {
			return "nothing"
		}
		return encoded
	}
	return fmt.Sprintf("%s: %s: got %s, want %s", d.Step, d.Path, show(d.Got), show(d.Want))
}

// compare lists the differences of two JSON values, the deepest that say it all, in the order of the paths.
func compare(step string, got, want any) []Difference {
	c := comparison{step: step}
	c.compare("", got, want)
	return c.differences
}

type comparison struct {
	step        string
	differences []Difference
}

// absent stands for a field or element that only the other side has.
type absent struct{}

func (c *comparison) compare(path string, got, want any) {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			c.compareObjects(path, got, want)
			return
		}
	case []any:
		if got, ok := got.([]any); ok {
			c.compareLists(path, got, want)
			return
		}
	}
	if g, w := encode(got), encode(want); g != w {
		c.differences = append(c.differences, Difference{Step: c.step, Path: strings.TrimPrefix(path, "."), Got: g, Want: w})
	}
}

func (c *comparison) compareObjects(path string, got, want map[string]any) {
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, inGot := got[name]
		w, inWant := want[name]
		if !inGot {
			g = absent{}
		}
		if !inWant {
			w = absent{}
		}
		c.compare(path+"."+name, g, w)
	}
}

func (c *comparison) compareLists(path string, got, want []any) {
	for i := range max(len(got), len(want)) {
		var g, w any = absent{}, absent{}
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		c.compare(fmt.Sprintf("%s[%d]", path, i), g, w)
	}
}

// encode gives the canonical JSON of a value: objects have their fields sorted.
func encode(value any) string {
	if _, ok := value.(absent); ok {
		return ""
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprintf("%q", err.Error())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// generic turns a value into what JSON decoding gives, so that the two sides are alike. Numbers keep their digits.
func generic(encoded []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}
