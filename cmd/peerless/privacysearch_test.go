package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A marked is a text that is looked for in all that somebody can get hold of, in every form in which it might be there.
type marked struct {
	name, text string
	forms      map[string][]byte // by the name of the form
}

func mark(name, text string) *marked {
	m := &marked{name: name, text: text, forms: map[string][]byte{"as it is": []byte(text)}}
	add := func(form, text string) { m.forms[form] = []byte(text) }
	for offset := range 3 { // wherever the text stands in what is encoded
		part := text[offset:]
		part = part[:len(part)/3*3]
		add(fmt.Sprint("base64, offset ", offset), base64.StdEncoding.EncodeToString([]byte(part)))
		add(fmt.Sprint("base64url, offset ", offset), base64.URLEncoding.EncodeToString([]byte(part)))
	}
	add("hex", hex.EncodeToString([]byte(text)))
	add("upper-case hex", strings.ToUpper(hex.EncodeToString([]byte(text))))
	var html, plain bytes.Buffer
	_ = json.NewEncoder(&html).Encode(text)
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text)
	quoted := func(b []byte) string { return strings.Trim(strings.TrimSpace(string(b)), `"`) }
	twice, _ := json.Marshal(quoted(plain.Bytes()))
	add("JSON", quoted(plain.Bytes()))
	add("JSON for HTML", quoted(html.Bytes()))
	add("JSON in JSON", quoted(twice))
	add("Go", quoted([]byte(strconv.Quote(text))))
	add("Go, ASCII", quoted([]byte(strconv.QuoteToASCII(text))))
	add("URL", url.QueryEscape(text))
	add("URL path", url.PathEscape(text))
	return m
}

// in returns the form in which the text is among the bytes, empty if it is not.
func (m *marked) in(content []byte) string {
	for form, bytesOf := range m.forms {
		if bytes.Contains(content, bytesOf) {
			return form
		}
	}
	return ""
}

// TestMarked: the search finds what it is to find.
func TestMarked(t *testing.T) {
	t.Parallel()
	const text = "sécret <&> \"7391\"\n/+~ of nobody's"
	m := mark("it", text)
	object, _ := json.Marshal(map[string]any{"a": text, "b": []byte("x" + text)})
	nested, _ := json.Marshal(string(object))
	for name, content := range map[string]string{
		"raw": "x" + text + "y", "JSON": string(object), "JSON in JSON": string(nested), "hex": fmt.Sprintf("%x", "x"+text), "upper-case hex": fmt.Sprintf("%X", text),
		"base64": base64.StdEncoding.EncodeToString([]byte("ab" + text + "c")), "base64url": base64.RawURLEncoding.EncodeToString([]byte("a" + text + "c")),
		"Go": fmt.Sprintf("%q", text), "Go, ASCII": fmt.Sprintf("%+q", text), "a query": "?q=" + url.QueryEscape(text),
	} {
		if m.in([]byte(content)) == "" {
			t.Errorf("%s: it is not found in %s", name, content)
		}
	}
	if form := m.in([]byte(text[:len(text)-1] + base64.StdEncoding.EncodeToString([]byte(text[:6])))); form != "" {
		t.Errorf("a part of it is found as %s", form)
	}
}

// A haul is what somebody got hold of, by the way on which.
type haul struct {
	*testing.T
	got     map[string][]byte
	public  *marked
	secrets []*marked
}

// take keeps what came by a way. If it brings nothing of public the way was not walked to its end, and would not have brought secrets
// either: that is a failure of the test.
func (h *haul) take(way string, content []byte) {
	h.Helper()
	if h.public.in(content) == "" {
		h.Errorf("%s: it does not bring what it is for: %.600q", way, content)
	}
	h.keep(way, content)
}

// keep is take for what brings nothing that is marked, and must hold a text to show that it is what it should be.
func (h *haul) keep(way string, content []byte, shows ...string) {
	h.Helper()
	for _, text := range shows {
		if !bytes.Contains(content, []byte(text)) {
			h.Errorf("%s: there is no %q in it: %.600q", way, text, content)
		}
	}
	h.got[way] = append(h.got[way], content...)
}

// search says where secrets are that may not be there.
func (h *haul) search(may func(way, secret string) bool) {
	h.Helper()
	for way, content := range h.got {
		for _, secret := range h.secrets {
			if form := secret.in(content); form != "" && !may(way, secret.name) {
				h.Errorf("%s brings %s, %s", way, secret.name, form)
			}
		}
	}
	h.Logf("looked for %d secrets in %d forms each, on %d ways", len(h.secrets), len(h.secrets[0].forms), len(h.got))
}

// files returns the content of all files below a directory, but for the sealing key.
func (h *haul) files(dir, without string) []byte {
	h.Helper()
	var all []byte
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Base(path) == without {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		if os.IsNotExist(err) {
			return nil // the store removed it meanwhile
		}
		all = append(append(append(all, path...), 0), content...)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return all
}
