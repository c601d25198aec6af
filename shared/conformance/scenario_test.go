package conformance

import (
	"slices"
	"testing"
	"testing/fstest"
)

func mustScenarios(t *testing.T) []*Scenario {
	t.Helper()
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := Scenarios(files)
	if err != nil {
		t.Fatal(err)
	}
	return scenarios
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	if got, want := len(mustScenarios(t)), 62; got != want {
		t.Errorf("got %d scenarios, want %d", got, want)
	}
}

func TestStepsAreTaken(t *testing.T) {
	t.Parallel()
	// Whatever a scenario can ask for is known before it runs against a network.
	known := []string{"evaluate", "endorse", "submit", "order", "status", "events", "blocks", "pause"}
	users := map[string]bool{}
	for _, user := range Users {
		users[user.Name] = true
	}
	chaincodes := map[string]bool{}
	for _, chaincode := range Chaincodes {
		chaincodes[chaincode.Channel+"/"+chaincode.Name] = true
	}
	for _, s := range mustScenarios(t) {
		for _, step := range s.Steps {
			if !slices.Contains(known, step.Do) {
				t.Errorf("%s: %s: do %q", s.Name, step.ID, step.Do)
			}
			if !users[step.User] {
				t.Errorf("%s: %s: user %q", s.Name, step.ID, step.User)
			}
			if s.Name != "wrong-names" && step.Channel != "nosuch" && !chaincodes[step.Channel+"/"+step.Chaincode] {
				t.Errorf("%s: %s: chaincode %s on %s", s.Name, step.ID, step.Chaincode, step.Channel)
			}
		}
	}
}

func TestScenariosRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	const step, result = `{"id":"a","do":"pause"}`, `{"id":"a","do":"pause"}`
	for _, c := range []struct{ name, scenario, results string }{
		{"unknown field", `{"name":"x","steps":[{"id":"a","do":"pause","colour":1}]}`, `{"scenario":"x","steps":[` + result + `]}`},
		{"unknown mutation", `{"name":"x","steps":[{"id":"a","do":"evaluate","proposal":{"colour":1}}]}`, `{"scenario":"x","steps":[` + result + `]}`},
		{"step without result", `{"name":"x","steps":[` + step + `]}`, `{"scenario":"x","steps":[]}`},
		{"other name", `{"name":"x","steps":[` + step + `]}`, `{"scenario":"y","steps":[` + result + `]}`},
		{"no results", `{"name":"x","steps":[` + step + `]}`, ``},
	} {
		files := fstest.MapFS{"scenarios/x.json": {Data: []byte(c.scenario)}}
		if c.results != "" {
			files["results/x.json"] = &fstest.MapFile{Data: []byte(c.results)}
		}
		if _, err := Scenarios(files); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	if _, err := Scenarios(fstest.MapFS{}); err == nil {
		t.Error("no scenarios: no error")
	}
}
