package main

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// metadataFunction is what every contract made with Fabric's contract API answers, in any language: a description of its
// functions.
const metadataFunction = "org.hyperledger.fabric:GetMetadata"

// systemContract is the contract of that function.
const systemContract = "org.hyperledger.fabric"

// sampleCall is a call that a contract understands.
type sampleCall struct {
	verb     string   // submit or evaluate
	Function string   `json:"function"`
	Args     []string `json:"args,omitempty"`
}

// contractMetadata is the part of a contract's description that says how it is called.
type contractMetadata struct {
	Contracts map[string]struct {
		Default      bool                  `json:"default"`
		Transactions []transactionMetadata `json:"transactions"`
	} `json:"contracts"`
}

type transactionMetadata struct {
	Name       string   `json:"name"`
	Tag        []string `json:"tag"`
	Parameters []struct {
		Schema struct {
			Type string `json:"type"`
		} `json:"schema"`
	} `json:"parameters"`
}

func (t *transactionMetadata) submits() bool {
	return slices.ContainsFunc(t.Tag, func(tag string) bool { return strings.EqualFold(tag, "submit") })
}

// chooseCall picks the call to show first: what sets the ledger up, else what creates something, else what submits, else
// what reads. nil if the description is none, or has nothing that plain arguments can call.
func chooseCall(metadata []byte) *sampleCall {
	var m contractMetadata
	if json.Unmarshal(metadata, &m) != nil {
		return nil
	}
	var best *sampleCall
	bestRank := 0
	for _, name := range slices.Sorted(maps.Keys(m.Contracts)) {
		contract := m.Contracts[name]
		if name == systemContract {
			continue
		}
		for _, t := range contract.Transactions {
			args, ok := sampleArgs(&t)
			rank := rankOf(&t)
			if !ok || rank <= bestRank {
				continue
			}
			best, bestRank = &sampleCall{verb: "evaluate", Function: t.Name, Args: args}, rank
			if t.submits() {
				best.verb = "submit"
			}
			if !contract.Default && len(m.Contracts) > 2 { // with one contract beside the system's, its name is not needed
				best.Function = name + ":" + t.Name
			}
		}
	}
	return best
}

// creating are names of functions that need nothing to be there before.
var creating = regexp.MustCompile(`^(Register|Add|Issue|Mint|New|Put|Set|Store|Record|Open)([A-Z]|$)`)

func rankOf(t *transactionMetadata) int {
	switch {
	case t.Name == "InitLedger" && len(t.Parameters) == 0 && t.submits():
		return 5
	case strings.HasPrefix(t.Name, "Create") && t.submits():
		return 4
	case creating.MatchString(t.Name) && t.submits():
		return 3
	case t.submits():
		return 2
	}
	return 1
}

// sampleArgs makes up arguments; false if one is not a plain value.
func sampleArgs(t *transactionMetadata) ([]string, bool) {
	args := make([]string, len(t.Parameters))
	for i, p := range t.Parameters {
		switch p.Schema.Type {
		case "string":
			args[i] = "text"
			if i == 0 {
				args[i] = "id1"
			}
		case "integer", "number":
			args[i] = "1"
		case "boolean":
			args[i] = "true"
		default:
			return nil, false
		}
	}
	return args, true
}
