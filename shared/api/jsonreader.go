package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads one JSON text (RFC 8259) strictly, without reflection: objects whose fields are known, lists and maps
// of strings. What it does not know is an error that names the place. There is no other nesting, so no depth to bound.
type jsonReader struct {
	data []byte // owned by the result after reading
	pos  int
}

// fields reads the text as one object, and calls read for the value of each field, which read must consume. read returns
// errUnknownField for a name that it does not know.
func (r *jsonReader) fields(read func(name string) error) error {
	if len(bytes.TrimLeft(r.data, " \t\r\n")) == 0 {
		return invalid("", "the body is empty: send a JSON object")
	}
	if !utf8.Valid(r.data) {
		return invalid("", "the body is not valid UTF-8")
	}
	if r.peek() != '{' {
		if r.looksLikeValue() {
			return invalid("", "the body must be a JSON object")
		}
		return r.syntax("")
	}
	if err := r.object("", read); err != nil {
		return err
	}
	if r.skipSpace(); r.pos < len(r.data) {
		return invalid("", fmt.Sprintf("there is more after the JSON object, at byte %d", r.pos))
	}
	return nil
}

// object reads an object at path. A name that comes twice is an error: readers differ on which one counts.
func (r *jsonReader) object(path string, read func(name string) error) error {
	if r.peek() != '{' {
		return r.wrongType(path, "an object")
	}
	r.pos++
	if r.peek() == '}' {
		r.pos++
		return nil
	}
	var few [8]string
	seen := few[:0]
	var many map[string]bool
	for {
		if r.peek() != '"' {
			return r.syntax(path)
		}
		raw, err := r.str(path)
		if err != nil {
			return err
		}
		name := string(raw)
		repeated := many[name]
		if many == nil {
			for _, s := range seen {
				repeated = repeated || s == name
			}
		}
		if repeated {
			return invalid(join(path, name), fmt.Sprintf("the field %q is given twice", join(path, name)))
		}
		if seen = append(seen, name); len(seen) > len(few) {
			if many == nil {
				many = make(map[string]bool)
				for _, s := range seen {
					many[s] = true
				}
			}
			many[name] = true
		}
		if r.peek() != ':' {
			return r.syntax(path)
		}
		r.pos++
		if err := read(name); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.pos++
		case '}':
			r.pos++
			return nil
		default:
			return r.syntax(path)
		}
	}
}

// text reads a string at path.
func (r *jsonReader) text(path string) (string, error) {
	if r.peek() != '"' {
		return "", r.wrongType(path, "a string")
	}
	s, err := r.str(path)
	return string(s), err
}

// texts reads a list of strings, or null, at path. The strings may share memory with the text.
func (r *jsonReader) texts(path string) ([][]byte, error) {
	if r.null() {
		return nil, nil
	}
	if r.peek() != '[' {
		return nil, r.wrongType(path, "a list of strings")
	}
	r.pos++
	if r.peek() == ']' {
		r.pos++
		return nil, nil
	}
	list := make([][]byte, 0, 4)
	for {
		if r.peek() != '"' {
			return nil, r.wrongType(path+"["+strconv.Itoa(len(list))+"]", "a string")
		}
		s, err := r.str(path)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
		switch r.peek() {
		case ',':
			r.pos++
		case ']':
			r.pos++
			return list, nil
		default:
			return nil, r.syntax(path)
		}
	}
}

// blobs reads an object of base64 strings (RFC 4648, section 4, padded), or null, at path.
func (r *jsonReader) blobs(path string) (map[string][]byte, error) {
	if r.null() {
		return nil, nil
	}
	blobs := make(map[string][]byte)
	err := r.object(path, func(name string) error {
		s, err := r.text(join(path, name))
		if err != nil {
			return err
		}
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil {
			return invalid(join(path, name), fmt.Sprintf("%q must be base64 with padding: %v", join(path, name), err))
		}
		blobs[name] = b
		return nil
	})
	return blobs, err
}

