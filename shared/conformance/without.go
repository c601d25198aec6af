package conformance

import (
	"encoding/json"
	"fmt"
)

// WithoutPrivateData returns what is left of a scenario on a network that has no private data. A step all of whose
// operations need it is left out, and so is one that would be endorsed with some; of the others only the operations are,
// with their results. Blocks are numbered as if those steps had never been.
//
// It makes sense where the rest does not depend on what is left out: that is for the caller to know.
func (s *Scenario) WithoutPrivateData() (*Scenario, error) {
	left := &Scenario{Name: s.Name, About: s.About}
	for _, need := range s.Needs {
		if need != PrivateData {
			left.Needs = append(left.Needs, need)
		}
	}
	var gone []int64 // numbers of blocks that no longer come
	for i := range s.Steps {
		step, recorded, err := s.Steps[i].withoutPrivateData(s.Recorded[i])
		if err != nil {
			return nil, fmt.Errorf("scenario %s: step %s: %w", s.Name, s.Steps[i].ID, err)
		}
		if step == nil {
			if commit, ok := recorded["commit"].(object); ok {
				number, err := commit["block"].(json.Number).Int64()
				if err != nil {
					return nil, fmt.Errorf("scenario %s: step %s: %w", s.Name, s.Steps[i].ID, err)
				}
				gone = append(gone, number)
			}
			continue
		}
		renumber(recorded, gone)
		left.Steps = append(left.Steps, *step)
		left.Recorded = append(left.Recorded, json.RawMessage(encode(recorded)))
	}
	return left, nil
}

// withoutPrivateData returns nil for a step that is left out. The result is returned either way.
func (s *Step) withoutPrivateData(encoded json.RawMessage) (*Step, object, error) {
	value, err := generic(encoded)
	if err != nil {
		return nil, nil, err
	}
	recorded, ok := value.(object)
	if !ok {
		return nil, nil, fmt.Errorf("recorded result %s", encoded)
	}
	if private, err := usesPrivateData(s.Ops); err != nil || !private {
		return s, recorded, err
	}
	var operations []json.RawMessage
	if err := json.Unmarshal(s.Ops, &operations); err != nil {
		return nil, nil, err
	}
	results, _ := recorded["result"].([]any)
	if s.Do != "evaluate" || len(results) != len(operations) {
		return nil, recorded, nil
	}
	var keptOperations []json.RawMessage
	var keptResults []any
	for i, operation := range operations {
		private, err := usesPrivateData(json.RawMessage("[" + string(operation) + "]"))
		if err != nil {
			return nil, nil, err
		}
		if !private {
			keptOperations = append(keptOperations, operation)
			keptResults = append(keptResults, results[i])
		}
	}
	if keptOperations == nil {
		return nil, recorded, nil
	}
	step := *s
	if step.Ops, err = json.Marshal(keptOperations); err != nil {
		return nil, nil, err
	}
	recorded["result"] = keptResults
	return &step, recorded, nil
}

// renumber moves every block behind those that are gone.
func renumber(value any, gone []int64) {
	switch value := value.(type) {
	case []any:
		for _, child := range value {
			renumber(child, gone)
		}
	case object:
		for name, child := range value {
			if number, ok := child.(json.Number); ok && name == "block" {
				value[name] = behind(number, gone)
			} else if name != "result" {
				renumber(child, gone)
			}
		}
	}
}

func behind(number json.Number, gone []int64) any {
	block, err := number.Int64()
	if err != nil {
		return number
	}
	moved := block
	for _, g := range gone {
		if g < block {
			moved--
		}
	}
	return json.Number(fmt.Sprint(moved))
}
