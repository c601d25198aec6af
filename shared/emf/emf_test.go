package emf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"peerless/shared/emf"
)

// check reads a line as CloudWatch does: by the specification's schema, and by what the schema cannot say, that every name stands in the
// line with a value of its kind.
func check(t *testing.T, line []byte) map[string]any {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if err := schema.Validate(value); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	for _, directive := range got["_aws"].(map[string]any)["CloudWatchMetrics"].([]any) {
		for _, set := range directive.(map[string]any)["Dimensions"].([]any) {
			for _, name := range set.([]any) {
				if _, ok := got[name.(string)].(string); !ok {
					t.Errorf("dimension %s has no value in %s", name, line)
				}
			}
		}
		for _, metric := range directive.(map[string]any)["Metrics"].([]any) {
			if _, ok := got[metric.(map[string]any)["Name"].(string)].(float64); !ok {
				t.Errorf("metric %s has no value in %s", metric, line)
			}
		}
	}
	return got
}

func TestEmit(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1764156000123)
	stage := emf.Dimension{Name: "Stage", Value: "dev"}
	var out bytes.Buffer
	err := emf.New(&out, "Peerless").Emit(at, []emf.Metric{{"Requests", emf.Count, 1}, {"Latency", emf.Milliseconds, 12.5}},
		[][]emf.Dimension{{stage}, {stage, {"Channel", "main"}}}, map[string]any{"requestId": "r1"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(out.Bytes(), []byte("}\n")) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Errorf("not one line: %q", &out)
	}
	want := map[string]any{
		"Requests": 1.0, "Latency": 12.5, "Stage": "dev", "Channel": "main", "requestId": "r1",
		"_aws": map[string]any{"Timestamp": 1764156000123.0, "CloudWatchMetrics": []any{map[string]any{
			"Namespace": "Peerless", "Dimensions": []any{[]any{"Stage"}, []any{"Stage", "Channel"}},
			"Metrics": []any{map[string]any{"Name": "Requests", "Unit": "Count"}, map[string]any{"Name": "Latency", "Unit": "Milliseconds"}},
		}}},
	}
	if diff := cmp.Diff(want, check(t, out.Bytes())); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := emf.New(&out, "Peerless").Emit(at, []emf.Metric{{"Requests", emf.Count, 1}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	check(t, out.Bytes())
}

// TestLimits: what is just within the format's limits passes its schema; what is beyond is refused.
func TestLimits(t *testing.T) {
	t.Parallel()
	metrics := func(n int) (all []emf.Metric) {
		for i := range n {
			all = append(all, emf.Metric{Name: "m" + strconv.Itoa(i), Unit: emf.Bytes, Value: float64(i)})
		}
		return all
	}
	dimensions := func(n, size int) (all []emf.Dimension) {
		for i := range n {
			all = append(all, emf.Dimension{Name: "d" + strconv.Itoa(i), Value: strings.Repeat("x", size)})
		}
		return all
	}
	for name, test := range map[string]struct {
		metrics []emf.Metric
		set     []emf.Dimension
		refused bool
	}{
		"most":                    {metrics(emf.MaxMetrics), dimensions(emf.MaxDimensions, emf.MaxName), false},
		"no metric":               {nil, nil, true},
		"a metric too many":       {metrics(emf.MaxMetrics + 1), nil, true},
		"a dimension too many":    {metrics(1), dimensions(emf.MaxDimensions+1, 1), true},
		"a value too long":        {metrics(1), dimensions(1, emf.MaxName+1), true},
		"an empty value":          {metrics(1), dimensions(1, 0), true},
		"no number":               {[]emf.Metric{{"m", emf.Count, math.NaN()}}, nil, true},
		"one name for two things": {[]emf.Metric{{"d0", emf.Count, 1}}, dimensions(1, 1), true},
		"the reserved name":       {[]emf.Metric{{"_aws", emf.Count, 1}}, nil, true},
		"a name for two metrics":  {[]emf.Metric{{"m", emf.Count, 1}, {"m", emf.Count, 2}}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := emf.New(&out, "Peerless").Emit(time.Now(), test.metrics, [][]emf.Dimension{test.set}, nil)
			if (err != nil) != test.refused {
				t.Fatalf("error %v, want one: %v", err, test.refused)
			}
			if err == nil {
				check(t, out.Bytes())
			} else if out.Len() > 0 {
				t.Errorf("refused, and written: %s", &out)
			}
		})
	}
	if err := emf.New(broken{}, "Peerless").Emit(time.Now(), metrics(1), nil, nil); !errors.Is(err, errBroken) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type broken struct{}

var errBroken = errors.New("broken pipe")

func (broken) Write([]byte) (int, error) { return 0, errBroken }
