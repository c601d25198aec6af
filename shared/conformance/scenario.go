// Package conformance runs what was recorded on a real Hyperledger Fabric network against another implementation of it, and
// says where they differ.
//
// A scenario is a list of steps that a client takes at a gateway; its results are what Fabric answered. The format of both,
// the network they suppose and the normalisation are specified in testdata/conformance/README.md. The package is for tests:
// whatever stands behind a Network, in process or over gRPC, is driven with Fabric's own messages, signed by real keys.
package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Scenario is a list of steps, with what Fabric answered to each.
type Scenario struct {
	Name  string
	About string
	Steps []Step

	// Recorded has one JSON object for each step, in order.
	Recorded []json.RawMessage
}

// A Step is one thing that the client does. README.md, section 3, says what each field means; its defaults are filled in.
type Step struct {
	ID        string            `json:"id"`
	Do        string            `json:"do"`
	User      string            `json:"user"`
	Gateway   string            `json:"gateway"`
	Channel   string            `json:"channel"`
	Chaincode string            `json:"chaincode"`
	Ops       json.RawMessage   `json:"ops"`
	Function  string            `json:"function"`
	Args      []Text            `json:"args"`
	Orgs      []string          `json:"orgs"`
	Transient map[string]Text   `json:"transient"`
	Timeout   Milliseconds      `json:"timeout"`
	Proposal  *ProposalMutation `json:"proposal"`
	Txs       []OrderedTx       `json:"txs"`
	Tx        string            `json:"tx"`
	Signature string            `json:"signature"`
	From      uint64            `json:"from"`
	After     string            `json:"after"`
	Pause     Milliseconds      `json:"ms"`
}

// A ProposalMutation says how a proposal is not as it should be.
type ProposalMutation struct {
	Signature string `json:"signature"`
	SignedBy  string `json:"signedBy"`
	Tamper    string `json:"tamper"`
	Creator   string `json:"creator"`
	Timestamp string `json:"timestamp"`
	SameTxAs  string `json:"sameTxAs"`
}

// An OrderedTx is an endorsed transaction to be ordered, and how its envelope is not as it should be.
type OrderedTx struct {
	Tx       string            `json:"tx"`
	User     string            `json:"user"` // who signs the envelope, if not the proposer
	Envelope *EnvelopeMutation `json:"envelope"`
}

// An EnvelopeMutation says whose endorsements stay in an envelope.
type EnvelopeMutation struct {
	Keep []string `json:"keep"`
}

// UnmarshalJSON takes a label or an object.
func (tx *OrderedTx) UnmarshalJSON(encoded []byte) error {
	if bytes.HasPrefix(encoded, []byte(`"`)) {
		return json.Unmarshal(encoded, &tx.Tx)
	}
	type object OrderedTx
	return decode(encoded, (*object)(tx))
}

// Text is a string of bytes: in JSON a string, {"base64"} or {"repeat", "count"}.
type Text []byte

// UnmarshalJSON decodes each of the forms.
func (t *Text) UnmarshalJSON(encoded []byte) error {
	if bytes.HasPrefix(encoded, []byte(`"`)) {
		var s string
		err := json.Unmarshal(encoded, &s)
		*t = Text(s)
		return err
	}
	var form struct {
		Base64 []byte `json:"base64"`
		Repeat string `json:"repeat"`
		Count  int    `json:"count"`
	}
	if err := decode(encoded, &form); err != nil {
		return err
	}
	*t = append(Text{}, form.Base64...)
	if form.Count > 0 {
		*t = Text(strings.Repeat(form.Repeat, form.Count))
	}
	return nil
}

// Milliseconds is a duration, in JSON a number of milliseconds.
type Milliseconds time.Duration

// UnmarshalJSON takes a whole number.
func (m *Milliseconds) UnmarshalJSON(encoded []byte) error {
	var n int64
	err := json.Unmarshal(encoded, &n)
	*m = Milliseconds(time.Duration(n) * time.Millisecond)
	return err
}

// defaultTimeout is the deadline of a step that names none.
const defaultTimeout = 20 * time.Second

func (s *Step) fillIn() {
	for _, field := range []struct {
		value  *string
		absent string
	}{
		{&s.User, "org1user"},
		{&s.Gateway, "Org1MSP"},
		{&s.Channel, "alpha"},
		{&s.Chaincode, "probe"},
		{&s.Function, "run"},
	} {
		if *field.value == "" {
			*field.value = field.absent
		}
	}
	if s.Timeout == 0 {
		s.Timeout = Milliseconds(defaultTimeout)
	}
}

// Files returns testdata/conformance of the module that contains the working directory, which for a test is that of its
// package.
func Files() (fs.FS, error) {
	directory, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find scenarios: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			return os.DirFS(filepath.Join(directory, "testdata", "conformance")), nil
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return nil, fmt.Errorf("find scenarios: go.mod: %w", fs.ErrNotExist)
		}
		directory = parent
	}
}

// Scenarios reads every scenarios/NAME.json and its results/NAME.json, in the order of the names. A field that this package
// does not know is an error, and so are results that do not match the steps.
func Scenarios(files fs.FS) ([]*Scenario, error) {
	names, err := fs.Glob(files, "scenarios/*.json")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("read scenarios: none found: %w", fs.ErrNotExist)
	}
	scenarios := make([]*Scenario, len(names))
	for i, name := range names {
		if scenarios[i], err = readScenario(files, path.Base(name)); err != nil {
			return nil, fmt.Errorf("read scenario %s: %w", path.Base(name), err)
		}
	}
	slices.SortFunc(scenarios, func(a, b *Scenario) int { return strings.Compare(a.Name, b.Name) })
	return scenarios, nil
}

func readScenario(files fs.FS, file string) (*Scenario, error) {
	encoded, err := fs.ReadFile(files, path.Join("scenarios", file))
	if err != nil {
		return nil, err
	}
	var asked struct {
		Name  string `json:"name"`
		About string `json:"about"`
		Steps []Step `json:"steps"`
	}
	if err := decode(encoded, &asked); err != nil {
		return nil, err
	}
	if encoded, err = fs.ReadFile(files, path.Join("results", file)); err != nil {
		return nil, err
	}
	var answered struct {
		Scenario string            `json:"scenario"`
		Steps    []json.RawMessage `json:"steps"`
	}
	if err := decode(encoded, &answered); err != nil {
		return nil, err
	}
	if answered.Scenario != asked.Name || len(answered.Steps) != len(asked.Steps) {
		return nil, fmt.Errorf("results are of %q with %d steps, want %q with %d",
			answered.Scenario, len(answered.Steps), asked.Name, len(asked.Steps))
	}
	s := &Scenario{Name: asked.Name, About: asked.About, Steps: asked.Steps, Recorded: answered.Steps}
	for i := range s.Steps {
		s.Steps[i].fillIn()
	}
	return s, nil
}

func decode(encoded []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	return decoder.Decode(value)
}
