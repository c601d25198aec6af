package cloud

import (
	"fmt"
	"strings"

	"peerless/shared/node"
)

// StageLocal is the stage that needs nothing of AWS.
const StageLocal = "local"

// A Config says where the parts of a deployment are. template.yaml sets the variables from the stack's own resources.
type Config struct {
	// Stage names the deployment in logs and metrics. PEERLESS_STAGE.
	Stage string
	// Organization is the MSP id of the platform's own organisation. PEERLESS_ORGANIZATION, default node.DefaultOrganization.
	Organization string
}

// FromEnv reads the configuration from the environment: lookup is os.Getenv. Every name that is missing is in the one error.
func FromEnv(lookup func(string) string) (Config, error) {
	env := environment{lookup: lookup}
	c := Config{
		Stage:        env.need("PEERLESS_STAGE"),
		Organization: env.get("PEERLESS_ORGANIZATION", node.DefaultOrganization),
	}
	return c, env.err()
}

// environment reads variables, and remembers which are missing.
type environment struct {
	lookup  func(string) string
	missing []string
}

func (e *environment) get(name, otherwise string) string {
	if value := e.lookup(name); value != "" {
		return value
	}
	return otherwise
}

func (e *environment) need(name string) string {
	value := e.lookup(name)
	if value == "" {
		e.missing = append(e.missing, name)
	}
	return value
}

func (e *environment) err() error {
	if len(e.missing) == 0 {
		return nil
	}
	return fmt.Errorf("the function's environment lacks %s: template.yaml sets them", strings.Join(e.missing, ", "))
}
