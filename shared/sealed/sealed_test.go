package sealed

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type document struct {
	Version int      `json:"version"`
	Names   []string `json:"names"`
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []document{{}, {1, []string{"ä", "\"\n}\n", "<&>"}}} {
		raw, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got document
		if err := Unmarshal(raw, &got); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
	if raw, err := Marshal(struct{}{}); err == nil {
		t.Errorf("an object without members became %s", raw)
	}
}

// TestEveryByte changes each byte to every other value, cuts the document off anywhere, and adds to it.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	good, err := Marshal(document{1, []string{"alice", "Bob"}})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(bad []byte) {
		t.Helper()
		if err := Unmarshal(bad, new(document)); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: got %v, want %v", bad, err, ErrBroken)
		}
	}
	for i := range good {
		for change := 1; change < 256; change++ {
			bad := bytes.Clone(good)
			bad[i] ^= byte(change)
			refused(bad)
		}
		refused(good[:i])
	}
	for _, more := range []string{"\n", " ", "}", "\x00"} {
		refused(append(bytes.Clone(good), more...))
		refused(append([]byte(more), good...))
	}
}

// TestOtherVersion: a document without this checksum is refused, and still says what version it is of.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	var got document
	if err := Unmarshal([]byte(`{"version": 7, "names": [], "sum": "abc"}`), &got); !errors.Is(err, ErrBroken) || got.Version != 7 {
		t.Errorf("got %v, version %d, want %v, version 7", err, got.Version, ErrBroken)
	}
}
