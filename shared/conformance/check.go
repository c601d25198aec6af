package conformance

import (
	"context"
	"testing"
)

// Check runs the scenarios as subtests, one after the other, on one network.
func Check(t *testing.T, network Network, identities Identities, scenarios []*Scenario, options Options) {
	t.Helper()
	for _, scenario := range scenarios {
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
}
