package walk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"regexp"
	"strings"
	"time"
)

// names are the hashes and transaction ids that have appeared.
type names struct {
	byValue, byName map[string]string
}

var (
	hash = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	name = regexp.MustCompile(`<h\d+>`)
)

// replace puts names in the place of the hashes in a text.
func (n *names) replace(text string) string {
	return hash.ReplaceAllStringFunc(text, func(value string) string {
		if n.byValue[value] == "" {
			label := fmt.Sprintf("<h%d>", len(n.byValue)+1)
			n.byValue[value], n.byName[label] = label, value
		}
		return n.byValue[value]
	})
}

// resolve puts the hashes back.
func (n *names) resolve(text string) string {
	return name.ReplaceAllStringFunc(text, func(label string) string {
		if value, ok := n.byName[label]; ok {
			return value
		}
		return label
	})
}

// fresh are members whose value is another at each run, or on each platform, and means nothing to who compares them.
var fresh = map[string]bool{
	"packageId": true, "language": true, "size": true, "dataHash": true, "commitHash": true,
	"cursor":     true,                                                                                    // of events: how far a reader has looked when its time is up
	"checkpoint": true, "verifierKey": true, "logProof": true, "transactionsRoot": true, "envelope": true, // peerless verify checks them
}

// normalize writes an answer in the form that scripts have.
func (n *names) normalize(contentType string, body []byte) string {
	kind, _, _ := mime.ParseMediaType(contentType)
	if kind != "application/json" && kind != "application/problem+json" {
		if len(body) == 0 {
			return ""
		}
		return "<" + kind + ">"
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "not JSON: " + string(body)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(stable(value)); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(n.replace(out.String()))
}

// stable replaces what is another at each run.
func stable(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if _, text := member.(string); fresh[key] && (!text || member != "") {
				v[key] = "<" + key + ">"
				continue
			}
			v[key] = stable(member)
		}
	case []any:
		for i := range v {
			v[i] = stable(v[i])
		}
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return "<time>"
		}
	}
	return value
}
