package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestHelp wants a summary and an example of every command.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			return
		}
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s: no summary, or no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "peerless ") {
				t.Errorf("%s: the example has the line %q", cmd.CommandPath(), line)
			}
		}
		if cmd.Args == nil && cmd.Name() != "dev" {
			t.Errorf("%s does not check its arguments", cmd.CommandPath())
		}
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	root := newRootCommand(&app{})
	root.InitDefaultHelpCmd()
	walk(root)
}

func TestChooseCall(t *testing.T) {
	t.Parallel()
	const system = `"org.hyperledger.fabric":{"transactions":[{"name":"GetMetadata"}]}`
	for name, test := range map[string]struct {
		metadata string
		want     *sampleCall
	}{
		"not JSON":  {"text", nil},
		"only ours": {`{"contracts":{` + system + `}}`, nil},
		"creates": {
			`{"contracts":{"C":{"default":true,"transactions":[
				{"name":"Assign","tag":["SUBMIT"]},
				{"name":"CreateThing","tag":["submit"],"parameters":[{"schema":{"type":"string"}},{"schema":{"type":"string"}},{"schema":{"type":"integer"}},{"schema":{"type":"boolean"}}]}]},` + system + `}}`,
			&sampleCall{verb: "submit", Function: "CreateThing", Args: []string{"id1", "text", "1", "true"}},
		},
		"registers": {
			`{"contracts":{"C":{"default":true,"transactions":[
				{"name":"Addition","tag":["submit"]},{"name":"HandOver","tag":["submit"]},{"name":"RegisterThing","tag":["submit"]},{"name":"IssueList","tag":["evaluate"]}]},` + system + `}}`,
			&sampleCall{verb: "submit", Function: "RegisterThing", Args: []string{}},
		},
		"sets up": {
			`{"contracts":{"C":{"transactions":[{"name":"CreateThing","tag":["submit"]},{"name":"InitLedger","tag":["submit"]}]},` + system + `}}`,
			&sampleCall{verb: "submit", Function: "InitLedger", Args: []string{}},
		},
		"objects are not made up": {
			`{"contracts":{"C":{"transactions":[{"name":"CreateThing","tag":["submit"],"parameters":[{"schema":{"$ref":"#/x"}}]},{"name":"Read","tag":["evaluate"]}]},` + system + `}}`,
			&sampleCall{verb: "evaluate", Function: "Read", Args: []string{}},
		},
		"of several contracts, named": {
			`{"contracts":{"A":{"transactions":[{"name":"Read","tag":["evaluate"]}]},"B":{"transactions":[{"name":"Do","tag":["submit"]}]},` + system + `}}`,
			&sampleCall{verb: "submit", Function: "B:Do", Args: []string{}},
		},
	} {
		if diff := cmp.Diff(chooseCall([]byte(test.metadata)), test.want, cmp.AllowUnexported(sampleCall{})); diff != "" {
			t.Errorf("%s: got (-), want (+):\n%s", name, diff)
		}
	}
}
