package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// encodingBase64 marks a payload that is neither JSON nor text.
const encodingBase64 = "base64"

// appendPayload appends a contract's payload as a JSON value: null if it is empty; as it is, without the white space
// between its parts, if it is JSON, so that numbers and the order of fields stay as the contract wrote them; a string if
// it is UTF-8; else base64 (RFC 4648, section 4, padded), and encoding says so.
func appendPayload(dst, payload []byte) (out []byte, encoding string) {
	if len(payload) == 0 {
		return append(dst, "null"...), ""
	}
	if !utf8.Valid(payload) {
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, payload)
		return append(dst, '"'), encodingBase64
	}
	b := bytes.NewBuffer(dst)
	if json.Compact(b, payload) == nil {
		return b.Bytes(), ""
	}
	return appendString(b.Bytes()[:len(dst)], payload), ""
}

// payloadJSON is appendPayload for a struct's fields.
func payloadJSON(payload []byte) (value json.RawMessage, encoding string) {
	return appendPayload(nil, payload)
}

const hexDigits = "0123456789abcdef"

// appendString appends valid UTF-8 as a JSON string.
func appendString[S []byte | string](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// rawBytes is a field of a block: a JSON string if it is UTF-8, else {"base64": …}; null if it is nil.
type rawBytes []byte

func (b rawBytes) MarshalJSON() ([]byte, error) {
	switch {
	case b == nil:
		return []byte("null"), nil
	case utf8.Valid(b):
		return appendString(make([]byte, 0, len(b)+2), []byte(b)), nil
	}
	dst := append(make([]byte, 0, len(b)*4/3+16), `{"base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, b), `"}`...), nil
}

// marshal gives compact JSON that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
