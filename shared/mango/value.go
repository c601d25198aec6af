package mango

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// Values are what encoding/json makes of JSON with numbers kept as they are written: nil, bool, json.Number, string, []any and
// map[string]any. The order of an object's members does not count.

// parse reads one JSON value and nothing else.
func parse(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value")
	}
	return v, nil
}

// A Document is what selectors are matched with: a JSON object, and its key as "_id".
type Document map[string]any

// FieldID holds a document's key.
const FieldID = "_id"

// ParseDocument makes the document of a key's value. A value that is no JSON object has its key only, as in Fabric, where it is
// an attachment.
func ParseDocument(key string, value []byte) Document {
	v, err := parse(value)
	object, ok := v.(map[string]any)
	if err != nil || !ok {
		object = make(map[string]any, 1)
	}
	object[FieldID] = key
	return object
}

// rank orders values of different types: null, false, true, numbers, strings, arrays, objects.
func rank(v any) int {
	switch v := v.(type) {
	case nil:
		return 0
	case bool:
		if v {
			return 2
		}
		return 1
	case json.Number:
		return 3
	case string:
		return 4
	case []any:
		return 5
	case map[string]any, Document:
		return 6
	}
	panic(fmt.Sprintf("mango: a %T is no JSON value", v)) // parse makes no other
}

// typeName is a value's type as $type names it.
func typeName(v any) string {
	return [...]string{"null", "boolean", "boolean", "number", "string", "array", "object"}[rank(v)]
}

// Compare orders two values by CouchDB's collation: negative if a comes first, 0 if they are the same.
func Compare(a, b any) int {
	ra, rb := rank(a), rank(b)
	if ra != rb {
		return ra - rb
	}
	switch ra {
	case 3:
		return compareNumbers(a.(json.Number), b.(json.Number))
	case 4:
		return compareStrings(a.(string), b.(string))
	case 5:
		return slices.CompareFunc(a.([]any), b.([]any), Compare)
	case 6:
		return compareObjects(object(a), object(b))
	}
	return 0
}

func object(v any) map[string]any {
	if d, ok := v.(Document); ok {
		return d
	}
	return v.(map[string]any)
}

// compareObjects goes through the members in the order of their names: the first name or value that differs decides, then the
// number of members.
func compareObjects(a, b map[string]any) int {
	an, bn := slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))
	for i := range min(len(an), len(bn)) {
		if c := compareStrings(an[i], bn[i]); c != 0 {
			return c
		}
		if c := Compare(a[an[i]], b[bn[i]]); c != 0 {
			return c
		}
	}
	return len(an) - len(bn)
}

// maxExact is the longest number, in characters, that is compared digit by digit where floats are equal: a number may have an
// exponent that no memory holds.
const maxExact = 64

func compareNumbers(a, b json.Number) int {
	if ai, err := strconv.ParseInt(string(a), 10, 64); err == nil {
		if bi, err := strconv.ParseInt(string(b), 10, 64); err == nil {
			return compareOrdered(ai, bi)
		}
	}
	af, bf := float(a), float(b)
	if c := compareOrdered(af, bf); c != 0 || a == b {
		return c
	}
	if len(a) > maxExact || len(b) > maxExact || strings.ContainsAny(string(a)+string(b), "eE") {
		return 0
	}
	ar, okA := new(big.Rat).SetString(string(a))
	br, okB := new(big.Rat).SetString(string(b))
	if !okA || !okB {
		return 0
	}
	return ar.Cmp(br)
}

func compareOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// float is the nearest float64, infinite beyond its range.
func float(n json.Number) float64 {
	f, _ := strconv.ParseFloat(string(n), 64)
	return f
}

// integer returns a number that is written as a whole one.
func integer(v any) (*big.Int, bool) {
	n, ok := v.(json.Number)
	if !ok || len(n) > maxExact || strings.ContainsAny(string(n), ".eE") {
		return nil, false
	}
	return new(big.Int).SetString(string(n), 10)
}

// collators are for one goroutine each.
var collators = sync.Pool{New: func() any { return &collator{Collator: collate.New(language.Und)} }}

type collator struct {
	*collate.Collator
	buffer collate.Buffer
}

func compareStrings(a, b string) int {
	if a == b {
		return 0
	}
	c := collators.Get().(*collator)
	defer collators.Put(c)
	return c.CompareString(a, b)
}

// appendCollationKey appends bytes that order as the strings collate.
func appendCollationKey(to []byte, s string) []byte {
	c := collators.Get().(*collator)
	defer collators.Put(c)
	c.buffer.Reset()
	return append(to, c.KeyFromString(&c.buffer, s)...)
}
