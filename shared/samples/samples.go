// Package samples reads the events of the directory events, each with the answer that is expected of its function, and compares. So no
// sample can rot: tests run every one, in process and in SAM's containers.
//
//	events/<function>/<name>.json          what the function is invoked with
//	events/<function>/<name>.answer.json   what it answers, as Normalize writes it
package samples

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/toolbox"
)

// A Sample is one event, and the answer to it.
type Sample struct {
	Function, Name string
	Event, Answer  []byte
}

const answerSuffix = ".answer.json"

// Read returns the samples of a function by name.
func Read(t testing.TB, function string) []Sample {
	t.Helper()
	dir := filepath.Join(toolbox.Root(), "events", function)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []Sample
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if strings.HasSuffix(file, answerSuffix) {
			if _, err := os.Stat(strings.TrimSuffix(file, answerSuffix) + ".json"); err != nil {
				t.Errorf("an answer without its event: %v", err)
			}
			continue
		}
		event, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := os.ReadFile(filepath.Join(dir, name+answerSuffix))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, Sample{function, name, event, answer})
	}
	if len(all) == 0 {
		t.Fatalf("there are no samples in %s", dir)
	}
	return all
}

// Compare checks an answer, or writes it down as the one that is expected.
func (s Sample) Compare(t testing.TB, answer []byte, update bool) {
	t.Helper()
	got, err := Normalize(answer)
	if err != nil {
		t.Errorf("%s/%s answered %.300s: %v", s.Function, s.Name, answer, err)
		return
	}
	if update {
		if err := os.WriteFile(filepath.Join(toolbox.Root(), "events", s.Function, s.Name+answerSuffix), got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(s.Answer), string(got)); diff != "" {
		t.Errorf("%s/%s answered otherwise:\n%s", s.Function, s.Name, diff)
	}
}

// hash is a transaction's id, or a block's hash.
var hash = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// volatile are the fields whose values depend on what ran before in the same container, or on a key that was made in it.
var volatile = []string{"blockNumber", "height", "verifierKey"}

// Normalize writes an answer for comparison: with JSON in strings opened, sorted and indented; and with what is another each time
// replaced by what it is: hashes, times, heights.
func Normalize(answer []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(normal(value)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func normal(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			switch {
			case slices.Contains(volatile, name):
				v[name] = "<" + name + ">"
			case member == nil && (name == "multiValueHeaders" || name == "cookies"): // what API Gateway takes for absent
				delete(v, name)
			default:
				v[name] = normal(member)
			}
		}
		return v
	case []any:
		for i, member := range v {
			v[i] = normal(member)
		}
		return v
	case string:
		var inner any
		if (strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[")) && json.Unmarshal([]byte(v), &inner) == nil {
			return normal(inner)
		}
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return "<time>"
		}
		return hash.ReplaceAllString(v, "<hash>")
	}
	return value
}

// A Function is one to run samples on. lambda.Handler is one.
type Function interface {
	Invoke(ctx context.Context, payload []byte) ([]byte, error)
}

// Run runs every sample of a function on a function of its own, which open makes: no sample needs another. With update the answers are
// written anew.
func Run(t *testing.T, function string, update bool, open func(context.Context) Function) {
	t.Helper()
	for _, sample := range Read(t, function) {
		t.Run(sample.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			answer, err := open(ctx).Invoke(ctx, sample.Event)
			if err != nil {
				t.Fatal(err)
			}
			sample.Compare(t, answer, update)
		})
	}
}

// timeout is the functions' in the template.
const timeout = 29 * time.Second
