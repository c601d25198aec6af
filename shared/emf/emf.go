// Package emf writes metrics in CloudWatch's embedded metric format: lines of JSON in a function's log, of which CloudWatch makes
// metrics by itself. There is no call, and so no latency, and nothing to pay while nothing happens.
//
// It keeps the format's limits, because CloudWatch drops a line that does not, without a word:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package emf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// The format's limits.
const (
	MaxMetrics    = 100  // of one line
	MaxDimensions = 30   // of one set
	MaxName       = 1024 // characters of a metric's name, or a dimension's value
	maxDimension  = 250  // characters of a dimension's name
)

// A Unit is what a metric counts in. CloudWatch knows others; these are used.
type Unit string

const (
	Count        Unit = "Count"
	Milliseconds Unit = "Milliseconds"
	Bytes        Unit = "Bytes"
)

// A Metric is one value.
type Metric struct {
	Name  string
	Unit  Unit
	Value float64
}

// A Dimension tells metrics of one name apart. Each value makes metrics of its own, which cost about $0.30 for a month of use: names that
// callers can invent must not become one.
type Dimension struct{ Name, Value string }

// An Emitter writes lines. Safe for concurrent use.
type Emitter struct {
	namespace string
	mu        sync.Mutex
	w         io.Writer // a function's standard output
}

// New returns an emitter of metrics of a namespace.
func New(w io.Writer, namespace string) *Emitter { return &Emitter{namespace: namespace, w: w} }

// Emit writes metrics of one moment, once for each set of dimensions, and once without any if there are no sets. Properties stand in the line
// beside them, to be searched for: they make no metrics. The error is of what the format does not allow, or of the writer.
func (e *Emitter) Emit(at time.Time, metrics []Metric, sets [][]Dimension, properties map[string]any) error {
	type definition struct {
		Name string
		Unit Unit
	}
	line := maps.Clone(properties)
	if line == nil {
		line = make(map[string]any)
	}
	add := func(name string, value any) error {
		if old, twice := line[name]; name == "" || name == "_aws" || twice && old != value {
			return fmt.Errorf("the name %q is empty, reserved or used for two things", name)
		}
		line[name] = value
		return nil
	}
	var errs []error
	if len(metrics) == 0 || len(metrics) > MaxMetrics {
		errs = append(errs, fmt.Errorf("%d metrics: want 1 to %d", len(metrics), MaxMetrics))
	}
	definitions := make([]definition, 0, len(metrics))
	for _, m := range metrics {
		if len(m.Name) > MaxName || math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			errs = append(errs, fmt.Errorf("metric %.40q of value %v cannot be carried", m.Name, m.Value))
			continue
		}
		definitions = append(definitions, definition{m.Name, m.Unit})
		errs = append(errs, add(m.Name, m.Value))
	}
	names := make([][]string, 0, max(1, len(sets)))
	for _, set := range sets {
		if len(set) > MaxDimensions {
			errs = append(errs, fmt.Errorf("%d dimensions in a set: at most %d", len(set), MaxDimensions))
		}
		own := make([]string, 0, len(set))
		for _, d := range set {
			if d.Value == "" || len(d.Value) > MaxName || len(d.Name) > maxDimension {
				errs = append(errs, fmt.Errorf("dimension %.40q has a name or value that is empty or too long", d.Name))
			}
			own = append(own, d.Name)
			errs = append(errs, add(d.Name, d.Value))
		}
		names = append(names, own)
	}
	if len(names) == 0 {
		names = append(names, []string{})
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("emit metrics: %w", err)
	}
	line["_aws"] = map[string]any{
		"Timestamp":         at.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{"Namespace": e.namespace, "Dimensions": names, "Metrics": slices.Clip(definitions)}},
	}
	encoded, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("emit metrics: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.w.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("emit metrics: %w", err)
	}
	return nil
}
