package conformance

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// Check runs the scenarios as subtests, one after the other, on one network. A scenario that needs what is in without is
// left out: it is named, with the reason, in the test's log, and Check returns the names.
func Check(t *testing.T, network Network, identities Identities, scenarios []*Scenario, without []Need, options Options) []string {
	t.Helper()
	var left []string
	for _, scenario := range scenarios {
		if missing := scenario.lacking(without); len(missing) > 0 {
			left = append(left, scenario.Name)
			t.Logf("%s is left out: it needs %s", scenario.Name, strings.Join(missing, ", "))
			continue
		}
		t.Run(scenario.Name, func(t *testing.T) {
			differences, err := Run(context.Background(), network, identities, scenario, options)
			for _, difference := range differences {
				t.Error(difference)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	return left
}

func (s *Scenario) lacking(without []Need) []string {
	var missing []string
	for _, need := range s.Needs {
		if slices.Contains(without, need) {
			missing = append(missing, string(need))
		}
	}
	return missing
}
