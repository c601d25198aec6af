package chaincode

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

const (
	// hashedFrom is the length in bytes from which a result shows a value by its hash.
	hashedFrom = 2048
	// maxRepeat bounds in bytes what a "repeat" text may become: more than any message of a peer holds.
	maxRepeat = 128 << 20
)

// text is a text or byte string in an operation: a JSON string, or an object that says how to make it. The zero text was
// left out.
type text struct {
	given     bool
	literal   []byte
	composite []string
	transient *string
}

// UnmarshalJSON takes a string, or one of {"base64"}, {"repeat", "count"}, {"composite"}, {"transient"}. null is left out.
func (t *text) UnmarshalJSON(encoded []byte) error {
	if string(encoded) == "null" {
		return nil
	}
	t.given = true
	if encoded[0] != '{' {
		var literal string
		if err := json.Unmarshal(encoded, &literal); err != nil {
			return err
		}
		t.literal = []byte(literal)
		return nil
	}
	var form struct {
		Base64    []byte   `json:"base64"`
		Repeat    *string  `json:"repeat"`
		Count     int      `json:"count"`
		Composite []string `json:"composite"`
		Transient *string  `json:"transient"`
	}
	if err := strictly(encoded, &form); err != nil {
		return err
	}
	switch {
	case form.Repeat != nil:
		if form.Count < 0 || len(*form.Repeat) > 0 && form.Count > maxRepeat/len(*form.Repeat) {
			return fmt.Errorf("count %d: the text may have up to %d bytes", form.Count, maxRepeat)
		}
		t.literal = []byte(strings.Repeat(*form.Repeat, form.Count))
	case form.Composite != nil:
		if len(form.Composite) == 0 {
			return errors.New("a composite key needs a type")
		}
		t.composite = form.Composite
	case form.Transient != nil:
		t.transient = form.Transient
	case form.Base64 != nil:
		t.literal = form.Base64
	default:
		return errors.New("a text is a string, or an object with base64, repeat, composite or transient")
	}
	return nil
}

// bytes makes the text: nil if it was left out, or names a transient field that the proposal does not have.
func (c *call) bytes(t text) ([]byte, error) {
	switch {
	case t.composite != nil:
		key, err := shim.CreateCompositeKey(t.composite[0], t.composite[1:])
		if err != nil {
			return nil, &malformedError{err}
		}
		return []byte(key), nil
	case t.transient != nil:
		transient, err := c.stub.GetTransient()
		if err != nil {
			return nil, &malformedError{err}
		}
		return transient[*t.transient], nil
	case t.given:
		return append([]byte{}, t.literal...), nil
	}
	return nil, nil
}

// strings makes several texts, in order.
func (c *call) strings(texts ...text) ([]string, error) {
	made := make([]string, len(texts))
	for i, t := range texts {
		b, err := c.bytes(t)
		if err != nil {
			return nil, err
		}
		made[i] = string(b)
	}
	return made, nil
}

// show gives bytes the form they have in results: nil is null, UTF-8 a string, what is long its hash, the rest base64.
func show(b []byte) any {
	switch {
	case b == nil:
		return nil
	case len(b) >= hashedFrom:
		hash := sha256.Sum256(b)
		return map[string]any{"sha256": hex.EncodeToString(hash[:]), "length": len(b)}
	case utf8.Valid(b):
		return string(b)
	}
	return map[string]any{"base64": b}
}

func showString(s string) any { return show(append([]byte{}, s...)) }

// showList shows each, and a nil list as null.
func showList(list [][]byte) any {
	if list == nil {
		return nil
	}
	shown := make([]any, len(list))
	for i, b := range list {
		shown[i] = show(b)
	}
	return shown
}

func showMap(fields map[string][]byte) any {
	shown := make(map[string]any, len(fields))
	for name, b := range fields {
		shown[name] = show(b)
	}
	return shown
}
