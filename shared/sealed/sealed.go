// Package sealed writes small JSON documents that tell whether they are whole: the last member of the object is the SHA-256
// of all the text before it. A document stays readable, but a change of any one byte of it, also of a space or of the case of
// a name, which JSON itself does not mind, is found. It guards against damage, not against somebody who can count hashes.
package sealed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrBroken: the document is not what Marshal wrote.
var ErrBroken = errors.New("its checksum is wrong")

// What stands around the checksum. Before it is the text that it is of.
const (
	before = ",\n  \"sha256\": \""
	after  = "\"\n}\n"
)

// Marshal returns v, which must be a struct with at least one member that is written, as an indented JSON object with its
// checksum.
func Marshal(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	content, ok := bytes.CutSuffix(text, []byte("\n}"))
	if !ok {
		return nil, fmt.Errorf("%T is no object with members", v)
	}
	sum := sha256.Sum256(content)
	return fmt.Appendf(content, "%s%x%s", before, sum, after), nil
}

// Unmarshal reads what Marshal has written into v, a pointer to a struct. If it returns ErrBroken, v holds what the text says
// nonetheless, as far as it is JSON: a document of another version may have its checksum elsewhere.
func Unmarshal(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	content := raw[:max(0, len(raw)-len(before)-hex.EncodedLen(sha256.Size)-len(after))]
	sum := sha256.Sum256(content)
	if want := fmt.Appendf(bytes.Clone(content), "%s%x%s", before, sum, after); !bytes.Equal(raw, want) {
		return ErrBroken
	}
	return nil
}