// textMap reads an object of strings, or null, at path.
func (r *jsonReader) textMap(path string) (map[string]string, error) {
	if r.null() {
		return nil, nil
	}
	texts := make(map[string]string)
	err := r.object(path, func(name string) (err error) {
		texts[name], err = r.text(join(path, name))
		return err
	})
	return texts, err
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// unknown is the error for a field that the request does not have.
func unknown(name, known string) error {
	return invalid(name, fmt.Sprintf("unknown field %q: there are %s", name, known))
}

func (r *jsonReader) skipSpace() {
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case ' ', '\t', '\r', '\n':
			r.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	if r.skipSpace(); r.pos < len(r.data) {
		return r.data[r.pos]
	}
	return 0
}

func (r *jsonReader) null() bool {
	if r.peek() == 'n' && bytes.HasPrefix(r.data[r.pos:], []byte("null")) {
		r.pos += len("null")
		return true
	}
	return false
}

func (r *jsonReader) looksLikeValue() bool {
	switch c := r.peek(); c {
	case '[', '"', '-', 't', 'f', 'n', '{':
		return true
	default:
		return c >= '0' && c <= '9'
	}
}

// wrongType says what was found where want should be. A number or a boolean for a string gets the hint to quote it.
// boolean reads true or false at path.
func (r *jsonReader) boolean(path string) (bool, error) {
	r.skipSpace()
	for _, value := range []bool{true, false} {
		text := strconv.FormatBool(value)
		if bytes.HasPrefix(r.data[r.pos:], []byte(text)) {
			r.pos += len(text)
			return value, nil
		}
	}
	return false, r.wrongType(path, "true or false")
}

func (r *jsonReader) wrongType(path, want string) error {
	found, hint := "", ""
	switch c := r.peek(); {
	case c == '{':
		found = "an object"
	case c == '[':
		found = "a list"
	case c == '"':
		found = "a string"
	case c == 'n':
		found = "null"
	case c == 't' || c == 'f':
		found, hint = "a boolean", `: put it in quotes, "`+r.literal()+`"`
	case c == '-' || c >= '0' && c <= '9':
		found, hint = "a number", `: put it in quotes, "`+r.literal()+`"`
	default:
		return r.syntax(path)
	}
	if found == "an object" || found == "a list" {
		hint = ": put its JSON in a string"
	}
	if want != "a string" {
		hint = ""
	}
	return invalid(path, fmt.Sprintf("%q must be %s, not %s%s", path, want, found, hint))
}

// literal returns up to 40 bytes of the number or word at the position.
func (r *jsonReader) literal() string {
	end := r.pos
	for end < len(r.data) && end-r.pos < 40 && !bytes.ContainsRune([]byte(" \t\r\n,]}:[{\""), rune(r.data[end])) {
		end++
	}
	return string(bytes.ToValidUTF8(r.data[r.pos:end], nil))
}

// syntax is the error for JSON that ends early or goes wrong at the position.
func (r *jsonReader) syntax(path string) error {
	if r.pos >= len(r.data) {
		return invalid(path, "the JSON ends too early")
	}
	c, _ := utf8.DecodeRune(r.data[r.pos:])
	return invalid(path, fmt.Sprintf("the JSON is not valid: unexpected %q at byte %d", c, r.pos))
}

// str reads the string whose opening quote is at the position. It shares memory with the text if it has no escapes.
func (r *jsonReader) str(path string) ([]byte, error) {
	r.pos++
	start := r.pos
	for ; r.pos < len(r.data); r.pos++ {
		switch c := r.data[r.pos]; {
		case c == '"':
			s := r.data[start:r.pos:r.pos]
			r.pos++
			return s, nil
		case c == '\\':
			return r.escaped(path, start)
		case c < ' ':
			return nil, r.syntax(path)
		}
	}
	return nil, r.syntax(path)
}

// escaped goes on with a string that has a backslash at the position. A lone surrogate is an error: no UTF-8 says it.
func (r *jsonReader) escaped(path string, start int) ([]byte, error) {
	out := append(make([]byte, 0, min(len(r.data)-start, r.pos-start+1024)), r.data[start:r.pos]...)
	for r.pos < len(r.data) {
		c := r.data[r.pos]
		switch {
		case c == '"':
			r.pos++
			return out, nil
		case c < ' ':
			return nil, r.syntax(path)
		case c != '\\':
			out = append(out, c)
			r.pos++
			continue
		}
		if r.pos++; r.pos >= len(r.data) {
			break
		}
		switch e := r.data[r.pos]; e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			c, ok := r.hex4(r.pos + 1)
			if !ok {
				return nil, r.syntax(path)
			}
			r.pos += 4
			if utf16.IsSurrogate(c) {
				low, ok := rune(0), r.pos+2 < len(r.data) && r.data[r.pos+1] == '\\' && r.data[r.pos+2] == 'u'
				if ok {
					low, ok = r.hex4(r.pos + 3)
				}
				if c = utf16.DecodeRune(c, low); !ok || c == utf8.RuneError {
					return nil, invalid(path, fmt.Sprintf("a \\u escape at byte %d is half of a surrogate pair", r.pos-5))
				}
				r.pos += 6
			}
			out = utf8.AppendRune(out, c)
		default:
			return nil, r.syntax(path)
		}
		r.pos++
	}
	return nil, r.syntax(path)
}

// hex4 reads four hexadecimal digits at pos.
func (r *jsonReader) hex4(pos int) (rune, bool) {
	if pos+4 > len(r.data) {
		return 0, false
	}
	var c rune
	for _, d := range r.data[pos : pos+4] {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		c = c<<4 | rune(d)
	}
	return c, true
}
